//! `status`.

use std::process::ExitCode;

use serde_json::json;

use crate::cli::Listing;
use crate::client;
use crate::instance::Instance;
use crate::settings::Settings;
use crate::ui::{self, Failure};

/// Says whether the server runs and answers.
pub fn run(settings: &Settings, options: &Listing) -> Result<ExitCode, Failure> {
    let instance = Instance::existing(settings, options.selected.config.as_deref())?;
    let Some(holder) = instance.holder()? else {
        if options.json {
            ui::print_json(&json!({ "running": false, "storage": instance.config.storage.root }))?;
        } else {
            ui::print("Registry: not running\n")?;
        }
        return Ok(ExitCode::FAILURE);
    };
    let answer = match holder.listeners.first() {
        Some(address) => client::ping(*address).map_err(|error| error.to_string()),
        None => Err("it has not started to listen yet".to_owned()),
    };
    let url = instance.url(Some(&holder));
    if options.json {
        ui::print_json(&json!({
            "running": true,
            "pid": holder.pid,
            "url": url,
            "listeners": holder.listeners,
            "storage": instance.config.storage.root,
            "mode": instance.mode(),
            "healthy": answer.is_ok(),
            "problem": answer.as_ref().err(),
        }))?;
    } else {
        let health = match &answer {
            Ok(()) => "healthy".to_owned(),
            Err(problem) => format!("not responding ({problem})"),
        };
        ui::print(format_args!(
            "Registry: running (pid {})\n  URL:     {url}\n  Storage: {}\n  Mode:    {}\n  Health:  {health}\n",
            holder.pid,
            instance.config.storage.root.display(),
            instance.mode(),
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
