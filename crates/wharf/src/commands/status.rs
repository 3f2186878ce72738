//! `status`.

use std::process::ExitCode;

use serde_json::json;
use wharf_store::lock::{Holder, State};

use crate::cli::Listing;
use crate::control;
use crate::instance::Instance;
use crate::settings::Settings;
use crate::ui::{self, Failure};

/// Says whether the server runs and answers.
pub fn run(settings: &Settings, options: &Listing) -> Result<ExitCode, Failure> {
    let instance = Instance::existing(settings, options.selected.config.as_deref())?;
    let holder = match instance.holder()? {
        Some(holder) if matches!(holder.state, State::Starting | State::Serving) => holder,
        other => return not_running(&instance, other.as_ref(), options.json),
    };
    let answer = match holder.listeners.first() {
        Some(address) => control::ping(*address, instance.config.http.shown().as_deref()).map_err(|error| error.to_string()),
        None => Err("it has not started to listen yet".to_owned()),
    };
    let url = instance.url(Some(&holder));
    if options.json {
        ui::print_json(&json!({
            "running": true,
            "state": holder.state,
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

/// Nobody is answered; but somebody may use the storage.
fn not_running(instance: &Instance, holder: Option<&Holder>, as_json: bool) -> Result<ExitCode, Failure> {
    let (state, pid) = (holder.map(|holder| holder.state), holder.map(|holder| holder.pid));
    if as_json {
        let storage = &instance.config.storage.root;
        ui::print_json(&json!({ "running": false, "state": state, "pid": pid, "storage": storage }))?;
    } else {
        let pid = pid.unwrap_or_default();
        ui::print(match state.map(State::upkeep) {
            Some(Some(work)) => format!("Registry: not running; a {work} is under way (pid {pid})\n"),
            Some(None) => format!("Registry: stopping (pid {pid})\n"),
            None => "Registry: not running\n".to_owned(),
        })?;
    }
    Ok(ExitCode::FAILURE)
}
