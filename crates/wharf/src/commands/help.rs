//! `help`.

use std::process::ExitCode;

use crate::cli::{self, Help};
use crate::ui::{self, Failure};

/// Prints the help of one command, or the whole.
pub fn run(options: &Help) -> Result<ExitCode, Failure> {
    let mut command = cli::definition();
    command.build();
    if options.command.is_empty() {
        ui::print(command.render_long_help())?;
        ui::print("\n")?;
        for command in command.get_subcommands_mut().filter(|command| !command.is_hide_set()) {
            let usage = command.render_usage().to_string();
            ui::print(format_args!("\n{}\n", usage.trim_start_matches("Usage: ")))?;
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set() && !argument.is_global_set()) {
                if argument.get_id() != "help" {
                    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                    ui::print(format_args!("    {argument}  {help}\n"))?;
                }
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut command = &mut command;
    for name in &options.command {
        command = match command.find_subcommand_mut(name) {
            Some(found) => found,
            None => return Err(Failure::new(format!("Unknown command `{name}`")).hint("`wharf help` lists all commands")),
        };
    }
    ui::print(command.render_long_help())?;
    Ok(ExitCode::SUCCESS)
}
