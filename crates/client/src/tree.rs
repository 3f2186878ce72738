//! An image, or an index of images, with everything it is made of.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use wharf_oci::{Descriptor, Digest, Document, ImageConfig, ImageIndex, Platform, media_type};

use crate::ClientError;
use crate::merge::{Entry, Offer, is_attestation};
use crate::registry::Fetched;
use crate::source::Source;

/// Indexes inside indexes, at most: a build makes one, and a collection of builds two.
const MAX_DEPTH: usize = 4;
/// Manifests below one root, at most.
const MAX_MANIFESTS: usize = 4_096;
/// Bytes of these manifests at most: they are all in memory until they are pushed.
const MAX_BYTES: usize = 64 << 20;

/// A manifest's bytes, and how others name them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Media type, digest and size; the platform too, where it is an image that has one.
    pub descriptor: Descriptor,
    /// As they are stored.
    pub bytes: Bytes,
}

/// A manifest, and everything below it.
#[derive(Clone, Debug)]
pub struct Tree {
    /// What a tag is to lead to.
    pub root: Manifest,
    /// The manifests below, each after those it names.
    pub manifests: Vec<Manifest>,
    /// Configurations and layers, each once, the largest first. What may lie elsewhere (foreign layers) is not among them.
    pub blobs: Vec<Descriptor>,
    offer: Offer,
    facts: Facts,
}

struct Reader<'a> {
    source: &'a dyn Source,
    manifests: Vec<Manifest>,
    seen: BTreeSet<Digest>,
    /// What was read once is not asked for again, however often it is named.
    known: BTreeMap<Digest, Facts>,
    blobs: Vec<Descriptor>,
    /// Bytes of the manifests.
    bytes: usize,
}

/// What reading one manifest found out beside what it names.
#[derive(Clone, Debug, Default)]
struct Facts {
    platform: Option<Platform>,
    created: Option<String>,
    labels: BTreeMap<String, String>,
    entries: Vec<Entry>,
}

impl Tree {
    /// Reads the manifests and configurations below `root`. Layers are not read.
    pub async fn read(source: &dyn Source, root: &Descriptor) -> Result<Self, ClientError> {
        let bytes = source.document(root).await?;
        Self::below(source, root.clone(), bytes).await
    }

    /// The same for a manifest that was fetched already. Some registries count how often one is asked for.
    pub async fn of(source: &dyn Source, fetched: &Fetched) -> Result<Self, ClientError> {
        let root = Descriptor::new(&fetched.media_type, fetched.digest, fetched.bytes.len() as u64);
        Self::below(source, root, fetched.bytes.clone()).await
    }

    /// The same for an index that the source does not hold: one made of images that it does.
    pub async fn of_index(source: &dyn Source, index: &ImageIndex) -> Result<Self, ClientError> {
        let bytes = Bytes::from(index.to_bytes());
        let descriptor = Descriptor::new(&index.media_type, Digest::sha256(&bytes), bytes.len() as u64);
        Self::below(source, descriptor, bytes).await
    }

    async fn below(source: &dyn Source, mut descriptor: Descriptor, bytes: Bytes) -> Result<Self, ClientError> {
        let mut reader =
            Reader { source, manifests: Vec::new(), seen: BTreeSet::new(), known: BTreeMap::new(), blobs: Vec::new(), bytes: 0 };
        let facts = reader.read(&descriptor, &bytes, 0).await?;
        // The root is told apart, for a tag may come to lead to something else.
        reader.manifests.retain(|manifest| manifest.descriptor.digest != descriptor.digest);
        descriptor.platform = facts.platform.clone();
        descriptor.annotations = None;
        let root = Manifest { descriptor, bytes };
        let own =
            root.descriptor.platform.is_some().then(|| Entry { descriptor: root.descriptor.clone(), attestations: Vec::new() });
        let entries = facts.entries.iter().cloned().chain(own).collect();
        let offer = Offer { whole: root.clone(), entries, is_joined: false };
        let mut blobs = reader.blobs;
        blobs.sort_by_key(|blob| std::cmp::Reverse(blob.size));
        Ok(Self { root, manifests: reader.manifests, blobs, offer, facts })
    }

    /// What it brings to a tag.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// A label of the image; of an index, that on which its images agree.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.facts.labels.get(name).map(String::as_str)
    }

    /// When the image was made, as it says (RFC 3339); of an index, the latest.
    pub fn created(&self) -> Option<&str> {
        self.facts.created.as_deref()
    }

    /// Bytes of everything.
    pub fn size(&self) -> u64 {
        self.blobs.iter().chain(self.manifests.iter().map(|m| &m.descriptor)).map(|d| d.size).sum::<u64>()
            + self.root.descriptor.size
    }

    /// A manifest of the tree, by digest.
    pub fn manifest(&self, digest: &Digest) -> Option<&Manifest> {
        self.manifests.iter().chain([&self.root]).find(|manifest| manifest.descriptor.digest == *digest)
    }
}

impl Reader<'_> {
    async fn read(&mut self, descriptor: &Descriptor, bytes: &Bytes, depth: usize) -> Result<Facts, ClientError> {
        let document = Document::parse(bytes, &descriptor.media_type)
            .map_err(|source| ClientError::Document { digest: descriptor.digest, source })?;
        match document {
            Document::Image(image) => {
                let mut facts = Facts::default();
                if image.is_image() {
                    let config = self.source.document(&image.config).await?;
                    let config = ImageConfig::parse(&config)
                        .map_err(|source| ClientError::Document { digest: image.config.digest, source })?;
                    facts.platform = config.platform.filter(|platform| !platform.is_unknown());
                    facts.labels = config.labels;
                    facts.created = config.created;
                }
                for blob in std::iter::once(&image.config).chain(&image.layers) {
                    self.blob(blob);
                }
                Ok(facts)
            }
            Document::Index(index) => self.index(descriptor, &index, depth).await,
        }
    }

    async fn index(&mut self, descriptor: &Descriptor, index: &ImageIndex, depth: usize) -> Result<Facts, ClientError> {
        let mut facts = Facts::default();
        let mut labels = None::<BTreeMap<String, String>>;
        if index.manifests.len() > MAX_MANIFESTS {
            return Err(ClientError::Excess(format!("{} names more than {MAX_MANIFESTS} manifests", descriptor.digest)));
        }
        for child in &index.manifests {
            if !media_type::is_manifest(&child.media_type) {
                self.blob(child);
                continue;
            }
            if depth == MAX_DEPTH || self.manifests.len() >= MAX_MANIFESTS || self.bytes >= MAX_BYTES {
                let what = format!(
                    "{} holds indexes more than {MAX_DEPTH} deep, or more than {MAX_MANIFESTS} manifests or {MAX_BYTES} bytes of them",
                    descriptor.digest
                );
                return Err(ClientError::Excess(what));
            }
            let found = match self.known.get(&child.digest) {
                Some(known) => known.clone(),
                None => {
                    let bytes = self.source.document(child).await?;
                    self.bytes += bytes.len();
                    let found = Box::pin(self.read(child, &bytes, depth + 1)).await?;
                    self.seen.insert(child.digest);
                    self.known.insert(child.digest, found.clone());
                    self.manifests.push(Manifest { descriptor: plain(child), bytes });
                    found
                }
            };
            if is_attestation(child) {
                continue;
            }
            // In one time zone, as all tools write it, the order of texts is that of times.
            facts.created = facts.created.max(found.created);
            // What the index says of an image's platform counts before what the image says of itself: that is what clients look at.
            let platform = child.platform.clone().filter(|platform| !platform.is_unknown()).or(found.platform);
            match &mut labels {
                None => labels = Some(found.labels),
                Some(labels) => labels.retain(|name, value| found.labels.get(name) == Some(value)),
            }
            if platform.is_some() {
                let entry = Descriptor { platform, ..child.clone() };
                let attestations = index.manifests.iter().filter(|other| attests(other, &child.digest)).cloned().collect();
                facts.entries.push(Entry { descriptor: entry, attestations });
            }
        }
        // An index that also holds something else is one thing: taken apart, that something would be lost.
        let images = index.manifests.iter().filter(|child| !is_attestation(child)).count();
        if facts.entries.len() != images {
            facts.entries.clear();
        }
        facts.labels = labels.unwrap_or_default();
        Ok(facts)
    }

    fn blob(&mut self, descriptor: &Descriptor) {
        let elsewhere = media_type::may_be_elsewhere(&descriptor.media_type);
        if !elsewhere && self.seen.insert(descriptor.digest) {
            self.blobs.push(plain(descriptor));
        }
    }
}

fn plain(descriptor: &Descriptor) -> Descriptor {
    Descriptor::new(&descriptor.media_type, descriptor.digest, descriptor.size)
}

fn attests(descriptor: &Descriptor, digest: &Digest) -> bool {
    is_attestation(descriptor) && crate::merge::attested(descriptor) == Some(digest.to_string().as_str())
}
