//! The media types that decide anything in a registry. All others pass through as they came.

/// An OCI image manifest (image-spec, "OCI Image Manifest Specification").
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI image index (image-spec, "OCI Image Index Specification").
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker's image manifest, version 2 schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's signed and unsigned schema 1, long deprecated: its layers hide under `fsLayers`, and no client here writes it.
pub const DOCKER_SCHEMA_1: [&str; 2] =
    ["application/vnd.docker.distribution.manifest.v1+json", "application/vnd.docker.distribution.manifest.v1+prettyjws"];

/// An OCI image configuration (image-spec, "OCI Image Configuration").
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Docker's image configuration, of the same form.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// A layer as a plain tar archive (image-spec, "Image Layer Filesystem Changeset").
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// A layer as a tar archive compressed with gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// A layer as a tar archive compressed with zstd.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// Bytes of a media type at most, as everywhere here: RFC 6838 (section 4.2) allows 127 on either side of the slash.
pub const MAX_LENGTH: usize = 255;

/// Whether this is a media type without parameters: two tokens (RFC 9110, section 5.6.2) and a slash.
pub fn is_valid(text: &str) -> bool {
    let is_token = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte))
    };
    text.len() <= MAX_LENGTH && text.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}

/// Whether content of this type can only be a manifest.
pub fn is_manifest(media_type: &str) -> bool {
    [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST].contains(&media_type)
}

/// Whether content of this type is a manifest that lists other manifests.
pub fn is_index(media_type: &str) -> bool {
    [OCI_INDEX, DOCKER_LIST].contains(&media_type)
}

/// The specification's own media type for what Docker has one of its own for, in a form that is the same: manifests, configurations and layers.
pub fn as_oci(media_type: &str) -> &str {
    match media_type {
        DOCKER_MANIFEST => OCI_MANIFEST,
        DOCKER_LIST => OCI_INDEX,
        DOCKER_CONFIG => OCI_CONFIG,
        "application/vnd.docker.image.rootfs.diff.tar" => OCI_LAYER,
        "application/vnd.docker.image.rootfs.diff.tar.gzip" => OCI_LAYER_GZIP,
        "application/vnd.docker.image.rootfs.diff.tar.zstd" => OCI_LAYER_ZSTD,
        other => other,
    }
}

/// Whether content of this type may lie elsewhere than in the registry, so that a manifest may name it without pushing it
/// (image-spec, "Non-Distributable Layers"; Docker's foreign layers).
pub fn may_be_elsewhere(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
        || media_type == "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_calls_otherwise_has_a_name_in_the_specification() {
        assert_eq!(as_oci(DOCKER_LIST), OCI_INDEX);
        assert_eq!(as_oci("application/vnd.docker.image.rootfs.diff.tar.gzip"), OCI_LAYER_GZIP);
        for other in [OCI_LAYER_ZSTD, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "a/b"] {
            assert_eq!(as_oci(other), other);
        }
    }

    #[test]
    fn a_media_type_is_two_tokens() {
        for valid in [OCI_MANIFEST, DOCKER_LIST, "a/b", "application/vnd.x+json", &format!("a/{}", "b".repeat(253))] {
            assert!(is_valid(valid), "{valid}");
        }
        for wrong in
            ["", "a", "/", "a/", "/b", "a/b/c", "a b/c", "a/b;c=d", "a/\"b\"", "a/b\n", "ä/b", &format!("a/{}", "b".repeat(254))]
        {
            assert!(!is_valid(wrong), "{wrong}");
        }
    }
}
