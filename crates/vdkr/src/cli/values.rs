//! Values of options, read at the edge.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{TypedValueParser, ValueParserFactory};

/// A size in bytes, written as Docker takes it: `512m`, `2g`, `1073741824`; units are of 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Memory(u64);

impl Memory {
    /// So many bytes.
    pub const fn of_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a size, such as 512m or 2g");
        let lower = text.trim().to_ascii_lowercase();
        let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match &lower[digits.len()..] {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return Err(wrong()),
        };
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        number.checked_mul(1 << unit).filter(|bytes| *bytes > 0).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes % (1 << 30) == 0 => write!(f, "{}g", bytes >> 30),
            bytes if bytes % (1 << 20) == 0 => write!(f, "{}m", bytes >> 20),
            bytes => write!(f, "{bytes}"),
        }
    }
}

/// A number of processors, of which parts may be given to containers: `1.5`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cpus(f64);

impl Cpus {
    /// The number; above 0.
    pub fn number(self) -> f64 {
        self.0
    }

    /// The number of whole processors that it takes, at least 1.
    pub fn whole(self) -> u32 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1024")]
        let whole = self.0.ceil() as u32;
        whole.max(1)
    }
}

impl FromStr for Cpus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.parse::<f64>().ok().filter(|number| *number > 0.0 && *number <= 1024.0);
        number.map(Self).ok_or_else(|| format!("`{text}` is not a number of processors"))
    }
}

/// A variable for a container: its name, and its value or `None` for the one that it has here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The name.
    pub name: OsString,
    /// The value; `None` to take over the caller's, if there is one.
    pub value: Option<OsString>,
}

impl Variable {
    /// Reads `NAME=VALUE` or `NAME`, bytes as they are.
    pub fn parse(text: &OsStr) -> Result<Self, String> {
        let bytes = text.as_bytes();
        let (name, value) = match bytes.iter().position(|byte| *byte == b'=') {
            Some(place) => (&bytes[..place], Some(OsString::from_vec(bytes[place + 1..].to_vec()))),
            None => (bytes, None),
        };
        match name.is_empty() {
            true => Err(format!("`{}` is not NAME=VALUE", text.display())),
            false => Ok(Self { name: OsString::from_vec(name.to_vec()), value }),
        }
    }
}

/// A folder or file of this machine inside a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The path here, as it was given.
    pub host: PathBuf,
    /// The absolute path in the container.
    pub guest: PathBuf,
    /// Whether the container may not change it.
    pub read_only: bool,
}

impl Volume {
    /// Reads `HOST:GUEST[:ro|rw]`.
    pub fn parse(text: &OsStr) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{}`: {why}", text.display());
        let parts: Vec<_> = text.as_bytes().split(|byte| *byte == b':').collect();
        let (host, guest, options) = match parts[..] {
            [host, guest] => (host, guest, &b""[..]),
            [host, guest, options] => (host, guest, options),
            _ => return Err(wrong("expected HOST:GUEST or HOST:GUEST:ro")),
        };
        if host.is_empty() || !guest.starts_with(b"/") {
            return Err(wrong("expected a path of this machine, a colon, and an absolute path of the container"));
        }
        let mut read_only = false;
        for option in options.split(|byte| *byte == b',').filter(|option| !option.is_empty()) {
            match option {
                b"ro" => read_only = true,
                // What SELinux and propagation want has no meaning between two kernels.
                b"rw" | b"z" | b"Z" | b"rprivate" | b"private" | b"rslave" | b"slave" | b"cached" | b"delegated"
                | b"consistent" => {}
                _ => return Err(wrong("its options are ro and rw")),
            }
        }
        let path = |bytes: &[u8]| PathBuf::from(OsString::from_vec(bytes.to_vec()));
        Ok(Self { host: path(host), guest: path(guest), read_only })
    }
}

/// What travels over a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port of a container that is reached at one of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// The address here: the loopback, unless another was given.
    pub address: IpAddr,
    /// The port here; 0 for any that is free.
    pub host: u16,
    /// The port in the container.
    pub guest: u16,
    /// What travels.
    pub protocol: Protocol,
}

impl FromStr for Port {
    type Err = String;

    /// Reads `[[ADDRESS:]PORT:]PORT[/tcp|/udp]`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not [[ADDRESS:]PORT:]PORT[/tcp|udp]");
        let (places, protocol) = match text.split_once('/') {
            None | Some((_, "tcp")) => (text.split('/').next().unwrap_or_default(), Protocol::Tcp),
            Some((places, "udp")) => (places, Protocol::Udp),
            Some(_) => return Err(wrong()),
        };
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong);
        let (before, guest) = places.rsplit_once(':').map_or((None, places), |(before, guest)| (Some(before), guest));
        let guest = port(guest)?;
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let (address, host) = match before {
            None => (loopback, 0),
            Some(before) => {
                let (address, host) = before.rsplit_once(':').map_or((None, before), |(address, host)| (Some(address), host));
                let address = match address {
                    None | Some("localhost") => loopback,
                    Some(address) => address.trim_start_matches('[').trim_end_matches(']').parse().map_err(|_| wrong())?,
                };
                (address, if host.is_empty() { 0 } else { port(host)? })
            }
        };
        Ok(Self { address, host, guest, protocol })
    }
}

/// The network of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Network {
    /// That of the virtual machine.
    #[default]
    #[value(alias = "bridge", alias = "default")]
    Host,
    /// None but its own loopback.
    None,
}

/// Gives a type that is read from bytes a parser for clap.
macro_rules! of_bytes {
    ($type:ty, $parser:ident) => {
        impl ValueParserFactory for $type {
            type Parser = $parser;

            fn value_parser() -> $parser {
                $parser
            }
        }

        #[doc = concat!("Reads a [`", stringify!($type), "`].")]
        #[derive(Clone, Debug)]
        pub struct $parser;

        impl TypedValueParser for $parser {
            type Value = $type;

            fn parse_ref(&self, command: &clap::Command, _: Option<&clap::Arg>, value: &OsStr) -> Result<$type, clap::Error> {
                <$type>::parse(value).map_err(|error| {
                    clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("{error}\n")).with_cmd(command)
                })
            }
        }
    };
}

use super::copied::Side;

of_bytes!(Side, SideParser);
of_bytes!(Variable, VariableParser);
of_bytes!(Volume, VolumeParser);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_docker_does() {
        for (text, bytes) in [("1", 1), ("256m", 256 << 20), ("2G", 2 << 30), ("1gb", 1 << 30), ("10k", 10 << 10)] {
            assert_eq!(text.parse(), Ok(Memory(bytes)));
        }
        for wrong in ["", "m", "1x", "-1", "1.5g", "0", "99999999999999t"] {
            assert!(wrong.parse::<Memory>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn ports_lie_on_the_loopback_unless_told() {
        let port = |text: &str| text.parse::<Port>();
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let tcp = |address, host, guest| Ok(Port { address, host, guest, protocol: Protocol::Tcp });
        assert_eq!(port("80"), tcp(loopback, 0, 80));
        assert_eq!(port("8080:80"), tcp(loopback, 8080, 80));
        assert_eq!(port("0.0.0.0:8080:80/tcp"), tcp(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080, 80));
        assert_eq!(port("[::1]:8080:80"), tcp("::1".parse().unwrap(), 8080, 80));
        assert_eq!(port("127.0.0.1::80"), tcp(loopback, 0, 80));
        assert_eq!(port("53:53/udp").unwrap().protocol, Protocol::Udp);
        for wrong in ["", "0", "a:80", "1:2:3:4", "80/sctp", "70000", "80:"] {
            assert!(port(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn volumes_and_variables_are_bytes() {
        let volume = |text: &str| Volume::parse(OsStr::new(text));
        assert!(volume("/a:/b:ro").unwrap().read_only && !volume("a:/b").unwrap().read_only);
        for wrong in ["/a", ":/b", "/a:b", "/a:/b:xx", "/a:/b:ro:x"] {
            assert!(volume(wrong).is_err(), "{wrong}");
        }
        let variable = Variable::parse(OsStr::from_bytes(b"A=\xff=x")).unwrap();
        assert_eq!(variable.value.unwrap().as_bytes(), b"\xff=x");
        assert_eq!(Variable::parse(OsStr::new("A")).unwrap().value, None);
        assert!(Variable::parse(OsStr::new("=x")).is_err());
    }
}
