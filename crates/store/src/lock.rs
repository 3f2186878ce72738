//! One server for one storage folder, and how others find it.
//!
//! The lock is an advisory lock on `wharf.lock` that the kernel drops when its holder dies, however it dies. The file's content says who
//! holds it and where it listens; it counts only while the lock is held, so no stale file can ever point at a foreign process.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

const FILE: &str = "wharf.lock";
/// How long a lock that is taken is asked for again.
const PATIENCE: Duration = Duration::from_millis(100);

/// Who holds a storage folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// Addresses it answers on; empty until it is ready.
    pub listeners: Vec<SocketAddr>,
}

/// Why a storage folder could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("the storage {folder} is in use by process {pid}")]
    Held {
        /// The folder.
        folder: String,
        /// The holder, 0 when it has not said yet.
        pid: u32,
    },
    /// The lock file could not be made or locked.
    #[error("cannot lock the storage {folder}")]
    Io {
        /// The folder.
        folder: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The right to use a storage folder, held until dropped.
#[derive(Debug)]
pub struct StorageLock {
    file: File,
}

impl StorageLock {
    /// Takes the folder, which must exist, for this process.
    pub fn acquire(root: &Path) -> Result<Self, LockError> {
        let folder = root.display().to_string();
        let io = |source| LockError::Io { folder: folder.clone(), source };
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(root.join(FILE)).map_err(io)?;
        let give_up = Instant::now() + PATIENCE;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                // Somebody who only looks (`holder`) has it for a moment.
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < give_up => std::thread::sleep(PATIENCE / 20),
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(LockError::Held { folder, pid: read(&file).map_or(0, |holder| holder.pid) });
                }
                Err(errno) => return Err(io(errno.into())),
            }
        }
        let lock = Self { file };
        lock.publish(&[]).map_err(io)?;
        Ok(lock)
    }

    /// Says where this process answers. An empty list means that it is not ready.
    pub fn publish(&self, listeners: &[SocketAddr]) -> io::Result<()> {
        let holder = Holder { pid: std::process::id(), listeners: listeners.to_vec() };
        let mut text = serde_json::to_vec(&holder)?;
        text.push(b'\n');
        let mut file = &self.file;
        file.rewind()?;
        file.write_all(&text)?;
        file.set_len(text.len() as u64)
    }
}

/// Who holds the folder now; `None` when nobody does, whatever an old lock file says.
pub fn holder(root: &Path) -> io::Result<Option<Holder>> {
    let file = match File::open(root.join(FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(None),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(Some(read(&file).unwrap_or(Holder { pid: 0, listeners: Vec::new() }))),
        Err(errno) => Err(errno.into()),
    }
}

/// The content; `None` while it is being rewritten.
fn read(mut file: &File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(text.lines().next()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_holder_and_a_dead_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(holder(folder.path()).unwrap(), None);
        let lock = StorageLock::acquire(folder.path()).unwrap();
        lock.publish(&["127.0.0.1:5000".parse().unwrap()]).unwrap();
        let seen = holder(folder.path()).unwrap().unwrap();
        assert_eq!((seen.pid, seen.listeners.len()), (std::process::id(), 1));
        assert!(matches!(StorageLock::acquire(folder.path()), Err(LockError::Held { pid, .. }) if pid == std::process::id()));
        drop(lock);
        assert!(folder.path().join(FILE).exists());
        assert_eq!(holder(folder.path()).unwrap(), None);
        assert!(StorageLock::acquire(folder.path()).is_ok());
    }
}
