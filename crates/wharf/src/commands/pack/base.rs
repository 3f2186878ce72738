//! The image that another one is built on.

use serde_json::Value;
use wharf_oci::{Descriptor, Layout, LayoutWriter, Platform, media_type};

use crate::layout_image::LayoutImage;
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
        let Some((path, pick)) = layout_path::find(layout_path::bare(text)) else {
            return Err(Failure::new(format!("{text} not found"))
                .hint("--base takes a layout on disk; `wharf pull IMAGE FOLDER` brings an image of a registry there"));
        };
        let layout = Layout::open(&path).map_err(|error| Failure::of(&error))?;
        let root = layout_path::one_of(&layout, pick.as_ref())?;
        Self::read(layout, &root, architecture).map_err(about)
    }

    fn read(layout: Layout, root: &Descriptor, architecture: Option<&str>) -> Result<Self, Failure> {
        let fits = |child: &Descriptor| {
            let platform = child.platform.as_ref();
            architecture.is_none_or(|wanted| platform.is_none_or(|platform| platform.architecture == wanted))
        };
        let found = LayoutImage::read(&layout, root, fits, "architecture", "--arch")?;
        let config = serde_json::from_slice(&found.bytes);
        let config = config.map_err(|error| Failure::new("its configuration cannot be used").because(&error))?;
        let platform = found.config.platform.ok_or_else(|| Failure::new("its configuration names no platform"))?;
        let layers = found.manifest.layers;
        for layer in &layers {
            layout.place(layer).map_err(|error| Failure::new(error.to_string()))?;
        }
        Ok(Self { layout, layers, config, platform })
    }

    /// Brings its layers into another layout, and returns their descriptors.
    pub fn copy_into(&self, writer: &mut LayoutWriter) -> Result<Vec<Descriptor>, Failure> {
        let mut copied = Vec::new();
        for layer in &self.layers {
            if !writer.has(&layer.digest, layer.size) {
                writer.copy(&self.layout, layer).map_err(|error| Failure::of(&error))?;
            }
            copied.push(Descriptor { media_type: media_type::as_oci(&layer.media_type).to_owned(), ..layer.clone() });
        }
        Ok(copied)
    }
}
