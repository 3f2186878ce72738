//! Making layers ready to run, once each.

use wharf_oci::{Digest, ImageConfig, ImageManifest, Layout};
use wharf_rootfs::Cache;
use wharf_terminal::ui::Failure;

use crate::settings::Settings;

/// Turns the layers of an image into what a guest mounts, so that its first run does not wait for that. The layout holds all of them. This is the
/// one place where layers are handed on: `pull`, `load`, `import` and `vimport` end with it, after the image is listed, and `run` asks it again, for
/// layers that were cleared away.
pub fn make_ready(settings: &Settings, layout: &Layout, manifest: &ImageManifest) -> Result<(), Failure> {
    let cache = Cache::open(settings.state().join("rootfs")).map_err(|error| Failure::of(&error))?;
    let bytes = layout.read(&manifest.config).map_err(|error| Failure::of(&error))?;
    for (diff_id, layer) in diff_ids(&bytes)?.iter().zip(&manifest.layers) {
        if !cache.has(diff_id) {
            let content = layout.place(layer).and_then(|place| place.reader()).map_err(|error| Failure::of(&error))?;
            cache.add(diff_id, content).map_err(|error| Failure::new(format!("cannot make the layer {} ready", layer.digest)).because(&error))?;
        }
    }
    Ok(())
}

/// The layers that a configuration lists, uncompressed, the lowest first.
pub fn diff_ids(config: &[u8]) -> Result<Vec<Digest>, Failure> {
    let config = ImageConfig::parse(config).map_err(|error| Failure::new("the image's configuration cannot be read").because(&error))?;
    Ok(config.diff_ids)
}
