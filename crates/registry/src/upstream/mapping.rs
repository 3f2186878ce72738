//! Which repository of an upstream stands for which one here.

use std::fmt;

use wharf_oci::RepositoryName;

/// Stands for one component of a name.
const ONE: &str = "*";
/// Stands for one component or more.
const MANY: &str = "**";

/// A rule such as `yocto/* -> library/*`. `*` stands for one component of a name, `**` for one or more; either stands for the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    here: Pattern,
    there: Pattern,
}

/// Why a rule is none. The text follows on the rule itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no rule for repositories: {1}")]
pub struct MappingError(String, &'static str);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    /// Up to the wildcard, or all of it.
    before: String,
    wildcard: Option<&'static str>,
    after: String,
}

impl Mapping {
    /// Reads a rule: names here, and what they are called at the upstream.
    pub fn new(here: &str, there: &str) -> Result<Self, MappingError> {
        let wrong = |what| MappingError(format!("{here} -> {there}"), what);
        let (read_here, read_there) = (Pattern::new(here).map_err(wrong)?, Pattern::new(there).map_err(wrong)?);
        if read_here.wildcard != read_there.wildcard {
            return Err(wrong("both sides need the same wildcard, `*` or `**`, or none"));
        }
        Ok(Self { here: read_here, there: read_there })
    }

    /// Every name below a prefix, without the prefix: `docker.io/** -> **`.
    pub(super) fn below(prefix: &str) -> Self {
        let all = |before: String| Pattern { before, wildcard: Some(MANY), after: String::new() };
        Self { here: all(format!("{prefix}/")), there: all(String::new()) }
    }

    /// What a repository is called there, if the rule is about it.
    pub(super) fn apply(&self, name: &RepositoryName) -> Option<RepositoryName> {
        let middle = self.here.matches(name.as_str())?;
        format!("{}{middle}{}", self.there.before, self.there.after).parse().ok()
    }

    /// The more of a name a rule says, the sooner it counts.
    pub(super) fn precision(&self) -> (bool, usize) {
        (self.here.wildcard.is_none(), self.here.before.len() + self.here.after.len())
    }
}

impl Pattern {
    fn new(text: &str) -> Result<Self, &'static str> {
        let mut wildcards = text.split('/').filter(|component| component.contains('*'));
        let wildcard = match (wildcards.next(), wildcards.next()) {
            (None, _) => None,
            (Some(ONE), None) => Some(ONE),
            (Some(MANY), None) => Some(MANY),
            (Some(_), None) => return Err("a wildcard is a whole component"),
            (Some(_), Some(_)) => return Err("a name has one wildcard at most"),
        };
        let (before, after) = match wildcard {
            Some(wildcard) => text.split_once(wildcard).unwrap_or((text, "")),
            None => (text, ""),
        };
        let example = if wildcard.is_some() { format!("{before}x{after}") } else { text.to_owned() };
        match example.parse::<RepositoryName>() {
            Ok(_) => Ok(Self { before: before.to_owned(), wildcard, after: after.to_owned() }),
            Err(_) => Err("a side is no name of a repository"),
        }
    }

    /// What the wildcard stands for in a name; nothing where there is none.
    fn matches<'n>(&self, name: &'n str) -> Option<&'n str> {
        let middle = name.strip_prefix(self.before.as_str())?.strip_suffix(self.after.as_str())?;
        match self.wildcard {
            None => middle.is_empty().then_some(middle),
            Some(ONE) => (!middle.is_empty() && !middle.contains('/')).then_some(middle),
            Some(_) => (!middle.is_empty()).then_some(middle),
        }
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |pattern: &Pattern| format!("{}{}{}", pattern.before, pattern.wildcard.unwrap_or_default(), pattern.after);
        write!(f, "{} -> {}", side(&self.here), side(&self.there))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_mapped() {
        let apply = |here, there, name: &str| {
            let found = Mapping::new(here, there).unwrap().apply(&name.parse().unwrap());
            found.map(|name| name.to_string())
        };
        for (here, there, name, found) in [
            ("yocto/*", "library/*", "yocto/alpine", Some("library/alpine")),
            ("yocto/*", "library/*", "yocto/team/alpine", None),
            ("yocto/*", "library/*", "yocto", None),
            ("yocto/*", "library/*", "yoctopus/alpine", None),
            ("yocto/**", "**", "yocto/team/alpine", Some("team/alpine")),
            ("**", "mirror/**", "a/b", Some("mirror/a/b")),
            ("yocto/*/base", "*", "yocto/arm/base", Some("arm")),
            ("yocto/*/base", "*", "yocto/base", None),
            ("busybox", "library/busybox", "busybox", Some("library/busybox")),
            ("busybox", "library/busybox", "busybox/x", None),
        ] {
            assert_eq!(apply(here, there, name).as_deref(), found, "{here} -> {there}: {name}");
        }
        assert_eq!(Mapping::below("docker.io").apply(&"docker.io/library/a".parse().unwrap()), "library/a".parse().ok());
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for (here, there) in [
            ("a*", "b*"),
            ("*/*", "*/*"),
            ("*", "**"),
            ("*", "b"),
            ("b", "*"),
            ("A", "b"),
            ("", "b"),
            ("a//*", "*"),
            ("***", "***"),
        ] {
            assert!(Mapping::new(here, there).is_err(), "{here} -> {there}");
        }
        assert_eq!(
            Mapping::new("yocto/*", "alpine").unwrap_err().to_string(),
            "`yocto/* -> alpine` is no rule for repositories: both sides need the same wildcard, `*` or `**`, or none"
        );
    }

    #[test]
    fn the_more_precise_rule_comes_first() {
        let mut rules = ["**", "yocto/*", "yocto/alpine", "yocto/**"].map(|here| {
            let there = if here.ends_with("**") {
                "**"
            } else if here.ends_with('*') {
                "*"
            } else {
                "x"
            };
            Mapping::new(here, there).unwrap()
        });
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.precision()));
        assert_eq!(rules[0].to_string(), "yocto/alpine -> x");
        assert_eq!(rules[3].to_string(), "** -> **");
    }
}
