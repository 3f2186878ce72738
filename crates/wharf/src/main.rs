//! The `wharf` command: a container registry that is started, watched and stopped with one program.

mod access;
mod audit;
mod automatic_labels;
mod cli;
mod commands;
mod config;
mod control;
mod discovery;
mod guard;
mod image_name;
mod instance;
mod layout_image;
mod layout_path;
mod listen;
mod logging;
mod notify;
mod nouns;
mod origin;
mod picture;
mod ports;
mod remote;
mod rewrite;
mod sandbox;
mod secrets;
mod settings;
mod storage;
mod summary;
mod tls;
mod ui;
mod upstreams;
mod url;

use std::process::ExitCode;

use clap::FromArgMatches;
use clap::error::{ContextValue, ErrorKind};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let script = std::env::var_os("WHARF_MESSAGES").is_some_and(|value| value == "stdout");
    ui::Manner { script, ..ui::Manner::default() }.set();
    let arguments = secrets::taken_off_the_command_line();
    let parsed = cli::definition().try_get_matches_from(arguments).and_then(|matches| cli::Cli::from_arg_matches(&matches));
    let result = match parsed {
        Ok(cli) => {
            ui::Manner { script, data: cli.is_data(), quiet: cli.flags.quiet, verbose: cli.flags.verbose }.set();
            commands::run(cli)
        }
        Err(error) => wrong_usage(&error),
    };
    match result {
        Ok(code) => code,
        Err(ui::Failure::BrokenPipe) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            ExitCode::FAILURE
        }
    }
}

/// Help and version are results; everything else that the command line's parser says is an error with exit code 1.
fn wrong_usage(error: &clap::Error) -> Result<ExitCode, ui::Failure> {
    let text = error.render();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            ui::print(text)?;
            return Ok(ExitCode::SUCCESS);
        }
        ErrorKind::InvalidSubcommand => {
            let name = error.get(clap::error::ContextKind::InvalidSubcommand);
            let failure = ui::Failure::new(format!("Unknown command `{}`", name.map(ToString::to_string).unwrap_or_default()));
            match error.get(clap::error::ContextKind::SuggestedSubcommand) {
                Some(ContextValue::Strings(names)) if !names.is_empty() => {
                    failure.hint(format!("a similar command is `{}`", names.join("` or `"))).report();
                }
                _ => failure.report(),
            }
            ui::usage("");
            ui::usage(cli::definition().render_help());
        }
        _ => ui::usage(text.to_string().trim_end()),
    }
    Ok(ExitCode::FAILURE)
}
