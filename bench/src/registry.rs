//! What a registry client does, in the fewest requests: upload a blob, put a manifest, pull an image.

use std::net::TcpStream;

use sha2::{Digest, Sha256};

use crate::failure::{Failure, Result};
use crate::http::Connection;

/// The media type of every image manifest pushed here.
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an image index.
pub const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// Without it docker-registry refuses to serve an OCI manifest.
pub const ACCEPT: (&str, &str) = ("Accept", MANIFEST_TYPE);

/// `sha256:…` of `bytes`.
pub fn digest(bytes: &[u8]) -> String {
    named(&Sha256::digest(bytes))
}

/// `sha256:…` of a finished hash.
pub fn named(hash: &[u8]) -> String {
    format!("sha256:{}", hex::encode(hash))
}

/// Opens an upload session and returns the path that a closing PUT with `digest` goes to.
pub fn open_upload(connection: &mut Connection<TcpStream>, repository: &str, digest: &str) -> Result<String> {
    let path = format!("/v2/{repository}/blobs/uploads/");
    let answer = connection.exchange("POST", &path, &[], &[], crate::http::Sink::Discard)?.expecting(202, &path)?;
    let location = answer.location.ok_or_else(|| Failure::new("an upload session without a Location"))?;
    Ok(closing_path(&location, digest))
}

/// The path and query of a `Location`, absolute or relative, with the digest added.
fn closing_path(location: &str, digest: &str) -> String {
    let path = match location.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        None => location,
    };
    let joint = if path.contains('?') { '&' } else { '?' };
    format!("{path}{joint}digest={digest}")
}

/// Uploads a blob that is in memory: POST, then one PUT.
pub fn push_blob(connection: &mut Connection<TcpStream>, repository: &str, digest: &str, bytes: &[u8]) -> Result<()> {
    let path = open_upload(connection, repository, digest)?;
    let headers = [("Content-Type", "application/octet-stream")];
    connection.exchange("PUT", &path, &headers, bytes, crate::http::Sink::Discard)?.expecting(201, &path)?;
    Ok(())
}

/// Puts a manifest under `reference`, which may carry a query.
pub fn put_manifest(
    connection: &mut Connection<TcpStream>,
    repository: &str,
    reference: &str,
    media_type: &str,
    bytes: &[u8],
) -> Result<()> {
    let path = format!("/v2/{repository}/manifests/{reference}");
    let headers = [("Content-Type", media_type)];
    let mut body = Vec::new();
    let answer = connection.exchange("PUT", &path, &headers, bytes, crate::http::Sink::Keep(&mut body))?;
    if answer.status == 201 {
        return Ok(());
    }
    Err(Failure::new(format!("PUT {path}: status {}: {}", answer.status, String::from_utf8_lossy(&body))))
}

/// The path a blob is fetched from.
pub fn blob_path(repository: &str, digest: &str) -> String {
    format!("/v2/{repository}/blobs/{digest}")
}

/// An image of one random layer.
pub struct Image {
    /// Its tag.
    pub tag: String,
    /// The layer's bytes.
    pub layer: Vec<u8>,
    /// The layer's digest.
    pub layer_digest: String,
    config: Vec<u8>,
    config_digest: String,
    manifest: Vec<u8>,
}

impl Image {
    /// An image whose layer is `size` random bytes.
    pub fn random(random: &mut fastrand::Rng, tag: String, size: usize) -> Self {
        let layer = random_bytes(random, size);
        let layer_digest = digest(&layer);
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
        });
        let config = config.to_string().into_bytes();
        let config_digest = digest(&config);
        let manifest = manifest(&(&config_digest, config.len()), &[(&layer_digest, size)], &serde_json::json!({}));
        Self { tag, layer, layer_digest, config, config_digest, manifest }
    }

    /// Pushes layer, config and manifest, as a client does that knows that nothing is there yet.
    pub fn push(&self, connection: &mut Connection<TcpStream>, repository: &str) -> Result<()> {
        push_blob(connection, repository, &self.layer_digest, &self.layer)?;
        push_blob(connection, repository, &self.config_digest, &self.config)?;
        put_manifest(connection, repository, &self.tag, MANIFEST_TYPE, &self.manifest)
    }

    /// Pulls the manifest by its tag, then config and layer.
    pub fn pull(&self, connection: &mut Connection<TcpStream>, repository: &str) -> Result<()> {
        connection.get(&format!("/v2/{repository}/manifests/{}", self.tag), &[ACCEPT])?;
        connection.get(&blob_path(repository, &self.config_digest), &[])?;
        let layer = connection.get(&blob_path(repository, &self.layer_digest), &[])?;
        if layer.length == self.layer.len() as u64 {
            Ok(())
        } else {
            Err(Failure::new(format!("a layer of {} bytes came as {}", self.layer.len(), layer.length)))
        }
    }
}

/// An image manifest over a config and layers, each given as digest and size.
pub fn manifest(config: &(&str, usize), layers: &[(&str, usize)], annotations: &serde_json::Value) -> Vec<u8> {
    let layers: Vec<_> = layers
        .iter()
        .map(|(digest, size)| serde_json::json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": size}))
        .collect();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.0, "size": config.1},
        "layers": layers,
        "annotations": annotations,
    });
    manifest.to_string().into_bytes()
}

/// `size` bytes that no compression and no deduplication can shorten.
pub fn random_bytes(random: &mut fastrand::Rng, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    random.fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::closing_path;

    #[test]
    fn a_location_may_be_absolute_and_may_have_a_query() {
        assert_eq!(closing_path("/v2/a/blobs/uploads/1", "d"), "/v2/a/blobs/uploads/1?digest=d");
        assert_eq!(closing_path("http://h:5/v2/a?_state=x", "d"), "/v2/a?_state=x&digest=d");
    }
}
