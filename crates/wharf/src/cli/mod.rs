//! The commands and their options. Help, completions and man pages all come from here.

mod diff;
mod doctor;
mod inspect;
mod label;
mod pack;
mod pki;
mod pull;
mod remote;
mod unpack;
mod upkeep;
mod user;

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

pub use diff::Diff;
pub use doctor::Doctor;
pub use inspect::Inspect;
pub use label::{Automatic, Label};
pub use pack::{Compression, Execution, Pack};
pub use pki::Pki;
pub use pull::Pull;
pub use remote::{AuthMode, AuthOptions, Catalog, Delete, Import, List, Push, Script, SourceOptions, Tags};
pub use unpack::Unpack;
pub use upkeep::{Backup, Check, Restore};
pub use user::{Expiry, NewPassword, Token, User};

use crate::settings::{Flags, VARIABLES};

/// A container registry for Yocto and OpenEmbedded builds
#[derive(Debug, Parser)]
#[command(name = "wharf", version, subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub flags: Flags,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Whether standard output is to be read by a program.
    pub fn is_data(&self) -> bool {
        match &self.command {
            Command::Catalog(_) => true,
            Command::Push(options) => options.json,
            Command::List(options) => options.json,
            Command::Tags(options) => options.json,
            Command::Diff(options) => options.json,
            Command::Doctor(options) => options.json,
            Command::Status(options) | Command::Info(options) => options.json,
            Command::Gc(options) => options.json,
            Command::Check(options) => options.json,
            Command::Backup(options) => options.json,
            Command::Restore(options) => options.json,
            Command::Inspect(options) => options.json || options.raw || options.config,
            Command::Config(Config::Check { json, .. }) => *json,
            Command::Pki(Pki::Show(options)) | Command::User(User::List(options)) | Command::Token(Token::List(options)) => {
                options.json
            }
            Command::Token(Token::Create { .. }) => true,
            Command::Pki(Pki::Export { file, .. }) => file.is_none(),
            Command::Config(Config::Template) | Command::Completions { .. } => true,
            _ => false,
        }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the registry in the background and return when it answers
    Start(Selected),
    /// Ask the registry to finish what it is doing and to stop
    Stop(Stop),
    /// Say whether the registry runs and answers; exit code 1 when it does not run
    Status(Listing),
    /// Push the images that a build made, or those named
    Push(Push),
    /// Pull an image into an OCI layout; of a newer version only what changed is fetched
    Pull(Pull),
    /// Copy an image of another registry into this one, for all platforms
    Import(Import),
    /// Remove a tag, or a manifest with its tags
    Delete(Delete),
    /// List all images with their tags
    List(List),
    /// List the tags of an image
    Tags(Tags),
    /// Print the names of all images, as JSON
    Catalog(Catalog),
    /// Show an image: platforms, size, layers, labels, how it is run
    Inspect(Inspect),
    /// Put labels on the images of a layout, and take them off
    Label(Label),
    /// Make an image of a root file system, in an OCI layout
    Pack(Box<Pack>),
    /// Lay an image of a layout out as a root file system
    Unpack(Unpack),
    /// Show what changed between two images: configuration, packages, files, and what an update costs
    Diff(Diff),
    /// Remove what nothing refers to any more, while the registry runs or not
    Gc(Gc),
    /// Hold everything that is stored against its digests and the index; exit code 1 when something is wrong
    Check(Check),
    /// Save everything that is stored into a folder, while the registry runs or not; the next time only what is new
    Backup(Backup),
    /// Bring a backup back into a storage folder that holds nothing
    Restore(Restore),
    /// Check what is between this machine and a registry, and say how to mend it; exit code 1 when there is a problem
    Doctor(Doctor),
    /// Show the configuration in force
    Info(Listing),
    /// Run the registry in the foreground
    Serve(Serve),
    /// Add, change, list or remove users of a registry that asks for credentials
    #[command(subcommand)]
    User(User),
    /// Make, list or take back tokens: what programs log in with, for less than all that their user may do
    #[command(subcommand)]
    Token(Token),
    /// Show, renew or hand out the registry's own certificates
    #[command(subcommand)]
    Pki(Pki),
    /// Write container-registry.sh, which runs these commands with the settings of this build
    Script(Script),
    /// Check a configuration file, or print a commented one
    #[command(subcommand)]
    Config(Config),
    /// Show all commands and options
    Help(Help),
    /// Print the completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the man pages into a folder
    #[command(hide = true)]
    Man {
        /// The folder, which must exist
        folder: PathBuf,
    },
}

/// Which registry.
#[derive(Debug, clap::Args)]
pub struct Selected {
    /// Configuration file in the format of CNCF distribution
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Options of `stop`.
#[derive(Debug, clap::Args)]
pub struct Stop {
    /// Which registry.
    #[command(flatten)]
    pub selected: Selected,
    /// End it at once with SIGKILL, without finishing requests in flight; what was acknowledged stays
    #[arg(long)]
    pub force: bool,
}

/// Which registry, and in which form.
#[derive(Debug, clap::Args)]
pub struct Listing {
    /// Which registry.
    #[command(flatten)]
    pub selected: Selected,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of `serve`.
#[derive(Debug, clap::Args)]
pub struct Serve {
    /// Configuration file in the format of CNCF distribution [default: storage folder and address from the options]
    #[arg(value_name = "CONFIG")]
    pub file: Option<PathBuf>,
    /// The same, as `start` takes it
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub config: Option<PathBuf>,
    /// Leave the terminal; standard output and standard error are this log file already. `start` uses it
    #[arg(long, hide = true, value_name = "LOG")]
    pub detached: Option<PathBuf>,
}

/// Options of `gc`.
#[derive(Debug, clap::Args)]
pub struct Gc {
    /// Which registry.
    #[command(flatten)]
    pub selected: Selected,
    /// Only tell what would be removed, and what is held until when
    #[arg(long)]
    pub dry_run: bool,
    /// Do not wait for the grace of what lost its last tag; what a push in progress needs stays all the same
    #[arg(long)]
    pub now: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What to do with configuration files.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// List everything that is wrong with a file; exit code 1 when the registry would not start with it, or does not know a key
    Check {
        /// The file [default: what the environment alone configures]
        file: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print every key with its meaning and its default
    Template,
}

/// Options of `help`.
#[derive(Debug, clap::Args)]
pub struct Help {
    /// A command to explain [default: all]
    pub command: Vec<String>,
}

/// The commands with the variables in the long help.
pub fn definition() -> clap::Command {
    let mut text = String::from("Environment:\n");
    for variable in VARIABLES {
        let default = match variable.default {
            "" => String::new(),
            default => format!(" [default: {default}]"),
        };
        text.push_str(&format!("  {}\n          {}{default}\n", variable.name, variable.doc));
    }
    text.push_str("  REGISTRY_…\n          overrides one key of the configuration, see `wharf config template`\n");
    text.push_str("\nExit codes: 0 when done, 1 when not.");
    Cli::command().after_long_help(text)
}
