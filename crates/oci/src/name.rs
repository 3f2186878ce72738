//! Repository names, tags, and the `<tag-or-digest>` of a manifest address.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

use crate::{Digest, DigestError};

/// The longest repository name taken, in bytes. Many clients stop at 255 characters for host and name together
/// (distribution-spec, "Pulling manifests", implementers' note).
const NAME_MAX: usize = 255;
/// The longest tag (distribution-spec, "Pulling manifests").
const TAG_MAX: usize = 128;

/// A repository name: components of lower-case letters and digits, with `.`, `_`, `__` or dashes between them, joined by `/`; at
/// most 255 bytes (distribution-spec, "Pulling manifests").
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryName(Box<str>);

/// Why a text is not a repository name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Longer than 255 bytes.
    #[error("a repository name has at most {NAME_MAX} characters")]
    TooLong,
    /// Does not match the grammar.
    #[error("a repository name is made of lower-case letters and digits, separated by `.`, `_`, `__`, `-` or `/`")]
    Grammar,
}

impl RepositoryName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Checks a name without keeping it.
    pub fn check(text: &str) -> Result<(), NameError> {
        if text.len() > NAME_MAX {
            return Err(NameError::TooLong);
        }
        if text.split('/').all(|component| is_component(component.as_bytes())) { Ok(()) } else { Err(NameError::Grammar) }
    }
}

fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_component(component: &[u8]) -> bool {
    let (Some(first), Some(last)) = (component.first(), component.last()) else { return false };
    if !is_alphanumeric(*first) || !is_alphanumeric(*last) {
        return false;
    }
    component
        .split(|byte| is_alphanumeric(*byte))
        .filter(|separator| !separator.is_empty())
        .all(|separator| matches!(separator, b"." | b"_" | b"__") || separator.iter().all(|byte| *byte == b'-'))
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::check(text)?;
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for RepositoryName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<RepositoryName> for String {
    fn from(name: RepositoryName) -> Self {
        name.0.into()
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A tag: a letter, digit or `_`, then up to 127 of these and `.` and `-` (distribution-spec, "Pulling manifests").
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(Box<str>);

/// The text is not a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tag is a letter, digit or `_`, then up to 127 letters, digits, `.`, `_` or `-`")]
pub struct TagError;

impl Tag {
    /// The tag that is meant where none is written.
    pub fn latest() -> Self {
        Self("latest".into())
    }

    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, TagError> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        match text.as_bytes() {
            [first, rest @ ..]
                if text.len() <= TAG_MAX
                    && is_word(*first)
                    && rest.iter().all(|byte| is_word(*byte) || matches!(byte, b'.' | b'-')) =>
            {
                Ok(Self(text.into()))
            }
            _ => Err(TagError),
        }
    }
}

impl TryFrom<String> for Tag {
    type Error = TagError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Tag> for String {
    fn from(name: Tag) -> Self {
        name.0.into()
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a manifest is asked for by: a tag or a digest. A text with a `:` can only be a digest, for no tag holds one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// By a name that may come to mean something else.
    Tag(Tag),
    /// By content.
    Digest(Digest),
}

/// Why a text is neither tag nor digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It reads as a tag and is none.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// It reads as a digest and is none.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.contains(':') { Ok(Self::Digest(text.parse()?)) } else { Ok(Self::Tag(text.parse()?)) }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_names_follow_the_grammar() {
        for good in ["a", "a/b", "yocto/container-base", "a.b", "a_b", "a__b", "a---b", "0", "a/b/c/d", "x-1.2_3"] {
            assert!(good.parse::<RepositoryName>().is_ok(), "{good}");
        }
        for bad in [
            "", "/", "a/", "/a", "a//b", "A", "a..b", "a___b", "a._b", "-a", "a-", ".", "..", "a/../b", "a b", "ä", "a\0b",
            "a%2fb", "a:b", "a@b",
        ] {
            assert_eq!(bad.parse::<RepositoryName>(), Err(NameError::Grammar), "{bad}");
        }
        assert!("a".repeat(255).parse::<RepositoryName>().is_ok());
        assert_eq!("a".repeat(256).parse::<RepositoryName>(), Err(NameError::TooLong));
    }

    #[test]
    fn tags_follow_the_grammar() {
        for good in ["latest", "_", "1.2.3", "A-b.C_d", "20260112-143022"] {
            assert!(good.parse::<Tag>().is_ok(), "{good}");
        }
        for bad in ["", ".a", "-a", "a/b", "a:b", "a b", "ä", "a+b"] {
            assert!(bad.parse::<Tag>().is_err(), "{bad}");
        }
        assert!("a".repeat(128).parse::<Tag>().is_ok());
        assert!("a".repeat(129).parse::<Tag>().is_err());
    }

    #[test]
    fn a_colon_makes_a_digest() {
        assert!(matches!("latest".parse(), Ok(Reference::Tag(_))));
        assert!(matches!(format!("sha256:{}", "0".repeat(64)).parse(), Ok(Reference::Digest(_))));
        assert!(matches!("sha256:0".parse::<Reference>(), Err(ReferenceError::Digest(_))));
    }
}
