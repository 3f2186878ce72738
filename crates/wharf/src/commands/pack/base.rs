//! The image that another one is built on.

use std::fs;

use serde_json::Value;
use wharf_oci::{Descriptor, Document, Layout, LayoutWriter, Platform, media_type};

use crate::layout_path;
use crate::ui::Failure;

/// An image of a layout, read.
pub struct Base {
    layout: Layout,
    layers: Vec<Descriptor>,
    /// Its configuration.
    pub config: Value,
    /// What it runs on.
    pub platform: Platform,
}

impl Base {
    /// Opens a layout's image. Of several in an index, the one for `architecture` (by the names of images) is taken.
    pub fn open(text: &str, architecture: Option<&str>) -> Result<Self, Failure> {
        let about = |failure: Failure| failure.about(&format!("{text} cannot be built on"));
        let Some((path, name)) = layout_path::find(text.strip_prefix("oci:").unwrap_or(text)) else {
            return Err(Failure::new(format!("{text} not found"))
                .hint("--base takes a layout on disk; `wharf pull IMAGE FOLDER` brings an image of a registry there"));
        };
        let layout = Layout::open(&path).map_err(|error| Failure::new(error.to_string()))?;
        let root = layout_path::one_of(&layout, name.as_deref())?;
        Self::read(layout, &root, architecture).map_err(about)
    }

    fn read(layout: Layout, root: &Descriptor, architecture: Option<&str>) -> Result<Self, Failure> {
        let read = |descriptor: &Descriptor| layout.read(descriptor).map_err(|error| Failure::new(error.to_string()));
        let parse = |bytes: &[u8], media_type: &str| {
            Document::parse(bytes, media_type).map_err(|error| Failure::new("its manifest cannot be used").because(&error))
        };
        let mut document = parse(&read(root)?, &root.media_type)?;
        if let Document::Index(index) = &document {
            let is_image = |child: &&Descriptor| {
                media_type::is_manifest(&child.media_type) && !child.platform.as_ref().is_some_and(Platform::is_unknown)
            };
            let fits = |child: &&Descriptor| {
                let platform = child.platform.as_ref();
                architecture.is_none_or(|wanted| platform.is_none_or(|platform| platform.architecture == wanted))
            };
            let images: Vec<_> = index.manifests.iter().filter(is_image).collect();
            let chosen: Vec<_> = images.iter().copied().filter(fits).collect();
            let [one] = chosen.as_slice() else {
                let listed: Vec<_> = images.iter().filter_map(|child| child.platform.as_ref()).map(ToString::to_string).collect();
                let what = if chosen.is_empty() { "it has no image for that architecture" } else { "it has several images" };
                return Err(Failure::new(what).hint(format!("--arch picks one of {}", listed.join(", "))));
            };
            document = parse(&read(one)?, &one.media_type)?;
        }
        let image = match document {
            Document::Image(image) if image.is_image() => image,
            _ => return Err(Failure::new("it is no image")),
        };
        let bytes = read(&image.config)?;
        let wrong = |error: &dyn std::error::Error| Failure::new("its configuration cannot be used").because(error);
        let facts = wharf_oci::ImageConfig::parse(&bytes).map_err(|error| wrong(&error))?;
        let config = serde_json::from_slice(&bytes).map_err(|error| wrong(&error))?;
        let platform = facts.platform.ok_or_else(|| Failure::new("its configuration names no platform"))?;
        if facts.diff_ids.len() != image.layers.len() {
            let text = format!("it has {} layers, and its configuration tells of {}", image.layers.len(), facts.diff_ids.len());
            return Err(Failure::new(text));
        }
        for layer in &image.layers {
            layout.place(layer).map_err(|error| Failure::new(error.to_string()))?;
        }
        Ok(Self { layout, layers: image.layers, config, platform })
    }

    /// Brings its layers into another layout, and returns their descriptors.
    pub fn copy_into(&self, writer: &mut LayoutWriter) -> Result<Vec<Descriptor>, Failure> {
        let mut copied = Vec::new();
        for layer in &self.layers {
            if !writer.has(&layer.digest, layer.size) {
                self.copy(layer, writer)?;
            }
            copied.push(Descriptor { media_type: media_type::as_oci(&layer.media_type).to_owned(), ..layer.clone() });
        }
        Ok(copied)
    }

    fn copy(&self, layer: &Descriptor, writer: &mut LayoutWriter) -> Result<(), Failure> {
        use std::io::{Read, Seek, SeekFrom};

        let failed = |error: wharf_oci::LayoutError| Failure::of(&error);
        let place = self.layout.place(layer).map_err(failed)?;
        let cannot = |error: std::io::Error| Failure::new(format!("cannot copy {}", place.path.display())).because(&error);
        let mut staged = writer.stage().map_err(failed)?;
        let mut file = fs::File::open(&place.path).map_err(cannot)?;
        file.seek(SeekFrom::Start(place.offset)).map_err(cannot)?;
        std::io::copy(&mut file.take(place.length), staged.file()).map_err(cannot)?;
        writer.adopt(staged, &layer.digest).map_err(failed)
    }
}
