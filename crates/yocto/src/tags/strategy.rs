//! `CONTAINER_REGISTRY_TAG_STRATEGY` and `--strategy`.

/// One word of a strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// Local time, `20260112-143022`.
    Timestamp,
    /// The short commit of the build directory's repository; written `sha` or `git`.
    Commit,
    /// Its branch.
    Branch,
    /// The version and those it stands for: `1.2.3`, `1.2`, `1`.
    Semver,
    /// The version alone.
    Version,
    /// `latest`.
    Latest,
    /// Each other tag but `latest` also with the image's architecture.
    Architecture,
}

/// How each word is written, in the order in which they are listed.
const WORDS: [(&str, Token); 8] = [
    ("timestamp", Token::Timestamp),
    ("sha", Token::Commit),
    ("git", Token::Commit),
    ("branch", Token::Branch),
    ("semver", Token::Semver),
    ("version", Token::Version),
    ("latest", Token::Latest),
    ("arch", Token::Architecture),
];

/// What tags to make, in order and each once. There is at least one word that makes a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strategy(Vec<Token>);

/// Why a text is no strategy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StrategyError {
    /// A word that means nothing.
    #[error("unknown tag strategy `{0}`; known are {known}", known = known())]
    Unknown(String),
    /// No word at all.
    #[error("the tag strategy is empty; known are {known}", known = known())]
    Empty,
    /// `arch` has nothing to add to.
    #[error("the tag strategy `arch` adds the architecture to other tags and needs one beside it, as in `timestamp latest arch`")]
    ArchitectureAlone,
}

fn known() -> String {
    WORDS.map(|(word, _)| word).join(", ")
}

impl Strategy {
    /// What is done where nobody says otherwise.
    pub const DEFAULT: &str = "timestamp latest";

    /// Reads words separated by white space.
    pub fn parse(text: &str) -> Result<Self, StrategyError> {
        let mut tokens = Vec::new();
        for word in text.split_whitespace() {
            let known = WORDS.iter().find(|(name, _)| *name == word);
            let (_, token) = known.ok_or_else(|| StrategyError::Unknown(word.to_owned()))?;
            if !tokens.contains(token) {
                tokens.push(*token);
            }
        }
        match tokens[..] {
            [] => Err(StrategyError::Empty),
            [Token::Architecture] => Err(StrategyError::ArchitectureAlone),
            _ => Ok(Self(tokens)),
        }
    }

    /// The words in order.
    pub fn tokens(&self) -> &[Token] {
        &self.0
    }

    /// Whether tags with the architecture are asked for.
    pub fn with_architecture(&self) -> bool {
        self.0.contains(&Token::Architecture)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_their_order_and_come_once() {
        let strategy = Strategy::parse(" latest sha\tbranch git latest arch\n").unwrap();
        assert_eq!(strategy.tokens(), [Token::Latest, Token::Commit, Token::Branch, Token::Architecture]);
        assert!(strategy.with_architecture());
        assert_eq!(Strategy::parse(Strategy::DEFAULT).unwrap().tokens(), [Token::Timestamp, Token::Latest]);
    }

    #[test]
    fn unknown_words_are_named_with_the_known_ones() {
        for text in ["sha,latest", "Latest", "latest nope"] {
            let error = Strategy::parse(text).unwrap_err();
            let message = error.to_string();
            assert!(matches!(error, StrategyError::Unknown(_)), "{message}");
            for (word, _) in WORDS {
                assert!(message.contains(word), "{message}");
            }
        }
        assert!(Strategy::parse("latest nope").unwrap_err().to_string().contains("`nope`"));
        assert_eq!(Strategy::parse(" "), Err(StrategyError::Empty));
    }

    #[test]
    fn arch_needs_company() {
        assert_eq!(Strategy::parse("arch"), Err(StrategyError::ArchitectureAlone));
        assert_eq!(Strategy::parse("arch arch"), Err(StrategyError::ArchitectureAlone));
        assert!(Strategy::parse("latest arch").is_ok());
    }
}
