//! One file per command, and which is meant.

pub mod config;
pub mod setup;

use std::path::PathBuf;
use std::process::ExitCode;

use wharf_terminal::ui::{self, Failure};

use crate::cli::{Cli, Command};
use crate::containers;
use crate::settings::Settings;

/// Runs what the command line asks for.
pub fn run(cli: &Cli) -> Result<ExitCode, Failure> {
    let program = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let environment = std::env::vars_os().collect();
    if let Command::Vconfig(options) = &cli.command {
        // A setting that cannot be used must not keep anybody from changing it.
        return config::run(&environment, options);
    }
    let mut settings = Settings::resolve(&cli.flags, &program, environment)?;
    ui::Manner { verbose: settings.verbose, ..ui::Manner::default() }.set();
    let vanishing = settings.stateless.then(|| tempfile::Builder::new().prefix("vdkr-").tempdir()).transpose();
    let vanishing = vanishing.map_err(|error| Failure::new("there is no place for a state").because(&error))?;
    if let Some(folder) = &vanishing {
        settings.state_dir = folder.path().to_owned();
    }
    dispatch(&settings, &cli.command)
}

fn dispatch(settings: &Settings, command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Setup(options) => setup::run(settings, options),
        Command::Container(options) => containers::container(settings, options),
        command => containers::run(settings, command),
    }
}
