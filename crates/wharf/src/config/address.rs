//! The address of a listener as `http.addr` writes it.

use std::fmt;

/// `HOST:PORT` or `:PORT`. The host is a name, an IPv4 address or an IPv6 address in brackets; port 0 takes a free one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// The host without brackets; empty for every address of the machine.
    pub host: String,
    /// The port; 0 for any free one.
    pub port: u16,
}

impl ListenAddress {
    /// Reads the form of `http.addr`.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.trim().rsplit_once(':')?;
        let port = (!port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())).then(|| port.parse().ok())??;
        let host = match host.strip_prefix('[') {
            Some(rest) => {
                let inner = rest.strip_suffix(']')?;
                inner.parse::<std::net::Ipv6Addr>().ok()?;
                inner
            }
            None if host.contains([':', '/', '@', ']', ' ']) => return None,
            None => host,
        };
        Some(Self { host: host.to_owned(), port })
    }

    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost") || self.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back_as_written() {
        for text in [":5000", "localhost:5000", "127.0.0.1:0", "[::1]:5000", "registry.example:80"] {
            let address = ListenAddress::parse(text).expect(text);
            assert_eq!(address.to_string(), text);
        }
        for text in ["", "5000", "localhost", "localhost:", "::1:5000", "[::1]", "a:70000", "http://a:1", "a:+1", "[x]:1"] {
            assert_eq!(ListenAddress::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn loopback_is_known() {
        for (text, loopback) in [
            ("localhost:1", true),
            ("127.0.0.2:1", true),
            ("[::1]:1", true),
            (":1", false),
            ("0.0.0.0:1", false),
            ("10.0.0.1:1", false),
        ] {
            assert_eq!(ListenAddress::parse(text).expect(text).is_loopback(), loopback, "{text}");
        }
    }
}
