//! Options of the commands about containers.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::{ArgAction, Subcommand};

use super::copied::Side;
use super::keys::DetachKeys;
use super::values::{Cpus, Memory, Network, Port, Variable, Volume};

/// How a program runs, the first one of a container or another.
#[derive(Clone, Debug, clap::Args)]
pub struct Process {
    /// Keep standard input open
    #[arg(long, short)]
    pub interactive: bool,
    /// Give it a terminal
    #[arg(long, short)]
    pub tty: bool,
    /// Variable of its environment, NAME=VALUE, or NAME for the one here; may be repeated
    #[arg(long = "env", short = 'e', value_name = "NAME[=VALUE]", allow_hyphen_values = true)]
    pub variables: Vec<Variable>,
    /// File of lines NAME=VALUE; may be repeated
    #[arg(long = "env-file", value_name = "FILE")]
    pub variable_files: Vec<PathBuf>,
    /// Folder that the program starts in
    #[arg(long, short, value_name = "FOLDER")]
    pub workdir: Option<PathBuf>,
    /// User that the program runs as, NAME|UID[:GROUP|GID]
    #[arg(long, short, value_name = "USER")]
    pub user: Option<String>,
}

/// What a container is made with.
#[derive(Clone, Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Create {
    /// How the program runs.
    #[command(flatten)]
    pub process: Process,
    /// Remove it when it ends
    #[arg(long)]
    pub rm: bool,
    /// Name of the container
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Program in place of the image's entry point; empty for none
    #[arg(long, value_name = "PROGRAM", allow_hyphen_values = true)]
    pub entrypoint: Option<OsString>,
    /// Name of the machine that it sees
    #[arg(long, short = 'h', value_name = "NAME")]
    pub hostname: Option<String>,
    /// Folder or file of this machine, HOST:GUEST[:ro]; may be repeated
    #[arg(long = "volume", short = 'v', value_name = "HOST:GUEST[:ro]")]
    pub volumes: Vec<Volume>,
    /// Port of this machine that leads to one of the container, on the loopback unless an address is given; may be repeated
    #[arg(long = "publish", short = 'p', value_name = "[[ADDRESS:]PORT:]PORT[/PROTOCOL]")]
    pub ports: Vec<Port>,
    /// Network of the container
    #[arg(long, alias = "net", value_enum, value_name = "NETWORK", default_value = "host")]
    pub network: Network,
    /// Memory that it may use
    #[arg(long, short, value_name = "SIZE")]
    pub memory: Option<Memory>,
    /// Processors that it may use
    #[arg(long, value_name = "NUMBER")]
    pub cpus: Option<Cpus>,
    /// Make its root file system read-only
    #[arg(long)]
    pub read_only: bool,
    /// File system in memory, PATH[:OPTIONS]; may be repeated
    #[arg(long, value_name = "PATH[:OPTIONS]")]
    pub tmpfs: Vec<String>,
    /// Capability that it gets besides the usual ones; may be repeated
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_add: Vec<String>,
    /// Capability that it does not get; may be repeated
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_drop: Vec<String>,
    /// Give it all capabilities and devices
    #[arg(long)]
    pub privileged: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    // One list: whatever follows the image belongs to the program, and a parser that looked for options of its own there would take them away.
    /// The image, and the program with its arguments in place of the image's own
    #[arg(required = true, trailing_var_arg = true, value_names = ["IMAGE", "ARGUMENT"])]
    image_and_arguments: Vec<OsString>,
}

impl Create {
    /// The image, as it was named.
    pub fn image(&self) -> &OsStr {
        self.image_and_arguments.first().map_or(OsStr::new(""), OsString::as_os_str)
    }

    /// What stands after it.
    pub fn arguments(&self) -> &[OsString] {
        self.image_and_arguments.get(1..).unwrap_or_default()
    }
}

/// How a terminal is left to itself.
#[derive(Clone, Debug, clap::Args)]
pub struct Detaching {
    /// Keys that leave it to itself, when it has a terminal [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    pub detach_keys: Option<DetachKeys>,
}

/// Options of `attach`.
#[derive(Clone, Debug, clap::Args)]
pub struct Attach {
    /// How it is left to itself.
    #[command(flatten)]
    pub detaching: Detaching,
    /// Do not hand standard input on
    #[arg(long)]
    pub no_stdin: bool,
    /// Hand signals on
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub sig_proxy: bool,
    /// The container
    pub container: String,
}

/// Options of `run` and `vrun`.
#[derive(Clone, Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Run {
    /// Let it run in the background and print its ID
    #[arg(long, short)]
    pub detach: bool,
    /// How it is left to itself.
    #[command(flatten)]
    pub detaching: Detaching,
    /// The container.
    #[command(flatten)]
    pub create: Create,
}

/// Options of `vshell`.
#[derive(Clone, Debug, clap::Args)]
pub struct Shell {
    /// A container that runs, or an image [default: the one container that runs]
    #[arg(value_name = "CONTAINER|IMAGE")]
    pub target: Option<String>,
}

/// Options of `exec`.
#[derive(Clone, Debug, clap::Args)]
pub struct Exec {
    /// Let it run in the background
    #[arg(long, short)]
    pub detach: bool,
    /// How it is left to itself.
    #[command(flatten)]
    pub detaching: Detaching,
    /// How the program runs.
    #[command(flatten)]
    pub process: Process,
    /// Give it all capabilities
    #[arg(long)]
    pub privileged: bool,
    /// The container, and the program with its arguments
    #[arg(required = true, num_args = 2.., trailing_var_arg = true, value_names = ["CONTAINER", "PROGRAM"])]
    container_and_arguments: Vec<OsString>,
}

impl Exec {
    /// The container, as it was named.
    pub fn container(&self) -> &OsStr {
        self.container_and_arguments.first().map_or(OsStr::new(""), OsString::as_os_str)
    }

    /// The program and its arguments.
    pub fn arguments(&self) -> &[OsString] {
        self.container_and_arguments.get(1..).unwrap_or_default()
    }
}

/// Options of `ps`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Ps {
    /// Also those that do not run
    #[arg(long, short)]
    pub all: bool,
    /// Only IDs
    #[arg(long, short)]
    pub quiet: bool,
    /// Print IDs and commands whole
    #[arg(long)]
    pub no_trunc: bool,
    /// Only the last one that was made
    #[arg(long, short)]
    pub latest: bool,
    /// Condition, such as name=NAME, status=running, ancestor=IMAGE; may be repeated
    #[arg(long, short, value_name = "KEY=VALUE")]
    pub filter: Vec<String>,
    /// `table`, `json`, or a template of Go
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}

/// Options of `logs`.
#[derive(Clone, Debug, clap::Args)]
pub struct Logs {
    /// Go on with what is still to come
    #[arg(long, short)]
    pub follow: bool,
    /// Only the last lines: a number, or `all`
    #[arg(long, short = 'n', value_name = "LINES", default_value = "all")]
    pub tail: String,
    /// Print the time of each line
    #[arg(long, short)]
    pub timestamps: bool,
    /// The container
    pub container: String,
}

/// Options of `start`.
#[derive(Clone, Debug, clap::Args)]
pub struct Start {
    /// Show what it writes, and end with its exit code
    #[arg(long, short)]
    pub attach: bool,
    /// Hand standard input on
    #[arg(long, short)]
    pub interactive: bool,
    /// How it is left to itself.
    #[command(flatten)]
    pub detaching: Detaching,
    /// The containers
    #[arg(required = true)]
    pub containers: Vec<String>,
}

/// Options of `stop` and `restart`.
#[derive(Clone, Debug, clap::Args)]
pub struct Stop {
    /// Seconds to wait before it is killed
    #[arg(long, short, alias = "timeout", value_name = "SECONDS", default_value_t = 10)]
    pub time: u64,
    /// The containers
    #[arg(required = true)]
    pub containers: Vec<String>,
}

/// Options of `kill`.
#[derive(Clone, Debug, clap::Args)]
pub struct Kill {
    /// The signal
    #[arg(long, short, value_name = "SIGNAL", default_value = "KILL")]
    pub signal: String,
    /// The containers
    #[arg(required = true)]
    pub containers: Vec<String>,
}

/// Containers.
#[derive(Clone, Debug, clap::Args)]
pub struct Names {
    /// The containers
    #[arg(required = true)]
    pub containers: Vec<String>,
}

/// Options of `rm`.
#[derive(Clone, Debug, clap::Args)]
pub struct Remove {
    /// Kill those that run
    #[arg(long, short)]
    pub force: bool,
    /// Also remove their volumes, of which there are none
    #[arg(long, short)]
    pub volumes: bool,
    /// The containers
    #[arg(required = true)]
    pub containers: Vec<String>,
}

/// Options of `cp`.
#[derive(Clone, Debug, clap::Args)]
pub struct Copy {
    /// Keep owners
    #[arg(long, short)]
    pub archive: bool,
    /// What a link in the source leads to, in place of the link
    #[arg(long, short = 'L')]
    pub follow_link: bool,
    /// Do not say what was copied
    #[arg(long, short)]
    pub quiet: bool,
    /// CONTAINER:PATH, a path here, or `-` for an archive on standard input
    #[arg(value_name = "SOURCE")]
    pub source: Side,
    /// CONTAINER:PATH, a path here, or `-` for an archive on standard output
    #[arg(value_name = "DESTINATION")]
    pub destination: Side,
}

/// Options of `port`.
#[derive(Clone, Debug, clap::Args)]
pub struct PortOf {
    /// The container
    pub container: String,
    /// One of its ports, PORT[/PROTOCOL]
    pub port: Option<String>,
}

/// Options of `top`.
#[derive(Clone, Debug, clap::Args)]
pub struct Top {
    /// The container, and options of ps
    #[arg(required = true, trailing_var_arg = true, value_names = ["CONTAINER", "OPTION"])]
    container_and_options: Vec<String>,
}

impl Top {
    /// The container.
    pub fn container(&self) -> &str {
        self.container_and_options.first().map_or("", String::as_str)
    }
}

/// Options of `commit`.
#[derive(Clone, Debug, clap::Args)]
pub struct Commit {
    /// Who made the image
    #[arg(long, short, value_name = "AUTHOR")]
    pub author: Option<String>,
    /// What was changed
    #[arg(long, short, value_name = "TEXT")]
    pub message: Option<String>,
    /// Change of the configuration, such as `CMD ["sh"]`; may be repeated
    #[arg(long, short, value_name = "INSTRUCTION")]
    pub change: Vec<String>,
    /// Halt it meanwhile
    #[arg(long, short, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub pause: bool,
    /// The container
    pub container: String,
    /// Name of the image
    #[arg(value_name = "NAME[:TAG]")]
    pub name: Option<String>,
}

/// Commands of `container`.
#[derive(Clone, Debug, Subcommand)]
pub enum Container {
    /// List containers
    #[command(alias = "list", alias = "ps")]
    Ls(Ps),
    /// Show everything about containers, as JSON
    Inspect(super::images::Inspect),
    /// Remove containers
    Rm(Remove),
    /// Remove all containers that do not run
    Prune(super::images::Confirmed),
}

/// Commands of `memres`.
#[derive(Clone, Debug, Subcommand)]
pub enum Memres {
    /// Keep a virtual machine ready
    Start,
    /// Keep none any more
    Stop,
    /// Replace the one that is kept
    Restart,
    /// Say whether one is ready; exit code 1 when not
    Status,
    /// List those of all instances
    List,
}
