//! The `vdkr` command: the images of a build on this machine, run for their own architecture in a virtual machine.

mod cli;
mod commands;
mod containers;
mod format;
mod keeper;
mod lock;
mod random;
mod reach;
mod settings;
mod setup;
mod store;

use std::process::ExitCode;

use clap::FromArgMatches;
use clap::error::ErrorKind;
use wharf_terminal::ui::{self, Failure};

/// The exit code when vdkr itself failed, and not the program that it was to run. Docker has the same.
const FAILED_BEFORE_THE_CONTAINER: u8 = 125;

fn main() -> ExitCode {
    if let Some(code) = keeper::be_keeper() {
        return code;
    }
    let parsed = cli::definition().try_get_matches().and_then(|matches| cli::Cli::from_arg_matches(&matches));
    let (is_container, result) = match parsed {
        Ok(cli) => (cli.command.runs_a_program(), commands::run(&cli)),
        Err(error) => (false, wrong_usage(&error)),
    };
    match result {
        Ok(code) => code,
        Err(Failure::BrokenPipe) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            if is_container { ExitCode::from(FAILED_BEFORE_THE_CONTAINER) } else { ExitCode::FAILURE }
        }
    }
}

/// Help and version are results; everything else that the command line's parser says is an error.
fn wrong_usage(error: &clap::Error) -> Result<ExitCode, Failure> {
    let text = error.render();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            ui::print(text)?;
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            ui::usage(text.to_string().trim_end());
            Ok(ExitCode::FAILURE)
        }
    }
}
