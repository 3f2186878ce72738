//! `cp` and `commit`.

use std::process::ExitCode;

use wharf_terminal::ui::Failure;

use crate::cli::containers::{Commit, Copy};
use crate::settings::Settings;

/// Copies files between a container and this machine.
pub fn copy(_: &Settings, _: &Copy) -> Result<ExitCode, Failure> {
    Err(Failure::new("cp is not there yet"))
}

/// Makes an image of a container's changes.
pub fn commit(_: &Settings, _: &Commit) -> Result<ExitCode, Failure> {
    Err(Failure::new("commit is not there yet"))
}
