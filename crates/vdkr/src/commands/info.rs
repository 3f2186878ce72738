//! `info` and `version`.

use std::process::ExitCode;

use serde_json::{Value, json};
use wharf_terminal::ui::{self, Failure};

use crate::cli::system::Formatted;
use crate::format::Parsed;
use crate::settings::Settings;
use crate::store::Store;

fn print(format: Option<&str>, value: &Value, text: &str) -> Result<ExitCode, Failure> {
    match format {
        None | Some("") => ui::print(text)?,
        Some("json") => ui::print(format_args!("{value}\n"))?,
        Some(format) => ui::print(format_args!("{}\n", Parsed::new(format)?.render(value)?))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows what is in force.
pub fn info(settings: &Settings, options: &Formatted) -> Result<ExitCode, Failure> {
    let images = Store::of(settings).images()?.len();
    let registry = settings.registry.as_ref().map(ToString::to_string).unwrap_or_default();
    let registry = registry.trim_end_matches('/');
    let has_guest = settings.guest().is_dir();
    let value = json!({
        "Architecture": settings.arch.name(),
        "OSType": "linux",
        "Images": images,
        "DockerRootDir": settings.state(),
        "StateDir": settings.state(),
        "Registry": registry,
        "InsecureRegistries": settings.insecure,
        "MemTotal": settings.memory.bytes(),
        "NCPU": settings.cpus,
        "Guest": has_guest,
        "ServerVersion": env!("CARGO_PKG_VERSION"),
    });
    let insecure = settings.insecure.join(" ");
    let or_none = |text: &str| if text.is_empty() { "(none)".to_owned() } else { text.to_owned() };
    let text = format!(
        "Version: {}\nArchitecture: {}\nState: {}\nImages: {images}\nRegistry: {}\nInsecure Registries: {}\nMemory: {}\nCPUs: {}\nGuest: {}\n",
        env!("CARGO_PKG_VERSION"),
        settings.arch,
        settings.state().display(),
        or_none(registry),
        or_none(&insecure),
        settings.memory,
        settings.cpus,
        if has_guest { "ready" } else { "not there; `vdkr setup` makes it" },
    );
    print(options.format.as_deref(), &value, &text)
}

/// Shows versions.
pub fn version(settings: &Settings, options: &Formatted) -> Result<ExitCode, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let part = json!({"Version": version, "Os": "linux", "Arch": settings.arch.name()});
    let value = json!({"Client": part, "Server": part});
    print(options.format.as_deref(), &value, &format!("vdkr version {version}\nArchitecture: {}\n", settings.arch))
}
