//! `tag`: another name for an image.

use std::process::ExitCode;

use wharf_oci::ImageReference;
use wharf_terminal::ui::Failure;

use crate::cli::images::Tag;
use crate::settings::Settings;
use crate::store::{self, Listing, Store};

/// Gives an image a name besides those it has.
pub fn run(settings: &Settings, options: &Tag) -> Result<ExitCode, Failure> {
    let target = name(&options.target)?;
    let store = Store::of(settings);
    // What is found is looked at again once nobody else changes anything.
    store.find(settings, &options.source)?;
    let mut writer = store.writer()?;
    let image = store.find(settings, &options.source)?.image;
    Store::list(&mut writer, &image.descriptor, &Listing { names: vec![target], repository_digest: None });
    Store::commit(writer)?;
    Ok(ExitCode::SUCCESS)
}

/// A name that an image can be given, in full.
pub fn name(text: &str) -> Result<String, Failure> {
    let reference: ImageReference = text.parse().map_err(|error| Failure::of(&error))?;
    if reference.digest().is_some() {
        return Err(Failure::new(format!("`{text}` holds a digest, which only the content decides")));
    }
    Ok(store::full(&reference))
}
