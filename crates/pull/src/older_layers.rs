//! The layers that the images of a layout have: what newer ones are compared with.

use std::collections::BTreeSet;

use wharf_layers::assemble::MAX_OLDER;
use wharf_oci::{Descriptor, Digest, Document, Layout, NamedImage, media_type};

/// Manifests that are read to find them, at most.
const MAX_MANIFESTS: usize = 1_024;

/// Those that are `wanted`, of all images that the layout lists, beginning with those that are `near`. What cannot be read is no help, and no
/// failure either.
pub fn of(layout: &Layout, near: impl Fn(&NamedImage) -> bool, wanted: impl Fn(&Descriptor) -> bool) -> Vec<Descriptor> {
    let mut images: Vec<_> = layout.images().iter().collect();
    images.sort_by_key(|image| !near(image));
    let mut open: Vec<_> = images.iter().rev().map(|image| image.descriptor.clone()).collect();
    let (mut seen, mut found) = (BTreeSet::<Digest>::new(), Vec::new());
    while let Some(descriptor) = open.pop() {
        if seen.len() >= MAX_MANIFESTS || found.len() >= MAX_OLDER {
            break;
        }
        if !media_type::is_manifest(&descriptor.media_type) || !seen.insert(descriptor.digest) {
            continue;
        }
        let Ok(bytes) = layout.read(&descriptor) else { continue };
        match Document::parse(&bytes, &descriptor.media_type) {
            Ok(Document::Image(image)) => found.extend(image.layers.into_iter().filter(|layer| wanted(layer))),
            Ok(Document::Index(index)) => open.extend(index.manifests.into_iter().rev()),
            Err(_) => {}
        }
    }
    found.truncate(MAX_OLDER);
    found
}
