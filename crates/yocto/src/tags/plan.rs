//! The tags of one image.

use wharf_oci::Tag;

use super::facts::Facts;
use super::strategy::{Strategy, Token};
use crate::version::{self, Version, VersionError};

/// The tag that means "the newest".
const LATEST: &str = "latest";

/// The tags of an image, in the order of the strategy and each once; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagPlan {
    /// The tags that do not depend on an architecture.
    pub tags: Vec<Tag>,
    /// Whether those of [`arch_tags`](Self::arch_tags) are wanted too.
    pub with_architecture: bool,
}

/// Why an image gets no tags.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagsError {
    /// The strategy needs a version, and none is known.
    #[error(
        "the tag strategy `{0}` needs a version: give --version, set IMAGE_VERSION, or build the image with the label org.opencontainers.image.version"
    )]
    NoVersion(&'static str),
    /// The version is none.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// A text that is not a tag came out.
    #[error("`{text}`, from the tag strategy `{strategy}`, cannot be a tag: {source}")]
    Tag {
        /// What came out.
        text: String,
        /// The word of the strategy.
        strategy: &'static str,
        /// Why not.
        source: wharf_oci::TagError,
    },
    /// No word of the strategy made a tag.
    #[error("no tag is left: every part of the tag strategy was skipped")]
    Nothing,
}

/// Makes the tags of an image whose version, if it has one, is `version`. What the facts do not tell is left out, see [`Facts::skipped`].
pub fn plan(strategy: &Strategy, facts: &Facts, version: Option<&str>) -> Result<TagPlan, TagsError> {
    let version = version.map(str::trim).filter(|version| !version.is_empty());
    let mut tags = Vec::new();
    let mut add = |tag: Tag| {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    };
    for token in strategy.tokens() {
        match token {
            Token::Timestamp => add(parse(&facts.timestamp(), "timestamp")?),
            Token::Commit => {
                if let Ok(commit) = facts.commit() {
                    add(parse(commit, "sha")?);
                }
            }
            Token::Branch => facts.branch().into_iter().for_each(&mut add),
            Token::Semver => {
                let version = Version::parse(version.ok_or(TagsError::NoVersion("semver"))?)?;
                for text in version.nested() {
                    add(parse(text, "semver")?);
                }
            }
            Token::Version => {
                let version = version.ok_or(TagsError::NoVersion("version"))?;
                add(parse(version::before_build(version), "version")?);
            }
            Token::Latest => add(parse(LATEST, "latest")?),
            Token::Architecture => {}
        }
    }
    if tags.is_empty() {
        return Err(TagsError::Nothing);
    }
    Ok(TagPlan { tags, with_architecture: strategy.with_architecture() })
}

impl TagPlan {
    /// The further tags of an image of one architecture: `TAG-ARCH` for every tag but `latest`, unless it is one of the tags already; none
    /// when the strategy does not ask for them. `architecture` is the build's name, as [`build_name`](crate::architecture::build_name) gives it.
    pub fn arch_tags(&self, architecture: &str) -> Result<Vec<Tag>, TagsError> {
        let named = self.tags.iter().filter(|tag| self.with_architecture && tag.as_str() != LATEST);
        let tags = named.map(|tag| parse(&format!("{tag}-{architecture}"), "arch")).collect::<Result<Vec<_>, _>>()?;
        Ok(tags.into_iter().filter(|tag| !self.tags.contains(tag)).collect())
    }
}

fn parse(text: &str, strategy: &'static str) -> Result<Tag, TagsError> {
    text.parse().map_err(|source| TagsError::Tag { text: text.to_owned(), strategy, source })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::{prop_assert, proptest};

    use super::*;
    use crate::git::{Repository, Unknown};
    use crate::tags::Skipped;

    fn facts() -> Facts {
        Facts::with(Repository { commit: Ok("8a3f2b1".to_owned()), branch: Ok("feature/log_in".to_owned()) })
    }

    fn no_repository() -> Facts {
        let reason = Unknown::NoRepository(PathBuf::from("/build"));
        Facts::with(Repository { commit: Err(reason.clone()), branch: Err(reason) })
    }

    fn made(strategy: &str, facts: &Facts, version: Option<&str>) -> Result<TagPlan, TagsError> {
        plan(&Strategy::parse(strategy).unwrap(), facts, version)
    }

    fn texts(tags: &[Tag]) -> Vec<&str> {
        tags.iter().map(Tag::as_str).collect()
    }

    #[test]
    fn each_word_makes_its_tags() {
        for (strategy, version, expected) in [
            ("timestamp latest", None, &["20260112-143022", "latest"][..]),
            ("sha branch latest", None, &["8a3f2b1", "feature-log-in", "latest"]),
            ("git", None, &["8a3f2b1"]),
            ("semver latest", Some("1.2.3"), &["1.2.3", "1.2", "1", "latest"]),
            ("semver version", Some("1.2.3"), &["1.2.3", "1.2", "1"]),
            ("latest semver", Some("v1.2-rc1"), &["latest", "v1.2-rc1"]),
            ("version", Some(" 2.0~a+git5 "), &["2.0~a"][..0]),
            ("version", Some("5.x_2+git5"), &["5.x_2"]),
        ] {
            match made(strategy, &facts(), version) {
                Ok(plan) => assert_eq!(texts(&plan.tags), expected, "{strategy}"),
                Err(error) => assert!(expected.is_empty() && error.to_string().contains("`2.0~a`"), "{strategy}: {error}"),
            }
        }
    }

    #[test]
    fn every_tag_but_latest_gets_the_architecture() {
        let plan = made("semver latest sha arch", &facts(), Some("1.2")).unwrap();
        assert_eq!(texts(&plan.tags), ["1.2", "1", "latest", "8a3f2b1"]);
        assert_eq!(texts(&plan.arch_tags("x86_64").unwrap()), ["1.2-x86_64", "1-x86_64", "8a3f2b1-x86_64"]);
        let without = made("semver latest sha", &facts(), Some("1.2")).unwrap();
        assert_eq!(without.arch_tags("x86_64"), Ok(vec![]));
        let same = Facts::with(Repository { commit: Ok("1".to_owned()), branch: Ok("1-arm".to_owned()) });
        let twice = made("sha branch arch", &same, None).unwrap();
        assert_eq!(texts(&twice.arch_tags("arm").unwrap()), ["1-arm-arm"]);
    }

    #[test]
    fn arch_beside_latest_adds_nothing_and_is_said() {
        let strategy = Strategy::parse("arch latest").unwrap();
        let plan = plan(&strategy, &facts(), None).unwrap();
        assert_eq!(texts(&plan.tags), ["latest"]);
        assert_eq!(plan.arch_tags("arm"), Ok(vec![]));
        assert_eq!(facts().skipped(&strategy), [Skipped::Architecture]);
        assert_eq!(facts().skipped(&Strategy::parse("sha latest arch").unwrap()), []);
    }

    #[test]
    fn an_architecture_that_makes_a_tag_too_long_is_refused() {
        let long = "a".repeat(120);
        let plan = made("version arch", &facts(), Some(&long)).unwrap();
        assert!(plan.arch_tags("x86_64").is_ok());
        let message = plan.arch_tags("powerpc64le").unwrap_err().to_string();
        assert!(message.contains(&format!("{long}-powerpc64le")) && message.contains("127"), "{message}");
        assert!(plan.arch_tags("a/b").is_err());
    }

    #[test]
    fn what_is_not_known_is_skipped_and_said() {
        let strategy = Strategy::parse("sha branch latest").unwrap();
        let plan = plan(&strategy, &no_repository(), None).unwrap();
        assert_eq!(texts(&plan.tags), ["latest"]);
        let said: Vec<String> = no_repository().skipped(&strategy).iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 2);
        assert!(said[0].contains("`sha`") && said[1].contains("`branch`") && said[1].contains("/build"), "{said:?}");
        assert_eq!(facts().skipped(&strategy), []);
        assert_eq!(made("sha branch arch", &no_repository(), None), Err(TagsError::Nothing));
        let unnamed = Facts::with(Repository { commit: Ok("1".to_owned()), branch: Ok("__".to_owned()) });
        assert_eq!(unnamed.skipped(&strategy), [Skipped::BranchName("__".to_owned())]);
    }

    #[test]
    fn a_missing_version_says_where_one_may_come_from() {
        for (strategy, version) in [("semver", None), ("latest version", Some("  "))] {
            let message = made(strategy, &facts(), version).unwrap_err().to_string();
            for place in ["--version", "IMAGE_VERSION", "org.opencontainers.image.version"] {
                assert!(message.contains(place), "{message}");
            }
        }
        assert!(made("semver", &facts(), Some("git")).unwrap_err().to_string().contains("`git`"));
        assert!(made("version", &facts(), Some("+git")).is_err());
        assert!(made("semver", &facts(), Some(&"1".repeat(129))).is_err());
    }

    proptest! {
        #[test]
        fn any_version_gives_tags_or_an_error(version in ".{0,140}") {
            for strategy in ["semver arch", "version arch", "semver version latest"] {
                if let Ok(plan) = made(strategy, &facts(), Some(&version)) {
                    prop_assert!(!plan.tags.is_empty());
                }
            }
        }
    }
}
