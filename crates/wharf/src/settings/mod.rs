//! What a command is told from outside, settled before it runs: flags win over the environment, which wins over the
//! defaults.

mod environment;
mod variables;

use std::path::{Path, PathBuf};

pub use environment::Environment;
pub use variables::{
    AUTH, AUTH_MODE, AUTHFILE, CA_CERT, CA_DAYS, CERT_DAYS, CERT_SAN, CONFIG, CREDSFILE, DEPLOY_DIR_IMAGE, DEPLOY_DIR_IMAGES,
    IMAGE_VERSION, IMAGES, INSECURE, NAMESPACE, PASSWORD, SECURE, SOURCE_DATE_EPOCH, STALL, STORAGE, TAG_STRATEGY, TARGET_ARCH,
    TLS_VERIFY, TOPDIR, URL, USERNAME, VARIABLES, Variable,
};

use wharf_oci::{NameError, RepositoryName};
use wharf_pki::Names;

use crate::config::check::{Value, Values};
use crate::config::{self, Loaded, Place};
use crate::url::{RegistryUrl, UrlError};

/// Flags that several commands share.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Flags {
    /// Address of the registry, HOST[:PORT] (CONTAINER_REGISTRY_URL)
    #[arg(long, global = true, value_name = "URL")]
    pub url: Option<String>,
    /// Folder for the data, the log and the pid file (CONTAINER_REGISTRY_STORAGE)
    #[arg(long, global = true, value_name = "DIR")]
    pub storage: Option<PathBuf>,
    /// Say nothing but errors and results
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Say more of what goes on
    #[arg(long, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
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
    /// Protection, and none.
    #[error("{0} and {insecure} exclude each other", insecure = INSECURE.name)]
    Exclusive(&'static str),
    /// TLS, and an address without it.
    #[error("{name} asks for TLS, and the registry's address is {url}")]
    SecureAndPlain {
        /// What asks for it.
        name: &'static str,
        /// The address.
        url: String,
    },
    /// A number of days that is none.
    #[error("{name} is `{value}`, expected a number of days")]
    Days {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: String,
    },
    /// Names for the certificate that are none.
    #[error("{variable}: {0}", variable = CERT_SAN.name)]
    Names(#[from] wharf_pki::NameError),
    /// Plain HTTP to another host was asked for by the address alone.
    #[error("{0} is plain HTTP to another host")]
    PlainHttp(String),
    /// The namespace is none.
    #[error("{} is `{namespace}`: {source}", NAMESPACE.name)]
    Namespace {
        /// As it is set.
        namespace: String,
        /// What is wrong with it.
        source: NameError,
    },
}

impl SettingsError {
    /// The way out.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Flag { .. } => None,
            Self::Url(_) => Some("an address is HOST or HOST:PORT, such as localhost:5000".to_owned()),
            Self::Exclusive(_) => Some("unset one of them".to_owned()),
            Self::SecureAndPlain { .. } => Some("leave `http://` out, or unset the variable".to_owned()),
            Self::Days { .. } | Self::Names(_) => None,
            Self::PlainHttp(_) => Some(format!("set {}=1 when that is what you want", INSECURE.name)),
            Self::Namespace { .. } => None,
        }
    }
}

/// What a command is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address of the registry.
    pub url: RegistryUrl,
    /// The same as it was written.
    pub url_text: String,
    /// First part of the names of images that are given without a slash.
    pub namespace: RepositoryName,
    /// The storage folder, absolute.
    pub storage: PathBuf,
    /// Plain HTTP beyond loopback is wanted.
    pub insecure: bool,
    /// TLS and credentials are wanted.
    pub secure: bool,
    /// Credentials are wanted, which implies TLS.
    pub auth: bool,
    /// The environment, for the overrides of the configuration.
    pub environment: Environment,
}

impl Settings {
    /// Merges flags and environment over the defaults.
    pub fn resolve(flags: &Flags, environment: Environment) -> Result<Self, SettingsError> {
        let url = flags.url.as_deref().or_else(|| environment.get(&URL)).unwrap_or(URL.default);
        let (url, url_text) = (RegistryUrl::parse(url)?, url.trim().to_owned());
        let (insecure, secure) = (environment.flag(&INSECURE)?, environment.flag(&SECURE)?);
        if insecure && secure {
            return Err(SettingsError::Exclusive(SECURE.name));
        }
        let auth = environment.flag(&AUTH)?;
        if insecure && auth {
            return Err(SettingsError::Exclusive(AUTH.name));
        }
        if url.https == Some(false) && (secure || auth) {
            let name = if secure { SECURE.name } else { AUTH.name };
            return Err(SettingsError::SecureAndPlain { name, url: url.to_string() });
        }
        let storage = match (&flags.storage, environment.get(&STORAGE)) {
            (Some(folder), _) => folder.clone(),
            (None, Some(folder)) => PathBuf::from(folder),
            (None, None) => PathBuf::from(environment.get(&TOPDIR).unwrap_or(TOPDIR.default)).join("container-registry"),
        };
        let storage = std::path::absolute(&storage).unwrap_or(storage);
        let namespace = environment.get(&NAMESPACE).unwrap_or(NAMESPACE.default).trim_matches('/');
        let namespace =
            namespace.parse().map_err(|source| SettingsError::Namespace { namespace: namespace.to_owned(), source })?;
        Ok(Self { url, url_text, namespace, storage, insecure, secure, auth, environment })
    }

    /// Whether the registry is reached over TLS: other hosts than this machine's loopback are, unless plain HTTP is wanted.
    pub fn is_https(&self) -> Result<bool, SettingsError> {
        let plain = self.url.is_local() || self.insecure;
        match self.url.https {
            Some(false) if !plain => Err(SettingsError::PlainHttp(self.url.to_string())),
            Some(https) => Ok(https),
            None => Ok(self.secure || self.auth || !plain),
        }
    }

    /// The repository of an image: one without a slash is in the configured namespace.
    pub fn repository(&self, image: &str) -> Result<RepositoryName, NameError> {
        if image.contains('/') { image.parse() } else { format!("{}/{image}", self.namespace).parse() }
    }

    /// The image's name as people give it: without the namespace when that is the configured one.
    pub fn short(&self, repository: &RepositoryName) -> String {
        let inside = repository.as_str().strip_prefix(self.namespace.as_str()).and_then(|rest| rest.strip_prefix('/'));
        inside.filter(|name| !name.contains('/')).unwrap_or(repository.as_str()).to_owned()
    }

    /// The configuration when no file is given: the storage folder's data, and the listener that the URL asks for.
    /// Other than in a file of somebody's own, deletes are allowed.
    ///
    /// # Errors
    ///
    /// Settings that contradict each other, or cannot be read.
    pub fn own_config(&self) -> Result<Loaded, SettingsError> {
        let listen = self.url.listen_address(self.is_https()?);
        let protection = self.protection()?;
        let adjust = |values: &mut Values| {
            let data = self.storage.join("data").to_string_lossy().into_owned();
            values.set("storage.filesystem.rootdirectory", Value::Text(data), Place::Default);
            values.set("storage.delete.enabled", Value::Flag(true), Place::Default);
            values.set("http.addr", Value::Address(listen), Place::Default);
            protection(values);
        };
        Ok(config::without_file(adjust, self.environment.all()))
    }

    /// The configuration in `file`, with the protection that the settings ask for unless it says otherwise.
    ///
    /// # Errors
    ///
    /// Settings that contradict each other, or cannot be read.
    pub fn config_of(&self, file: &Path) -> Result<Loaded, SettingsError> {
        Ok(config::load(file, self.protection()?, self.environment.all()))
    }

    /// What secure mode sets: certificates of an authority, users and an audit log, all in the storage folder.
    fn protection(&self) -> Result<impl FnOnce(&mut Values), SettingsError> {
        let days = |variable: &'static Variable| match self.environment.get(variable) {
            None => Ok(None),
            Some(text) => match text.parse::<u32>() {
                Ok(days) if days > 0 => Ok(Some(u64::from(days))),
                _ => Err(SettingsError::Days { name: variable.name, value: text.to_owned() }),
            },
        };
        let (days, authority_days) = (days(&CERT_DAYS)?, days(&CA_DAYS)?);
        let mut names = self.environment.get(&CERT_SAN).unwrap_or_default().to_owned();
        Names::default().add(&names)?;
        if !self.url.is_local() {
            names = format!("{names} {}", self.url.host);
        }
        let names: Vec<_> = names.split([',', ' ']).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let secure = self.is_https()?;
        let owner = self.environment.get(&USERNAME).unwrap_or(USERNAME.default).to_owned();
        Ok(move |values: &mut Values| {
            if !secure {
                return;
            }
            let below = |name: &str| Value::Text(self.storage.join(name).to_string_lossy().into_owned());
            values.set("wharf.pki.folder", below("pki"), Place::Default);
            values.set("wharf.access.folder", below("auth"), Place::Default);
            values.set("wharf.access.owner", Value::Text(owner), Place::Default);
            values.set("wharf.audit.file", below("audit.log"), Place::Default);
            values.set("wharf.pki.names", Value::Structured(names.into()), Place::Default);
            for (path, days) in [("wharf.pki.days", days), ("wharf.pki.authority_days", authority_days)] {
                if let Some(days) = days {
                    values.set(path, Value::Number(days), Place::Default);
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Severity;
    use crate::config::model::{Certificate, Tls};

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
        assert_eq!(listen("build.example:5000"), quiet("build.example:5000"));
        assert_eq!(listen("https://localhost"), quiet("localhost:443"));
        let exposed = [(URL.name, "build.example:5000"), (INSECURE.name, "1")];
        assert_eq!(listens(exposed), Ok(("build.example:5000".into(), true)));
        // What is listened on counts, whatever asks for it.
        let [url, insecure] = exposed;
        assert_eq!(listens([url, insecure, ("REGISTRY_HTTP_ADDR", "localhost:1")]), quiet("localhost:1"));
        assert_eq!(listens([("REGISTRY_HTTP_ADDR", ":1")]), Ok((":1".into(), true)));
    }

    #[test]
    fn tls_is_served_when_something_asks_for_it() {
        let serves = |pairs: [(&str, &str); 2]| {
            settings(pairs).and_then(|settings| settings.own_config()).map(|loaded| loaded.config.http.tls.is_some())
        };
        let none = ("", "");
        assert_eq!(serves([none, none]), Ok(false));
        assert_eq!(serves([(SECURE.name, "1"), none]), Ok(true));
        assert_eq!(serves([(AUTH.name, "1"), none]), Ok(true));
        assert_eq!(serves([(URL.name, "https://localhost:5000"), none]), Ok(true));
        assert_eq!(serves([(URL.name, "build.example:5000"), none]), Ok(true));
        assert_eq!(serves([(URL.name, "build.example:5000"), (INSECURE.name, "1")]), Ok(false));
        assert_eq!(serves([(SECURE.name, "1"), (INSECURE.name, "1")]), Err(SettingsError::Exclusive(SECURE.name)));
        let plain = serves([(URL.name, "http://localhost:5000"), (SECURE.name, "1")]);
        assert!(matches!(plain, Err(SettingsError::SecureAndPlain { .. })));
        assert!(matches!(serves([(AUTH.name, "maybe"), none]), Err(SettingsError::Flag { .. })));
        assert!(matches!(serves([(SECURE.name, "1"), (CERT_DAYS.name, "0")]), Err(SettingsError::Days { .. })));
        assert!(matches!(serves([(SECURE.name, "1"), (CERT_SAN.name, "a/b")]), Err(SettingsError::Names(_))));
    }

    #[test]
    fn the_certificate_is_made_as_the_variables_say() {
        let pairs =
            [(SECURE.name, "1"), (CERT_SAN.name, "DNS:a.example,IP:192.0.2.1"), (CERT_DAYS.name, "7"), (STORAGE.name, "/s")];
        let tls = settings(pairs).and_then(|settings| settings.own_config()).expect("settings").config.http.tls;
        let Some(Tls { certificate: Certificate::Own { pki, plan }, .. }) = tls else { panic!("{tls:?}") };
        assert_eq!(pki.path("ca.crt"), Path::new("/s/pki/ca.crt"));
        assert_eq!((plan.days, plan.authority_days), (7, 3650));
        let mut wanted = Names::of_this_machine();
        wanted.add("a.example 192.0.2.1").expect("names");
        assert_eq!(plan.names, wanted);
    }

    #[test]
    fn other_hosts_are_reached_over_tls_unless_plain_http_is_wanted() {
        let https = |pairs: [(&str, &str); 3]| settings(pairs).and_then(|settings| settings.is_https());
        let none = ("", "");
        for (url, local) in [("localhost:5000", true), ("10.0.2.2:5000", true), ("build.example:5000", false)] {
            assert_eq!(https([(URL.name, url), none, none]), Ok(!local), "{url}");
            assert_eq!(https([(URL.name, url), (INSECURE.name, "1"), none]), Ok(false), "{url}");
            assert_eq!(https([(URL.name, url), (SECURE.name, "1"), none]), Ok(true), "{url}");
        }
        assert_eq!(https([(URL.name, "https://localhost:1"), none, none]), Ok(true));
        assert_eq!(https([(AUTH.name, "1"), none, none]), Ok(true));
        assert_eq!(https([(AUTH.name, "1"), (INSECURE.name, "1"), none]), Err(SettingsError::Exclusive(AUTH.name)));
        assert!(matches!(https([(URL.name, "http://build.example"), none, none]), Err(SettingsError::PlainHttp(_))));
        assert_eq!(https([(URL.name, "http://build.example"), (INSECURE.name, "1"), none]), Ok(false));
    }

    #[test]
    fn an_image_without_a_slash_is_in_the_namespace() {
        let settings = settings([(NAMESPACE.name, "team/yocto")]).expect("settings");
        let repository = |image| settings.repository(image).map(|name| name.to_string());
        assert_eq!(repository("app").as_deref(), Ok("team/yocto/app"));
        assert_eq!(repository("other/app").as_deref(), Ok("other/app"));
        assert!(repository("App").is_err());
        for (name, short) in [("team/yocto/app", "app"), ("team/yocto/a/b", "team/yocto/a/b"), ("team/yoctoapp", "team/yoctoapp")]
        {
            assert_eq!(settings.short(&name.parse().expect("a name")), short);
        }
    }

    #[test]
    fn the_storage_folder_is_absolute_and_follows_flag_variable_and_topdir() {
        let storage = |pairs: [(&str, &str); 2]| settings(pairs).map(|s| s.storage);
        assert_eq!(storage([(TOPDIR.name, "/b"), (STORAGE.name, "")]), Ok("/b/container-registry".into()));
        assert_eq!(storage([(TOPDIR.name, "/b"), (STORAGE.name, "/s")]), Ok("/s".into()));
        let flags = Flags { storage: Some("/f".into()), ..Flags::default() };
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
