//! What a tag leads to once an image of one more platform is pushed to it.
//!
//! Several architectures share a tag through an index. Pushing one of them replaces that platform's entry, with the attestations of
//! what it replaces, and leaves the others alone. A single architecture is a plain manifest.

use bytes::Bytes;
use wharf_oci::{Descriptor, Digest, ImageIndex, Platform, media_type};

use crate::tree::Manifest;

/// The annotation by which BuildKit marks an entry of an index that is about another one.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
/// The annotation that then holds the digest of the image it is about.
pub const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

/// An image of one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The image, with its platform.
    pub descriptor: Descriptor,
    /// What an index says about it in entries of their own.
    pub attestations: Vec<Descriptor>,
}

/// What is to stand under a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// What the tag leads to when nothing else is to be kept.
    pub whole: Manifest,
    /// The platforms; none for an artifact, and for an image that names no platform.
    pub entries: Vec<Entry>,
    /// Nobody made the whole: it is put together here, so that another order of the same entries is as good.
    pub is_joined: bool,
}

impl Offer {
    /// Several images under one tag, from the oldest to the newest: of two for one platform the newest counts, and one that names no platform
    /// shares the tag with nothing. What is left is one of them as it is, or an index, the same whatever the order was.
    pub fn join(offers: Vec<Offer>) -> Option<Offer> {
        let mut joined: Vec<Entry> = Vec::new();
        let mut whole: Option<Offer> = None;
        for offer in offers {
            if offer.entries.is_empty() || joined.is_empty() {
                joined.clone_from(&offer.entries);
                whole = Some(offer);
                continue;
            }
            joined.retain(|old| !offer.entries.iter().any(|new| new.takes_place_of(old)));
            whole = joined.is_empty().then(|| offer.clone());
            joined.extend(offer.entries);
        }
        if whole.is_some() {
            return whole;
        }
        joined.sort_by_key(|entry| {
            entry.descriptor.platform.as_ref().map(|platform| (platform.to_string(), platform.os_version.clone()))
        });
        let whole = manifest_of(&index_of(joined.iter()));
        (!joined.is_empty()).then_some(Offer { whole, entries: joined, is_joined: true })
    }
}

impl Entry {
    /// Whether under one tag there is room for only one of the two: they are for the same platform.
    pub fn takes_place_of(&self, old: &Entry) -> bool {
        same_platform(&old.descriptor, &self.descriptor)
    }
}

fn same_platform(old: &Descriptor, new: &Descriptor) -> bool {
    match (&old.platform, &new.platform) {
        (Some(old), Some(new)) => old.same_as(new),
        _ => old.digest == new.digest,
    }
}

/// What a tag leads to now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Existing {
    /// There is no such tag.
    Nothing,
    /// An image, with its platform.
    Image(Descriptor),
    /// Images of several platforms.
    Index(Digest, ImageIndex),
    /// An artifact, or an image that names no platform.
    Other(Digest),
}

impl Existing {
    fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Nothing => None,
            Self::Image(descriptor) => Some(&descriptor.digest),
            Self::Index(digest, _) | Self::Other(digest) => Some(digest),
        }
    }
}

/// What is to be done about a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It leads to the right thing already.
    Keep,
    /// It is set to this.
    Set {
        /// The manifest.
        manifest: Box<Manifest>,
        /// What was there is of no platform, and is gone from the tag.
        replaces: bool,
    },
}

/// Decides what a tag is to lead to.
pub fn decide(existing: &Existing, offer: &Offer) -> Decision {
    let whole = |replaces| Decision::Set { manifest: Box::new(offer.whole.clone()), replaces };
    if existing.digest() == Some(&offer.whole.descriptor.digest) {
        return Decision::Keep;
    }
    let (before, index) = match existing {
        Existing::Nothing => return whole(false),
        Existing::Other(_) => return whole(true),
        _ if offer.entries.is_empty() => return whole(true),
        Existing::Image(descriptor) => (vec![descriptor.clone()], None),
        Existing::Index(_, index) => (index.manifests.clone(), Some(index)),
    };
    let after = merged(&before, &offer.entries);
    if offer.is_joined && after == before {
        return Decision::Keep;
    }
    if after.len() == offer.entries.iter().map(|entry| 1 + entry.attestations.len()).sum::<usize>() {
        // Nothing of the others is left.
        return whole(false);
    }
    match index {
        Some(_) if after == before => Decision::Keep,
        Some(index) => Decision::Set {
            manifest: Box::new(manifest_of(&ImageIndex {
                media_type: kept_type(index, &after),
                manifests: after,
                ..index.clone()
            })),
            replaces: false,
        },
        None => Decision::Set { manifest: Box::new(manifest_of(&new_index(after))), replaces: false },
    }
}

/// The entries of an index with those of `entries` put in: each in the place of its platform's old one, or at the end.
fn merged(before: &[Descriptor], entries: &[Entry]) -> Vec<Descriptor> {
    let replaces = |old: &Descriptor, entry: &Entry| !is_attestation(old) && same_platform(old, &entry.descriptor);
    let gone: Vec<_> =
        before.iter().filter(|old| entries.iter().any(|entry| replaces(old, entry))).map(|old| old.digest.to_string()).collect();
    let offered = || entries.iter().flat_map(|entry| &entry.attestations);
    let mut placed = vec![false; entries.len()];
    let mut after: Vec<Descriptor> = Vec::new();
    for old in before {
        if attested(old).is_some_and(|digest| gone.iter().any(|gone| gone == digest)) {
            // One that is offered again keeps its place: two pushers that each put theirs last would never both be content.
            if offered().any(|new| new == old) && !after.contains(old) {
                after.push(old.clone());
            }
            continue;
        }
        match entries.iter().position(|entry| replaces(old, entry)) {
            None => after.push(old.clone()),
            Some(place) if placed[place] => {}
            Some(place) => {
                placed[place] = true;
                after.push(entries[place].descriptor.clone());
            }
        }
    }
    after.extend(entries.iter().zip(&placed).filter(|(_, placed)| !**placed).map(|(entry, _)| entry.descriptor.clone()));
    let missing: Vec<_> = offered().filter(|new| !after.contains(new)).cloned().collect();
    after.extend(missing);
    after
}

fn index_of<'a>(entries: impl Iterator<Item = &'a Entry> + Clone) -> ImageIndex {
    let images = entries.clone().map(|entry| entry.descriptor.clone());
    new_index(images.chain(entries.flat_map(|entry| entry.attestations.iter().cloned())).collect())
}

fn new_index(manifests: Vec<Descriptor>) -> ImageIndex {
    ImageIndex { media_type: type_for(&manifests), ..ImageIndex::new(manifests) }
}

/// Docker's list may hold only Docker's images; an OCI index holds both.
fn type_for(manifests: &[Descriptor]) -> String {
    let docker = manifests.iter().all(|manifest| manifest.media_type == media_type::DOCKER_MANIFEST);
    if docker { media_type::DOCKER_LIST } else { media_type::OCI_INDEX }.to_owned()
}

/// An index stays what it is, unless it is a list of Docker's that comes to hold something else.
fn kept_type(index: &ImageIndex, manifests: &[Descriptor]) -> String {
    if index.media_type == media_type::DOCKER_LIST { type_for(manifests) } else { index.media_type.clone() }
}

/// An index as it is pushed.
pub(crate) fn manifest_of(index: &ImageIndex) -> Manifest {
    let bytes = Bytes::from(index.to_bytes());
    Manifest { descriptor: Descriptor::new(&index.media_type, Digest::sha256(&bytes), bytes.len() as u64), bytes }
}

/// Whether a descriptor is of a manifest about another one, also where its kind is not said: such manifests look like images and are none.
pub fn is_about_another(descriptor: &Descriptor) -> bool {
    descriptor.annotation(REFERENCE_DIGEST).is_some() || descriptor.platform.as_ref().is_some_and(Platform::is_unknown)
}

/// Whether an entry of an index is about another entry.
pub(crate) fn is_attestation(descriptor: &Descriptor) -> bool {
    descriptor.annotation(REFERENCE_TYPE).is_some()
}

/// The digest of the entry that an attestation is about.
pub(crate) fn attested(descriptor: &Descriptor) -> Option<&str> {
    descriptor.annotation(REFERENCE_TYPE).and(descriptor.annotation(REFERENCE_DIGEST))
}

#[cfg(test)]
mod tests;
