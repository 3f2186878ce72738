//! `vstorage` and `clean`: the state folder.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;

use wharf_machine::Architecture;
use wharf_terminal::ui::{self, Failure};

use super::confirm;
use super::df::bytes_of;
use crate::cli::images::Confirmed;
use crate::cli::system::Storage;
use crate::containers;
use crate::format::size;
use crate::settings::Settings;

/// Folders of a state that `clean` removes; the guest is not made anew by a pull.
const PARTS: [&str; 5] = ["images", "rootfs", "containers", "machines", "downloads"];

/// Runs a command of `vstorage`.
pub fn run(settings: &Settings, command: &Storage) -> Result<ExitCode, Failure> {
    match command {
        Storage::Path => ui::print(format_args!("{}\n", settings.state().display()))?,
        Storage::List => {
            for (name, path) in states(settings) {
                ui::print(format_args!("{name}\t{}\t{}\n", path.display(), size(bytes_of(&path))))?;
            }
        }
        Storage::Df => {
            let state = settings.state();
            let mut parts: Vec<_> = fs::read_dir(&state).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
            parts.sort();
            for part in parts {
                let name = part.file_name().unwrap_or_default().display().to_string();
                ui::print(format_args!("{name}\t{}\n", size(bytes_of(&part))))?;
            }
            ui::print(format_args!("total\t{}\n", size(bytes_of(&state))))?;
        }
        Storage::Clean(confirmed) => return clean(settings, confirmed),
    }
    Ok(ExitCode::SUCCESS)
}

/// The states that there are: of architectures, and of named instances.
fn states(settings: &Settings) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    let of = |folder: PathBuf, prefix: &str| {
        let states = Architecture::ALL.map(|arch| (format!("{prefix}{arch}"), folder.join(arch.name())));
        states.into_iter().filter(|(_, path)| path.is_dir()).collect::<Vec<_>>()
    };
    found.extend(of(settings.state_dir.clone(), ""));
    let instances = settings.state_dir.join("instances");
    let mut names: Vec<_> = fs::read_dir(&instances).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    for name in names {
        found.extend(of(instances.join(&name), &format!("{}/", name.display())));
    }
    found
}

/// Removes images, containers and virtual machines of this state.
pub fn clean(settings: &Settings, confirmed: &Confirmed) -> Result<ExitCode, Failure> {
    let state = settings.state();
    if !containers::images_in_use(settings)?.is_empty() && !confirmed.force {
        ui::warn("containers are removed, too");
    }
    if !confirm(confirmed.force, &format!("This removes all images, containers and virtual machines in {}.", state.display()))? {
        return Ok(ExitCode::FAILURE);
    }
    let before = bytes_of(&state);
    for part in PARTS {
        let path = state.join(part);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Failure::new(format!("cannot remove {}", path.display())).because(&error));
            }
            _ => {}
        }
    }
    ui::print(format_args!("Total reclaimed space: {}\n", size(before.saturating_sub(bytes_of(&state)))))?;
    Ok(ExitCode::SUCCESS)
}
