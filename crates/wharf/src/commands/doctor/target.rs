//! A registry that is looked at.

use std::path::{Path, PathBuf};

use wharf_client::Address;
use wharf_pull::authorities;

use crate::settings::{self, Environment, Settings};
use crate::ui::Failure;
use crate::url::RegistryUrl;

/// A registry, and how it is expected to be.
#[derive(Debug)]
pub struct Target {
    /// Its address, with the scheme that this program would use.
    pub address: Address,
    /// The same as it was given.
    pub url: RegistryUrl,
    /// It is the one that commands without a word on it talk to.
    pub is_configured: bool,
    /// The file that the settings name to be believed.
    pub named_authority: Option<PathBuf>,
    /// Where the server of this build keeps its own authority.
    pub own_authority: PathBuf,
    /// The settings have every certificate taken.
    pub verify_is_off: bool,
    /// The environment that the variables for proxies are taken from.
    pub settings_environment: Environment,
    /// Why the settings contradict each other, when they do.
    pub refused: Option<(String, Option<String>)>,
}

impl Target {
    /// The one of the settings.
    pub fn configured(settings: &Settings) -> Self {
        Self::of(settings, settings.url.clone(), true)
    }

    /// The one that is named: an address, or an image's name that begins with one.
    pub fn named(settings: &Settings, text: &str) -> Result<Self, Failure> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, text),
        };
        let host = rest.split(['/', '@']).next().unwrap_or_default();
        let address = scheme.map_or(host.to_owned(), |scheme| format!("{scheme}://{host}"));
        let url = RegistryUrl::parse(&address).map_err(|error| {
            Failure::new(format!("`{text}` names no registry"))
                .because(&error)
                .hint("name one as HOST or HOST:PORT, such as localhost:5000")
        })?;
        let is_configured = url.authority() == settings.url.authority();
        Ok(Self::of(settings, url, is_configured))
    }

    fn of(settings: &Settings, url: RegistryUrl, is_configured: bool) -> Self {
        let own = Settings { url: url.clone(), ..settings.clone() };
        let (https, refused) = match own.is_https() {
            Ok(https) => (https, None),
            // What it says of itself counts; that the settings forbid it is told beside it.
            Err(error) => (url.https == Some(true), is_configured.then(|| (error.to_string(), error.hint()))),
        };
        let named_authority = settings.environment.get(&settings::CA_CERT).map(PathBuf::from);
        let own_authority = settings.storage.join("pki/ca.crt");
        let address = Address { https, authority: url.authority() };
        let verify_is_off = matches!(settings.environment.switch(&settings::TLS_VERIFY), Ok(Some(false)));
        let settings_environment = settings.environment.clone();
        Self { address, url, is_configured, named_authority, own_authority, verify_is_off, settings_environment, refused }
    }

    /// `http://HOST[:PORT]`
    pub fn origin(&self) -> String {
        self.address.origin()
    }

    /// The same registry over the other scheme.
    pub fn over(&self, https: bool) -> Address {
        Address { https, authority: self.address.authority.clone() }
    }

    /// The files with authorities that this program believes here, beside those of the system.
    pub fn authorities(&self) -> Vec<PathBuf> {
        let own = self.named_authority.is_none().then(|| self.own_authority.clone());
        let named: Option<&Path> = self.named_authority.as_deref().filter(|file| file.exists());
        own.into_iter().chain(authorities(&self.address.authority, named).unwrap_or_default()).collect()
    }

    /// The port that is connected to.
    pub fn port(&self) -> u16 {
        self.url.port.unwrap_or(if self.address.https { 443 } else { 80 })
    }
}
