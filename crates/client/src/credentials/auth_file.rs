//! Containers' `auth.json` and docker's `config.json`, which are one format (containers-auth.json(5)).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use wharf_oci::RepositoryName;

use super::host::{self, Key};
use super::{Credential, CredentialError, Environment, file, helper};

/// Docker pads; people who write the file by hand do not always.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Whether a file may be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Required,
    Optional,
}

/// The files that logins leave, in the order they are asked.
pub(super) fn of_home(environment: &Environment) -> Vec<(PathBuf, Presence)> {
    let home = environment.path("HOME");
    let in_home = |folder: &str| home.as_ref().map(|home| home.join(folder));
    let mut files = Vec::new();
    files.extend(environment.path("REGISTRY_AUTH_FILE").map(|file| (file, Presence::Required)));
    let docker = environment.path("DOCKER_CONFIG").or_else(|| in_home(".docker"));
    files.extend(docker.map(|folder| (folder.join("config.json"), Presence::Optional)));
    let folders = [environment.path("XDG_RUNTIME_DIR"), environment.path("XDG_CONFIG_HOME").or_else(|| in_home(".config"))];
    files.extend(folders.into_iter().flatten().map(|folder| (folder.join("containers/auth.json"), Presence::Optional)));
    files
}

/// An auth file. Keys of it that say nothing about credentials are passed over.
#[derive(Debug)]
pub(super) struct AuthFile {
    file: PathBuf,
    content: Content,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Content {
    auths: Option<BTreeMap<String, Option<Entry>>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// An entry's `auth` does not decode.
struct NotPair;

impl Entry {
    /// The most particular credential of the entry; `None` for the empty entries that docker leaves beside a helper.
    fn credential(&self) -> Result<Option<Credential>, NotPair> {
        let set = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        if let Some(token) = set(&self.registrytoken) {
            return Ok(Some(Credential::Bearer(token.into())));
        }
        if let Some(token) = set(&self.identitytoken) {
            return Ok(Some(Credential::Identity(token.into())));
        }
        if let Some(auth) = set(&self.auth) {
            let pair = BASE64.decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(NotPair)?;
            // Docker has written passwords with trailing zero bytes, and takes them off when reading.
            return Credential::split(pair.trim_end_matches('\0')).ok_or(NotPair).map(Some);
        }
        Ok(set(&self.username).map(|user| Credential::Basic { user, password: self.password.clone().unwrap_or_default().into() }))
    }
}

impl AuthFile {
    pub(super) fn read(file: &Path) -> Result<Self, CredentialError> {
        let bytes = file::read(file)?;
        // Docker, too, takes an empty file for one without logins.
        let content = if bytes.trim_ascii().is_empty() {
            Content::default()
        } else {
            serde_json::from_slice(&bytes).map_err(|error| CredentialError::Json {
                file: file.to_owned(),
                line: error.line(),
                column: error.column(),
            })?
        };
        Ok(Self { file: file.to_owned(), content })
    }

    /// The credential for a repository of a (canonical) host. A helper of this very host is asked first; then the entries, of which the
    /// longest key wins; the helper for all hosts comes last, so that a file works whose helper is not installed.
    pub(super) fn lookup(
        &self,
        host: &str,
        repository: Option<&RepositoryName>,
        environment: &Environment,
    ) -> Result<Option<Credential>, CredentialError> {
        let own_helper = self.content.cred_helpers.iter().flatten().find(|(key, _)| Key::parse(key).covers(host, ""));
        if let Some((_, name)) = own_helper
            && let Some(credential) = self.ask(name, host, environment)?
        {
            return Ok(Some(credential));
        }
        if let Some(credential) = self.entry(host, repository)? {
            return Ok(Some(credential));
        }
        match self.content.creds_store.as_deref() {
            Some(name) if !name.is_empty() && own_helper.is_none() => self.ask(name, host, environment),
            _ => Ok(None),
        }
    }

    fn entry(&self, host: &str, repository: Option<&RepositoryName>) -> Result<Option<Credential>, CredentialError> {
        let entries = self.content.auths.iter().flatten();
        let mut covering: Vec<_> = entries
            .filter_map(|(text, entry)| Some((text, Key::parse(text), entry.as_ref()?)))
            .filter(|(_, key, _)| key.covers(host, repository.map_or("", RepositoryName::as_str)))
            .collect();
        // Of two spellings of the same host, the one that references use.
        covering.sort_by_key(|(text, key, _)| (std::cmp::Reverse(key.path.len()), !text.starts_with(host)));
        for (text, _, entry) in covering {
            let credential =
                entry.credential().map_err(|NotPair| CredentialError::Entry { file: self.file.clone(), key: text.clone() })?;
            if credential.is_some() {
                return Ok(credential);
            }
        }
        Ok(None)
    }

    fn ask(&self, name: &str, host: &str, environment: &Environment) -> Result<Option<Credential>, CredentialError> {
        for server in host::servers(host) {
            let answer = helper::ask(name, server, environment, helper::WAIT).map_err(|problem| CredentialError::Helper {
                file: self.file.clone(),
                name: name.to_owned(),
                problem,
            })?;
            if answer.is_some() {
                return Ok(answer);
            }
        }
        Ok(None)
    }
}
