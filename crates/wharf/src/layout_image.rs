//! One image of a layout on disk, read as far as laying it out or building on it takes.

use wharf_oci::{Descriptor, Document, ImageConfig, ImageIndex, ImageManifest, Layout, Platform, media_type};

use crate::ui::Failure;

/// An image with as many layers as its configuration tells of.
pub struct LayoutImage {
    /// Its manifest.
    pub manifest: ImageManifest,
    /// What its configuration says.
    pub config: ImageConfig,
    /// The configuration as it is stored.
    pub bytes: Vec<u8>,
}

/// The entries of an index that are images, or indexes of images, as far as they say it themselves.
pub fn entries(index: &ImageIndex) -> impl Iterator<Item = &Descriptor> {
    let is_image = |child: &&Descriptor| {
        media_type::is_manifest(&child.media_type) && !child.platform.as_ref().is_some_and(Platform::is_unknown)
    };
    index.manifests.iter().filter(is_image)
}

impl LayoutImage {
    /// Reads the image that `root` leads to: itself, or the one entry of the index that `fits`. By `what` they are told apart for people, and
    /// `option` picks one.
    pub fn read(
        layout: &Layout,
        root: &Descriptor,
        fits: impl Fn(&Descriptor) -> bool,
        what: &str,
        option: &str,
    ) -> Result<Self, Failure> {
        let document = |descriptor: &Descriptor| {
            let bytes = layout.read(descriptor).map_err(|error| Failure::of(&error))?;
            let document = Document::parse(&bytes, &descriptor.media_type);
            document.map_err(|error| Failure::new("its manifest cannot be used").because(&error))
        };
        let mut found = document(root)?;
        if let Document::Index(index) = &found {
            let chosen: Vec<_> = entries(index).filter(|child| fits(child)).collect();
            let [one] = chosen.as_slice() else {
                let listed: Vec<_> =
                    entries(index).filter_map(|child| child.platform.as_ref()).map(ToString::to_string).collect();
                let message = match chosen.is_empty() {
                    true => format!("it has no image for that {what}"),
                    false => "it has several images".to_owned(),
                };
                return Err(Failure::new(message).hint(format!("{option} picks one of {}", listed.join(", "))));
            };
            found = document(one)?;
        }
        let manifest = match found {
            Document::Image(image) if image.is_image() => image,
            _ => return Err(Failure::new("it is no image")),
        };
        let bytes = layout.read(&manifest.config).map_err(|error| Failure::of(&error))?;
        let config = ImageConfig::parse(&bytes);
        let config = config.map_err(|error| Failure::new("its configuration cannot be used").because(&error))?;
        if config.diff_ids.len() != manifest.layers.len() {
            let (layers, told) = (manifest.layers.len(), config.diff_ids.len());
            return Err(Failure::new(format!("it has {layers} layers, and its configuration tells of {told}")));
        }
        Ok(Self { manifest, config, bytes })
    }
}
