//! Containers: one virtual machine for each that runs.

use std::collections::BTreeSet;
use std::process::ExitCode;

use wharf_terminal::ui::Failure;

use crate::cli::{Command, containers, images};
use crate::settings::Settings;

/// Runs a command about containers.
pub fn run(_: &Settings, command: &Command) -> Result<ExitCode, Failure> {
    let _ = command;
    Err(not_there())
}

/// `inspect` of a container.
pub fn inspect(_: &Settings, _: &images::Inspect) -> Result<ExitCode, Failure> {
    Err(not_there())
}

/// Whether there is a container of this name or ID.
pub fn exists(_: &Settings, _: &str) -> bool {
    false
}

/// The images that containers use, by ID.
pub fn images_in_use(_: &Settings) -> Result<Vec<wharf_oci::Digest>, Failure> {
    Ok(Vec::new())
}

/// The layers that containers need, by the digest of their plain archives, whether an image still has them or not.
pub fn layers_in_use(_: &Settings) -> Result<BTreeSet<wharf_oci::Digest>, Failure> {
    Ok(BTreeSet::new())
}

/// Commands of `container`.
pub fn container(_: &Settings, _: &containers::Container) -> Result<ExitCode, Failure> {
    Err(not_there())
}

fn not_there() -> Failure {
    Failure::new("containers cannot be run yet by this version")
}
