//! Images of the configured registry, as people name them.

use wharf_oci::{Digest, Reference, RepositoryName, Tag};

use crate::settings::Settings;
use crate::ui::Failure;

/// An image, and what of it is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageName {
    /// Its repository.
    pub repository: RepositoryName,
    /// A tag or a digest, when one was given.
    pub reference: Option<Reference>,
}

impl ImageName {
    /// What is meant of it: `latest`, where nothing was said.
    pub fn reference_or_latest(&self) -> Reference {
        self.reference.clone().unwrap_or_else(|| Reference::Tag(Tag::latest()))
    }

    /// A name with a tag or digest behind it, as people write it.
    pub fn joined(name: impl std::fmt::Display, reference: &Reference) -> String {
        let separator = if matches!(reference, Reference::Tag(_)) { ':' } else { '@' };
        format!("{name}{separator}{reference}")
    }

    /// Reads `NAME`, `NAME:TAG` or `NAME@DIGEST`. A name without a slash is in the configured namespace, unless the registry's
    /// own address stands in front of it, as it does in what `push` prints.
    pub fn parse(settings: &Settings, text: &str) -> Result<Self, Failure> {
        let own = format!("{}/", settings.url.authority());
        let (text, is_whole) = text.strip_prefix(&own).map_or((text, false), |rest| (rest, true));
        let wrong = |error: &dyn std::error::Error| Failure::new(format!("`{text}` is no image's name")).because(error);
        let (name, digest) = match text.split_once('@') {
            None => (text, None),
            Some((name, digest)) => (name, Some(digest.parse::<Digest>().map_err(|error| wrong(&error))?)),
        };
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag.parse::<Tag>().map_err(|error| wrong(&error))?)),
            _ => (name, None),
        };
        let repository = if is_whole { name.parse() } else { settings.repository(name) }.map_err(|error| wrong(&error))?;
        let reference = match (tag, digest) {
            (Some(_), Some(_)) => {
                return Err(Failure::new(format!("`{text}` has both a tag and a digest")).hint("name the one that is meant"));
            }
            (tag, digest) => digest.map(Reference::Digest).or(tag.map(Reference::Tag)),
        };
        Ok(Self { repository, reference })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Environment, Flags};

    #[test]
    fn names_are_read_as_people_give_them() {
        let settings = Settings::resolve(&Flags::default(), Environment::default()).expect("settings");
        let digest = format!("sha256:{}", "0".repeat(64));
        let show = |text: &str| {
            let name = ImageName::parse(&settings, text).ok()?;
            Some(format!("{} {}", name.repository, name.reference.map(|reference| reference.to_string()).unwrap_or_default()))
        };
        for (text, shown) in [
            ("app".to_owned(), "yocto/app ".to_owned()),
            ("app:1.0".to_owned(), "yocto/app 1.0".to_owned()),
            ("other/app:1.0".to_owned(), "other/app 1.0".to_owned()),
            ("localhost:5000/yocto/app:1.0".to_owned(), "yocto/app 1.0".to_owned()),
            ("localhost:5000/app:1.0".to_owned(), "app 1.0".to_owned()),
            (format!("app@{digest}"), format!("yocto/app {digest}")),
        ] {
            assert_eq!(show(&text), Some(shown), "{text}");
        }
        for text in ["", "App", "app:", "app:#", "app@sha256:0", "localhost:5001/app", ":tag", "@", &format!("app:1.0@{digest}")]
        {
            assert_eq!(show(text), None, "{text}");
        }
    }
}
