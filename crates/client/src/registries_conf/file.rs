//! One file, from TOML to entries.

use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;

use super::place::{NoPrefix, Place, Prefix};
use super::{Entry, Mirror, Pulls, RegistriesError, RegistriesWarning};
use crate::credentials::file::line_at;

/// What is wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryProblem {
    /// Neither `prefix` nor `location`.
    #[error("a registry needs a location")]
    Nameless,
    /// A prefix that is not a wildcard, and no location.
    #[error("the registry \"{0}\" needs a location: only a wildcard does without")]
    NoLocation(String),
    /// The text names no place.
    #[error("\"{0}\" is not HOST[:PORT] or HOST[:PORT]/NAMESPACE; it has no scheme, tag or digest")]
    Place(String),
    /// A wildcard in another form.
    #[error("\"{0}\" is not a wildcard: these are *.DOMAIN, without port and namespace")]
    Wildcard(String),
    /// Two settings that contradict each other.
    #[error("pull-from-mirror cannot be set beside mirror-by-digest-only of the registry \"{0}\"")]
    TwoRules(String),
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    registry: Vec<Spanned<RegistryTable>>,
    /// Where version 1 keeps everything.
    registries: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RegistryTable {
    prefix: Option<Spanned<String>>,
    location: Option<Spanned<String>>,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<MirrorTable>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct MirrorTable {
    location: Spanned<String>,
    #[serde(default)]
    insecure: bool,
    pull_from_mirror: Option<Spanned<Pulls>>,
}

/// A problem and the bytes it is about.
struct Located(Range<usize>, EntryProblem);

/// Reads the text of a file. Of several entries with one prefix the first counts; what is passed over is added to `warnings`.
pub(super) fn parse(file: &Path, bytes: &[u8], warnings: &mut Vec<RegistriesWarning>) -> Result<Vec<Entry>, RegistriesError> {
    let wrong = |offset, message: String| RegistriesError::Toml { file: file.to_owned(), line: line_at(bytes, offset), message };
    let text = std::str::from_utf8(bytes).map_err(|error| wrong(error.valid_up_to(), "not UTF-8".to_owned()))?;
    let document: Document = toml::from_str(text)
        .map_err(|error| wrong(error.span().unwrap_or_default().start, error.message().replace('\n', ", ")))?;
    if document.registries.is_some() {
        warnings.push(RegistriesWarning::VersionOne { file: file.to_owned() });
    }
    let mut entries: Vec<Entry> = Vec::new();
    for table in document.registry {
        let span = table.span();
        let read = entry(table.into_inner(), &span, |at, prefix| {
            warnings.push(RegistriesWarning::OneImage { file: file.to_owned(), line: line_at(bytes, at), prefix });
        });
        let read = read.map_err(|Located(at, problem)| RegistriesError::Entry {
            file: file.to_owned(),
            line: line_at(bytes, at.start),
            problem,
        })?;
        entries.extend(read.filter(|entry| entries.iter().all(|known| known.prefix != entry.prefix)));
    }
    Ok(entries)
}

/// Reads one table; `None` for one that is about one tag or digest.
fn entry(table: RegistryTable, span: &Range<usize>, mut pass_over: impl FnMut(usize, String)) -> Result<Option<Entry>, Located> {
    let set = |text: Option<Spanned<String>>| text.filter(|text| !text.get_ref().is_empty());
    let (prefix, location) = (set(table.prefix), set(table.location));
    let Some(written) = prefix.as_ref().or(location.as_ref()) else {
        return Err(Located(span.clone(), EntryProblem::Nameless));
    };
    let prefix = match (Prefix::parse(written.get_ref()), written.get_ref().clone()) {
        (Ok(prefix), _) => prefix,
        (Err(NoPrefix::OneImage), text) => {
            pass_over(written.span().start, text);
            return Ok(None);
        }
        (Err(NoPrefix::Wildcard), text) => return Err(Located(written.span(), EntryProblem::Wildcard(text))),
        (Err(NoPrefix::Malformed), text) => return Err(Located(written.span(), EntryProblem::Place(text))),
    };
    if location.is_none() && matches!(prefix, Prefix::Place { .. }) {
        return Err(Located(written.span(), EntryProblem::NoLocation(prefix.text().to_owned())));
    }
    let location = location.as_ref().map(place).transpose()?;
    let mirrors = table.mirror.iter().map(|mirror| {
        let pulls = match &mirror.pull_from_mirror {
            Some(rule) if table.mirror_by_digest_only => {
                return Err(Located(rule.span(), EntryProblem::TwoRules(prefix.text().to_owned())));
            }
            Some(rule) => *rule.get_ref(),
            None if table.mirror_by_digest_only => Pulls::DigestOnly,
            None => Pulls::All,
        };
        Ok(Mirror { location: place(&mirror.location)?, insecure: mirror.insecure, pulls })
    });
    let mirrors = mirrors.collect::<Result<_, _>>()?;
    Ok(Some(Entry { prefix, location, insecure: table.insecure, blocked: table.blocked, mirrors }))
}

fn place(text: &Spanned<String>) -> Result<Place, Located> {
    Place::parse(text.get_ref()).map_err(|_| Located(text.span(), EntryProblem::Place(text.get_ref().clone())))
}
