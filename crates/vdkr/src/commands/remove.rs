//! `rmi`: names of images go, and with the last one the image.

use std::process::ExitCode;

use wharf_oci::LayoutWriter;
use wharf_terminal::ui::{Failure, Output};

use crate::cli::images::Remove;
use crate::containers;
use crate::settings::Settings;
use crate::store::{self, Image, Store, Target, familiar};

/// Removes images. Each that cannot be removed is told, and the others go all the same.
pub fn run(settings: &Settings, options: &Remove) -> Result<ExitCode, Failure> {
    let mut output = Output::default();
    let mut failed = false;
    for name in &options.images {
        if let Err(failure) = one(settings, name, options.force, &mut output) {
            failure.report();
            failed = true;
        }
    }
    output.end()?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn one(settings: &Settings, text: &str, force: bool, output: &mut Output) -> Result<(), Failure> {
    let store = Store::of(settings);
    // An image that is not there is no reason to make a store.
    store.find(settings, text)?;
    let mut writer = store.writer()?;
    let Target { image, name } = store.find(settings, text)?;
    let names: Vec<String> = match (name, image.names.len()) {
        (Some(name), _) => vec![name],
        (None, 0 | 1) => image.names.clone(),
        (None, _) if force => image.names.clone(),
        (None, _) => {
            let shown: Vec<_> = image.names.iter().map(|name| familiar(name)).collect();
            return Err(Failure::new(format!("{text} is the image of several names: {}", shown.join(", ")))
                .hint("name the one to remove, or remove all of them with --force"));
        }
    };
    let is_last = names.len() == image.names.len();
    if is_last && !force && containers::images_in_use(settings)?.contains(&image.id) {
        return Err(
            Failure::new(format!("{text} is used by a container")).hint("`vdkr ps -a` lists containers, `vdkr rm` removes them")
        );
    }
    let said = remove(&mut writer, &image, &names, is_last);
    Store::commit(writer)?;
    if is_last {
        store::ready::forget_unused(settings, &containers::layers_in_use(settings)?)?;
    }
    said.iter().for_each(|line| output.print(format_args!("{line}\n")));
    Ok(())
}

/// Takes names, and with `whole` the image itself, out of what a writer lists. Returns what is to be told of it once that is done.
pub fn remove(writer: &mut LayoutWriter, image: &Image, names: &[String], whole: bool) -> Vec<String> {
    let mut position = 0;
    while let Some(entry) = writer.images().get(position) {
        let is_named = entry.name.as_ref().is_some_and(|name| names.contains(name));
        if image.has(&entry.descriptor.digest) && (whole || is_named) {
            writer.remove(position);
        } else {
            position += 1;
        }
    }
    let mut said: Vec<_> = names.iter().map(|name| format!("Untagged: {}", familiar(name))).collect();
    if whole {
        said.extend(image.repository_digests.iter().map(|name| format!("Untagged: {}", familiar(name))));
        said.push(format!("Deleted: {}", image.full_id()));
    }
    said
}
