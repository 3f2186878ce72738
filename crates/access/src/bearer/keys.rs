//! The keys that sign bearer tokens, exchanged for new ones from time to time.

use std::io;
use std::path::{Path, PathBuf};

use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::credentials::random;
use crate::files::{FileError, Watched, change};

/// Seconds after which another key signs: a day.
const ROTATE: u64 = 86_400;

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Key {
    /// What tokens call it (`kid`).
    pub(crate) id: String,
    /// Since when it signs, in seconds since 1970.
    made: u64,
    #[serde(with = "as_base64")]
    secret: Secret,
}

#[derive(Clone, PartialEq, Eq)]
struct Secret(Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Key {
    fn new(made: u64) -> io::Result<Self> {
        let (id, secret) = (random()?, random()?);
        Ok(Self { id: hex::encode(&id[..8]), made, secret: Secret(secret.to_vec()) })
    }

    /// The 32 bytes that sign.
    pub(crate) fn secret(&self) -> &[u8] {
        &self.secret.0
    }
}

/// All keys that are believed, the newest first.
#[derive(Debug)]
pub struct Keys(Place);

#[derive(Debug)]
enum Place {
    Memory(Key),
    File { path: PathBuf, keys: Watched<Vec<Key>> },
}

impl Keys {
    /// One key for the life of this process: tokens end with it.
    ///
    /// # Errors
    ///
    /// The system gives no random bytes.
    pub fn in_memory() -> io::Result<Self> {
        Ok(Self(Place::Memory(Key::new(0)?)))
    }

    /// Keys in a file, which is made when it is not there. Every process that uses the file believes the tokens of the others.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or holds something else.
    pub fn in_file(path: &Path) -> Result<Self, FileError> {
        Ok(Self(Place::File { path: path.to_owned(), keys: Watched::open(path, parse)? }))
    }

    /// The key to sign with at `now`, in seconds since 1970; a new one when it is time.
    ///
    /// # Errors
    ///
    /// A new one cannot be made or written.
    pub(crate) fn signing(&self, now: u64) -> Result<Key, FileError> {
        let (path, keys) = match &self.0 {
            Place::Memory(key) => return Ok(key.clone()),
            Place::File { path, keys } => (path, keys),
        };
        let is_young = |key: &Key| now < key.made.saturating_add(ROTATE);
        if let Some(key) = keys.get(ignore).first().filter(|key| is_young(key)) {
            return Ok(key.clone());
        }
        let failed = |source| FileError { path: path.clone(), source };
        change(path, |text| {
            let mut keys = parse(&text).map_err(failed)?;
            // Another process may have been faster.
            if let Some(key) = keys.first().filter(|key| is_young(key)) {
                return Ok((text, key.clone()));
            }
            // The one that signed until now is needed for as long as its tokens count, which is far less than until the next time.
            keys.truncate(1);
            keys.insert(0, Key::new(now).map_err(failed)?);
            let written = serde_json::to_string_pretty(&keys).map_err(|error| failed(error.into()))?;
            Ok((written + "\n", keys[0].clone()))
        })
    }

    /// The key of that name, if it is still believed.
    pub(crate) fn verifying(&self, id: &str) -> Option<Key> {
        match &self.0 {
            Place::Memory(key) => Some(key.clone()).filter(|key| key.id == id),
            Place::File { keys, .. } => {
                let find = |keys: &[Key]| keys.iter().find(|key| key.id == id).cloned();
                // One that is not known may have been made this second.
                find(&keys.get(ignore)).or_else(|| find(&keys.get_now(ignore)))
            }
        }
    }

    /// A failure that has to do with them.
    pub(crate) fn failed(&self, source: io::Error) -> FileError {
        let path = match &self.0 {
            Place::Memory(_) => PathBuf::from("the key in memory"),
            Place::File { path, .. } => path.clone(),
        };
        FileError { path, source }
    }
}

/// What cannot be read is noticed when a key is to be made; until then the old ones count.
fn ignore(_: &FileError) {}

fn parse(text: &str) -> io::Result<Vec<Key>> {
    if text.is_empty() { Ok(Vec::new()) } else { Ok(serde_json::from_str(text)?) }
}

mod as_base64 {
    use base64::Engine;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::{STANDARD, Secret};

    pub(super) fn serialize<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&secret.0))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        let bytes = STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)?;
        // A short key, as a hand-made file may hold, would be no protection.
        if bytes.len() < 32 { Err(D::Error::custom("a key has 32 bytes or more")) } else { Ok(Secret(bytes)) }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;

    use super::*;

    #[test]
    fn a_new_key_signs_after_a_day_and_the_old_one_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let keys = Keys::in_file(&path).unwrap();
        let first = keys.signing(1_000).unwrap();
        assert_eq!(keys.verifying(&first.id), Some(first.clone()));
        let others = Keys::in_file(&path).unwrap();
        assert_eq!(others.signing(1_000).unwrap(), first);
        let second = keys.signing(1_000 + ROTATE).unwrap();
        assert_ne!(second, first);
        for keys in [&keys, &others] {
            assert_eq!(keys.verifying(&first.id).as_ref(), Some(&first));
            assert_eq!(keys.verifying(&second.id).as_ref(), Some(&second));
            assert_eq!(keys.signing(2_000 + ROTATE).unwrap(), second);
        }
        others.signing(1_000 + 2 * ROTATE).unwrap();
        assert_eq!(keys.verifying(&"0".repeat(16)), None);
        assert_eq!(keys.verifying(&first.id), None);
        assert!(!format!("{second:?}").contains(&STANDARD.encode(&second.secret.0)));
    }

    #[test]
    fn a_weak_key_is_refused() {
        assert!(parse(r#"[{"id":"a","made":0,"secret":"AAAA"}]"#).is_err());
        assert!(parse("[").is_err());
    }
}
