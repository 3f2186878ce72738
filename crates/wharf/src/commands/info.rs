//! `info`.

use std::process::ExitCode;

use serde_json::{Map, Value, json};
use wharf_store::lock::State;

use crate::cli::Listing;
use crate::config::{check, render};
use crate::instance::Instance;
use crate::settings::Settings;
use crate::ui::{self, Failure};

/// Shows the configuration in force.
pub fn run(settings: &Settings, options: &Listing) -> Result<ExitCode, Failure> {
    let instance = Instance::existing(settings, options.selected.config.as_deref())?;
    let holder = instance.holder()?;
    let config = &instance.config;
    let root = &config.storage.root;
    let index = root.join("index.sqlite");
    let url = instance.url(holder.as_ref());
    let authority = config.http.own_pki().map(|(pki, _)| pki.path(wharf_pki::AUTHORITY));
    let version = env!("CARGO_PKG_VERSION");
    if options.json {
        let keys: Map<String, Value> =
            check::honoured().map(|key| (key.path.to_owned(), config.values().get(key.path).shown().to_json())).collect();
        ui::print_json(&json!({
            "storage": root,
            "url": url,
            "mode": instance.mode(),
            "running": holder.is_some_and(|holder| matches!(holder.state, State::Starting | State::Serving)),
            "config_file": instance.file,
            "log_file": instance.log_file(),
            "pki": authority,
            "index": { "kind": "sqlite", "file": index },
            "version": version,
            "config": keys,
        }))?;
    } else {
        let file = instance.file.as_ref().map_or("none, the defaults".to_owned(), |file| file.display().to_string());
        let pki = match (&authority, config.http.shown()) {
            (Some(authority), _) => format!("own authority, {}", authority.display()),
            (None, Some(given)) => format!("given certificate, {}", given.display()),
            (None, None) => "none".to_owned(),
        };
        ui::print(format_args!(
            "Storage: {}\nURL:     {url}\nMode:    {}\nPKI:     {pki}\nIndex:   SQLite, {}\nConfig:  {file}\nLog:     {}\nVersion: wharf {version}\n\n{}",
            root.display(),
            instance.mode(),
            index.display(),
            instance.log_file().display(),
            render::in_force(&config.values().shown(), ""),
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
