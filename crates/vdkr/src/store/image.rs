//! One image, as the store has it.

use serde_json::Value;
use wharf_oci::{Descriptor, Digest, Document, DocumentError, ImageManifest, Layout, LayoutError, NamedImage};

use super::{REF_NAME, REPOSITORY_DIGESTS};

/// An image of the store.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its ID: the digest of its configuration.
    pub id: Digest,
    /// Its names, in full, sorted.
    pub names: Vec<String>,
    /// What registries know it by, `NAME@DIGEST`.
    pub repository_digests: Vec<String>,
    /// Descriptor of its manifest.
    pub descriptor: Descriptor,
    /// Descriptors of manifests that differ only in how layers are compressed.
    pub others: Vec<Descriptor>,
    /// Its manifest.
    pub manifest: ImageManifest,
    /// Its configuration, as it is stored.
    pub config: Value,
    /// When it was made, as it says it (RFC 3339); empty when it does not.
    pub created: String,
    /// Bytes of all layers, as they are stored.
    pub size: u64,
}

impl Image {
    /// Reads manifest and configuration.
    pub fn read(layout: &Layout, entry: &NamedImage) -> Result<Self, LayoutError> {
        let document = Document::parse(&layout.read(&entry.descriptor)?, &entry.descriptor.media_type);
        let wrong = |source: DocumentError| LayoutError::Json {
            what: entry.descriptor.digest.to_string(),
            path: layout.path().to_owned(),
            source,
        };
        let manifest = match document.map_err(wrong)? {
            Document::Image(image) if image.is_image() => image,
            _ => return Err(wrong(DocumentError::MediaType(entry.descriptor.media_type.clone()))),
        };
        let bytes = layout.read(&manifest.config)?;
        let config: Value = serde_json::from_slice(&bytes).map_err(DocumentError::from).map_err(wrong)?;
        let mut image = Self {
            id: manifest.config.digest,
            names: Vec::new(),
            repository_digests: Vec::new(),
            descriptor: entry.descriptor.clone(),
            others: Vec::new(),
            created: config["created"].as_str().unwrap_or_default().to_owned(),
            size: manifest.layers.iter().map(|layer| layer.size).sum(),
            manifest,
            config,
        };
        image.add(entry);
        Ok(image)
    }

    /// Adds what another entry says of it.
    pub fn add(&mut self, entry: &NamedImage) {
        self.names.extend(entry.descriptor.annotation(REF_NAME).map(str::to_owned));
        let digests = entry.descriptor.annotation(REPOSITORY_DIGESTS).unwrap_or_default();
        self.repository_digests.extend(digests.split(' ').filter(|digest| !digest.is_empty()).map(str::to_owned));
        self.sort();
    }

    /// Adds another of the same ID.
    pub fn join(&mut self, other: Self) {
        self.names.extend(other.names);
        self.repository_digests.extend(other.repository_digests);
        self.others.push(other.descriptor);
        self.others.extend(other.others);
        self.sort();
    }

    fn sort(&mut self) {
        for list in [&mut self.names, &mut self.repository_digests] {
            list.sort();
            list.dedup();
        }
    }

    /// The ID as it is written whole.
    pub fn full_id(&self) -> String {
        self.id.to_string()
    }

    /// The first twelve digits of the ID.
    pub fn short_id(&self) -> String {
        short(&self.id)
    }

    /// Whether a manifest is one of this image's.
    pub fn has(&self, manifest: &Digest) -> bool {
        self.descriptor.digest == *manifest || self.others.iter().any(|other| other.digest == *manifest)
    }

    /// What the configuration says of how it is run; an empty object when it says nothing.
    pub fn execution(&self) -> Value {
        match &self.config["config"] {
            Value::Object(found) => Value::Object(found.clone()),
            _ => Value::Object(serde_json::Map::new()),
        }
    }

    /// The digests of its layers, uncompressed.
    pub fn diff_ids(&self) -> Vec<String> {
        let list = self.config["rootfs"]["diff_ids"].as_array();
        list.into_iter().flatten().filter_map(|id| id.as_str().map(str::to_owned)).collect()
    }
}

/// The first twelve digits of a digest.
pub fn short(digest: &Digest) -> String {
    let text = digest.to_string();
    text.split_once(':').map_or("", |(_, hash)| hash).chars().take(12).collect()
}
