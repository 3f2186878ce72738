//! Options of the commands about this installation.

use std::path::PathBuf;

use clap::Subcommand;

/// Options of `login`.
#[derive(Clone, Debug, clap::Args)]
pub struct Login {
    /// The user
    #[arg(long, short, value_name = "USER")]
    pub username: Option<String>,
    /// The password, which every process of the machine can read here; better typed, or through --password-stdin
    #[arg(long, short, value_name = "PASSWORD", conflicts_with = "password_stdin")]
    pub password: Option<String>,
    /// Read the password from standard input
    #[arg(long, requires = "username")]
    pub password_stdin: bool,
    /// The registry [default: the configured one, else Docker Hub]
    #[arg(value_name = "HOST[:PORT]")]
    pub registry: Option<String>,
}

/// Options of `logout`.
#[derive(Clone, Debug, clap::Args)]
pub struct Logout {
    /// The registry [default: the configured one, else Docker Hub]
    #[arg(value_name = "HOST[:PORT]")]
    pub registry: Option<String>,
}

/// Options of `info` and `version`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Formatted {
    /// `json`, or a template of Go
    #[arg(long, short, value_name = "FORMAT")]
    pub format: Option<String>,
}

/// Commands of `system`.
#[derive(Clone, Debug, Subcommand)]
pub enum System {
    /// Show the space that is taken
    Df(Df),
    /// Remove what is not used
    Prune(super::images::Prune),
    /// Show the state of this installation
    Info(Formatted),
}

/// Options of `system df`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Df {
    /// One line for each image
    #[arg(long, short)]
    pub verbose: bool,
    /// `table`, `json`, or a template of Go
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}

/// Commands of `vstorage`.
#[derive(Clone, Debug, Subcommand)]
pub enum Storage {
    /// List the states of all architectures and instances
    List,
    /// Print the path of this state
    Path,
    /// Show the space that this state takes
    Df,
    /// Remove it
    Clean(super::images::Confirmed),
}

/// Options of `clean`.
#[derive(Clone, Debug, clap::Args)]
pub struct Clean {
    /// Whether to go ahead.
    #[command(flatten)]
    pub confirmed: super::images::Confirmed,
}

/// Options of `vconfig`.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// The setting [default: all]
    #[arg(value_name = "KEY")]
    pub key: Option<String>,
    /// Its new value
    #[arg(value_name = "VALUE", conflicts_with = "reset", allow_hyphen_values = true)]
    pub value: Option<String>,
    /// Forget the value that was kept
    #[arg(long, requires = "key")]
    pub reset: bool,
}

/// Options of `setup`.
#[derive(Clone, Debug, clap::Args)]
pub struct Setup {
    /// The kernel, in place of the distribution's
    #[arg(long, value_name = "FILE", requires = "modules")]
    pub kernel: Option<PathBuf>,
    /// Folder of the kernel's modules, or the archive that a build made of it
    #[arg(long, value_name = "FOLDER", requires = "kernel")]
    pub modules: Option<PathBuf>,
    /// The guest program, in place of the one that came with this program
    #[arg(long, value_name = "FILE")]
    pub guest: Option<PathBuf>,
    /// Take what another setup has made
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["kernel", "modules", "guest"])]
    pub from: Option<PathBuf>,
    /// Make it anew, also where it is there
    #[arg(long)]
    pub force: bool,
}
