//! Images of one name: what their machines share under one tag.

use std::fmt::{self, Display};

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

impl Display for Overshadowed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { image, by, tags, .. } = self;
        let tags: Vec<_> = tags.iter().map(ToString::to_string).collect();
        let (path, later) = (image.path.display(), by.path.display());
        let tags = tags.join(", ");
        write!(f, "{} from {path} does not get {tags}: {later} is for the same platform and was built later", image.shown)
    }
}

/// The images whose place under a tag later ones take.
pub fn overshadowed(images: &[Prepared]) -> Vec<Overshadowed<'_>> {
    let mut found = Vec::new();
    for (place, image) in images.iter().enumerate() {
        let mut lost: Vec<&Tag> = Vec::new();
        let mut by = None;
        for (tag, offer) in &image.tags {
            let later: Vec<_> = images[place + 1..].iter().filter_map(|later| Some((later, under(later, tag)?))).collect();
            if let Some(last) = taken_by(offer, &later) {
                lost.push(tag);
                by = Some(last);
            }
        }
        if let Some(by) = by {
            found.push(Overshadowed { image, by, everywhere: lost.len() == image.tags.len(), tags: lost });
        }
    }
    found
}

/// What an image brings to a tag.
fn under<'a>(image: &'a Prepared, tag: &Tag) -> Option<&'a Offer> {
    image.tags.iter().find(|(other, _)| other == tag).map(|(_, offer)| offer)
}

/// The last of those who take the place of an earlier offer for a tag: together they have all of its platforms, or one of them has none. The same content
/// twice takes nobody's place.
fn taken_by<'a>(earlier: &Offer, later: &[(&'a Prepared, &Offer)]) -> Option<&'a Prepared> {
    let takes = |old: &Entry, offer: &Offer| offer.entries.iter().any(|new| new.takes_place_of(old));
    let others: Vec<_> =
        later.iter().filter(|(_, offer)| offer.whole.descriptor.digest != earlier.whole.descriptor.digest).collect();
    let is_taken = others.iter().any(|(_, offer)| offer.entries.is_empty())
        || earlier.entries.iter().all(|old| others.iter().any(|(_, offer)| takes(old, offer)));
    others.last().filter(|_| is_taken).map(|(image, _)| *image)
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
