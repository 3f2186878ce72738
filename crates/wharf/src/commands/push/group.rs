//! Images of one name: what their machines share under one tag.

use wharf_client::{Entry, Offer};
use wharf_oci::{RepositoryName, Tag};

use super::prepare::Prepared;

/// The images of one name.
pub struct Group {
    /// The name.
    pub repository: RepositoryName,
    /// The images, from the oldest to the newest: of different machines, mostly.
    pub images: Vec<Prepared>,
}

impl Group {
    /// Images by name, in the order in which the names come first; those of one name from the oldest to the newest.
    pub fn of(images: Vec<Prepared>) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        for image in images {
            match groups.iter_mut().find(|group| group.repository == image.repository) {
                Some(group) => group.images.push(image),
                None => groups.push(Self { repository: image.repository.clone(), images: vec![image] }),
            }
        }
        for group in &mut groups {
            group.images.sort_by_key(|image| image.built);
        }
        groups
    }
}

/// An image that has to give way under a tag to a later one for the same platform.
pub struct Overshadowed<'a> {
    /// The image.
    pub image: &'a Prepared,
    /// The one that takes its place.
    pub by: &'a Prepared,
    /// The tags that it does not get.
    pub tags: Vec<&'a Tag>,
    /// It gets none at all.
    pub everywhere: bool,
}

/// The images whose place under a tag a later one takes.
pub fn overshadowed(images: &[Prepared]) -> Vec<Overshadowed<'_>> {
    let mut found = Vec::new();
    for (place, image) in images.iter().enumerate() {
        let mut lost: Vec<&Tag> = Vec::new();
        let mut by = None;
        for (tag, offer) in &image.tags {
            let later = images[place + 1..].iter().find(|later| {
                let same = later.tags.iter().find(|(other, _)| other == tag);
                same.is_some_and(|(_, other)| collide(offer, other))
            });
            if let Some(later) = later {
                lost.push(tag);
                by = Some(later);
            }
        }
        if let Some(by) = by {
            found.push(Overshadowed { image, by, everywhere: lost.len() == image.tags.len(), tags: lost });
        }
    }
    found
}

/// Whether of two offers for one tag the later one takes the earlier one's place: it has all of its platforms, or one of them has none. The same
/// content twice takes nobody's place.
fn collide(earlier: &Offer, later: &Offer) -> bool {
    let is_taken = |old: &Entry| {
        later.entries.iter().any(|new| match (&old.descriptor.platform, &new.descriptor.platform) {
            (Some(old), Some(new)) => old.same_as(new),
            _ => false,
        })
    };
    earlier.whole.descriptor.digest != later.whole.descriptor.digest
        && (later.entries.is_empty() || earlier.entries.iter().all(is_taken))
}

/// What is to stand under which tags, the tags in the order of the images and each once.
pub fn offers(images: &[Prepared]) -> Vec<(Offer, Vec<Tag>)> {
    let mut by_tag: Vec<(Tag, Vec<Offer>)> = Vec::new();
    for (tag, offer) in images.iter().flat_map(|image| &image.tags) {
        match by_tag.iter_mut().find(|(known, _)| known == tag) {
            Some((_, offers)) => offers.push(offer.clone()),
            None => by_tag.push((tag.clone(), vec![offer.clone()])),
        }
    }
    let mut joined: Vec<(Offer, Vec<Tag>)> = Vec::new();
    for (tag, offers) in by_tag {
        let Some(offer) = Offer::join(offers) else { continue };
        match joined.iter_mut().find(|(known, _)| *known == offer) {
            Some((_, tags)) => tags.push(tag),
            None => joined.push((offer, vec![tag])),
        }
    }
    joined
}
