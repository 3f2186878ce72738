//! Patterns over names of repositories.

use std::fmt;
use std::str::FromStr;

/// Bytes of a pattern at most: as many as a repository's name may have.
const MAX: usize = 255;

/// A pattern: `*` stands for any part of one component of a name, `**` for any part of the whole name. A pattern that ends with `/**` means what is below,
/// not the name before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(String);

/// A text that is no pattern.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no pattern for repositories: lower-case names with `*` for a part of a component and `**` for any part")]
pub struct GlobError(String);

impl Glob {
    /// The pattern that all names match.
    pub fn all() -> Self {
        Self("**".to_owned())
    }

    /// Whether a name matches.
    pub fn matches(&self, name: &str) -> bool {
        matches(self.0.as_bytes(), name.as_bytes())
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Glob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Self, GlobError> {
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-/*".contains(&byte);
        let whole = (1..=MAX).contains(&text.len()) && text.bytes().all(known);
        let sane = !text.starts_with('/') && !text.ends_with('/') && !text.contains("//") && !text.contains("***");
        if whole && sane { Ok(Self(text.to_owned())) } else { Err(GlobError(text.to_owned())) }
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Row by row, so that no pattern takes longer than its length times that of the name.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    // Which beginnings of the name the pattern so far can stand for.
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    let mut rest = pattern;
    while let Some((&first, after)) = rest.split_first() {
        let (wild, across, next) = match (first, after.first()) {
            (b'*', Some(b'*')) => (true, true, &after[1..]),
            (b'*', _) => (true, false, after),
            _ => (false, false, after),
        };
        if wild {
            for end in 1..=name.len() {
                reached[end] |= reached[end - 1] && (across || name[end - 1] != b'/');
            }
        } else {
            for end in (1..=name.len()).rev() {
                reached[end] = reached[end - 1] && name[end - 1] == first;
            }
            reached[0] = false;
        }
        rest = next;
    }
    reached[name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_parts_of_names() {
        let all = |pattern: &str, names: [&str; 6]| {
            let glob: Glob = pattern.parse().unwrap();
            names.map(|name| u8::from(glob.matches(name))).map(|bit| bit.to_string()).concat()
        };
        let names = ["yocto", "yocto/app", "yocto/app/debug", "yoctoapp", "other/app", "app"];
        for (pattern, expected) in [
            ("**", "111111"),
            ("*", "100101"),
            ("yocto", "100000"),
            ("yocto/*", "010000"),
            ("yocto/**", "011000"),
            ("yocto**", "111100"),
            ("**/app", "010010"),
            ("*/app", "010010"),
            ("yo*o/a*p", "010000"),
            ("**app**", "011111"),
        ] {
            assert_eq!(all(pattern, names), expected, "{pattern}");
        }
    }

    #[test]
    fn what_no_name_could_match_is_no_pattern() {
        for text in ["", "/a", "a/", "a//b", "A", "a b", "a***", "ä", &"a".repeat(256)] {
            assert!(text.parse::<Glob>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_longer_than_its_length() {
        let glob: Glob = format!("{}b", "a*".repeat(120)).parse().unwrap();
        assert!(!glob.matches(&"a".repeat(255)) && glob.matches(&format!("{}b", "a".repeat(200))));
    }
}
