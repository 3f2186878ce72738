//! Containers: one virtual machine for each that runs.

mod attach;
mod commit;
mod detach;
mod exec;
mod files;
mod image;
mod inspect;
mod list;
mod logs;
mod make;
mod memres;
mod power;
mod process;
pub mod record;
mod run;
mod signals;
mod top;

use std::collections::BTreeSet;
use std::process::ExitCode;

use wharf_terminal::ui::Failure;

use crate::cli::{Command, containers};
use crate::settings::Settings;
use record::Containers;

pub use inspect::inspect;

/// Runs a command about containers.
pub fn run(settings: &Settings, command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Run(options) => run::run(settings, options, make::EntryPoint::Kept),
        Command::Vrun(options) => run::run(settings, options, make::EntryPoint::Cleared),
        Command::Create(options) => run::create(settings, options),
        Command::Vshell(options) => exec::shell(settings, options),
        Command::Exec(options) => exec::exec(settings, options),
        Command::Attach(options) => run::attach(settings, options),
        Command::Ps(options) => list::ps(settings, options),
        Command::Logs(options) => logs::logs(settings, options),
        Command::Start(options) => run::start(settings, options),
        Command::Stop(options) => power::stop(settings, options),
        Command::Restart(options) => power::restart(settings, options),
        Command::Kill(options) => power::kill(settings, options),
        Command::Pause(options) => power::pause(settings, options, true),
        Command::Unpause(options) => power::pause(settings, options, false),
        Command::Rm(options) => power::remove(settings, options),
        Command::Wait(options) => power::wait(settings, options),
        Command::Cp(options) => files::copy(settings, options),
        Command::Port(options) => list::port(settings, options),
        Command::Top(options) => top::top(settings, options),
        Command::Commit(options) => commit::commit(settings, options),
        Command::Memres(options) => memres::run(settings, options),
        _ => Err(Failure::new("this is no command about containers")),
    }
}

/// Whether there is a container of this name or ID.
pub fn exists(settings: &Settings, name: &str) -> bool {
    matches!(Containers::of(settings).find(name), Ok(Some(_)))
}

/// The images that containers use, by ID.
pub fn images_in_use(settings: &Settings) -> Result<Vec<wharf_oci::Digest>, Failure> {
    Ok(Containers::of(settings).all()?.into_iter().map(|(_, record, _)| record.image_id).collect())
}

/// The layers that containers need, by the digest of their plain archives, whether an image still has them or not.
pub fn layers_in_use(settings: &Settings) -> Result<BTreeSet<wharf_oci::Digest>, Failure> {
    Ok(Containers::of(settings).all()?.into_iter().flat_map(|(_, record, _)| record.layers).collect())
}

/// Commands of `container`.
pub fn container(settings: &Settings, command: &containers::Container) -> Result<ExitCode, Failure> {
    match command {
        containers::Container::Ls(options) => list::ps(settings, options),
        containers::Container::Inspect(options) => inspect(settings, options),
        containers::Container::Rm(options) => power::remove(settings, options),
        containers::Container::Prune(_) => power::prune(settings),
    }
}
