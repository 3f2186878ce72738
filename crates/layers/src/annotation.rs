//! Annotations on the descriptors of layers that were cut.

/// How the layer was cut: `files+fastcdc2020` with the parameters in bytes, as `Cut` writes them. Two layers with the same
/// value, and of the same [`ENCODER`], share the pieces of the files that they share.
pub const CUT: &str = "dev.wharf.layer.cut";

/// What compressed the pieces, with its version and level: the same content becomes the same bytes by the same encoder alone.
pub const ENCODER: &str = "dev.wharf.layer.encoder";

/// Where in the layer the list of its pieces lies, `OFFSET:LENGTH` in bytes; see [`piece`](crate::piece).
pub const PIECES: &str = "dev.wharf.layer.pieces";

/// Prefixes under which readers look for the positions in a zstd:chunked layer: the older one, of podman up to 4, and the newer.
pub const CHUNKED_PREFIXES: [&str; 2] = ["io.containers.zstd-chunked.", "io.github.containers.zstd-chunked."];
/// After the prefix: SHA-256 of the compressed table of contents, `sha256:…`.
pub const MANIFEST_CHECKSUM: &str = "manifest-checksum";
/// After the prefix: `OFFSET:COMPRESSED:LENGTH:1` of the table of contents, in bytes.
pub const MANIFEST_POSITION: &str = "manifest-position";
/// After the prefix: `OFFSET:COMPRESSED:LENGTH` of the tar-split, in bytes.
pub const TARSPLIT_POSITION: &str = "tarsplit-position";

/// Whether an annotation says how a layer is cut and stored, so that it does not hold for the layer in another form.
pub fn is_of_form(key: &str) -> bool {
    [CUT, ENCODER, PIECES].contains(&key) || CHUNKED_PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}
