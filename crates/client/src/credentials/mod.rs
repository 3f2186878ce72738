//! Who we are to a registry: where credentials come from, and which one belongs to a host.

mod auth_file;
mod environment;
pub(crate) mod file;
mod helper;
mod host;
mod variables;

use std::fmt;
use std::path::PathBuf;

use wharf_oci::RepositoryName;

use auth_file::AuthFile;
pub use environment::Environment;
pub use file::ReadError;
pub use helper::HelperError;
pub use variables::{CredentialsFile, LineProblem, Readable, from_variables};

/// A text that is never shown: both `Debug` and `Display` print `…`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the header or body it belongs into.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// What is shown to a registry, or to the token service it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// User and password, as RFC 7617 sends them.
    Basic {
        /// The user.
        user: String,
        /// The password; may be empty.
        password: Secret,
    },
    /// A token of the registry, sent to it as it is.
    Bearer(Secret),
    /// A refresh token (docker's `identitytoken`), exchanged for a token of the registry by OAuth 2.
    Identity(Secret),
}

impl Credential {
    /// Reads `USER:PASSWORD`, the form of `--creds`. The password may be empty and may hold colons; the user can do neither.
    pub fn from_pair(text: &str) -> Result<Self, CredentialError> {
        Self::split(text).ok_or(CredentialError::Pair)
    }

    fn split(pair: &str) -> Option<Self> {
        let (user, password) = pair.split_once(':')?;
        (!user.is_empty()).then(|| Self::Basic { user: user.to_owned(), password: password.into() })
    }
}

/// Where credentials come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Nobody: requests go out without.
    None,
    /// The files that logins leave: the one that `REGISTRY_AUTH_FILE` names, docker's `config.json`, then containers' `auth.json`. The
    /// first that knows the host counts; those that do not exist are passed over, except one that a variable names.
    Home(Environment),
    /// One such file.
    AuthFile {
        /// The file.
        file: PathBuf,
        /// What its credential helpers run with.
        environment: Environment,
    },
    /// One credential for one host: given on the command line, in a credentials file or by variables.
    Fixed {
        /// `HOST[:PORT]`. No other host is ever given the credential.
        host: String,
        /// The credential.
        credential: Credential,
    },
}

impl Source {
    /// The files of [`Source::Home`], in the order they are asked, each with whether a variable demands that it exists.
    pub fn home_files(environment: &Environment) -> Vec<(PathBuf, bool)> {
        let files = auth_file::of_home(environment).into_iter();
        files.map(|(file, presence)| (file, presence == auth_file::Presence::Required)).collect()
    }

    /// The credential for a repository of a host (`HOST[:PORT]`, or `docker.io` under any of its names), or for what concerns none of
    /// its repositories; `None` when the source knows
    /// none. Reads files and may run a credential helper, for which it waits at most 10 seconds: not for a thread that must not block.
    pub fn lookup(&self, host: &str, repository: Option<&RepositoryName>) -> Result<Option<Credential>, CredentialError> {
        let host = host::canonical(host);
        match self {
            Self::None => Ok(None),
            Self::Fixed { host: owner, credential } => Ok((host::canonical(owner) == host).then(|| credential.clone())),
            Self::AuthFile { file, environment } => AuthFile::read(file)?.lookup(&host, repository, environment),
            Self::Home(environment) => {
                for (file, presence) in auth_file::of_home(environment) {
                    let known = match AuthFile::read(&file) {
                        Err(CredentialError::Read(error)) if presence == auth_file::Presence::Optional && error.is_missing() => {
                            continue;
                        }
                        read => read?.lookup(&host, repository, environment)?,
                    };
                    if known.is_some() {
                        return Ok(known);
                    }
                }
                Ok(None)
            }
        }
    }
}

/// Why there is no credential where there should be one. No message holds any part of a secret.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A file cannot be read, or is larger than such a file ever is.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An auth file that is not JSON, or of another shape. What the parser found is left out, for it may be a password.
    #[error("{}:{line}:{column}: not an auth file: invalid JSON, or a value of the wrong kind", file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// An entry of an auth file whose `auth` is no base64 of `user:password`.
    #[error("{}: `auth` of \"{key}\" is not the base64 form of user:password", file.display())]
    Entry {
        /// The file.
        file: PathBuf,
        /// The entry's key under `auths`.
        key: String,
    },
    /// A credential helper did not help.
    #[error("{}: no answer from credential helper docker-credential-{name}", file.display())]
    Helper {
        /// The auth file that asks for it.
        file: PathBuf,
        /// Its name there.
        name: String,
        /// What went wrong.
        #[source]
        problem: HelperError,
    },
    /// A line of a credentials file that cannot be read.
    #[error("{}:{line}: {problem}", file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: LineProblem,
    },
    /// A credentials file without a credential.
    #[error("{}: {missing} is not set", file.display())]
    FileIncomplete {
        /// The file.
        file: PathBuf,
        /// The variables it needs.
        missing: &'static str,
    },
    /// Variables that make no credential.
    #[error("{missing} is not set")]
    Incomplete {
        /// The variables that are needed.
        missing: &'static str,
    },
    /// Not `USER:PASSWORD`.
    #[error("credentials are given as USER:PASSWORD")]
    Pair,
}

#[cfg(test)]
mod tests;
