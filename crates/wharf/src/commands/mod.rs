//! One file for each command.

pub mod completions;
pub mod config;
pub mod gc;
pub mod help;
pub mod info;
pub mod launch;
pub mod man;
pub mod serve;
pub mod start;
pub mod status;
pub mod stop;

use std::process::ExitCode;

use crate::cli::{Cli, Command};
use crate::instance;
use crate::settings::{Environment, Settings};
use crate::ui::Failure;

/// Runs a command.
pub fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let settings = || Settings::resolve(&cli.flags, Environment::of_process()).map_err(|error| instance::refused(&error));
    match cli.command {
        Command::Start(selected) => start::run(&settings()?, selected.config.as_deref()),
        Command::Stop(options) => stop::run(&settings()?, &options),
        Command::Status(options) => status::run(&settings()?, &options),
        Command::Info(options) => info::run(&settings()?, &options),
        Command::Serve(options) => launch::run(&settings()?, &options),
        Command::Gc(options) => gc::run(&settings()?, &options),
        Command::Config(command) => config::run(&cli.flags, &command),
        Command::Help(options) => help::run(&options),
        Command::Completions { shell } => completions::run(shell),
        Command::Man { folder } => man::run(&folder),
    }
}
