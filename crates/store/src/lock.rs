//! One server for one storage folder, and how others find it.
//!
//! The lock is an advisory lock on `wharf.lock` that the kernel drops when its holder dies, however it dies. The file's content says who
//! holds it and where it listens; it counts only while the lock is held, so no stale file can ever point at a foreign process.

use std::fmt;
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

/// What the holder of a storage folder does with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A server that does not answer yet.
    #[default]
    Starting,
    /// A server that answers.
    Serving,
    /// A server that finishes the requests in flight and takes no new ones.
    Stopping,
    /// No server, but a collection.
    Collecting,
    /// No server, but a repair of what a check has found.
    Repairing,
    /// No server, but a backup that is being brought back.
    Restoring,
}

impl State {
    /// What a command does with the folder while no server has it; `None` for a server.
    pub fn upkeep(self) -> Option<&'static str> {
        match self {
            Self::Starting | Self::Serving | Self::Stopping => None,
            Self::Collecting => Some("collection"),
            Self::Repairing => Some("repair"),
            Self::Restoring => Some("restore"),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Stopping => "stopping",
            Self::Collecting => "collecting",
            Self::Repairing => "repairing",
            Self::Restoring => "restoring",
        })
    }
}

/// Who holds a storage folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Process id; 0 while it has not said yet.
    pub pid: u32,
    /// What it does.
    #[serde(default)]
    pub state: State,
    /// Addresses it answers on, or did before it was asked to stop; empty until it is ready.
    pub listeners: Vec<SocketAddr>,
}

/// Why a storage folder could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("the storage {folder} is in use by process {pid} ({state})")]
    Held {
        /// The folder.
        folder: String,
        /// The holder, 0 when it has not said yet.
        pid: u32,
        /// What the holder does.
        state: State,
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
    /// Takes the folder, which must exist, for this process, to do with it what `state` says.
    pub fn acquire(root: &Path, state: State) -> Result<Self, LockError> {
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
                    let Holder { pid, state, .. } = read(&file).unwrap_or_default();
                    return Err(LockError::Held { folder, pid, state });
                }
                Err(errno) => return Err(io(errno.into())),
            }
        }
        let lock = Self { file };
        lock.publish(state, &[]).map_err(io)?;
        Ok(lock)
    }

    /// Says what this process does, and where it answers.
    pub fn publish(&self, state: State, listeners: &[SocketAddr]) -> io::Result<()> {
        let holder = Holder { pid: std::process::id(), state, listeners: listeners.to_vec() };
        let mut text = serde_json::to_vec(&holder)?;
        text.push(b'\n');
        let mut file = &self.file;
        file.rewind()?;
        file.write_all(&text)?;
        file.set_len(text.len() as u64)
    }
}

impl Drop for StorageLock {
    fn drop(&mut self) {
        // The next holder is not to be taken for this one before it has said who it is. Without it that time is only longer.
        let _ = self.file.set_len(0);
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
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(Some(read(&file).unwrap_or_default())),
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
        let lock = StorageLock::acquire(folder.path(), State::Starting).unwrap();
        let seen = holder(folder.path()).unwrap().unwrap();
        assert_eq!((seen.pid, seen.state), (std::process::id(), State::Starting));
        lock.publish(State::Serving, &["127.0.0.1:5000".parse().unwrap()]).unwrap();
        let seen = holder(folder.path()).unwrap().unwrap();
        assert_eq!((seen.pid, seen.state, seen.listeners.len()), (std::process::id(), State::Serving, 1));
        let second = StorageLock::acquire(folder.path(), State::Collecting);
        assert!(matches!(second, Err(LockError::Held { pid, state: State::Serving, .. }) if pid == std::process::id()));
        drop(lock);
        assert!(folder.path().join(FILE).exists());
        assert_eq!(holder(folder.path()).unwrap(), None);
        let lock = StorageLock::acquire(folder.path(), State::Collecting).unwrap();
        assert_eq!(holder(folder.path()).unwrap().map(|holder| holder.state), Some(State::Collecting));
        drop(lock);
        // An orderly end leaves nothing that the next holder could be taken for.
        assert_eq!(read(&File::open(folder.path().join(FILE)).unwrap()), None);
    }
}
