//! `config`.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use crate::cli::Config;
use crate::config::{self, Finding, Loaded, Place, Severity, render};
use crate::settings::{Environment, Flags, Settings, SettingsError};
use crate::ui::{self, Failure};

/// Checks a file or prints the template.
pub fn run(flags: &Flags, command: &Config) -> Result<ExitCode, Failure> {
    match command {
        Config::Template => ui::print(render::template()).map(|()| ExitCode::SUCCESS),
        Config::Check { file, json } => check(flags, file.as_deref(), *json),
    }
}

fn check(flags: &Flags, file: Option<&Path>, as_json: bool) -> Result<ExitCode, Failure> {
    let environment = Environment::of_process();
    let file = file.or_else(|| environment.get(&crate::settings::CONFIG).map(Path::new));
    let (loaded, name) = match file {
        Some(file) => {
            let loaded = Settings::resolve(flags, environment.clone()).and_then(|settings| settings.config_of(file));
            (loaded.unwrap_or_else(|error| refused(&error)), file.display().to_string())
        }
        None => {
            // The same way as `start` goes, so that both refuse the same.
            let own = Settings::resolve(flags, environment).and_then(|settings| settings.own_config());
            (own.unwrap_or_else(|error| refused(&error)), "the environment".to_owned())
        }
    };
    let good = loaded.worst() < Some(Severity::Unknown);
    if as_json {
        let findings: Vec<_> = loaded.findings.iter().map(finding_json).collect();
        ui::print_json(&json!({ "file": name, "valid": good, "findings": findings }))?;
    } else {
        ui::findings(&loaded.findings, Severity::Info);
        if good {
            ui::print(format_args!("{name}: valid\n"))?;
        }
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Wrong settings as a finding.
fn refused(error: &SettingsError) -> Loaded {
    let mut message = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        message = format!("{message}: {source}");
    }
    let finding = Finding::new(Severity::Error, Place::Default, message).hint(error.hint().unwrap_or_default());
    Loaded { config: config::Config::default(), findings: vec![finding] }
}

fn finding_json(finding: &Finding) -> serde_json::Value {
    let severity = match finding.severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Unknown => "unknown",
        Severity::Error => "error",
    };
    json!({
        "severity": severity,
        "place": finding.place.to_string(),
        "message": finding.message,
        "hint": finding.hint,
    })
}
