//! Runs the container images of a build for their own architecture, without root or a daemon.

mod setup;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[arg(long)]
    arch: wharf_machine::Architecture,
    #[arg(long)]
    state_dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Setup(Setup),
}

/// Options of `setup`.
#[derive(Clone, Debug, clap::Args)]
struct Setup {
    /// The kernel, in place of the distribution's
    #[arg(long, value_name = "FILE", requires = "modules")]
    kernel: Option<PathBuf>,
    /// Folder or archive of the kernel's modules
    #[arg(long, value_name = "FOLDER", requires = "kernel")]
    modules: Option<PathBuf>,
    /// The container runtime, in place of the distribution's crun
    #[arg(long, value_name = "FILE")]
    runtime: Option<PathBuf>,
    /// The guest program, in place of the one that came with this program
    #[arg(long, value_name = "FILE")]
    guest: Option<PathBuf>,
    /// Take what another setup has made
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["kernel", "modules", "runtime", "guest"])]
    from: Option<PathBuf>,
    /// Make it anew, also where it is there
    #[arg(long)]
    force: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let Command::Setup(options) = cli.command;
    let setup = setup::Setup {
        architecture: cli.arch,
        state: cli.state_dir.join(cli.arch.name()),
        from: options.from,
        kernel: options.kernel.zip(options.modules),
        runtime: options.runtime,
        guest: options.guest,
        force: options.force,
    };
    match setup::run(&setup, &mut |word, text| eprintln!("{word:<8}{text}")) {
        Ok(made) if made.changed => eprintln!("ready   {} with the kernel {}", cli.arch, made.guest.record.kernel_release),
        Ok(_) => eprintln!("already set up: {}", cli.arch),
        Err(error) => {
            eprintln!("error: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  caused by: {error}");
                cause = error.source();
            }
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
