//! Prefixes and locations: a host, and a namespace or repository in it.

use std::fmt;

use wharf_oci::{NameError, RepositoryName};

/// A physical place: `HOST[:PORT][/PATH]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    host: String,
    /// A repository's name, or the beginning of one; empty for the whole host.
    path: String,
}

/// Why a text is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoPlace;

impl Place {
    pub(super) fn parse(text: &str) -> Result<Self, NoPlace> {
        let text = text.trim_end_matches('/');
        let (host, path) = text.split_once('/').map_or((text, None), |(host, path)| (host, Some(path)));
        if !is_host(host) || path.is_some_and(|path| RepositoryName::check(path).is_err()) {
            return Err(NoPlace);
        }
        Ok(Self { host: host.to_owned(), path: path.unwrap_or_default().to_owned() })
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// The repository that is left when `remainder` is looked for below this place.
    pub(super) fn repository(&self, remainder: &str) -> Result<RepositoryName, NameError> {
        let separator = if self.path.is_empty() || remainder.is_empty() { "" } else { "/" };
        format!("{}{separator}{remainder}", self.path).parse()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.path.is_empty() { "" } else { "/" };
        write!(f, "{}{separator}{}", self.host, self.path)
    }
}

/// `NAME`, `NAME:PORT`, or an IPv6 address in brackets in the place of the name.
fn is_host(text: &str) -> bool {
    let (is_named, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) => (address.parse::<std::net::Ipv6Addr>().is_ok(), port),
            None => return false,
        },
        None => {
            let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (is_name(name), port)
        }
    };
    is_named && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

/// What an entry is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Prefix {
    /// A host, namespace or repository.
    Place { text: String, place: Place },
    /// `*.example.com`: the hosts below a domain, at any port.
    Below { text: String },
}

/// Why a text is no prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPrefix {
    /// A repository with a tag or digest.
    OneImage,
    /// A wildcard with more than a domain behind it.
    Wildcard,
    /// Not a place either.
    Malformed,
}

impl Prefix {
    pub(super) fn parse(text: &str) -> Result<Self, NoPrefix> {
        let text = text.trim_end_matches('/');
        if let Some(domain) = text.strip_prefix("*.") {
            return if is_name(domain) { Ok(Self::Below { text: text.to_owned() }) } else { Err(NoPrefix::Wildcard) };
        }
        match (Place::parse(text), text.split_once('/')) {
            (Ok(place), _) => Ok(Self::Place { text: text.to_owned(), place }),
            (Err(NoPlace), Some((host, path))) if is_host(host) => match path.split_once(['@', ':']) {
                Some((repository, _)) if RepositoryName::check(repository).is_ok() => Err(NoPrefix::OneImage),
                _ => Err(NoPrefix::Malformed),
            },
            (Err(NoPlace), _) => Err(NoPrefix::Malformed),
        }
    }

    /// As written, without slashes at the end.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Place { text, .. } | Self::Below { text } => text,
        }
    }

    /// What of the repository lies below the prefix; `None` where the prefix does not match. Names end at their borders: `example.com/a` is
    /// no prefix of `example.com/ab`, and `example.com` none of `example.com:5000`, which is another registry.
    pub(super) fn remainder<'a>(&self, host: &str, repository: &'a str) -> Option<&'a str> {
        match self {
            Self::Below { text } => {
                let name = host.split_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
                let suffix = text.strip_prefix('*')?.to_ascii_lowercase();
                (name.len() > suffix.len() && name.ends_with(&suffix)).then_some(repository)
            }
            Self::Place { place, .. } if !place.host.eq_ignore_ascii_case(host) => None,
            Self::Place { place, .. } if place.path.is_empty() => Some(repository),
            Self::Place { place, .. } => {
                let rest = repository.strip_prefix(place.path.as_str())?;
                if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_hosts_with_or_without_a_path() {
        for text in ["quay.io", "localhost:5000", "[::1]", "[fd00::1]:5000", "docker.io/library", "10.0.2.2:5000/yocto/a-b"] {
            assert_eq!(Place::parse(text).map(|place| place.to_string()).as_deref(), Ok(text));
        }
        assert_eq!(Place::parse("quay.io/team/").map(|place| place.to_string()).as_deref(), Ok("quay.io/team"));
        for text in [
            "",
            "/",
            "https://quay.io",
            "quay.io:",
            "quay.io:x",
            "quay.io:70000",
            "quay.io:+1",
            "::1",
            "[::1",
            "[x]",
            "[::1]5000",
            "a b",
            "quay.io/Team",
            "quay.io//a",
            "quay.io/a:tag",
            "/a",
            "user@quay.io",
        ] {
            assert_eq!(Place::parse(text), Err(NoPlace), "{text}");
        }
    }

    #[test]
    fn prefixes_say_what_is_wrong_with_them() {
        for (text, problem) in [
            ("*.example.com/a", NoPrefix::Wildcard),
            ("*.example.com:5000", NoPrefix::Wildcard),
            ("*.", NoPrefix::Wildcard),
            ("example.com/a:1.0", NoPrefix::OneImage),
            ("example.com:5000/a@sha256:00", NoPrefix::OneImage),
            ("example.*.com", NoPrefix::Malformed),
            ("https://example.com", NoPrefix::Malformed),
            ("example.com/A:1", NoPrefix::Malformed),
        ] {
            assert_eq!(Prefix::parse(text), Err(problem), "{text}");
        }
    }

    #[test]
    fn a_prefix_matches_at_borders() {
        for (prefix, host, repository, remainder) in [
            ("example.com", "example.com", "a/b", Some("a/b")),
            ("Example.com/", "EXAMPLE.com", "a", Some("a")),
            ("example.com", "example.com:5000", "a", None),
            ("example.com:5000", "example.com:5000", "a", Some("a")),
            ("example.com", "example.community", "a", None),
            ("example.com/a", "example.com", "a", Some("")),
            ("example.com/a", "example.com", "a/b/c", Some("b/c")),
            ("example.com/a", "example.com", "ab", None),
            ("example.com/a/b", "example.com", "a", None),
            ("*.example.com", "a.example.com", "x", Some("x")),
            ("*.example.com", "a.b.example.com:5000", "x", Some("x")),
            ("*.Example.com", "A.example.COM", "x", Some("x")),
            ("*.example.com", "example.com", "x", None),
            ("*.example.com", ".example.com", "x", None),
            ("*.example.com", "anexample.com", "x", None),
            ("*.example.com", "a.example.com.org", "x", None),
        ] {
            let parsed = Prefix::parse(prefix).expect(prefix);
            assert_eq!(parsed.remainder(host, repository), remainder, "{prefix} of {host}/{repository}");
        }
    }
}
