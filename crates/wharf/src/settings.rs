//! What a command is told from outside, settled before it runs: flags win over the environment, which wins over the
//! defaults.

use std::path::PathBuf;

use crate::config::{self, Loaded, Place, check::Value, environment::CONFIGURATION_PATH};
use crate::url::{RegistryUrl, UrlError};

/// An environment variable that a command follows.
#[derive(Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What counts when it is unset, as help shows it.
    pub default: &'static str,
    /// What it means.
    pub doc: &'static str,
}

const fn variable(name: &'static str, default: &'static str, doc: &'static str) -> Variable {
    Variable { name, default, doc }
}

/// Address of the registry.
pub const URL: Variable = variable("CONTAINER_REGISTRY_URL", "localhost:5000", "address of the registry, HOST[:PORT]");
/// The storage folder.
pub const STORAGE: Variable =
    variable("CONTAINER_REGISTRY_STORAGE", "${TOPDIR:-.}/container-registry", "folder for the data, the log and the pid file");
/// Plain HTTP beyond loopback.
pub const INSECURE: Variable =
    variable("CONTAINER_REGISTRY_INSECURE", "0", "1: plain HTTP with hosts other than this machine's loopback");
/// TLS.
pub const SECURE: Variable = variable("CONTAINER_REGISTRY_SECURE", "0", "1: TLS; not supported yet");
/// Passwords.
pub const AUTH: Variable = variable("CONTAINER_REGISTRY_AUTH", "0", "1: authentication; not supported yet");
/// The build directory.
pub const TOPDIR: Variable = variable("TOPDIR", ".", "build directory, in which the storage folder lies");
/// The configuration file.
pub const CONFIG: Variable =
    variable(CONFIGURATION_PATH, "", "configuration file of `serve` and `start`, as for CNCF distribution");
/// Colours.
pub const NO_COLOR: Variable = variable("NO_COLOR", "", "no colours on a terminal");

/// Every variable, in the order that help shows. `REGISTRY_…` overrides come from the table of configuration keys.
pub static VARIABLES: &[&Variable] = &[&URL, &STORAGE, &TOPDIR, &INSECURE, &SECURE, &AUTH, &CONFIG, &NO_COLOR];

/// The environment, taken once.
#[derive(Clone, Debug, Default)]
pub struct Environment(Vec<(String, String)>);

impl Environment {
    /// That of this process. Bytes that are not UTF-8 are replaced: such a value is wrong for every variable followed
    /// here and is then named as such.
    pub fn of_process() -> Self {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        Self(std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect())
    }

    /// The value of a variable; an empty one counts as unset.
    pub fn get(&self, variable: &Variable) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == variable.name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// A variable that is on or off.
    fn flag(&self, variable: &'static Variable) -> Result<bool, SettingsError> {
        match self.get(variable).unwrap_or("0").to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => Ok(true),
            "0" | "false" | "no" | "off" => Ok(false),
            value => Err(SettingsError::Flag { name: variable.name, value: value.to_owned() }),
        }
    }

    /// All of it, for the overrides of the configuration.
    pub fn all(&self) -> &[(String, String)] {
        &self.0
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }
}

/// Flags that several commands share.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// Address of the registry, HOST[:PORT] (CONTAINER_REGISTRY_URL)
    #[arg(long, global = true, value_name = "URL")]
    pub url: Option<String>,
    /// Folder for the data, the log and the pid file (CONTAINER_REGISTRY_STORAGE)
    #[arg(long, global = true, value_name = "DIR")]
    pub storage: Option<PathBuf>,
}

/// What is wrong with flags or environment.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A flag variable with a strange value.
    #[error("{name} is `{value}`, expected 0 or 1")]
    Flag {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: String,
    },
    /// The address does not parse.
    #[error("the registry's address is not usable")]
    Url(#[from] UrlError),
    /// Both at once.
    #[error("{} and {} exclude each other", SECURE.name, INSECURE.name)]
    SecureAndInsecure,
    /// TLS was asked for.
    #[error("{0} asks for TLS, which is not supported yet; serving without it would send everything in clear text")]
    Secure(&'static str),
    /// Passwords were asked for.
    #[error("{} asks for authentication, which is not supported yet; without it everybody would be answered", AUTH.name)]
    Auth,
    /// Another host without the permission for plain HTTP.
    #[error("{0} is not this machine's loopback, and other hosts are reached over TLS, which is not supported yet")]
    NotLoopback(String),
}

impl SettingsError {
    /// The way out.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Flag { .. } => None,
            Self::Url(_) => Some("an address is HOST or HOST:PORT, such as localhost:5000".to_owned()),
            Self::SecureAndInsecure => Some("unset one of them".to_owned()),
            Self::Secure(_) | Self::Auth => {
                Some("unset it and keep the registry on loopback, or put a proxy with TLS and authentication in front".to_owned())
            }
            Self::NotLoopback(_) => Some(format!("set {}=1 to serve it over plain HTTP", INSECURE.name)),
        }
    }
}

/// What a command is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address of the registry.
    pub url: RegistryUrl,
    /// The storage folder, absolute.
    pub storage: PathBuf,
    /// Plain HTTP beyond loopback is wanted.
    pub insecure: bool,
    /// TLS is wanted.
    pub secure: bool,
    /// Passwords are wanted.
    pub auth: bool,
    /// The environment, for the overrides of the configuration.
    pub environment: Environment,
}

impl Settings {
    /// Merges flags and environment over the defaults.
    pub fn resolve(flags: &Flags, environment: Environment) -> Result<Self, SettingsError> {
        let url = flags.url.as_deref().or_else(|| environment.get(&URL)).unwrap_or(URL.default);
        let url = RegistryUrl::parse(url)?;
        let (insecure, secure) = (environment.flag(&INSECURE)?, environment.flag(&SECURE)?);
        if insecure && secure {
            return Err(SettingsError::SecureAndInsecure);
        }
        let auth = environment.flag(&AUTH)?;
        let storage = match (&flags.storage, environment.get(&STORAGE)) {
            (Some(folder), _) => folder.clone(),
            (None, Some(folder)) => PathBuf::from(folder),
            (None, None) => PathBuf::from(environment.get(&TOPDIR).unwrap_or(TOPDIR.default)).join("container-registry"),
        };
        let storage = std::path::absolute(&storage).unwrap_or(storage);
        Ok(Self { url, storage, insecure, secure, auth, environment })
    }

    /// Refuses to serve where protection was asked for that does not exist yet.
    pub fn check_protection(&self) -> Result<(), SettingsError> {
        if self.auth {
            Err(SettingsError::Auth)
        } else if self.secure {
            Err(SettingsError::Secure(SECURE.name))
        } else if self.url.https {
            Err(SettingsError::Secure("the registry's address"))
        } else {
            Ok(())
        }
    }

    /// The configuration when no file is given: the storage folder's data, and the listener that the URL asks for.
    /// Other than in a file of somebody's own, deletes are allowed.
    pub fn own_config(&self) -> Result<Loaded, SettingsError> {
        self.check_protection()?;
        if !self.url.is_local() && !self.insecure {
            return Err(SettingsError::NotLoopback(self.url.host.clone()));
        }
        let listen = self.url.listen_address();
        Ok(config::without_file(
            |values| {
                let data = self.storage.join("data").to_string_lossy().into_owned();
                values.set("storage.filesystem.rootdirectory", Value::Text(data), Place::Default);
                values.set("storage.delete.enabled", Value::Flag(true), Place::Default);
                values.set("http.addr", Value::Address(listen), Place::Default);
            },
            self.environment.all(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Severity;

    fn settings<const N: usize>(pairs: [(&str, &str); N]) -> Result<Settings, SettingsError> {
        Settings::resolve(&Flags::default(), Environment::from(pairs))
    }

    fn listens<const N: usize>(pairs: [(&str, &str); N]) -> Result<(String, bool), SettingsError> {
        let loaded = settings(pairs)?.own_config()?;
        Ok((loaded.config.http.listen.to_string(), loaded.worst() == Some(Severity::Warning)))
    }

    #[test]
    fn the_listener_follows_the_url() {
        let listen = |url| listens([(URL.name, url)]);
        let quiet = |address: &str| Ok((address.to_owned(), false));
        assert_eq!(listens([]), quiet("localhost:5000"));
        assert_eq!(listen("localhost:5001"), quiet("localhost:5001"));
        assert_eq!(listen("127.0.0.1:5001"), quiet("127.0.0.1:5001"));
        assert_eq!(listen("[::1]:5001"), quiet("[::1]:5001"));
        assert_eq!(listen("http://localhost:5001/"), quiet("localhost:5001"));
        assert_eq!(listen("10.0.2.2:5001"), quiet("127.0.0.1:5001"));
        assert_eq!(listen("build.example:5000"), Err(SettingsError::NotLoopback("build.example".into())));
        let exposed = [(URL.name, "build.example:5000"), (INSECURE.name, "1")];
        assert_eq!(listens(exposed), Ok(("build.example:5000".into(), true)));
        // What is listened on counts, whatever asks for it.
        let [url, insecure] = exposed;
        assert_eq!(listens([url, insecure, ("REGISTRY_HTTP_ADDR", "localhost:1")]), quiet("localhost:1"));
        assert_eq!(listens([("REGISTRY_HTTP_ADDR", ":1")]), Ok((":1".into(), true)));
    }

    #[test]
    fn protection_that_does_not_exist_is_refused() {
        assert_eq!(listens([(SECURE.name, "1")]), Err(SettingsError::Secure(SECURE.name)));
        assert_eq!(listens([(AUTH.name, "1")]), Err(SettingsError::Auth));
        assert_eq!(listens([(URL.name, "https://localhost:5000")]), Err(SettingsError::Secure("the registry's address")));
        assert_eq!(listens([(SECURE.name, "1"), (INSECURE.name, "1")]), Err(SettingsError::SecureAndInsecure));
        assert!(matches!(listens([(AUTH.name, "maybe")]), Err(SettingsError::Flag { .. })));
    }

    #[test]
    fn the_storage_folder_is_absolute_and_follows_flag_variable_and_topdir() {
        let storage = |pairs: [(&str, &str); 2]| settings(pairs).map(|s| s.storage);
        assert_eq!(storage([(TOPDIR.name, "/b"), (STORAGE.name, "")]), Ok("/b/container-registry".into()));
        assert_eq!(storage([(TOPDIR.name, "/b"), (STORAGE.name, "/s")]), Ok("/s".into()));
        let flags = Flags { url: None, storage: Some("/f".into()) };
        let by_flag = Settings::resolve(&flags, Environment::from([(STORAGE.name, "/s")])).map(|s| s.storage);
        assert_eq!(by_flag, Ok("/f".into()));
        assert!(settings([]).is_ok_and(|s| s.storage.is_absolute()));
    }

    #[test]
    fn without_a_file_deletes_are_allowed_and_overrides_count() {
        let loaded = settings([(STORAGE.name, "/s")]).and_then(|s| s.own_config()).expect("settings");
        assert!(loaded.config.storage.delete);
        assert_eq!(loaded.config.storage.root, std::path::Path::new("/s/data"));
        let loaded = settings([("REGISTRY_STORAGE_DELETE_ENABLED", "false"), ("REGISTRY_AUTH", "htpasswd")])
            .and_then(|s| s.own_config())
            .expect("settings");
        assert!(!loaded.config.storage.delete && loaded.is_refused());
    }
}
