//! `cp`: files between a container and this machine.

mod copy;
mod session;
mod transfer;

use std::process::ExitCode;

use wharf_terminal::ui::Failure;

use super::record::{Containers, Folder, Record, State};
use crate::cli::containers::Copy;
use crate::cli::copied::Side;
use crate::settings::Settings;

pub use session::Session;
pub use transfer::Download;

/// Copies files between a container and this machine.
pub fn copy(settings: &Settings, options: &Copy) -> Result<ExitCode, Failure> {
    match (&options.source, &options.destination) {
        (Side::Container { container, path }, Side::Here(to)) => copy::out(settings, options, container, path, to),
        (Side::Container { container, path }, Side::Stream) => copy::out_as_archive(settings, options, container, path),
        (Side::Here(from), Side::Container { container, path }) => copy::into(settings, options, from, container, path),
        (Side::Stream, Side::Container { container, path }) => copy::archive_into(settings, options, container, path),
        (Side::Container { .. }, Side::Container { .. }) => Err(Failure::new("copying between containers is not supported")
            .hint("hand an archive on: `vdkr cp ONE:PATH - | vdkr cp - OTHER:FOLDER`")),
        _ => Err(Failure::new("neither side is a container").hint("write the one that is one as CONTAINER:PATH")),
    }
}

/// A container of this architecture; of one that there is for another, that is told.
///
/// # Errors
/// None of that name.
pub fn container(settings: &Settings, name: &str) -> Result<(Folder, Record, State), Failure> {
    let containers = Containers::of(settings);
    if let Some(found) = containers.find(name)? {
        return Ok(found);
    }
    let others = wharf_machine::Architecture::ALL.into_iter().filter(|arch| *arch != settings.arch);
    for arch in others {
        let other = Settings { arch, ..settings.clone() };
        if let Ok(Some((_, record, _))) = Containers::of(&other).find(name) {
            let hint = format!("there is one for {arch}: `vdkr --arch {arch} …` finds {}", record.name);
            return Err(Failure::new(format!("No such container: {name}")).hint(hint));
        }
    }
    containers.get(name)
}
