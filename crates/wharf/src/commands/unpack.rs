//! `unpack`: lays an image out as a root file system.

use std::io::{self, Read};
use std::process::ExitCode;
use std::time::Instant;

use sha2::{Digest as _, Sha256};
use wharf_layers::unpack::{Skipped, UnpackOptions, Unpacker};
use wharf_layers::{Decoded, LayersError};
use wharf_oci::{Algorithm, Descriptor, Digest, Layout};

use super::usage_of;
use crate::cli::Unpack;
use crate::layout_image::LayoutImage;
use crate::layout_path;
use crate::ui::{self, Failure};

/// Unpacks.
pub fn run(options: &Unpack) -> Result<ExitCode, Failure> {
    let (Some(text), Some(folder)) = (&options.layout, &options.folder) else {
        return usage_of("unpack", "wharf unpack app-oci rootfs");
    };
    let begun = Instant::now();
    let Some((path, pick)) = layout_path::find(layout_path::bare(text)) else {
        return Err(Failure::new(format!("{text} not found"))
            .hint("a layout on disk is unpacked; `wharf pull IMAGE FOLDER` brings an image of a registry there"));
    };
    let layout = Layout::open(&path).map_err(|error| Failure::of(&error))?;
    let root = layout_path::one_of(&layout, pick.as_ref())?;
    let about = |failure: Failure| failure.about(&format!("{text} was not unpacked"));
    let fits = |child: &Descriptor| {
        let wanted = options.platform.as_ref();
        wanted.is_none_or(|wanted| child.platform.as_ref().is_some_and(|platform| platform.matches(wanted)))
    };
    let image = LayoutImage::read(&layout, &root, fits, "platform", "--platform").map_err(about)?;
    let mut unpacker =
        Unpacker::new(folder, UnpackOptions { rootless: options.rootless }).map_err(|error| about(Failure::of(&error)))?;
    for (layer, diff_id) in image.manifest.layers.iter().zip(&image.config.diff_ids) {
        apply(&mut unpacker, &layout, layer, diff_id).map_err(about)?;
    }
    let skipped = unpacker.finish().map_err(|error| about(Failure::of(&error)))?;
    warn(&skipped);
    let layers = image.manifest.layers.len();
    let several = if layers == 1 { "layer" } else { "layers" };
    ui::say(format_args!(
        "Unpacked {text} into {}: {layers} {several}, in {:.1} s",
        folder.display(),
        begun.elapsed().as_secs_f64()
    ));
    Ok(ExitCode::SUCCESS)
}

/// Applies a layer, and compares the archive in it with its digest.
fn apply(unpacker: &mut Unpacker, layout: &Layout, layer: &Descriptor, diff_id: &Digest) -> Result<(), Failure> {
    let about = |error: LayersError| Failure::of(&error).about(&format!("the layer {} cannot be applied", layer.digest));
    let place = layout.place(layer).map_err(|error| Failure::of(&error))?;
    let reader = place.reader().map_err(|error| Failure::of(&error))?;
    let mut archive = Hashed { reader: Decoded::new(reader).map_err(about)?, hasher: Sha256::new() };
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
