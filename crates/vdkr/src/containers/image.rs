//! The image of a container.

use wharf_terminal::ui::Failure;

use super::record::Record;
use crate::commands::pull;
use crate::settings::Settings;
use crate::store::{self, Store, Target};

/// The image of a name, in the local store or pulled into it, with layers that are ready.
///
/// # Errors
/// When no registry has it.
pub fn find_or_pull(settings: &Settings, name: &str) -> Result<Target, Failure> {
    let store = Store::of(settings);
    let find = || store::find_to_run(&store.images()?, settings.registry.as_ref(), name);
    let found = match find()? {
        Some(found) => found,
        None => {
            wharf_terminal::ui::say(format_args!("Unable to find image {name} locally"));
            let pulled = pull::pull(settings, name, None)?;
            let images = store.images()?;
            let found = images.into_iter().find(|image| image.has(&pulled.manifest));
            let image = found.ok_or_else(|| Failure::new(format!("{name} was removed while it was pulled")))?;
            Target { image, name: Some(pulled.name) }
        }
    };
    if let Some(layout) = store.layout()? {
        store::ready::make_ready(settings, &layout, &found.image.manifest)?;
    }
    Ok(found)
}

/// Sees to it that the layers of a container that was made before are still ready, as long as its image is there.
///
/// # Errors
/// As of [`find_or_pull`].
pub fn make_ready_again(settings: &Settings, record: &Record) -> Result<(), Failure> {
    let store = Store::of(settings);
    let Some(layout) = store.layout()? else { return Ok(()) };
    let image = store.images()?.into_iter().find(|image| image.id == record.image_id);
    image.map_or(Ok(()), |image| store::ready::make_ready(settings, &layout, &image.manifest))
}
