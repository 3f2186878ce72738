//! The commands and their options. Options of vdkr itself stand before the command; what follows the command belongs to it.

pub mod containers;
pub mod copied;
pub mod images;
pub mod keys;
pub mod system;
pub mod values;

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

use crate::settings::VARIABLES;
use values::{Cpus, Memory};

/// Runs container images for their own architecture, without root and without a daemon
#[derive(Debug, Parser)]
#[command(name = "vdkr", version, subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub flags: Flags,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// Architecture: x86_64 or aarch64 [default: from the program's name, VDKR_ARCH, the setting, else this machine's]
    #[arg(long, short = 'a', value_name = "ARCH")]
    pub arch: Option<String>,
    /// Folder of images, containers and virtual machines [default: ~/.vdkr, with a folder for each architecture]
    #[arg(long, value_name = "FOLDER")]
    pub state_dir: Option<PathBuf>,
    /// Named instance with a state of its own
    #[arg(long, short = 'I', value_name = "NAME")]
    pub instance: Option<String>,
    /// Use a state that vanishes with the command
    #[arg(long)]
    pub stateless: bool,
    /// Give virtual machines no network
    #[arg(long)]
    pub no_network: bool,
    /// Registry for names without one, HOST[:PORT][/NAMESPACE]
    #[arg(long, value_name = "REGISTRY")]
    pub registry: Option<String>,
    /// Registry that may speak plain HTTP, or have a certificate nobody vouches for; may be repeated
    #[arg(long = "insecure-registry", value_name = "HOST[:PORT]")]
    pub insecure_registries: Vec<String>,
    /// File with credentials of docker login or podman login
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Memory of a virtual machine, such as 512m or 2g
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Memory>,
    /// Processors of a virtual machine
    #[arg(long, value_name = "NUMBER")]
    pub cpus: Option<Cpus>,
    /// Seconds after which a virtual machine that does not start is given up
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// Say more
    #[arg(long, short)]
    pub verbose: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fetch an image from a registry
    Pull(images::Pull),
    /// Send an image to a registry
    Push(images::Push),
    /// List images
    Images(images::List),
    /// Manage images
    #[command(subcommand)]
    Image(images::Image),
    /// Show everything about images or containers, as JSON
    Inspect(images::Inspect),
    /// Show the steps that made an image
    History(images::History),
    /// Give an image another name
    Tag(images::Tag),
    /// Remove images
    Rmi(images::Remove),
    /// Write images into an archive
    Save(images::Save),
    /// Read images from an archive
    Load(images::Load),
    /// Make an image of a root file system's archive
    Import(images::Import),
    /// Take in an OCI layout, an archive, or a folder with a root file system
    Vimport(images::Vimport),
    /// Log in to a registry
    Login(system::Login),
    /// Log out of a registry
    Logout(system::Logout),
    /// Show the state of this installation
    Info(system::Formatted),
    /// Show versions
    Version(system::Formatted),
    /// Look at the space that is taken, and free it
    #[command(subcommand)]
    System(system::System),
    /// Look at the state folder
    #[command(subcommand)]
    Vstorage(system::Storage),
    /// Remove the state of this architecture: images, containers and virtual machines
    Clean(system::Clean),
    /// Show or change a setting
    Vconfig(system::Config),
    /// Make kernel and guest for virtual machines
    Setup(system::Setup),
    /// Run a program in a new container
    Run(containers::Run),
    /// Run a program in a new container, without the image's entry point
    Vrun(containers::Run),
    /// Make a container without starting it
    Create(containers::Create),
    /// Run a shell in a new container, or in one that runs
    Vshell(containers::Shell),
    /// Run a program in a container that runs
    Exec(containers::Exec),
    /// List containers
    Ps(containers::Ps),
    /// Show what a container wrote
    Logs(containers::Logs),
    /// Start containers
    Start(containers::Start),
    /// Stop containers
    Stop(containers::Stop),
    /// Stop containers and start them again
    Restart(containers::Stop),
    /// Send a signal to containers
    Kill(containers::Kill),
    /// Halt all processes of containers
    Pause(containers::Names),
    /// Let halted containers go on
    Unpause(containers::Names),
    /// Remove containers
    Rm(containers::Remove),
    /// Wait until containers end, and print their exit codes
    Wait(containers::Names),
    /// Be the terminal, or the streams, of a container that runs
    Attach(containers::Attach),
    /// Copy files between a container and this machine
    Cp(containers::Copy),
    /// List the published ports of a container
    Port(containers::PortOf),
    /// List the processes of a container
    Top(containers::Top),
    /// Make an image of a container's changes
    Commit(containers::Commit),
    /// Manage containers
    #[command(subcommand)]
    Container(containers::Container),
    /// Keep a virtual machine ready
    #[command(subcommand)]
    Memres(containers::Memres),
}

impl Command {
    /// Whether the exit code is that of a program in a container.
    pub fn runs_a_program(&self) -> bool {
        matches!(self, Self::Run(_) | Self::Vrun(_) | Self::Exec(_) | Self::Vshell(_))
    }
}

/// The command of these words, the program's name first.
///
/// # Errors
/// Words that are no command.
pub fn parse(words: &[std::ffi::OsString]) -> Result<Command, wharf_terminal::ui::Failure> {
    let parsed =
        definition().try_get_matches_from(words).and_then(|matches| <Cli as clap::FromArgMatches>::from_arg_matches(&matches));
    parsed.map(|cli| cli.command).map_err(|error| wharf_terminal::ui::Failure::new(error.to_string()))
}

/// The command line as clap knows it.
pub fn definition() -> clap::Command {
    let mut text = String::from("Environment:\n");
    for (name, doc) in VARIABLES {
        text.push_str(&format!("  {name}\n          {doc}\n"));
    }
    text.push_str(
        "\nExit codes: 0 when done, 1 when not; of a container those of its program, and 125 when it could not be started.",
    );
    Cli::command().after_long_help(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&str]) -> Cli {
        Cli::try_parse_from(std::iter::once("vdkr").chain(line.iter().copied())).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn the_definition_is_sound() {
        definition().debug_assert();
    }

    #[test]
    fn what_follows_the_image_is_the_programs() {
        let cli = parse(&[
            "--arch",
            "aarch64",
            "run",
            "-it",
            "--rm",
            "-e",
            "A=b",
            "alpine",
            "sh",
            "-c",
            "x",
            "--help",
            "--",
            "-v",
            "--registry",
        ]);
        assert_eq!(cli.flags.arch.as_deref(), Some("aarch64"));
        let Command::Run(run) = cli.command else { panic!("{:?}", cli.command) };
        assert_eq!(run.create.image(), "alpine");
        assert_eq!(run.create.arguments(), ["sh", "-c", "x", "--help", "--", "-v", "--registry"]);
        assert!(run.create.process.interactive && run.create.process.tty && run.create.rm);
    }

    #[test]
    fn an_option_right_after_the_image_is_the_programs() {
        for option in ["--help", "-h", "--version", "--rm", "-it"] {
            let Command::Run(run) = parse(&["run", "alpine", option]).command else { panic!("{option}") };
            assert_eq!(run.create.arguments(), [option]);
            assert!(!run.create.rm && !run.create.process.tty);
        }
        let Command::Exec(exec) = parse(&["exec", "c", "ls", "-l"]).command else { panic!("exec") };
        assert_eq!((exec.container().to_str(), exec.arguments().len()), (Some("c"), 2));
    }

    #[test]
    fn the_usual_short_forms_work() {
        let line = [
            "run",
            "-d",
            "-p",
            "127.0.0.1:8080:80/tcp",
            "-v",
            "/a:/b:ro",
            "-m",
            "256m",
            "-h",
            "host",
            "-w",
            "/x",
            "-u",
            "1:2",
            "i",
        ];
        let Command::Run(run) = parse(&line).command else { panic!("run") };
        assert!(run.detach);
        assert_eq!(run.create.memory.map(Memory::bytes), Some(256 << 20));
        assert_eq!((run.create.hostname.as_deref(), run.create.process.user.as_deref()), (Some("host"), Some("1:2")));
        assert!(run.create.volumes[0].read_only);
        assert_eq!(run.create.ports[0].guest, 80);
    }
}
