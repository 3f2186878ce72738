//! Who listens on a port, as far as the kernel tells.

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A process that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its id.
    pub pid: u32,
    /// Its name, as `ps` shows it.
    pub name: String,
    /// The storage folder it has open, which a server of this program has.
    pub storage: Option<PathBuf>,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)?;
        match &self.storage {
            Some(storage) => write!(f, ", which serves the storage {}", storage.display()),
            None => Ok(()),
        }
    }
}

/// The process that listens on the port of `address`; `None` when it is not visible, which is so for the processes of
/// other users.
pub fn owner(address: SocketAddr) -> Option<Owner> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening(&table, address.port()))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).find_map(|pid| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
        let links: Vec<PathBuf> = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok()).collect();
        links.iter().find(|link| link.to_str().is_some_and(|link| inodes.iter().any(|inode| inode == link)))?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let lock = links.iter().find(|link| link.ends_with("wharf.lock"));
        let storage = lock.and_then(|lock| lock.parent()).map(Path::to_path_buf);
        Some(Owner { pid, name: name.trim().to_owned(), storage })
    })
}

/// The inodes of listening sockets on `port` in a table of `/proc/net`: columns 1 (address:port, in hexadecimal), 3
/// (state, 0A when listening) and 9 (inode).
fn listening(table: &str, port: u16) -> Vec<u64> {
    let inode = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (_, local) = columns.get(1)?.rsplit_once(':')?;
        let listens = *columns.get(3)? == "0A" && u16::from_str_radix(local, 16).ok()? == port;
        columns.get(9)?.parse().ok().filter(|_| listens)
    };
    table.lines().skip(1).filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_listener_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(owner(address).map(|owner| owner.pid), Some(std::process::id()));
        drop(listener);
        assert_eq!(owner(address), None);
    }
}
