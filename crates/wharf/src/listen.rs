//! Binding listeners for an address as the configuration writes it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};

use crate::config::ListenAddress;
use crate::ports;
use crate::ui::Failure;

/// Connections that wait to be accepted. The kernel's own limit (`net.core.somaxconn`) may be lower.
const BACKLOG: i32 = 1024;
/// Free ports to try until one is free on both loopback addresses.
const ATTEMPTS: usize = 32;

/// Listeners with what should be said about them.
#[derive(Debug)]
pub struct Bound {
    /// At least one listener; not in non-blocking mode.
    pub listeners: Vec<TcpListener>,
    /// What to warn of.
    pub warnings: Vec<String>,
}

#[cfg(test)]
impl Bound {
    /// The addresses, with the real port where a free one was asked for.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(TcpListener::local_addr).collect()
    }
}

/// Why an address could not be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The host has no address.
    #[error("cannot find the address of {host}")]
    Resolve {
        /// The host.
        host: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// One address failed.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl BindError {
    /// The address that another program listens on already.
    pub fn taken(&self) -> Option<SocketAddr> {
        match self {
            Self::Bind { address, source } if source.kind() == io::ErrorKind::AddrInUse => Some(*address),
            _ => None,
        }
    }
}

/// The report of it, with the program that has the port.
pub fn cannot_listen(error: &BindError) -> Failure {
    match error.taken() {
        Some(address) => {
            let owner = match ports::owner(address) {
                Some(owner) => owner.to_string(),
                None => "another program, which is not visible to this user".to_owned(),
            };
            Failure::new(format!("port {} is in use by {owner}", address.port()))
                .hint("stop it, or choose another port with CONTAINER_REGISTRY_URL=localhost:PORT")
        }
        None => Failure::new("the registry cannot start").because(error),
    }
}

/// Listens on every address that `address` means: `localhost` on 127.0.0.1 and, where the machine has it, ::1; no host
/// on all addresses of the machine, IPv4 and IPv6; a name on each of its addresses.
pub fn bind(address: &ListenAddress) -> Result<Bound, BindError> {
    let port = address.port;
    if address.host.eq_ignore_ascii_case("localhost") {
        return bind_loopback(port);
    }
    if address.host.is_empty() {
        let every = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        return match bind_one(every) {
            Ok(listener) => Ok(Bound { listeners: vec![listener], warnings: Vec::new() }),
            Err(BindError::Bind { source, .. }) if is_missing(&source) => {
                bind_all(&[SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)])
            }
            Err(error) => Err(error),
        };
    }
    let resolve = |source| BindError::Resolve { host: address.host.clone(), source };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for found in (address.host.as_str(), port).to_socket_addrs().map_err(resolve)? {
        if !addresses.contains(&found) {
            addresses.push(found);
        }
    }
    bind_all(&addresses)
}

fn bind_all(addresses: &[SocketAddr]) -> Result<Bound, BindError> {
    let listeners = addresses.iter().copied().map(bind_one).collect::<Result<_, _>>()?;
    Ok(Bound { listeners, warnings: Vec::new() })
}

fn bind_loopback(port: u16) -> Result<Bound, BindError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let first = bind_one(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port))?;
        let chosen = first.local_addr().map_or(port, |address| address.port());
        match bind_one(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), chosen)) {
            Ok(second) => return Ok(Bound { listeners: vec![first, second], warnings: Vec::new() }),
            Err(BindError::Bind { address, source }) if is_missing(&source) => {
                let warnings = vec![format!("not listening on {address}: {source}")];
                return Ok(Bound { listeners: vec![first], warnings });
            }
            // A foreign program on ::1 would get the requests of half the clients, so a port counts only as a pair.
            Err(error) if port == 0 && error.taken().is_some() && attempt < ATTEMPTS => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether the machine has no such address at all.
fn is_missing(error: &io::Error) -> bool {
    [Errno::ADDRNOTAVAIL, Errno::AFNOSUPPORT].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn bind_one(address: SocketAddr) -> Result<TcpListener, BindError> {
    open(address).map_err(|errno| BindError::Bind { address, source: errno.into() })
}

/// As the standard library does it, with a longer queue, and with an unspecified IPv6 address meaning IPv4 too whatever
/// the machine's default is.
fn open(address: SocketAddr) -> Result<TcpListener, Errno> {
    let family = match address.ip() {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    net::sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        net::sockopt::set_ipv6_v6only(&socket, !address.ip().is_unspecified())?;
    }
    net::bind(&socket, &address)?;
    net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(text: &str) -> Result<Bound, BindError> {
        bind(&ListenAddress::parse(text).expect(text))
    }

    #[test]
    fn localhost_is_both_loopbacks_on_one_port() {
        let bound = listen("localhost:0").unwrap();
        let addresses = bound.addresses().unwrap();
        assert!(addresses.iter().all(|a| a.ip().is_loopback() && a.port() == addresses[0].port()));
        assert_eq!(addresses.len() + bound.warnings.len(), 2);
    }

    #[test]
    fn an_address_is_only_itself() {
        let addresses = listen("127.0.0.1:0").unwrap().addresses().unwrap();
        assert_eq!(addresses.len(), 1);
        assert_ne!(addresses[0].port(), 0);
    }

    #[test]
    fn localhost_is_not_shared_with_a_foreign_program_on_the_other_loopback() {
        // Without IPv6 there is no other loopback.
        let Ok(first) = listen("[::1]:0") else { return };
        let address = first.addresses().unwrap()[0];
        assert_eq!(listen(&format!("localhost:{}", address.port())).unwrap_err().taken(), Some(address));
    }

    #[test]
    fn a_taken_port_is_told_apart() {
        let first = listen("127.0.0.1:0").unwrap();
        let address = first.addresses().unwrap()[0];
        assert_eq!(listen(&address.to_string()).unwrap_err().taken(), Some(address));
        assert_eq!(listen(&format!("localhost:{}", address.port())).unwrap_err().taken(), Some(address));
        // 192.0.2.0/24 is set aside for documentation: no machine has it.
        assert_eq!(listen("192.0.2.1:0").unwrap_err().taken(), None);
    }
}
