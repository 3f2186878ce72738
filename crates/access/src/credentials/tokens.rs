//! Personal access tokens: what a user gives to a program, for less than all that they may do, and for a time. Only hashes are stored.

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::htpasswd::User;
use super::random_text;
use crate::caller::Right;
use crate::files::{FileError, change, load};
use crate::glob::Glob;

/// How every token begins, so that scanners for leaked secrets find it.
const PREFIX: &str = "wharf_";

/// A token as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredToken {
    /// What its owner calls it; none twice for one user.
    pub name: String,
    /// Whose it is.
    pub user: String,
    /// What it is good for, as far as the user may.
    pub rights: Vec<Right>,
    /// With which repositories.
    #[serde(with = "as_texts")]
    pub repositories: Vec<Glob>,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// When it ends, in seconds since 1970; `None`: never.
    pub expires: Option<u64>,
    /// The SHA-256 of its text, in hexadecimal digits.
    sha256: String,
}

/// All tokens of a registry.
#[derive(Debug, Default)]
pub struct Tokens(Vec<Arc<StoredToken>>);

#[derive(Debug, Default, Serialize, Deserialize)]
struct File {
    tokens: Vec<StoredToken>,
}

impl StoredToken {
    /// A token that is not stored yet. Its text is given out once, by [`Tokens::add`].
    pub fn new(user: &User, name: &str, rights: Vec<Right>, repositories: Vec<Glob>, created: u64, expires: Option<u64>) -> Self {
        let (name, user) = (name.to_owned(), user.as_str().to_owned());
        Self { name, user, rights, repositories, created, expires, sha256: String::new() }
    }

    /// Whether it has ended at `now`, in seconds since 1970.
    pub fn is_over(&self, now: u64) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// What tells it from all others, and is no secret.
    pub fn id(&self) -> &str {
        &self.sha256
    }
}

impl Tokens {
    /// Whether a text claims to be such a token.
    pub(crate) fn is_one(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    pub(crate) fn parse(text: &str) -> io::Result<Self> {
        Ok(Self(parse_file(text)?.tokens.into_iter().map(Arc::new).collect()))
    }

    /// Reads a file; one that is not there has none.
    ///
    /// # Errors
    ///
    /// It cannot be read, or holds something else.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        load(path, Self::parse)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &StoredToken> {
        self.0.iter().map(|token| &**token)
    }

    /// The token with this text. Its hash is compared, whose bytes tell nothing of it however long that takes.
    pub(crate) fn find(&self, text: &str) -> Option<Arc<StoredToken>> {
        self.by_id(&hash(text))
    }

    pub(crate) fn by_id(&self, id: &str) -> Option<Arc<StoredToken>> {
        self.0.iter().find(|token| token.sha256 == id).cloned()
    }

    /// Stores a token and gives its text, which cannot be had again. `None` when the user has one of that name. Those that have ended are forgotten.
    ///
    /// # Errors
    ///
    /// The file cannot be changed.
    pub fn add(path: &Path, mut token: StoredToken) -> Result<Option<String>, FileError> {
        let failed = |source| FileError { path: path.to_owned(), source };
        let text = format!("{PREFIX}{}", random_text().map_err(failed)?);
        token.sha256 = hash(&text);
        change(path, |old| {
            let mut file = parse_file(&old).map_err(failed)?;
            file.tokens.retain(|other| !other.is_over(token.created));
            if file.tokens.iter().any(|other| other.user == token.user && other.name == token.name) {
                return Ok::<_, FileError>((old, None));
            }
            file.tokens.push(token);
            Ok((write_file(&file).map_err(failed)?, Some(text)))
        })
    }

    /// Takes tokens back: the user's one of that name, or all of the user's. How many there were.
    ///
    /// # Errors
    ///
    /// The file cannot be changed.
    pub fn remove(path: &Path, user: &User, name: Option<&str>) -> Result<usize, FileError> {
        let failed = |source| FileError { path: path.to_owned(), source };
        if !path.exists() {
            return Ok(0);
        }
        change(path, |old| {
            let mut file = parse_file(&old).map_err(failed)?;
            let before = file.tokens.len();
            file.tokens.retain(|token| token.user != user.as_str() || name.is_some_and(|name| token.name != name));
            Ok::<_, FileError>((write_file(&file).map_err(failed)?, before - file.tokens.len()))
        })
    }
}

fn parse_file(text: &str) -> io::Result<File> {
    if text.is_empty() { Ok(File::default()) } else { Ok(serde_json::from_str(text)?) }
}

fn write_file(file: &File) -> io::Result<String> {
    Ok(serde_json::to_string_pretty(file)? + "\n")
}

fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

mod as_texts {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::glob::Glob;

    pub(super) fn serialize<S: Serializer>(globs: &[Glob], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(globs.iter().map(Glob::as_str))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Glob>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_its_text_alone_which_is_not_stored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.json");
        let alice: User = "alice".parse().unwrap();
        let token = |name: &str, expires| {
            StoredToken::new(&alice, name, vec![Right::Pull], vec!["yocto/**".parse().unwrap()], 100, expires)
        };
        let text = Tokens::add(&path, token("ci", Some(200))).unwrap().unwrap();
        assert!(Tokens::is_one(&text) && text.len() == PREFIX.len() + 43);
        assert_eq!(Tokens::add(&path, token("ci", None)).unwrap(), None);
        let stored = std::fs::read_to_string(&path).unwrap();
        assert!(!stored.contains(&text[PREFIX.len()..]));
        let tokens = Tokens::read(&path).unwrap();
        let found = tokens.find(&text).unwrap();
        assert_eq!((found.name.as_str(), found.is_over(199), found.is_over(200)), ("ci", false, true));
        assert!(tokens.find("wharf_").is_none() && tokens.find(found.id()).is_none());
        // One that has ended makes room for another of its name.
        let later = StoredToken { created: 300, ..token("ci", None) };
        assert!(Tokens::add(&path, later).unwrap().is_some());
        Tokens::add(&path, token("other", None)).unwrap().unwrap();
        assert_eq!(Tokens::remove(&path, &alice, Some("ci")).unwrap(), 1);
        assert_eq!(Tokens::remove(&path, &"bob".parse().unwrap(), None).unwrap(), 0);
        assert_eq!(Tokens::remove(&path, &alice, None).unwrap(), 1);
    }
}
