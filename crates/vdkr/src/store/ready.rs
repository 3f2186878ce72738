//! Making layers ready to run, once each, and letting go of those that no image has any more.

use std::collections::BTreeSet;

use wharf_oci::{Digest, ImageManifest, Layout};
use wharf_rootfs::{Cache, RootfsError};
use wharf_terminal::ui::Failure;

use super::{Image, Store};
use crate::settings::Settings;

/// How often layers are made ready: once more for those that another command removes meanwhile, and once for those that turn out to be damaged.
const ATTEMPTS: u32 = 3;

/// The file systems of a state's layers.
///
/// # Errors
/// When their folder cannot be made.
pub fn cache(settings: &Settings) -> Result<Cache, Failure> {
    Cache::open(settings.state().join("rootfs")).map_err(|error| failure(&error))
}

/// Turns the layers of an image into what a guest mounts, so that its first run does not wait for that; what is damaged of it is made again. The
/// layout holds all layers. This is the one place where layers are handed on: `pull`, `load`, `import` and `vimport` end with it, after the image is listed.
///
/// # Errors
/// What is wrong with a layer, and what the disk fails with.
pub fn make_ready(settings: &Settings, layout: &Layout, manifest: &ImageManifest) -> Result<(), Failure> {
    let config = layout.read(&manifest.config).map_err(|error| Failure::of(&error))?;
    let config = wharf_oci::ImageConfig::parse(&config).map_err(|error| Failure::of(&error))?;
    if config.diff_ids.len() != manifest.layers.len() {
        let (layers, told) = (manifest.layers.len(), config.diff_ids.len());
        return Err(Failure::new(format!("the image has {layers} layers, and its configuration tells of {told}")));
    }
    let cache = cache(settings)?;
    let mut attempts = 0..ATTEMPTS;
    loop {
        match cache.image(&config.diff_ids) {
            Ok(_) => return Ok(()),
            // One that is damaged is removed when that is found, and then it is missing as well.
            Err(RootfsError::Missing(_) | RootfsError::Damaged { .. }) if attempts.next().is_some() => {}
            Err(error) => return Err(failure(&error)),
        }
        for (layer, diff_id) in manifest.layers.iter().zip(&config.diff_ids) {
            if !cache.has(diff_id) {
                let reader = layout.place(layer).and_then(|place| place.reader());
                let reader = reader.map_err(|error| Failure::of(&error).hint("pull or load the image again"))?;
                cache.add(diff_id, reader).map_err(|error| failure(&error))?;
            }
        }
    }
}

/// Removes what was made of layers that neither an image nor a container has. Returns the bytes that it took.
///
/// # Errors
/// When the images cannot be read, or a file cannot be removed.
pub fn forget_unused(settings: &Settings, also_kept: &BTreeSet<Digest>) -> Result<u64, Failure> {
    if !settings.state().join("rootfs").exists() {
        return Ok(0);
    }
    let images = Store::of(settings).images()?;
    let of = |image: &Image| image.diff_ids().iter().filter_map(|id| id.parse().ok()).collect::<Vec<Digest>>();
    let keep = images.iter().flat_map(of).chain(also_kept.iter().copied()).collect();
    cache(settings)?.remove(&keep).map_err(|error| failure(&error))
}

fn failure(error: &RootfsError) -> Failure {
    let failure = Failure::of(error).about("a layer cannot be made ready to run");
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
