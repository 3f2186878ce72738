//! Lists in BitBake's variables, as the shell of a task reads them: `a=1 b='two words'`.
//!
//! OCI_IMAGE_LABELS, OCI_IMAGE_ENV_VARS, OCI_IMAGE_PORTS and the like have always been put into a shell script as they are written, where
//! quotes keep blanks together. They mean the same here, but nothing is expanded: `$` and `*` are themselves.

/// Why a list cannot be split.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// A quote that nothing ends.
    #[error("the {0} that begins at `{1}` is not closed")]
    Unclosed(char, String),
    /// A word that should be a pair.
    #[error("`{0}` is not KEY=VALUE")]
    NoPair(String),
    /// A pair without a key.
    #[error("`{0}` has no key before the `=`")]
    NoKey(String),
}

/// Characters of a word that a message shows.
const SHOWN: usize = 40;

fn short(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

/// The words of a list (POSIX, Shell Command Language, 2.2): blanks and line ends separate them, single quotes keep everything, double quotes
/// keep all but a backslash before `"`, `\`, `$` or a backquote, and a backslash elsewhere keeps the next character. A backslash before a line
/// end leaves both out.
pub fn split(list: &str) -> Result<Vec<String>, WordsError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = list.char_indices();
    while let Some((place, c)) = rest.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next().map(|(_, c)| c) {
                        None => return Err(WordsError::Unclosed(c, short(&list[place..]))),
                        Some(end) if end == c => break,
                        Some('\\') if c == '"' => match rest.next().map(|(_, c)| c) {
                            Some('\n') => {}
                            Some(kept @ ('"' | '\\' | '$' | '`')) => word.push(kept),
                            other => {
                                word.push('\\');
                                word.extend(other);
                            }
                        },
                        Some(kept) => word.push(kept),
                    }
                }
            }
            '\\' => match rest.next().map(|(_, c)| c) {
                Some('\n') => {}
                Some(kept) => word.get_or_insert_default().push(kept),
                None => word.get_or_insert_default().push('\\'),
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// A word as the pair that it is. The value may be empty, and may hold further `=`.
pub fn pair(word: &str) -> Result<(String, String), WordsError> {
    match word.split_once('=') {
        None => Err(WordsError::NoPair(short(word))),
        Some(("", _)) => Err(WordsError::NoKey(short(word))),
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
    }
}

/// The pairs of a list, in its order.
pub fn pairs(list: &str) -> Result<Vec<(String, String)>, WordsError> {
    split(list)?.iter().map(|word| pair(word)).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quotes_keep_blanks_together() {
        for (list, words) in [
            ("", &[][..]),
            (" \t\n ", &[]),
            ("a=1 b=2", &["a=1", "b=2"]),
            ("  a=1\t\n b=2 ", &["a=1", "b=2"]),
            ("k2='v with spaces' c=3", &["k2=v with spaces", "c=3"]),
            (r#"k="a \"b\" \n \\ \$HOME""#, &[r#"k=a "b" \n \ $HOME"#]),
            (r"k=a\ b\'", &["k=a b'"]),
            ("k='it'\"'\"'s'", &["k=it's"]),
            ("a=1\\\n b=2", &["a=1", "b=2"]),
            ("'' x=\"\"", &["", "x="]),
            ("k=$HOME *", &["k=$HOME", "*"]),
            ("k=\\", &["k=\\"]),
        ] {
            assert_eq!(
                split(list).as_deref(),
                Ok(words.iter().map(ToString::to_string).collect::<Vec<_>>().as_slice()),
                "{list}"
            );
        }
    }

    #[test]
    fn what_is_not_closed_or_no_pair_is_named() {
        assert_eq!(split("a=1 b=it's"), Err(WordsError::Unclosed('\'', "'s".to_owned())));
        assert_eq!(split("a=\"x\\\""), Err(WordsError::Unclosed('"', "\"x\\\"".to_owned())));
        assert_eq!(pairs("a=1 b"), Err(WordsError::NoPair("b".to_owned())));
        assert_eq!(pairs("=1"), Err(WordsError::NoKey("=1".to_owned())));
        let text = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(pairs("a= b=c=d"), Ok(vec![text("a", ""), text("b", "c=d")]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The words are those of a real shell, where nothing in them means more to it than blanks and quotes.
        #[test]
        fn a_shell_splits_the_same_way(list in r#"[a-z=' "\\]{0,16}"#) {
            let script = format!("for word in {list}\ndo printf '%s\\0' \"$word\"; done");
            if let Ok(words) = split(&list) && !list.ends_with('\\') {
                let said = Command::new("sh").arg("-c").arg(&script).output().unwrap();
                let shell: Vec<_> = String::from_utf8(said.stdout).unwrap().split_terminator('\0').map(str::to_owned).collect();
                prop_assert!(said.status.success());
                prop_assert_eq!(words, shell);
            }
        }

        #[test]
        fn any_text_is_split_or_refused(list in "[a-z=' \"\\\\\n\u{e4}]{0,40}|.{0,40}") {
            if let Ok(words) = split(&list) {
                prop_assert!(words.iter().map(String::len).sum::<usize>() <= list.len());
            }
        }

        #[test]
        fn quoted_words_are_kept(words in proptest::collection::vec("[^']{0,12}", 0..6)) {
            let list: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
            prop_assert_eq!(split(&list.join(" ")), Ok(words));
        }
    }
}
