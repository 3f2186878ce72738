//! Content to push: random blobs, images, indexes and artifacts, with their digests.

use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha512};

/// Media type of an OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an OCI image configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of an OCI layer, compressed.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Media type of the two bytes [`EMPTY_JSON`].
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// Media type of a Docker image manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Media type of a Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// The empty configuration of artifacts.
pub const EMPTY_JSON: &[u8] = b"{}";

/// `length` random bytes, different in every run.
pub fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::fill(&mut bytes);
    bytes
}

/// `sha256:` and 64 hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// `sha512:` and 128 hexadecimal digits.
pub fn sha512(bytes: &[u8]) -> String {
    format!("sha512:{}", hex::encode(Sha512::digest(bytes)))
}

/// A descriptor of `bytes`.
pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": sha256(bytes), "size": bytes.len()})
}

/// An image: configuration, layers, and the manifest that names them.
#[derive(Clone, Debug)]
pub struct Image {
    /// The configuration's bytes.
    pub config: Vec<u8>,
    /// The layers' bytes, lowest first.
    pub layers: Vec<Vec<u8>>,
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// The manifest's digest, SHA-256.
    pub digest: String,
}

impl Image {
    /// A small image that no other test has.
    pub fn random() -> Self {
        Self::with_layers(&[512])
    }

    /// An image with random layers of these sizes in bytes.
    pub fn with_layers(sizes: &[usize]) -> Self {
        Self::of_layers(sizes.iter().map(|size| random(*size)).collect())
    }

    /// An image of its own with these layers.
    pub fn of_layers(layers: Vec<Vec<u8>>) -> Self {
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {"org.example.random": hex::encode(random(8))}},
            "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|l| sha256(l)).collect::<Vec<_>>()},
        })
        .to_string()
        .into_bytes();
        Self::of_config(config, layers)
    }

    /// An image with this configuration and these layers.
    pub fn of_config(config: Vec<u8>, layers: Vec<Vec<u8>>) -> Self {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(OCI_CONFIG, &config),
            "layers": layers.iter().map(|l| descriptor(OCI_LAYER, l)).collect::<Vec<_>>(),
        })
        .to_string()
        .into_bytes();
        let digest = sha256(&manifest);
        Self { config, layers, manifest, digest }
    }

    /// Configuration and layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Vec<u8>> {
        std::iter::once(&self.config).chain(&self.layers)
    }

    /// The manifest's descriptor, with a platform as indexes have it.
    pub fn descriptor(&self, architecture: &str) -> Value {
        let mut descriptor = descriptor(OCI_MANIFEST, &self.manifest);
        descriptor["platform"] = json!({"architecture": architecture, "os": "linux"});
        descriptor
    }
}

/// An OCI image index of these descriptors.
pub fn index(children: &[Value]) -> Vec<u8> {
    json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}).to_string().into_bytes()
}

/// An index without children, unlike any other: the smallest manifest that needs no blob.
pub fn empty_index() -> Vec<u8> {
    let nonce = hex::encode(random(8));
    json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "annotations": {"org.example.nonce": nonce}})
        .to_string()
        .into_bytes()
}

/// An artifact's manifest with the empty configuration and no layers; unlike any other through an annotation.
/// The repository must hold [`EMPTY_JSON`].
pub fn artifact(subject: Option<&Value>, artifact_type: Option<&str>, annotations: &[(&str, &str)]) -> Vec<u8> {
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(OCI_EMPTY, EMPTY_JSON),
        "layers": [],
        "annotations": {"org.example.nonce": hex::encode(random(8))},
    });
    for (key, value) in annotations {
        manifest["annotations"][*key] = json!(value);
    }
    if let Some(artifact_type) = artifact_type {
        manifest["artifactType"] = json!(artifact_type);
    }
    if let Some(subject) = subject {
        manifest["subject"] = subject.clone();
    }
    manifest.to_string().into_bytes()
}

/// A layer as it is uncompressed: an archive of one file with this content.
pub fn archive(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0; 512];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = [&header[..], content].concat();
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}
