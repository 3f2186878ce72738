//! `completions`.

use std::process::ExitCode;

use crate::cli;
use crate::ui::{self, Failure};

/// Prints the completions for `shell`.
pub fn run(shell: clap_complete::Shell) -> Result<ExitCode, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut cli::definition(), "wharf", &mut text);
    ui::print(String::from_utf8_lossy(&text))?;
    Ok(ExitCode::SUCCESS)
}
