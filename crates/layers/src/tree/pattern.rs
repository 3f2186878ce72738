//! Patterns that name paths.

use crate::{EntryPath, EntryPathError};

/// A path, or several: a part may hold `*` for any bytes, `?` for one and `[a-z]` or `[!a-z]` for one of some; the part `**` stands for any number of
/// parts, none included. A backslash takes the next byte as it is. A name that begins with a dot is nothing special.
///
/// A pattern names all that is below the paths that it matches, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    parts: Vec<Part>,
}

/// Why a pattern is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is no path below the root.
    #[error("`{text}` is no path: {source}")]
    Path {
        /// The pattern.
        text: String,
        /// What is wrong with it.
        source: EntryPathError,
    },
    /// It has a bracket that is never closed, or a backslash at the end.
    #[error("`{0}` ends inside a bracket or after a backslash")]
    Unfinished(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Any number of parts.
    Any,
    /// One part that consists of these.
    Name(Vec<Token>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    Star,
    Question,
    /// One of these ranges, or none of them.
    Set {
        ranges: Vec<(u8, u8)>,
        negated: bool,
    },
}

impl std::str::FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let path = EntryPath::parse(text.as_bytes()).map_err(|source| PatternError::Path { text: text.to_owned(), source })?;
        let parts = path.parts().map(|part| match part {
            b"**" => Some(Part::Any),
            _ => tokens(part).map(Part::Name),
        });
        let parts = parts.collect::<Option<_>>().ok_or_else(|| PatternError::Unfinished(text.to_owned()))?;
        Ok(Self { text: text.to_owned(), parts })
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pattern {
    /// Whether it names this path: matches it, or a directory that it is in.
    pub fn names(&self, path: &EntryPath) -> bool {
        self.names_parts(&path.parts().collect::<Vec<_>>())
    }

    /// The same for a path that is taken apart already.
    pub(super) fn names_parts(&self, parts: &[&[u8]]) -> bool {
        // What follows a `**` is tried at its first place, and one place further each time that the rest does not match from there.
        let (mut at, mut tried) = (0, 0);
        let mut again = None;
        while let Some(wanted) = self.parts.get(at) {
            match (wanted, parts.get(tried)) {
                (Part::Any, _) => {
                    at += 1;
                    again = Some((at, tried));
                }
                (Part::Name(tokens), Some(part)) if matches(tokens, part) => {
                    at += 1;
                    tried += 1;
                }
                (_, None) => return false,
                _ => match &mut again {
                    Some((start, place)) => {
                        *place += 1;
                        (at, tried) = (*start, *place);
                    }
                    None => return false,
                },
            }
        }
        true
    }
}

/// Whether a whole part is what the tokens say; in time that grows with the product of both lengths, whatever they are.
fn matches(tokens: &[Token], part: &[u8]) -> bool {
    let (mut at, mut tried) = (0, 0);
    let mut again = None;
    loop {
        match (tokens.get(at), part.get(tried)) {
            (Some(Token::Star), _) => {
                at += 1;
                again = Some((at, tried));
            }
            (Some(token), Some(byte)) if token.takes(*byte) => {
                at += 1;
                tried += 1;
            }
            (None, None) => return true,
            (_, None) => return false,
            _ => match &mut again {
                Some((start, place)) => {
                    *place += 1;
                    (at, tried) = (*start, *place);
                }
                None => return false,
            },
        }
    }
}

impl Token {
    fn takes(&self, byte: u8) -> bool {
        match self {
            Self::Byte(wanted) => *wanted == byte,
            Self::Star => false,
            Self::Question => true,
            Self::Set { ranges, negated } => ranges.iter().any(|(low, high)| (*low..=*high).contains(&byte)) != *negated,
        }
    }
}

/// The tokens of a part; none when it ends too early.
fn tokens(part: &[u8]) -> Option<Vec<Token>> {
    let mut tokens = Vec::with_capacity(part.len());
    let mut bytes = part.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        tokens.push(match byte {
            b'*' => Token::Star,
            b'?' => Token::Question,
            b'\\' => Token::Byte(bytes.next()?),
            b'[' => {
                let negated = bytes.next_if(|byte| matches!(byte, b'!' | b'^')).is_some();
                let mut ranges = Vec::new();
                loop {
                    let low = match bytes.next()? {
                        // As the first of the set, a closing bracket stands for itself.
                        b']' if !ranges.is_empty() => break,
                        b'\\' => bytes.next()?,
                        byte => byte,
                    };
                    let mut ahead = bytes.clone();
                    match (ahead.next(), ahead.next()) {
                        (Some(b'-'), Some(high)) if high != b']' => {
                            bytes = ahead;
                            ranges.push((low, if high == b'\\' { bytes.next()? } else { high }));
                        }
                        _ => ranges.push((low, low)),
                    }
                }
                Token::Set { ranges, negated }
            }
            byte => Token::Byte(byte),
        });
    }
    Some(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(pattern: &str, path: &str) -> bool {
        pattern.parse::<Pattern>().unwrap().names(&EntryPath::parse(path.as_bytes()).unwrap())
    }

    #[test]
    fn a_path_names_itself_and_what_is_below_it() {
        for (pattern, path, named) in [
            ("usr/lib", "usr/lib", true),
            ("/usr/lib/", "usr/lib/a/b", true),
            ("usr/lib", "usr/library", false),
            ("usr/lib", "usr", false),
            ("usr/l*", "usr/lib64/x", true),
            ("usr/*.so", "usr/lib/x.so", false),
            ("*", ".hidden", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[]a]", "]", true),
            ("[a-]", "-", true),
            ("[a\\]b]", "]", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("**/*.so", "x.so", true),
            ("**/*.so", "usr/lib/x.so/y", true),
            ("**/*.so", "usr/lib/x.soo", false),
            ("usr/**/doc/**/x", "usr/a/doc/b/doc/c/x", true),
            ("usr/**/doc/x", "usr/doc/y/doc/x", true),
            ("**", "a", true),
            ("/", "a/b", true),
            ("a*b*c", "aXbXbc", true),
            ("a*b*c", "aXbXcb", false),
        ] {
            assert_eq!(names(pattern, path), named, "{pattern} {path}");
        }
    }

    #[test]
    fn unfinished_patterns_are_none() {
        for text in ["[a", "a\\", "[", "[]", "[a-", "x/[!/y]"] {
            assert_eq!(text.parse::<Pattern>(), Err(PatternError::Unfinished(text.to_owned())), "{text}");
        }
        assert!(matches!("../x".parse::<Pattern>(), Err(PatternError::Path { source: EntryPathError::Climbs, .. })));
    }

    proptest! {
        #[test]
        fn any_text_is_a_pattern_or_an_error(text in "[a*?\\[\\]\\\\!/-]{0,40}", path in "[ab/-]{0,60}") {
            if let Ok(pattern) = text.parse::<Pattern>() {
                pattern.names(&EntryPath::parse(path.as_bytes()).unwrap());
            }
        }

        #[test]
        fn every_path_names_itself_once_escaped(path in "[a*?\\[\\]!/^-]{1,40}") {
            let escaped: String = path.chars().flat_map(|c| (c != '/').then_some('\\').into_iter().chain([c])).collect();
            prop_assert!(names(&escaped, &path));
        }
    }
}
