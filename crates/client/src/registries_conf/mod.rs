//! Where a reference is really fetched from: containers' `registries.conf`, version 2 (containers-registries.conf(5)).

mod file;
mod load;
mod place;

use std::fmt;
use std::path::PathBuf;

use wharf_oci::{NameError, RepositoryName};

use crate::credentials::ReadError;
pub use file::EntryProblem;
use place::{Place, Prefix};

/// What the files say about registries: which are mirrored, moved, blocked, or spoken to without trust. Empty by default, and then every
/// reference is fetched from the host it names. Only reading follows these files: a push goes where it is sent.
#[derive(Clone, Debug, Default)]
pub struct Registries {
    entries: Vec<Entry>,
    warnings: Vec<RegistriesWarning>,
}

/// One `[[registry]]`.
#[derive(Clone, Debug)]
struct Entry {
    prefix: Prefix,
    /// Absent where a wildcard only carries settings.
    location: Option<Place>,
    insecure: bool,
    blocked: bool,
    mirrors: Vec<Mirror>,
}

#[derive(Clone, Debug)]
struct Mirror {
    location: Place,
    insecure: bool,
    pulls: Pulls,
}

/// The references that a mirror is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Pulls {
    #[default]
    #[serde(alias = "")]
    All,
    DigestOnly,
    TagOnly,
}

/// A place to fetch from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `HOST[:PORT]`, as written; `docker.io` is Docker Hub.
    pub host: String,
    /// The repository there.
    pub repository: RepositoryName,
    /// Whether plain HTTP and certificates nobody vouches for are accepted.
    pub insecure: bool,
    /// Whether this is a mirror, whose failure of any kind leads to the next endpoint.
    pub is_mirror: bool,
}

/// Why a reference is fetched from nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// An entry says `blocked = true`.
    #[error("{host}/{repository} is blocked: registries.conf blocks \"{prefix}\"")]
    Blocked {
        /// The host asked for.
        host: String,
        /// The repository asked for.
        repository: RepositoryName,
        /// The entry's prefix.
        prefix: String,
    },
    /// The name at the new place is no repository's: too long, or nothing is left of it.
    #[error("{host}/{repository} cannot be fetched from \"{location}\", which registries.conf names for \"{prefix}\"")]
    Rewrite {
        /// The host asked for.
        host: String,
        /// The repository asked for.
        repository: RepositoryName,
        /// The entry's prefix.
        prefix: String,
        /// The entry's location, or a mirror's.
        location: String,
        /// What is wrong with the name.
        source: NameError,
    },
}

/// A part of a file that is passed over, though its writer meant something by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistriesWarning {
    /// An entry for one tag or digest alone.
    OneImage {
        /// The file.
        file: PathBuf,
        /// The line of the prefix, from 1.
        line: usize,
        /// The prefix.
        prefix: String,
    },
    /// The lists `[registries.search]`, `.insecure` and `.block` of version 1.
    VersionOne {
        /// The file.
        file: PathBuf,
    },
}

impl fmt::Display for RegistriesWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneImage { file, line, prefix } => {
                write!(f, "{}:{line}: passed over, for \"{prefix}\" is one tag or digest, not a repository", file.display())
            }
            Self::VersionOne { file } => {
                write!(f, "{}: [registries] is passed over, for it is of version 1 of the format", file.display())
            }
        }
    }
}

/// Why the files cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum RegistriesError {
    /// A file or folder cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file is not TOML, or holds a value of the wrong kind.
    #[error("{}:{line}: {message}", file.display())]
    Toml {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// An entry makes no sense.
    #[error("{}:{line}: {problem}", file.display())]
    Entry {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: EntryProblem,
    },
}

impl Registries {
    /// What was passed over, to be shown.
    pub fn warnings(&self) -> &[RegistriesWarning] {
        &self.warnings
    }

    /// Where to look for a repository of a host (`HOST[:PORT]`, or `docker.io`), in the order to try: the mirrors of the entry with the
    /// longest matching prefix, then its location. Never empty. Without an entry it is the host itself, over TLS. `by_digest` says
    /// whether a digest is asked for, with or without a tag; some mirrors are for one kind alone.
    pub fn endpoints(&self, host: &str, repository: &RepositoryName, by_digest: bool) -> Result<Vec<Endpoint>, EndpointError> {
        let matching = self.entries.iter().filter_map(|entry| Some((entry, entry.prefix.remainder(host, repository.as_str())?)));
        let Some((entry, remainder)) = matching.max_by_key(|(entry, _)| entry.prefix.text().len()) else {
            return Ok(vec![Endpoint {
                host: host.to_owned(),
                repository: repository.clone(),
                insecure: false,
                is_mirror: false,
            }]);
        };
        if entry.blocked {
            return Err(EndpointError::Blocked {
                host: host.to_owned(),
                repository: repository.clone(),
                prefix: entry.prefix.text().to_owned(),
            });
        }
        let at = |location: &Place, insecure, is_mirror| match location.repository(remainder) {
            Ok(repository) => Ok(Endpoint { host: location.host().to_owned(), repository, insecure, is_mirror }),
            Err(source) => Err(EndpointError::Rewrite {
                host: host.to_owned(),
                repository: repository.clone(),
                prefix: entry.prefix.text().to_owned(),
                location: location.to_string(),
                source,
            }),
        };
        let mirrors = entry.mirrors.iter().filter(|mirror| mirror.pulls.includes(by_digest));
        let mut endpoints: Vec<_> =
            mirrors.map(|mirror| at(&mirror.location, mirror.insecure, true)).collect::<Result<_, _>>()?;
        endpoints.push(match &entry.location {
            Some(location) => at(location, entry.insecure, false)?,
            None => {
                Endpoint { host: host.to_owned(), repository: repository.clone(), insecure: entry.insecure, is_mirror: false }
            }
        });
        Ok(endpoints)
    }
}

impl Pulls {
    fn includes(self, by_digest: bool) -> bool {
        match self {
            Self::All => true,
            Self::DigestOnly => by_digest,
            Self::TagOnly => !by_digest,
        }
    }
}

#[cfg(test)]
mod tests;
