//! One file for each command.

pub mod backup;
pub mod catalog;
pub mod check;
pub mod completions;
pub mod config;
pub mod delete;
pub mod diff;
pub mod doctor;
pub mod gc;
pub mod help;
pub mod import;
pub mod info;
pub mod inspect;
pub mod label;
pub mod launch;
pub mod list;
pub mod man;
pub mod pack;
pub mod pki;
pub mod pull;
pub mod push;
pub mod restore;
pub mod script;
pub mod serve;
pub mod start;
pub mod status;
pub mod stop;
pub mod tags;
pub mod token;
pub mod unpack;
pub mod user;

use std::process::ExitCode;

use crate::cli::{Cli, Command};
use crate::instance;
use crate::settings::{Environment, Settings};
use crate::ui::{self, Failure};

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
        Command::Check(options) => check::run(&settings()?, &options),
        Command::Backup(options) => backup::run(&settings()?, &options),
        Command::Restore(options) => restore::run(&settings()?, &options),
        Command::Push(options) => push::run(&settings()?, &options),
        Command::Pull(options) => pull::run(&settings()?, &options),
        Command::Unpack(options) => unpack::run(&options),
        Command::Pack(options) => pack::run(&settings()?, &options),
        Command::Import(options) => import::run(&settings()?, &options),
        Command::Delete(options) => delete::run(&settings()?, &options),
        Command::List(options) => list::run(&settings()?, &options),
        Command::Tags(options) => tags::run(&settings()?, &options),
        Command::Catalog(options) => catalog::run(&settings()?, &options),
        Command::Inspect(options) => inspect::run(&settings()?, &options),
        Command::Label(options) => label::run(&settings()?, &options),
        Command::Doctor(options) => doctor::run(&settings()?, &options),
        Command::Diff(options) => diff::run(&settings()?, &options),
        Command::Script(options) => script::run(&settings()?, &options),
        Command::User(command) => user::run(&settings()?, &command),
        Command::Token(command) => token::run(&settings()?, &command),
        Command::Pki(command) => pki::run(&settings()?, &command),
        Command::Config(command) => config::run(&cli.flags, &command),
        Command::Help(options) => help::run(&options),
        Command::Completions { shell } => completions::run(shell),
        Command::Man { folder } => man::run(&folder),
    }
}

/// What a command says that was called without what it is about.
fn usage_of(command: &str, example: &str) -> Result<ExitCode, Failure> {
    let mut definition = crate::cli::definition();
    definition.build();
    if let Some(command) = definition.find_subcommand_mut(command) {
        ui::usage(command.render_usage());
    }
    ui::usage(format_args!("Example: {}", example.replacen("wharf", ui::program(), 1)));
    Ok(ExitCode::FAILURE)
}
