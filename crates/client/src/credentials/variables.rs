//! Credentials in variables: of the environment, or of a credentials file with one `KEY=value` a line.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::file::{self, ReadError};
use super::{Credential, CredentialError};

const USER: &str = "CONTAINER_REGISTRY_USER";
/// What a password of our own registry is made for; counts where the other is unset.
const USERNAME: &str = "CONTAINER_REGISTRY_USERNAME";
const PASSWORD: &str = "CONTAINER_REGISTRY_PASSWORD";
const TOKEN: &str = "CONTAINER_REGISTRY_TOKEN";

/// The credential that `CONTAINER_REGISTRY_TOKEN`, or `CONTAINER_REGISTRY_USER` (else `_USERNAME`) with `CONTAINER_REGISTRY_PASSWORD`,
/// make; the token wins. An empty variable counts as unset, except that a password may be empty.
pub fn from_variables(lookup: impl Fn(&str) -> Option<String>) -> Result<Credential, CredentialError> {
    credential(lookup).map_err(|missing| CredentialError::Incomplete { missing })
}

/// The error names what is missing.
fn credential(lookup: impl Fn(&str) -> Option<String>) -> Result<Credential, &'static str> {
    let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
    if let Some(token) = set(TOKEN) {
        return Ok(Credential::Bearer(token.into()));
    }
    match (set(USER).or_else(|| set(USERNAME)), lookup(PASSWORD)) {
        (Some(user), Some(password)) => Ok(Credential::Basic { user, password: password.into() }),
        (Some(_), None) => Err(PASSWORD),
        (None, Some(_)) => Err(USER),
        (None, None) => Err("CONTAINER_REGISTRY_USER with CONTAINER_REGISTRY_PASSWORD, or CONTAINER_REGISTRY_TOKEN,"),
    }
}

/// A credentials file, read.
#[derive(Debug)]
pub struct CredentialsFile {
    /// The credential in it.
    pub credential: Credential,
    /// Set when others than its owner may read the file: a warning to show.
    pub readable: Option<Readable>,
}

/// A file with a secret that others than its owner may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readable {
    /// The file.
    pub file: PathBuf,
    /// Its permissions.
    pub mode: u32,
}

impl fmt::Display for Readable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} can be read by others (mode {:04o}); `chmod 600` it", self.file.display(), self.mode)
    }
}

/// Why a line of a credentials file cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineProblem {
    /// Neither `KEY=value` nor a comment.
    #[error("not KEY=value")]
    NotAssignment,
    /// A quote that is not closed on its line.
    #[error("a quote is not closed")]
    OpenQuote,
    /// Something follows the closing quote.
    #[error("text after the closing quote")]
    AfterQuote,
    /// Not UTF-8.
    #[error("not UTF-8")]
    Encoding,
}

impl CredentialsFile {
    /// Reads a file of `KEY=value` lines as a shell would, without its expansions: an optional `export`, single quotes around a literal
    /// text, double quotes around one with `\"`, `\\`, `` \` `` and `\$`; `#` begins a comment at the start of a line and after white space.
    /// Other keys than the three of [`from_variables`] are passed over.
    pub fn read(path: &Path) -> Result<Self, CredentialError> {
        let failed = |source| ReadError::Io { file: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let bytes = file::read_open(&file, path)?;
        let wrong = |line, problem| CredentialError::Line { file: path.to_owned(), line, problem };
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| wrong(file::line_at(&bytes, error.valid_up_to()), LineProblem::Encoding))?;
        let mut variables = HashMap::new();
        for (index, line) in text.lines().enumerate() {
            if let Some((key, value)) = assignment(line).map_err(|problem| wrong(index + 1, problem))? {
                variables.insert(key, value);
            }
        }
        let credential = credential(|name| variables.get(name).cloned())
            .map_err(|missing| CredentialError::FileIncomplete { file: path.to_owned(), missing })?;
        let mode = metadata.permissions().mode() & 0o777;
        let readable = (metadata.is_file() && mode & 0o044 != 0).then(|| Readable { file: path.to_owned(), mode });
        Ok(Self { credential, readable })
    }
}

/// Reads one line; `None` for a blank one and a comment.
fn assignment(line: &str) -> Result<Option<(&str, String)>, LineProblem> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = match line.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start(),
        _ => line,
    };
    let (key, value) = line.split_once('=').ok_or(LineProblem::NotAssignment)?;
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(LineProblem::NotAssignment);
    }
    let value = match value.as_bytes().first() {
        Some(b'\'') => {
            let (value, rest) = value[1..].split_once('\'').ok_or(LineProblem::OpenQuote)?;
            nothing_more(rest)?;
            value.to_owned()
        }
        Some(b'"') => double_quoted(&value[1..])?,
        _ => unquoted(value).to_owned(),
    };
    Ok(Some((key, value)))
}

/// A value without quotes ends at the comment, if there is one.
fn unquoted(value: &str) -> &str {
    let comment = value.match_indices('#').find(|(at, _)| value[..*at].ends_with([' ', '\t']));
    comment.map_or(value, |(at, _)| &value[..at]).trim()
}

fn double_quoted(text: &str) -> Result<String, LineProblem> {
    let mut value = String::new();
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        match next {
            '"' => return nothing_more(rest.as_str()).map(|()| value),
            '\\' => match rest.clone().next() {
                Some(escaped @ ('"' | '\\' | '`' | '$')) => {
                    rest.next();
                    value.push(escaped);
                }
                _ => value.push('\\'),
            },
            other => value.push(other),
        }
    }
    Err(LineProblem::OpenQuote)
}

fn nothing_more(rest: &str) -> Result<(), LineProblem> {
    let blank = rest.trim_start();
    let is_comment = blank.starts_with('#') && blank.len() < rest.len();
    if blank.is_empty() || is_comment { Ok(()) } else { Err(LineProblem::AfterQuote) }
}
