//! The labels that a build puts on its images by itself, which say where they come from.

mod time;

use std::collections::BTreeMap;

use crate::git::{Repository, Unknown};
pub use time::{BuildTime, EpochError, is_time};

/// Commit of the build directory's repository.
pub const REVISION: &str = "org.opencontainers.image.revision";
/// Branch of the build directory's repository. A label of an image; the annotation of the same name in a layout is the image's name there.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// When the image was built.
pub const CREATED: &str = "org.opencontainers.image.created";
/// The image's version.
pub const VERSION: &str = "org.opencontainers.image.version";

/// What drops a label.
const NONE: &str = "none";
/// What BitBake leaves of a variable that does not exist.
const UNEXPANDED: &str = "${";

/// What a build's settings say in place of what can be found out. An empty value counts as unset, and `none` drops the label. A value that
/// still holds `${` counts as unset, too: the variable in it was not let through to BitBake.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overrides<'a> {
    /// OCI_IMAGE_REVISION.
    pub revision: Option<&'a str>,
    /// OCI_IMAGE_BRANCH.
    pub branch: Option<&'a str>,
    /// OCI_IMAGE_BUILD_DATE.
    pub created: Option<&'a str>,
    /// OCI_IMAGE_VERSION, else the recipe's PV where somebody set that.
    pub version: Option<&'a str>,
}

/// What a build should know about its labels.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelWarning {
    /// A value with a variable in it that does not exist.
    #[error(
        "{variable} is `{value}`, which counts as unset: BitBake does not know {name}. BB_ENV_PASSTHROUGH_ADDITIONS lets variables of the environment through"
    )]
    Unexpanded {
        /// The setting.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What is in its braces.
        name: String,
    },
    /// The repository does not tell.
    #[error("no label {label}: {why}")]
    Unknown {
        /// The label.
        label: &'static str,
        /// Why.
        why: Unknown,
    },
    /// Not a time.
    #[error("OCI_IMAGE_BUILD_DATE is `{0}`, and the label should be a time such as `2026-01-12T20:32:24Z` (RFC 3339)")]
    NotATime(String),
}

/// The automatic labels, and what the build should know about them. `repository` is asked only for what nothing else says. That the build
/// directory is in no repository is not worth a warning.
///
/// A label that somebody gives wins over these: that is for the caller to see to.
pub fn automatic(
    overrides: &Overrides,
    time: BuildTime,
    repository: impl FnOnce() -> Repository,
) -> (BTreeMap<String, String>, Vec<LabelWarning>) {
    let mut warnings = Vec::new();
    let mut given = |variable, value| Given::of(variable, value, &mut warnings);
    let revision = given("OCI_IMAGE_REVISION", overrides.revision);
    let branch = given("OCI_IMAGE_BRANCH", overrides.branch);
    let created = given("OCI_IMAGE_BUILD_DATE", overrides.created);
    let version = given("OCI_IMAGE_VERSION", overrides.version);
    if let Given::Value(created) = created
        && !time::is_time(created)
    {
        warnings.push(LabelWarning::NotATime(created.to_owned()));
    }
    let mut labels = BTreeMap::new();
    let asked = [(REVISION, revision), (REF_NAME, branch)];
    let mut found = asked.iter().any(|(_, given)| *given == Given::Unset).then(repository);
    for (label, given) in asked {
        let known = match (label, &mut found) {
            (REVISION, Some(found)) => Some(&found.commit),
            (_, Some(found)) => Some(&found.branch),
            (_, None) => None,
        };
        match (given, known) {
            (Given::Value(value), _) => drop(labels.insert(label.to_owned(), value.to_owned())),
            (Given::Unset, Some(Ok(value))) => drop(labels.insert(label.to_owned(), value.clone())),
            (Given::Unset, Some(Err(why))) if !matches!(why, Unknown::NoRepository(_)) => {
                let why = why.clone();
                // Git fails for both in the same words, which are said once.
                let is_said = |warning: &LabelWarning| matches!(warning, LabelWarning::Unknown { why: said, .. } if *said == why);
                if !warnings.iter().any(is_said) {
                    warnings.push(LabelWarning::Unknown { label, why });
                }
            }
            _ => {}
        }
    }
    match created {
        Given::Value(created) => drop(labels.insert(CREATED.to_owned(), created.to_owned())),
        Given::Unset => drop(labels.insert(CREATED.to_owned(), time.to_string())),
        Given::None => {}
    }
    if let Given::Value(version) = version {
        labels.insert(VERSION.to_owned(), version.to_owned());
    }
    (labels, warnings)
}

/// What a setting says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Given<'a> {
    Unset,
    None,
    Value(&'a str),
}

impl<'a> Given<'a> {
    fn of(variable: &'static str, value: Option<&'a str>, warnings: &mut Vec<LabelWarning>) -> Self {
        match value.map(str::trim) {
            None | Some("") => Self::Unset,
            Some(NONE) => Self::None,
            Some(value) => match value.split_once(UNEXPANDED) {
                None => Self::Value(value),
                Some((_, rest)) => {
                    let name = rest.split('}').next().unwrap_or_default().to_owned();
                    warnings.push(LabelWarning::Unexpanded { variable, value: value.to_owned(), name });
                    Self::Unset
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn repository() -> Repository {
        Repository { commit: Ok("8a3f2b1".to_owned()), branch: Ok("master".to_owned()) }
    }

    fn time() -> BuildTime {
        BuildTime::of_epoch("1768249944").unwrap()
    }

    fn labels(overrides: &Overrides) -> Vec<(String, String)> {
        let (labels, warnings) = automatic(overrides, time(), repository);
        assert_eq!(warnings, []);
        labels.into_iter().collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn repository_and_clock_tell() {
        let found = [(CREATED, "2026-01-12T20:32:24Z"), (REF_NAME, "master"), (REVISION, "8a3f2b1")];
        assert_eq!(labels(&Overrides::default()), pairs(&found));
        let empty = Overrides { revision: Some(""), branch: Some(" "), created: Some(""), version: Some("") };
        assert_eq!(labels(&empty), pairs(&found));
    }

    #[test]
    fn settings_win_and_none_drops() {
        let given = Overrides {
            revision: Some("abc"),
            branch: Some(" main "),
            created: Some("2020-01-01T00:00:00Z"),
            version: Some("1.2+git"),
        };
        let expected = [(CREATED, "2020-01-01T00:00:00Z"), (REF_NAME, "main"), (REVISION, "abc"), (VERSION, "1.2+git")];
        assert_eq!(labels(&given), pairs(&expected));
        let none = Some("none");
        assert_eq!(labels(&Overrides { revision: none, branch: none, created: none, version: none }), []);
        assert_eq!(labels(&Overrides { branch: none, created: none, ..Overrides::default() }), pairs(&[(REVISION, "8a3f2b1")]));
    }

    #[test]
    fn nobody_is_asked_for_what_is_given() {
        let given = Overrides { revision: Some("abc"), branch: Some("none"), ..Overrides::default() };
        let (labels, _) = automatic(&given, time(), || panic!("asked"));
        assert_eq!(labels.get(REVISION).map(String::as_str), Some("abc"));
    }

    #[test]
    fn what_was_not_let_through_counts_as_unset() {
        let given = Overrides { revision: Some("${CI_COMMIT_SHA}"), version: Some("1.${MINOR}"), ..Overrides::default() };
        let (labels, warnings) = automatic(&given, time(), repository);
        assert_eq!(labels.get(REVISION).map(String::as_str), Some("8a3f2b1"));
        assert!(!labels.contains_key(VERSION));
        let said: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 2);
        for (said, parts) in said.iter().zip([
            ["OCI_IMAGE_REVISION", "`${CI_COMMIT_SHA}`", "know CI_COMMIT_SHA"],
            ["OCI_IMAGE_VERSION", "`1.${MINOR}`", "know MINOR"],
        ]) {
            assert!(said.contains("BB_ENV_PASSTHROUGH_ADDITIONS") && parts.iter().all(|part| said.contains(part)), "{said}");
        }
    }

    #[test]
    fn failures_of_git_are_warnings_and_no_repository_is_none() {
        let folder = PathBuf::from("/b");
        let asked = |why: Unknown| {
            let both = Repository { commit: Err(why.clone()), branch: Err(why) };
            let (labels, warnings) = automatic(&Overrides::default(), time(), || both);
            assert_eq!(labels.into_keys().collect::<Vec<_>>(), [CREATED]);
            warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(asked(Unknown::NoRepository(folder.clone())), [""; 0]);
        let said = asked(Unknown::Failed { folder: folder.clone(), words: "fatal: detected dubious ownership".to_owned() });
        assert_eq!(said, [format!("no label {REVISION}: git failed for /b: fatal: detected dubious ownership")]);
        assert_eq!(asked(Unknown::NoGit(folder.clone())).len(), 1);
        let detached = Repository { branch: Err(Unknown::Detached(folder)), ..repository() };
        let (labels, warnings) = automatic(&Overrides::default(), time(), || detached);
        assert_eq!(labels.get(REVISION).map(String::as_str), Some("8a3f2b1"));
        assert!(warnings[0].to_string().starts_with(&format!("no label {REF_NAME}: ")), "{warnings:?}");
    }

    #[test]
    fn a_date_in_another_form_is_taken_with_a_warning() {
        let (labels, warnings) = automatic(&Overrides { created: Some("20260112"), ..Overrides::default() }, time(), repository);
        assert_eq!(labels.get(CREATED).map(String::as_str), Some("20260112"));
        assert_eq!(warnings, [LabelWarning::NotATime("20260112".to_owned())]);
    }
}
