//! Users with their passwords, as `htpasswd -B` writes them: a line `name:hash` for each.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::caller::Identity;
use crate::files::{FileError, change, load};

/// Bytes of a password that bcrypt takes into account.
const PASSWORD_MAX: usize = 72;
/// Each step doubles the work: some 50 ms of one core.
const COST: u32 = 10;

const NOBODY: &str = Identity::ANONYMOUS;

/// A file of users.
#[derive(Debug, Default)]
pub struct Htpasswd {
    hashes: BTreeMap<String, String>,
    unusable: Vec<String>,
}

/// A name for a user: what fits into a line and into a Basic header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User(String);

/// Why users could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not a name.
    #[error("`{0}` is no name for a user: up to 128 letters, digits, `.`, `_`, `-`, `@` and `+`, and not {NOBODY}")]
    Name(String),
    /// Not a password.
    #[error("a password needs 1 to {PASSWORD_MAX} bytes, and no line break")]
    Password,
    /// It is there already.
    #[error("there is a user {0} already")]
    Exists(String),
    /// It is not there.
    #[error("there is no user {0}")]
    Unknown(String),
    /// The password could not be hashed.
    #[error("cannot hash the password")]
    Hash(#[source] io::Error),
}

impl std::str::FromStr for User {
    type Err = UserError;

    fn from_str(text: &str) -> Result<Self, UserError> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@+".contains(&byte);
        let sane = (1..=128).contains(&text.len()) && text.bytes().all(known) && text != NOBODY;
        if sane { Ok(Self(text.to_owned())) } else { Err(UserError::Name(text.to_owned())) }
    }
}

impl User {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The bcrypt hash of a password. Takes some 50 ms.
///
/// # Errors
///
/// A password that is empty, or longer than bcrypt looks at.
pub fn hash_password(password: &str) -> Result<String, UserError> {
    if password.is_empty() || password.len() > PASSWORD_MAX || password.contains(['\n', '\r', '\0']) {
        return Err(UserError::Password);
    }
    let parts = bcrypt::hash_with_result(password, COST).map_err(|error| UserError::Hash(io::Error::other(error)))?;
    // What Apache writes, and every reader of such files knows.
    Ok(parts.format_for_version(bcrypt::Version::TwoY))
}

impl Htpasswd {
    /// Reads the text of a file. Lines that are no user are an error; hashes other than bcrypt's are kept apart.
    pub(crate) fn parse(text: &str) -> io::Result<Self> {
        let mut users = Self::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, hash) = line
                .split_once(':')
                .filter(|(name, _)| !name.is_empty())
                .ok_or_else(|| io::Error::other(format!("line {} is not `name:hash`", number + 1)))?;
            if name == NOBODY {
                return Err(io::Error::other(format!("line {}: a user cannot be called {NOBODY}", number + 1)));
            }
            if ["$2y$", "$2a$", "$2b$"].iter().any(|prefix| hash.starts_with(prefix)) {
                // Of several lines for one name the first counts, as it does for Apache.
                users.hashes.entry(name.to_owned()).or_insert_with(|| hash.to_owned());
            } else {
                users.unusable.push(name.to_owned());
            }
        }
        Ok(users)
    }

    /// Reads a file; one that is not there has no users.
    ///
    /// # Errors
    ///
    /// It cannot be read, or holds something else.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        load(path, Self::parse)
    }

    /// Everybody with a hash that can be checked.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.hashes.keys().map(String::as_str)
    }

    /// Those whose passwords are hashed in another way than bcrypt's, who cannot log in.
    pub fn unusable(&self) -> &[String] {
        &self.unusable
    }

    /// Somebody's.
    pub(crate) fn any_hash(&self) -> Option<&str> {
        self.hashes.values().next().map(String::as_str)
    }

    pub(crate) fn hash(&self, name: &str) -> Option<&str> {
        self.hashes.get(name).map(String::as_str)
    }

    /// Adds a user to a file, which is made when it is not there.
    ///
    /// # Errors
    ///
    /// The user is there already.
    pub fn add(path: &Path, user: &User, hash: &str) -> Result<(), UserError> {
        change(path, |text| {
            if line_of(&text, user).is_some() {
                return Err(UserError::Exists(user.0.clone()));
            }
            let ended = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            Ok((format!("{text}{ended}{}:{hash}\n", user.0), ()))
        })
    }

    /// Gives a user another password.
    ///
    /// # Errors
    ///
    /// There is no such user.
    pub fn set(path: &Path, user: &User, hash: &str) -> Result<(), UserError> {
        Self::replace(path, user, Some(&format!("{}:{hash}", user.0)))
    }

    /// Takes a user out.
    ///
    /// # Errors
    ///
    /// There is no such user.
    pub fn remove(path: &Path, user: &User) -> Result<(), UserError> {
        Self::replace(path, user, None)
    }

    /// Other lines, comments among them, stay as they are.
    fn replace(path: &Path, user: &User, line: Option<&str>) -> Result<(), UserError> {
        change(path, |text| {
            let place = line_of(&text, user).ok_or_else(|| UserError::Unknown(user.0.clone()))?;
            // A second line for the same name would go on counting.
            let is_theirs = |old: &str| is_line_of(old, user);
            let kept = text.lines().enumerate().filter(|(number, old)| *number == place || !is_theirs(old));
            let lines = kept.filter_map(|(number, old)| if number == place { line } else { Some(old) });
            Ok((lines.flat_map(|line| [line, "\n"]).collect(), ()))
        })
    }
}

fn line_of(text: &str, user: &User) -> Option<usize> {
    text.lines().position(|line| is_line_of(line, user))
}

fn is_line_of(line: &str, user: &User) -> bool {
    line.split_once(':').is_some_and(|(name, _)| name.trim() == user.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_added_changed_and_removed_beside_what_others_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("htpasswd");
        std::fs::write(&path, "# ours\nold:{SHA}x\n\nbob:$2y$05$x").unwrap();
        let alice: User = "alice".parse().unwrap();
        Htpasswd::add(&path, &alice, "$2y$1").unwrap();
        assert!(matches!(Htpasswd::add(&path, &alice, "$2y$1"), Err(UserError::Exists(_))));
        assert!(matches!(Htpasswd::add(&path, &"old".parse().unwrap(), "$2y$1"), Err(UserError::Exists(_))));
        Htpasswd::set(&path, &alice, "$2y$2").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "# ours\nold:{SHA}x\n\nbob:$2y$05$x\nalice:$2y$2\n");
        let read = Htpasswd::read(&path).unwrap();
        assert_eq!(read.names().collect::<Vec<_>>(), ["alice", "bob"]);
        assert_eq!(read.unusable(), ["old"]);
        Htpasswd::remove(&path, &"bob".parse().unwrap()).unwrap();
        assert!(matches!(Htpasswd::remove(&path, &"bob".parse().unwrap()), Err(UserError::Unknown(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "# ours\nold:{SHA}x\n\nalice:$2y$2\n");
        std::fs::write(&path, "eve:$2y$1\nbob:$2y$2\neve:$2y$3\n").unwrap();
        let eve: User = "eve".parse().unwrap();
        assert_eq!(Htpasswd::read(&path).unwrap().hash("eve"), Some("$2y$1"));
        Htpasswd::remove(&path, &eve).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "bob:$2y$2\n");
        assert!(Htpasswd::parse("nonsense").is_err());
        for name in ["", "a:b", "a b", "a\n", "ä"] {
            assert!(name.parse::<User>().is_err(), "{name}");
        }
    }

    #[test]
    fn hashes_are_those_of_apache() {
        let hash = hash_password("secret").unwrap();
        assert!(hash.starts_with("$2y$10$") && bcrypt::verify("secret", &hash).unwrap());
        for wrong in ["", "a\nb", &"x".repeat(73)] {
            assert!(matches!(hash_password(wrong), Err(UserError::Password)));
        }
    }
}
