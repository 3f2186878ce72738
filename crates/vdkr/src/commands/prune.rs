//! `image prune` and `system prune`: images that nobody needs.

use std::fs;
use std::process::ExitCode;

use wharf_terminal::ui::{self, Failure};

use super::{confirm, remove};
use crate::cli::images::Prune;
use crate::containers;
use crate::format::size;
use crate::settings::Settings;
use crate::store::{self, Store};

/// Removes images without a name, or all that no container uses.
pub fn run(settings: &Settings, options: &Prune) -> Result<ExitCode, Failure> {
    let question = match options.all {
        true => "This removes all images that no container uses.",
        false => "This removes all images without a name.",
    };
    if !confirm(options.confirmed.force, question)? {
        return Ok(ExitCode::FAILURE);
    }
    let store = Store::of(settings);
    let mut said = Vec::new();
    let before = super::df::bytes_of(store.folder());
    if store.layout()?.is_some() {
        let mut writer = store.writer()?;
        let used = containers::images_in_use(settings)?;
        for image in store.images()?.iter().filter(|image| !used.contains(&image.id) && (options.all || image.names.is_empty())) {
            said.extend(remove::remove(&mut writer, image, &image.names, true));
        }
        Store::commit(writer)?;
    }
    let mut freed = before.saturating_sub(super::df::bytes_of(store.folder()));
    freed += interrupted(&store)?;
    freed += store::ready::forget_unused(settings, &containers::layers_in_use(settings)?)?;
    if !said.is_empty() {
        ui::print(format_args!("Deleted Images:\n{}\n\n", said.join("\n")))?;
    }
    ui::print(format_args!("Total reclaimed space: {}\n", size(freed)))?;
    Ok(ExitCode::SUCCESS)
}

/// Removes what is left of pulls that nobody went on with, and says how many bytes that were. What is being received stays.
fn interrupted(store: &Store) -> Result<u64, Failure> {
    let mut freed = 0;
    for entry in fs::read_dir(store.downloads()?).into_iter().flatten().flatten() {
        let Ok(file) = fs::File::open(entry.path()) else { continue };
        // A pull holds the lock on what it receives.
        if file.try_lock().is_ok() && fs::remove_file(entry.path()).is_ok() {
            freed += file.metadata().map_or(0, |metadata| metadata.len());
        }
    }
    Ok(freed)
}
