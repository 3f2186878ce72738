//! `images`: the list of images.

use std::process::ExitCode;

use serde_json::json;
use wharf_terminal::ui::Failure;

use crate::cli::images::List;
use crate::format::{Format, ago, at, print_list, size};
use crate::settings::Settings;
use crate::store::{self, Image, Store};

/// What of the list is wanted.
enum Condition {
    Reference(String),
    Dangling(bool),
    Label(String, Option<String>),
    Before(String),
    Since(String),
}

/// Lists images.
pub fn run(settings: &Settings, options: &List) -> Result<ExitCode, Failure> {
    let all = Store::of(settings).images()?;
    let mut conditions = options.filter.iter().map(|text| condition(settings, &all, text)).collect::<Result<Vec<_>, _>>()?;
    if let Some(name) = &options.name {
        conditions.push(Condition::Reference(name.clone()));
    }
    let mut rows = Vec::new();
    let mut ids: Vec<String> = Vec::new();
    for image in &all {
        let names: Vec<Option<&String>> = match image.names.as_slice() {
            [] => vec![None],
            names => names.iter().map(Some).collect(),
        };
        for name in names.into_iter().filter(|name| conditions.iter().all(|condition| condition.holds(settings, image, *name))) {
            ids.push(if options.no_trunc { image.full_id() } else { image.short_id() });
            rows.push(row(image, name.map(String::as_str), options.no_trunc));
        }
    }
    if options.quiet && options.format.is_none() {
        ids.dedup();
        wharf_terminal::ui::print(ids.iter().map(|id| format!("{id}\n")).collect::<String>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut columns = vec![("Repository", "REPOSITORY"), ("Tag", "TAG")];
    if options.digests {
        columns.push(("Digest", "DIGEST"));
    }
    columns.extend([("ID", "IMAGE ID"), ("CreatedSince", "CREATED"), ("Size", "SIZE")]);
    print_list(&Format::parse(options.format.as_deref()), &columns, &rows)?;
    Ok(ExitCode::SUCCESS)
}

fn row(image: &Image, name: Option<&str>, whole: bool) -> serde_json::Value {
    let (repository, tag) = name.map_or(("<none>", "<none>"), store::parts);
    let prefix = name.and_then(|name| name.rsplit_once(':')).map_or("", |(repository, _)| repository);
    let known = image.repository_digests.iter().filter_map(|known| known.split_once('@'));
    let mut known = known.filter(|(repository, _)| name.is_none() || *repository == prefix);
    let known = known.next();
    let repository = match (name, known) {
        (None, Some((known, _))) => store::familiar(known),
        _ => repository,
    };
    json!({
        "Repository": repository,
        "Tag": tag,
        "Digest": known.map_or("<none>", |(_, digest)| digest),
        "ID": if whole { image.full_id() } else { image.short_id() },
        "CreatedSince": ago(&image.created),
        "CreatedAt": at(&image.created),
        "Size": size(image.size),
        "VirtualSize": size(image.size),
        "Containers": "N/A",
        "SharedSize": "N/A",
        "UniqueSize": "N/A",
    })
}

fn condition(settings: &Settings, all: &[Image], text: &str) -> Result<Condition, Failure> {
    let wrong =
        || Failure::new(format!("invalid filter `{text}`")).hint("filters are reference=, dangling=, label=, before= and since=");
    let (key, value) = text.split_once('=').ok_or_else(wrong)?;
    let created = |name: &str| {
        let found = store::find(all, settings.registry.as_ref(), name)?;
        found.map(|found| found.image.created).ok_or_else(|| Failure::new(format!("No such image: {name}")))
    };
    match key {
        "reference" => Ok(Condition::Reference(value.to_owned())),
        "dangling" => match value {
            "true" | "1" => Ok(Condition::Dangling(true)),
            "false" | "0" => Ok(Condition::Dangling(false)),
            _ => Err(Failure::new(format!("invalid filter `{text}`: neither true nor false"))),
        },
        "label" => {
            let (key, value) = value.split_once('=').map_or((value, None), |(key, value)| (key, Some(value.to_owned())));
            Ok(Condition::Label(key.to_owned(), value))
        }
        "before" => Ok(Condition::Before(created(value)?)),
        "since" => Ok(Condition::Since(created(value)?)),
        _ => Err(wrong()),
    }
}

impl Condition {
    fn holds(&self, settings: &Settings, image: &Image, name: Option<&String>) -> bool {
        match self {
            Self::Reference(pattern) => name.is_some_and(|name| fits(settings, pattern, name)),
            Self::Dangling(wanted) => image.names.is_empty() == *wanted,
            Self::Label(key, value) => {
                let label = &image.config["config"]["Labels"][key];
                label.as_str().is_some_and(|label| value.as_ref().is_none_or(|value| value == label))
            }
            Self::Before(created) => image.created < *created,
            Self::Since(created) => image.created > *created,
        }
    }
}

/// Whether a name is what a pattern means: `*` and `?` are any characters but a slash; without a tag every tag will do, and without a registry
/// those of Docker Hub and of the configured registry.
fn fits(settings: &Settings, pattern: &str, name: &str) -> bool {
    let (repository, _) = store::parts(name);
    let whole = name.rsplit_once(':').map_or(name, |(repository, _)| repository);
    let under = settings.registry.as_ref().and_then(|registry| name.strip_prefix(&registry.qualify("")));
    let under_repository = under.and_then(|name| name.rsplit_once(':')).map(|(repository, _)| repository);
    let candidates = [Some(name), Some(whole), Some(store::familiar(name)), Some(repository), under, under_repository];
    candidates.into_iter().flatten().any(|candidate| matches(pattern.as_bytes(), candidate.as_bytes()))
}

/// Whether a text fits a pattern of `*` and `?`.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    // The place of the last star, and how much of the text it has taken: enough to go back to, and no more than quadratic.
    let (mut at, mut of, mut star) = (0, 0, None);
    while of < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, of));
                at += 1;
            }
            Some(b'?') if text[of] != b'/' => (at, of) = (at + 1, of + 1),
            Some(byte) if *byte == text[of] => (at, of) = (at + 1, of + 1),
            _ => match star {
                Some((place, taken)) if text[taken] != b'/' => {
                    (at, of) = (place + 1, taken + 1);
                    star = Some((place, taken + 1));
                }
                _ => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stop_at_slashes() {
        let fits = |pattern: &str, text: &str| matches(pattern.as_bytes(), text.as_bytes());
        for (pattern, text) in [
            ("alpine", "alpine"),
            ("al*", "alpine"),
            ("*:lat*st", "alpine:latest"),
            ("a?pine", "alpine"),
            ("*/*", "a/b"),
            ("*", ""),
        ] {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("al", "alpine"), ("*", "a/b"), ("a*b", "a/b"), ("a?b", "a/b"), ("", "a"), ("*x", "a")] {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
    }
}
