//! Where a registry is reached.

use std::fmt;
use std::net::IpAddr;

/// How a virtual machine of QEMU's user network names the loopback of its host. On the host itself it means just that.
const HOST_SEEN_FROM_GUEST: &str = "10.0.2.2";

/// Scheme, host and port of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// TLS, or plain HTTP.
    pub https: bool,
    /// `HOST[:PORT]` as people write it, IPv6 in brackets. Credentials are kept under this name.
    pub authority: String,
}

impl Address {
    /// `http://HOST[:PORT]` as it is shown.
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme(), self.authority)
    }

    /// `http://HOST[:PORT]` as it is connected to.
    pub(crate) fn base(&self) -> String {
        match self.host() {
            HOST_SEEN_FROM_GUEST => {
                format!("{}://{}", self.scheme(), self.authority.replacen(HOST_SEEN_FROM_GUEST, "127.0.0.1", 1))
            }
            // What people call docker.io answers under this name.
            "docker.io" => format!("{}://registry-1.docker.io", self.scheme()),
            _ => self.origin(),
        }
    }

    fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    /// The host without brackets and port.
    pub fn host(&self) -> &str {
        match self.authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, _)) => host,
            None => self.authority.split_once(':').map_or(&self.authority, |(host, _)| host),
        }
    }

    /// Whether it means this machine's loopback, as seen from here or from a guest.
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        host == "localhost" || host == HOST_SEEN_FROM_GUEST || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_read_and_loopback_is_told() {
        let address = |authority: &str| Address { https: false, authority: authority.to_owned() };
        for (authority, host, loopback, base) in [
            ("localhost:5000", "localhost", true, "http://localhost:5000"),
            ("localhost", "localhost", true, "http://localhost"),
            ("10.0.2.2:5000", "10.0.2.2", true, "http://127.0.0.1:5000"),
            ("[::1]:5000", "::1", true, "http://[::1]:5000"),
            ("127.8.8.8", "127.8.8.8", true, "http://127.8.8.8"),
            ("r.example:1", "r.example", false, "http://r.example:1"),
            ("docker.io", "docker.io", false, "http://registry-1.docker.io"),
        ] {
            let address = address(authority);
            assert_eq!((address.host(), address.is_loopback(), address.base().as_str()), (host, loopback, base));
        }
    }
}
