//! How a registry is reached, and who we are to it, out of options and environment.

use std::path::{Path, PathBuf};
use std::time::Duration;

use wharf_client::{Access, Address, Credential, Credentials, CredentialsFile, Patience, Tls, Verify, from_variables};
use wharf_oci::is_there;
use wharf_pull::authorities;

use crate::cli::{AuthMode, AuthOptions};
use crate::guard;
use crate::settings::{self, Settings, SettingsError, Variable};
use crate::ui::{self, Failure};

/// The four ways to say who we are to another registry than the configured one.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// An auth file.
    pub authfile: Option<&'a Path>,
    /// A credentials file.
    pub credsfile: Option<&'a Path>,
    /// USER:PASSWORD.
    pub creds: Option<&'a str>,
    /// A registry token.
    pub token: Option<&'a str>,
}

/// How patient to be with registries.
pub fn patience(settings: &Settings) -> Result<Patience, Failure> {
    let usual = Patience::default();
    let Some(text) = settings.environment.get(&settings::STALL) else { return Ok(usual) };
    let seconds = text.parse().ok().filter(|seconds| (0.01..=86_400.0).contains(seconds));
    match seconds.map(Duration::from_secs_f64) {
        Some(stall) => Ok(Patience { stall, ..usual }),
        None => Err(Failure::new(format!("{} is `{text}`, expected a number of seconds", settings::STALL.name))),
    }
}

/// How the configured registry is reached.
pub fn of_registry(settings: &Settings, options: &AuthOptions) -> Result<Access, Failure> {
    let refused = |error: SettingsError| crate::instance::refused(&error);
    let https = settings.is_https().map_err(refused)?;
    if settings.auth && !settings.secure {
        ui::warn(&format!("{} implies {}, which is not set", settings::AUTH.name, settings::SECURE.name));
    }
    let address = Address { https, authority: settings.url.authority() };
    let credentials = match credentials(settings, options, &address.authority)? {
        Credentials::None if https => owner(settings, options, &address.authority)?,
        credentials => credentials,
    };
    let verify = match settings.environment.switch(&settings::TLS_VERIFY).map_err(refused)? {
        Some(true) => Verify::Required,
        Some(false) => Verify::Off,
        None if matches!(credentials, Credentials::None) => Verify::Lenient,
        None => Verify::Required,
    };
    let named = settings.environment.get(&settings::CA_CERT).map(Path::new);
    let own = Some(settings.storage.join("pki/ca.crt")).filter(|own| named.is_none() && is_there(own));
    let authorities =
        own.into_iter().chain(authorities(&address.authority, named).map_err(|error| Failure::of(&error))?).collect();
    let tls = Tls { verify, authorities };
    Ok(Access { address, credentials, tls, patience: patience(settings)? })
}

/// What a secure registry of this machine has left in the storage folder for its owner's commands.
fn owner(settings: &Settings, options: &AuthOptions, host: &str) -> Result<Credentials, Failure> {
    let file = guard::password_file(&settings.storage.join("auth"));
    if options.auth_mode == Some(AuthMode::None) || !is_there(&file) {
        return Ok(Credentials::None);
    }
    match std::fs::read_to_string(&file) {
        Ok(text) => {
            let user = settings.environment.get(&settings::USERNAME).unwrap_or(settings::USERNAME.default).to_owned();
            let credential = Credential::Basic { user, password: text.trim_end_matches('\n').to_owned().into() };
            Ok(Credentials::Fixed { host: host.to_owned(), credential })
        }
        // Another user of this machine has credentials of their own.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(Credentials::None),
        Err(error) => Err(Failure::new(format!("cannot read {}", file.display())).because(&error)),
    }
}

fn credentials(settings: &Settings, options: &AuthOptions, host: &str) -> Result<Credentials, Failure> {
    let variable = |variable: &Variable| settings.environment.get(variable);
    let named = [
        ("--use-home-auth", options.use_home_auth),
        ("--authfile", options.authfile.is_some()),
        ("--credsfile", options.credsfile.is_some()),
        ("--creds", options.creds.is_some()),
        ("--token", options.token.is_some()),
    ];
    let named = only_one(&named)?;
    let path = |option: &Option<PathBuf>, name: &Variable| option.clone().or_else(|| variable(name).map(PathBuf::from));
    let (authfile, credsfile) = (path(&options.authfile, &settings::AUTHFILE), path(&options.credsfile, &settings::CREDSFILE));
    let mode = match (options.auth_mode, named) {
        (Some(AuthMode::Authfile), None | Some("--authfile")) => AuthMode::Authfile,
        (Some(AuthMode::Credsfile), None | Some("--credsfile")) => AuthMode::Credsfile,
        (Some(AuthMode::Home), None | Some("--use-home-auth")) => AuthMode::Home,
        (Some(mode), None) => mode,
        (Some(mode), Some(name)) => {
            let mode = clap::ValueEnum::to_possible_value(&mode).map(|value| value.get_name().to_owned()).unwrap_or_default();
            return Err(Failure::new(format!("--auth-mode {mode} and {name} exclude each other")));
        }
        (None, Some("--use-home-auth")) => AuthMode::Home,
        (None, Some("--authfile")) => AuthMode::Authfile,
        (None, Some("--credsfile")) => AuthMode::Credsfile,
        (None, Some(_)) => {
            let given =
                Given { authfile: None, credsfile: None, creds: options.creds.as_deref(), token: options.token.as_deref() };
            return given.credentials(settings, host, "--");
        }
        (None, None) => match variable(&settings::AUTH_MODE) {
            Some(text) => <AuthMode as clap::ValueEnum>::from_str(text, true).map_err(|_| {
                Failure::new(format!("{} is `{text}`", settings::AUTH_MODE.name))
                    .hint("it is one of: none home authfile credsfile env")
            })?,
            // A file that is named is meant to be used.
            None if authfile.is_some() => AuthMode::Authfile,
            None if credsfile.is_some() => AuthMode::Credsfile,
            None => AuthMode::None,
        },
    };
    let missing = |what: &str, option: &str, name: &Variable| {
        Failure::new(format!("the mode {what} needs a file")).hint(format!("name it with {option} or {}", name.name))
    };
    match mode {
        AuthMode::None => Ok(Credentials::None),
        AuthMode::Home => Ok(Credentials::Home(environment(settings))),
        AuthMode::Authfile => {
            let file = authfile.ok_or_else(|| missing("authfile", "--authfile", &settings::AUTHFILE))?;
            Ok(Credentials::AuthFile { file, environment: environment(settings) })
        }
        AuthMode::Credsfile => {
            let file = credsfile.ok_or_else(|| missing("credsfile", "--credsfile", &settings::CREDSFILE))?;
            Ok(Credentials::Fixed { host: host.to_owned(), credential: of_file(&file)? })
        }
        AuthMode::Env => {
            let default = |name: &str| (name == settings::USERNAME.name).then_some(settings::USERNAME.default);
            let credential = from_variables(|name| settings.environment.named(name).or(default(name)).map(str::to_owned));
            let credential = credential.map_err(|error| Failure::new("no credentials in the environment").because(&error))?;
            Ok(Credentials::Fixed { host: host.to_owned(), credential })
        }
    }
}

impl Given<'_> {
    /// The credentials for `host`; `prefix` is how the options begin that were used.
    pub fn credentials(self, settings: &Settings, host: &str, prefix: &str) -> Result<Credentials, Failure> {
        let option = |name: &str| format!("{prefix}{name}");
        only_one(&[
            (option("authfile"), self.authfile.is_some()),
            (option("credsfile"), self.credsfile.is_some()),
            (option("creds"), self.creds.is_some()),
            (option("token"), self.token.is_some()),
        ])?;
        let fixed = |credential| Ok(Credentials::Fixed { host: host.to_owned(), credential });
        match self {
            Self { authfile: Some(file), .. } => {
                Ok(Credentials::AuthFile { file: file.to_owned(), environment: environment(settings) })
            }
            Self { credsfile: Some(file), .. } => fixed(of_file(file)?),
            Self { creds: Some(pair), .. } => {
                let pair = Credential::from_pair(pair);
                fixed(pair.map_err(|error| Failure::new(format!("{prefix}creds cannot be used")).because(&error))?)
            }
            Self { token: Some(token), .. } => fixed(Credential::Bearer(token.to_owned().into())),
            _ => Ok(Credentials::None),
        }
    }
}

/// The one option that was given, if any was.
fn only_one<T: AsRef<str> + Clone>(options: &[(T, bool)]) -> Result<Option<T>, Failure> {
    let given: Vec<_> = options.iter().filter(|(_, given)| *given).map(|(name, _)| name).collect();
    match given.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some((*one).clone())),
        several => {
            let names: Vec<_> = several.iter().map(|name| name.as_ref()).collect();
            Err(Failure::new(format!("{} exclude each other", names.join(" and "))))
        }
    }
}

fn of_file(file: &Path) -> Result<Credential, Failure> {
    let read = CredentialsFile::read(file);
    let read = read.map_err(|error| Failure::new(format!("no credentials in {}", file.display())).because(&error))?;
    if let Some(readable) = &read.readable {
        ui::warn(&readable.to_string());
    }
    Ok(read.credential)
}

fn environment(settings: &Settings) -> wharf_client::Environment {
    settings.environment.all().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}
