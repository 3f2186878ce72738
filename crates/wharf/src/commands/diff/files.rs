//! The files of two images, read layer by layer; what both have in common is read once.

use std::collections::{HashMap, HashSet};

use wharf_layers::listing::{Changeset, Listing};
use wharf_layers::packages::Packages;
use wharf_oci::Digest;

use super::image::{Image, Side};
use super::layers::Layers;
use crate::ui::Failure;

/// The files of both images and the packages that they list.
pub struct Files {
    /// Files of the first.
    pub before: Listing,
    /// Files of the second.
    pub after: Listing,
    /// Packages of the first.
    pub packages_before: Packages,
    /// Packages of the second.
    pub packages_after: Packages,
}

impl Files {
    /// Reads the layers of both. Nothing is read, and none returned, when both have the same layers.
    pub async fn of(
        before: (&Side<'_>, &Image),
        after: (&Side<'_>, &Image),
        layers: &mut Layers,
    ) -> Result<Option<Self>, Failure> {
        let (old, new) = (&before.1.contents, &after.1.contents);
        if old == new {
            return Ok(None);
        }
        let (old_picture, new_picture) = (before.0.picture, after.0.picture);
        let shared = old.iter().zip(new).take_while(|(old, new)| old == new).count();
        // A layer that lies on this machine need not come from another.
        let is_nearer = new_picture.layout().is_some() && old_picture.layout().is_none();
        let (base, picture) = if is_nearer { (after.1, new_picture) } else { (before.1, old_picture) };
        let mut listing = Listing::new();
        for descriptor in &base.manifest.layers[..shared] {
            let layer = layers.read(picture, descriptor).await?;
            apply(&mut listing, &layer, descriptor.digest)?;
        }
        let again: HashSet<_> = new[shared..].iter().collect();
        let mut kept = HashMap::new();
        let mut first = listing.clone();
        for (content, descriptor) in old.iter().zip(&before.1.manifest.layers).skip(shared) {
            let layer = layers.read(old_picture, descriptor).await?;
            apply(&mut first, &layer, descriptor.digest)?;
            if again.contains(content) {
                kept.insert(*content, layer);
            }
        }
        let mut second = listing;
        for (content, descriptor) in new.iter().zip(&after.1.manifest.layers).skip(shared) {
            match kept.get(content) {
                Some(layer) => apply(&mut second, layer, descriptor.digest)?,
                None => apply(&mut second, &layers.read(new_picture, descriptor).await?, descriptor.digest)?,
            }
        }
        let packages = |listing: &Listing| layers.collector.packages(listing.contents());
        let (packages_before, packages_after) = (packages(&first), packages(&second));
        Ok(Some(Self { before: first, after: second, packages_before, packages_after }))
    }
}

fn apply(listing: &mut Listing, layer: &Changeset, digest: Digest) -> Result<(), Failure> {
    let failed = |error: wharf_layers::LayersError| Failure::new(format!("the layer {digest} cannot be used")).because(&error);
    listing.apply(layer).map_err(failed)
}
