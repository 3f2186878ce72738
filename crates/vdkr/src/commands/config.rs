//! `vconfig`: settings that are kept.

use std::process::ExitCode;

use wharf_client::Environment;
use wharf_terminal::ui::{self, Failure};

use crate::cli::system::Config;
use crate::settings::{KEYS, Kept, Key};

/// Shows settings, or changes one.
pub fn run(environment: &Environment, options: &Config) -> Result<ExitCode, Failure> {
    let mut kept = Kept::load(environment)?;
    let Some(name) = &options.key else {
        let lines: String = KEYS.iter().map(|key| format!("{}={}\n", key.name(), kept.get(*key).unwrap_or_default())).collect();
        ui::print(lines)?;
        return Ok(ExitCode::SUCCESS);
    };
    let Some(key) = Key::of(name) else {
        let names: Vec<_> = KEYS.iter().map(|key| key.name()).collect();
        return Err(Failure::new(format!("Unknown setting `{name}`")).hint(format!("it is one of: {}", names.join(" "))));
    };
    match &options.value {
        _ if options.reset => {
            kept.set(key, None)?;
            ui::say(format_args!("{} is not set any more", key.name()));
        }
        Some(value) => {
            key.check(value).map_err(|why| Failure::new(format!("{} cannot be set: {why}", key.name())))?;
            kept.set(key, Some(value))?;
            ui::say(format_args!("{} is now {value}", key.name()));
        }
        None => ui::print(format_args!("{}\n", kept.get(key).unwrap_or_default()))?,
    }
    Ok(ExitCode::SUCCESS)
}
