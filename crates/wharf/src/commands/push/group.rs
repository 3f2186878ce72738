//! Images of one name: what their machines share under one tag.

use wharf_client::Offer;
use wharf_oci::{RepositoryName, Tag};

use super::prepare::Prepared;

/// The images of one name.
pub struct Group {
    /// The name.
    pub repository: RepositoryName,
    /// The images, of one machine each.
    pub images: Vec<Prepared>,
}

impl Group {
    /// Images by name, in the order in which the names come first.
    pub fn of(images: Vec<Prepared>) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        for image in images {
            match groups.iter_mut().find(|group| group.repository == image.repository) {
                Some(group) => group.images.push(image),
                None => groups.push(Self { repository: image.repository.clone(), images: vec![image] }),
            }
        }
        groups
    }

    /// Leaves out the older one of two images that would take the same place under a tag; the warnings say which.
    pub fn settle(&mut self) -> Vec<String> {
        let mut warnings = Vec::new();
        self.images.sort_by_key(|image| image.built);
        let mut kept: Vec<Prepared> = Vec::new();
        while let Some(image) = self.images.pop() {
            match kept.iter().find(|newer| collide(newer, &image)) {
                // The same content twice needs no word.
                Some(newer) if newer.tree.root.descriptor.digest == image.tree.root.descriptor.digest => {}
                Some(newer) => warnings.push(format!(
                    "{} is for the same platform as {}, which was built later and takes the tags; push it alone by its path, with a --tag of its own",
                    image.described(),
                    newer.shown
                )),
                None => kept.push(image),
            }
        }
        kept.reverse();
        self.images = kept;
        warnings
    }
}

/// Whether two images want the same place under a tag: for they are of one platform, or one of them is of none.
fn collide(a: &Prepared, b: &Prepared) -> bool {
    let shares_tag = a.tags.iter().any(|(tag, _)| b.tags.iter().any(|(other, _)| tag == other));
    let (a, b) = (&a.tree.offer().entries, &b.tree.offer().entries);
    let same = a.iter().any(|a| {
        b.iter().any(|b| match (&a.descriptor.platform, &b.descriptor.platform) {
            (Some(a), Some(b)) => a.same_as(b),
            _ => false,
        })
    });
    shares_tag && (a.is_empty() || b.is_empty() || same)
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
