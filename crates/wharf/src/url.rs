//! The registry's address as people give it: `HOST[:PORT]`, with or without a scheme.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::config::ListenAddress;

/// How a virtual machine of QEMU's user network names the loopback of its host.
const HOST_SEEN_FROM_GUEST: &str = "10.0.2.2";

/// A registry's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryUrl {
    /// The scheme, when one was written: `https://`, or else `http://`.
    pub https: Option<bool>,
    /// Host name or address, IPv6 without brackets, in lower case.
    pub host: String,
    /// The port, when one was written.
    pub port: Option<u16>,
}

/// Why a text is no registry's address.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Another scheme.
    #[error("`{0}` has a scheme other than http and https")]
    Scheme(String),
    /// A path, a query or a user.
    #[error("`{0}` holds more than a host and a port")]
    More(String),
    /// No host, or one that cannot be.
    #[error("`{0}` has no usable host")]
    Host(String),
    /// A port that cannot be.
    #[error("`{0}` has a port that is not between 1 and 65535")]
    Port(String),
}

impl RegistryUrl {
    /// Reads an address.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let whole = || text.to_owned();
        let text_trimmed = text.trim();
        let (https, rest) = match text_trimmed.split_once("://") {
            None => (None, text_trimmed),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Some(false), rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Some(true), rest),
            Some(_) => return Err(UrlError::Scheme(whole())),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) {
            return Err(UrlError::More(whole()));
        }
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or_else(|| UrlError::Host(whole()))?;
                host.parse::<Ipv6Addr>().map_err(|_| UrlError::Host(whole()))?;
                let port = match after {
                    "" => None,
                    after => Some(after.strip_prefix(':').ok_or_else(|| UrlError::Host(whole()))?),
                };
                (host, port)
            }
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty() || !(host.chars().all(named) || host.contains(':')) {
            return Err(UrlError::Host(whole()));
        }
        let port = match port {
            None => None,
            Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
                Some(port.parse().ok().filter(|port| *port != 0).ok_or_else(|| UrlError::Port(whole()))?)
            }
            Some(_) => return Err(UrlError::Port(whole())),
        };
        Ok(Self { https, host: host.to_ascii_lowercase(), port })
    }

    /// Whether it means this machine's loopback, as seen from here or from a guest.
    pub fn is_local(&self) -> bool {
        self.host == "localhost"
            || self.host == HOST_SEEN_FROM_GUEST
            || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Where a server for it listens that speaks TLS, or does not.
    pub fn listen_address(&self, https: bool) -> ListenAddress {
        let host = if self.host == HOST_SEEN_FROM_GUEST { "127.0.0.1" } else { &self.host };
        ListenAddress { host: host.to_owned(), port: self.port.unwrap_or(if https { HTTPS } else { HTTP }) }
    }

    /// The same address as a guest of QEMU's user network has it.
    #[must_use]
    pub fn seen_from_guest(&self) -> Self {
        let host = if self.is_local() { HOST_SEEN_FROM_GUEST } else { &self.host };
        Self { host: host.to_owned(), ..self.clone() }
    }

    /// `HOST[:PORT]` as it stands in the name of an image.
    pub fn authority(&self) -> String {
        match (self.host.contains(':'), self.port) {
            (false, None) => self.host.clone(),
            (false, Some(port)) => format!("{}:{port}", self.host),
            (true, None) => format!("[{}]", self.host),
            (true, Some(port)) => format!("[{}]:{port}", self.host),
        }
    }
}

/// The port of plain HTTP.
const HTTP: u16 = 80;
/// The port of HTTPS.
const HTTPS: u16 = 443;

impl fmt::Display for RegistryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, port) = if self.https == Some(true) { ("https", HTTPS) } else { ("http", HTTP) };
        write!(f, "{scheme}://{}", ListenAddress { host: self.host.clone(), port: self.port.unwrap_or(port) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let show = |text| RegistryUrl::parse(text).map(|url| url.to_string());
        for (text, shown) in [
            ("localhost:5000", "http://localhost:5000"),
            ("LocalHost", "http://localhost:80"),
            ("https://r.example", "https://r.example:443"),
            ("http://127.0.0.1:1/", "http://127.0.0.1:1"),
            ("[::1]:5000", "http://[::1]:5000"),
            ("[::1]", "http://[::1]:80"),
        ] {
            assert_eq!(show(text).as_deref(), Ok(shown), "{text}");
        }
    }

    #[test]
    fn an_image_name_holds_the_address_as_it_was_written() {
        let show = |text| RegistryUrl::parse(text).map(|url| url.authority());
        for (text, shown) in [
            ("localhost:5000", "localhost:5000"),
            ("https://R.example/", "r.example"),
            ("[::1]:5000", "[::1]:5000"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(show(text).as_deref(), Ok(shown), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            ":5000",
            "ftp://a:1",
            "a:0",
            "a:70000",
            "a:+1",
            "a:",
            "a/b",
            "u@a:1",
            "::1",
            "[::1",
            "[x]:1",
            "[::1]x",
            "a b:1",
            "http://",
            "a?b",
        ] {
            assert!(RegistryUrl::parse(text).is_err(), "{text:?}");
        }
    }
}
