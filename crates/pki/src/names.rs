//! The names that a server's certificate is good for (RFC 5280, section 4.2.1.6).

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use rcgen::SanType;
use rcgen::string::Ia5String;

/// What clients call this machine from itself and from virtual machines on it: 10.0.2.2 is the host in QEMU's user network.
const ALWAYS: [&str; 4] = ["localhost", "127.0.0.1", "::1", "10.0.2.2"];

/// A set of host names and addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(BTreeSet<Name>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Dns(String),
    Address(IpAddr),
}

/// A text that is no name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither a host name nor an address")]
pub struct NameError(String);

impl Names {
    /// The names of every machine for itself, and this machine's host name.
    pub fn of_this_machine() -> Self {
        let mut names = Self::default();
        let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
        for name in ALWAYS.into_iter().chain([node.as_str()]) {
            // A host name that no certificate can hold is one by which nobody connects.
            if let Ok(name) = Name::parse(name) {
                names.0.insert(name);
            }
        }
        names
    }

    /// Adds the names in `list`, separated by commas or spaces, each as it is or as OpenSSL writes it: `DNS:name`, `IP:address`.
    ///
    /// # Errors
    ///
    /// The first that is no name.
    pub fn add(&mut self, list: &str) -> Result<(), NameError> {
        for text in list.split([',', ' ', '\t', '\n']).filter(|text| !text.is_empty()) {
            let name = ["DNS:", "IP:", "IP Address:"].iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text);
            self.0.insert(Name::parse(name)?);
        }
        Ok(())
    }

    /// Whether all of `others` are among them.
    pub fn contain(&self, others: &Self) -> bool {
        others.0.is_subset(&self.0)
    }

    /// As the library for certificates takes them.
    pub(crate) fn alternatives(&self) -> Vec<SanType> {
        self.0.iter().filter_map(Name::alternative).collect()
    }

    pub(crate) fn insert_dns(&mut self, name: &str) {
        self.0.insert(Name::Dns(name.to_ascii_lowercase()));
    }

    pub(crate) fn insert_address(&mut self, address: IpAddr) {
        self.0.insert(Name::Address(address));
    }
}

impl fmt::Display for Names {
    /// Separated by spaces, host names first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, name) in self.0.iter().enumerate() {
            let space = if place == 0 { "" } else { " " };
            match name {
                Name::Dns(name) => write!(f, "{space}{name}")?,
                Name::Address(address) => write!(f, "{space}{address}")?,
            }
        }
        Ok(())
    }
}

impl Name {
    fn parse(text: &str) -> Result<Self, NameError> {
        if let Ok(address) = text.trim_matches(['[', ']']).parse() {
            return Ok(Self::Address(address));
        }
        let name = text.to_ascii_lowercase();
        // A label may be the wildcard when it is the first.
        let labels = name.strip_prefix("*.").unwrap_or(&name);
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if name.len() <= 253 && labels.split('.').all(label) { Ok(Self::Dns(name)) } else { Err(NameError(text.to_owned())) }
    }

    fn alternative(&self) -> Option<SanType> {
        match self {
            Self::Dns(name) => Ia5String::try_from(name.as_str()).ok().map(SanType::DnsName),
            Self::Address(address) => Some(SanType::IpAddress(*address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_every_common_form() {
        let mut names = Names::default();
        names.add("DNS:Build.Example, IP:192.0.2.1 [2001:db8::1],*.lab.example").unwrap();
        assert_eq!(names.to_string(), "*.lab.example build.example 192.0.2.1 2001:db8::1");
        for wrong in ["a..b", "-a", "a b/c", "http://a", "a*b", "ä"] {
            assert!(names.add(wrong).is_err(), "{wrong}");
        }
        assert!(Names::of_this_machine().0.len() >= ALWAYS.len());
    }
}
