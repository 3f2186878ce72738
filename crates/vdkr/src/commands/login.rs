//! `login` and `logout`: credentials in the file that docker and podman keep them in.

use std::fs;
use std::io::{self, BufRead, ErrorKind, IsTerminal, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use wharf_client::{Access, Address, Credential, Credentials, Registry, Silent, Tls, Verify};
use wharf_terminal::ui::{self, Failure};

use crate::cli::system::{Login, Logout};
use crate::reach;
use crate::settings::{Settings, home};

/// What docker calls Docker Hub in its file.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// Asks the registry whether it knows these credentials, and keeps them.
pub fn login(settings: &Settings, options: &Login) -> Result<ExitCode, Failure> {
    let host = host(settings, options.registry.as_deref());
    let user = match &options.username {
        Some(user) => user.clone(),
        None => ask("Username: ", true)?,
    };
    let password = match &options.password {
        Some(password) => {
            ui::warn("every process of this machine can read a password on the command line; --password-stdin keeps it");
            password.clone()
        }
        None if options.password_stdin => {
            let mut text = String::new();
            io::stdin()
                .lock()
                .read_to_string(&mut text)
                .map_err(|error| Failure::new("cannot read the password").because(&error))?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
        None => ask("Password: ", false)?,
    };
    if user.is_empty() || user.contains(':') || password.is_empty() {
        return Err(Failure::new("a user without a colon and a password are needed"));
    }
    check(settings, &host, &Credential::Basic { user: user.clone(), password: password.as_str().into() })?;
    let file = file(settings)?;
    change(&file, |auths| {
        auths.insert(key(&host).to_owned(), json!({"auth": STANDARD.encode(format!("{user}:{password}"))}));
        true
    })?;
    ui::detail(format_args!("the password is in {}, which only you can read", file.display()));
    ui::print("Login Succeeded\n")?;
    Ok(ExitCode::SUCCESS)
}

/// Forgets credentials.
pub fn logout(settings: &Settings, options: &Logout) -> Result<ExitCode, Failure> {
    let host = host(settings, options.registry.as_deref());
    let mut removed = false;
    let file = file(settings)?;
    if file.exists() {
        change(&file, |auths| {
            removed = auths.remove(key(&host)).is_some() | auths.remove(&host).is_some();
            removed
        })?;
    }
    match removed {
        true => ui::print(format_args!("Removing login credentials for {host}\n"))?,
        false => ui::print(format_args!("Not logged in to {host}\n"))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn host(settings: &Settings, given: Option<&str>) -> String {
    let configured = || settings.registry.as_ref().map(|registry| registry.host().to_owned());
    let named = given.map(|given| {
        let bare = given.trim_start_matches("https://").trim_start_matches("http://");
        bare.split('/').next().unwrap_or_default().to_ascii_lowercase()
    });
    named.or_else(configured).unwrap_or_else(|| "docker.io".to_owned())
}

fn key(host: &str) -> &str {
    if host == "docker.io" { DOCKER_HUB_KEY } else { host }
}

/// The file that is changed: the one given, else the one that `REGISTRY_AUTH_FILE` names, else docker's.
fn file(settings: &Settings) -> Result<PathBuf, Failure> {
    let named = settings.credentials.clone().or_else(|| settings.environment.get("REGISTRY_AUTH_FILE").map(PathBuf::from));
    if let Some(named) = named {
        return Ok(named);
    }
    match settings.environment.get("DOCKER_CONFIG") {
        Some(folder) => Ok(Path::new(folder).join("config.json")),
        None => Ok(home(&settings.environment)?.join(".docker/config.json")),
    }
}

/// Changes the logins of a file; everything else in it stays. Nothing is written when `edit` says that nothing changed.
fn change(file: &Path, edit: impl FnOnce(&mut Map<String, Value>) -> bool) -> Result<(), Failure> {
    let cannot = |error: io::Error| Failure::new(format!("cannot write {}", file.display())).because(&error);
    let unread = |error: &dyn std::error::Error| Failure::new(format!("{} cannot be used", file.display())).because(error);
    // A link is followed, so that the file it leads to is the one that changes.
    let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let mut content: Map<String, Value> = match fs::read(&file) {
        Ok(bytes) if bytes.trim_ascii().is_empty() => Map::new(),
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| unread(&error))?,
        Err(error) if error.kind() == ErrorKind::NotFound => Map::new(),
        Err(error) => return Err(unread(&error)),
    };
    let auths = content.entry("auths").or_insert_with(|| json!({}));
    let Value::Object(auths) = auths else {
        return Err(Failure::new(format!("{} cannot be used: `auths` is no object", file.display())));
    };
    if !edit(auths) {
        return Ok(());
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(cannot)?;
    let mut new = tempfile::NamedTempFile::new_in(folder).map_err(cannot)?;
    new.as_file().set_permissions(fs::Permissions::from_mode(0o600)).map_err(cannot)?;
    new.write_all(format!("{:#}\n", Value::Object(content)).as_bytes()).map_err(cannot)?;
    new.persist(&file).map_err(|error| cannot(error.error))?;
    Ok(())
}

/// Whether the registry takes the credentials.
fn check(settings: &Settings, host: &str, credential: &Credential) -> Result<(), Failure> {
    let reach = reach::to(settings, host)?;
    let authority = reach.host.clone().unwrap_or_else(|| host.to_owned());
    let verify = if reach.tls_verify == Some(false) { Verify::Off } else { Verify::Required };
    let authorities = wharf_pull::authorities(&authority, reach.ca_cert.as_deref()).map_err(|error| Failure::of(&error))?;
    let schemes: &[bool] = match (reach::is_here(host), reach.tls_verify) {
        (true, None | Some(false)) => &[false, true],
        (false, Some(false)) => &[true, false],
        _ => &[true],
    };
    reach::run(async {
        let mut told = None;
        for https in schemes {
            let access = Access {
                address: Address { https: *https, authority: authority.clone() },
                credentials: Credentials::Fixed { host: authority.clone(), credential: credential.clone() },
                tls: Tls { verify, authorities: authorities.clone() },
                patience: reach.patience.clone(),
            };
            let registry = Registry::new(access, Arc::new(Silent)).map_err(|error| reach::failure(&error))?;
            match registry.log_in().await {
                Ok(()) => return Ok(()),
                Err(error @ wharf_client::ClientError::Unauthorized { .. }) => return Err(reach::failure(&error)),
                Err(error) => told = told.or(Some(error)),
            }
        }
        Err(told.map_or_else(|| Failure::new(format!("{host} cannot be reached")), |error| reach::failure(&error)))
    })
}

/// Asks at the terminal; what is secret is not shown while it is typed.
fn ask(question: &str, shown: bool) -> Result<String, Failure> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(
            Failure::new("there is no terminal to ask at").hint("--username and --password-stdin take them from elsewhere")
        );
    }
    eprint!("{question}");
    let _ = io::stderr().flush();
    let before = rustix::termios::tcgetattr(&stdin).ok();
    if let (false, Some(before)) = (shown, &before) {
        let mut silent = before.clone();
        silent.local_modes.remove(rustix::termios::LocalModes::ECHO);
        let _ = rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Now, &silent);
    }
    let mut text = String::new();
    let read = stdin.lock().read_line(&mut text);
    if let (false, Some(before)) = (shown, &before) {
        let _ = rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Now, before);
        eprintln!();
    }
    read.map_err(|error| Failure::new("cannot read the answer").because(&error))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
