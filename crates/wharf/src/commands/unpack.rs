//! `unpack`: lays an image out as a root file system.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::process::ExitCode;
use std::time::Instant;

use sha2::{Digest as _, Sha256};
use wharf_layers::unpack::{Skipped, UnpackOptions, Unpacker};
use wharf_layers::{Decoded, LayersError};
use wharf_oci::{Algorithm, Descriptor, Digest, Document, ImageConfig, ImageManifest, Layout, Platform, media_type};

use super::usage_of;
use crate::cli::Unpack;
use crate::layout_path;
use crate::ui::{self, Failure};

/// Unpacks.
pub fn run(options: &Unpack) -> Result<ExitCode, Failure> {
    let (Some(text), Some(folder)) = (&options.layout, &options.folder) else {
        return usage_of("unpack", "wharf unpack app-oci rootfs");
    };
    let begun = Instant::now();
    let Some((path, name)) = layout_path::find(text.strip_prefix("oci:").unwrap_or(text)) else {
        return Err(Failure::new(format!("{text} not found"))
            .hint("a layout on disk is unpacked; `wharf pull IMAGE FOLDER` brings an image of a registry there"));
    };
    let layout = Layout::open(&path).map_err(|error| Failure::of(&error))?;
    let root = layout_path::one_of(&layout, name.as_deref())?;
    let about = |failure: Failure| failure.about(&format!("{text} was not unpacked"));
    let (image, config) = image(&layout, &root, options.platform.as_ref()).map_err(about)?;
    let mut unpacker =
        Unpacker::new(folder, UnpackOptions { rootless: options.rootless }).map_err(|error| about(Failure::of(&error)))?;
    for (layer, diff_id) in image.layers.iter().zip(&config.diff_ids) {
        apply(&mut unpacker, &layout, layer, diff_id).map_err(about)?;
    }
    let skipped = unpacker.finish().map_err(|error| about(Failure::of(&error)))?;
    warn(&skipped);
    let layers = image.layers.len();
    let several = if layers == 1 { "layer" } else { "layers" };
    ui::say(format_args!(
        "Unpacked {text} into {}: {layers} {several}, in {:.1} s",
        folder.display(),
        begun.elapsed().as_secs_f64()
    ));
    Ok(ExitCode::SUCCESS)
}

/// The one image that is meant, with what its configuration says.
fn image(layout: &Layout, root: &Descriptor, platform: Option<&Platform>) -> Result<(ImageManifest, ImageConfig), Failure> {
    let document = |descriptor: &Descriptor| {
        let bytes = layout.read(descriptor).map_err(|error| Failure::of(&error))?;
        Document::parse(&bytes, &descriptor.media_type)
            .map_err(|error| Failure::new("its manifest cannot be used").because(&error))
    };
    let mut found = document(root)?;
    if let Document::Index(index) = &found {
        let images: Vec<_> = index
            .manifests
            .iter()
            .filter(|child| media_type::is_manifest(&child.media_type))
            .filter(|child| !child.platform.as_ref().is_some_and(Platform::is_unknown))
            .collect();
        let fits = |child: &&&Descriptor| {
            platform.is_none_or(|wanted| child.platform.as_ref().is_some_and(|platform| platform.matches(wanted)))
        };
        let chosen: Vec<_> = images.iter().filter(fits).collect();
        let [one] = chosen.as_slice() else {
            let listed: Vec<_> = images.iter().filter_map(|child| child.platform.as_ref()).map(ToString::to_string).collect();
            let what = if chosen.is_empty() { "it has no image for that platform" } else { "it has several images" };
            return Err(Failure::new(what).hint(format!("--platform picks one of {}", listed.join(", "))));
        };
        found = document(one)?;
    }
    let image = match found {
        Document::Image(image) if image.is_image() => image,
        _ => return Err(Failure::new("it is no image")),
    };
    let bytes = layout.read(&image.config).map_err(|error| Failure::of(&error))?;
    let config = ImageConfig::parse(&bytes);
    let config = config.map_err(|error| Failure::new("its configuration cannot be used").because(&error))?;
    if config.diff_ids.len() != image.layers.len() {
        let text = format!("it has {} layers, and its configuration tells of {}", image.layers.len(), config.diff_ids.len());
        return Err(Failure::new(text));
    }
    Ok((image, config))
}

/// Applies a layer, and compares the archive in it with its digest.
fn apply(unpacker: &mut Unpacker, layout: &Layout, layer: &Descriptor, diff_id: &Digest) -> Result<(), Failure> {
    let about = |error: LayersError| Failure::of(&error).about(&format!("the layer {} cannot be applied", layer.digest));
    let place = layout.place(layer).map_err(|error| Failure::of(&error))?;
    let cannot = |error: io::Error| Failure::new(format!("cannot read {}", place.path.display())).because(&error);
    let mut file = File::open(&place.path).map_err(cannot)?;
    file.seek(SeekFrom::Start(place.offset)).map_err(cannot)?;
    let mut archive = Hashed { reader: Decoded::new(file.take(place.length)).map_err(about)?, hasher: Sha256::new() };
    unpacker.layer(&mut archive).map_err(about)?;
    // Few use another algorithm for this, and their layers still have digests of their own.
    let found = Digest::from_hash(Algorithm::Sha256, &archive.hasher.finalize());
    if diff_id.algorithm() == Algorithm::Sha256 && found != Some(*diff_id) {
        return Err(Failure::new(format!("the layer {} is altered: its content is not {diff_id}", layer.digest)));
    }
    Ok(())
}

/// Hashes what is read.
struct Hashed<R> {
    reader: R,
    hasher: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

fn warn(skipped: &Skipped) {
    for (count, what) in [
        (skipped.owners, "files belong to you, and not to their owners"),
        (skipped.devices, "devices are empty files"),
        (skipped.attributes, "extended attributes are missing"),
    ] {
        if count > 0 {
            ui::warn(&format!("{count} {what}"));
        }
    }
}
