//! `man`.

use std::path::Path;
use std::process::ExitCode;

use crate::cli;
use crate::ui::Failure;

/// Writes a page for the program and one for each command.
pub fn run(folder: &Path) -> Result<ExitCode, Failure> {
    clap_mangen::generate_to(cli::definition(), folder)
        .map_err(|error| Failure::new(format!("cannot write man pages to {}", folder.display())).because(&error))?;
    Ok(ExitCode::SUCCESS)
}
