//! Files that a process holds while it lives: who holds one may be asked by anybody, at any moment.

use std::fs::File;
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// How often one that is held is tried again: who only asks holds it for a moment as well.
const TRIES: u32 = 20;
/// The time between two of them.
const PAUSE: Duration = Duration::from_millis(5);

/// Hold a file, which is made, until the value is dropped; `None` when another process holds it.
///
/// # Errors
/// What the system says.
pub fn take(path: &Path) -> io::Result<Option<File>> {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    for _ in 0..TRIES {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(file)),
            Err(Errno::WOULDBLOCK) => sleep(PAUSE),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Whether a process holds it. One that is not there is held by nobody.
pub fn is_taken(path: &Path) -> bool {
    // Shared, so that two who ask at once do not take each other for the holder.
    File::open(path).is_ok_and(|file| flock(file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        assert!(!is_taken(&path));
        let held = take(&path).unwrap().unwrap();
        assert!(is_taken(&path) && take(&path).unwrap().is_none());
        drop(held);
        assert!(!is_taken(&path));
        // One who asks, and takes long over it.
        let asking = File::open(&path).unwrap();
        flock(&asking, FlockOperation::LockShared).unwrap();
        let answered = std::thread::spawn(move || {
            sleep(2 * PAUSE);
            drop(asking);
        });
        assert!(take(&path).unwrap().is_some());
        answered.join().unwrap();
    }
}
