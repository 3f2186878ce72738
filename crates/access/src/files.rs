//! Files that people and other processes change while they are in use.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use rustix::fs::FlockOperation;

/// How often a file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Why a file could not be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {}", .path.display())]
pub struct FileError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// What a file holds, read again when it has changed. A file that is not there holds nothing.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    path: PathBuf,
    parse: fn(&str) -> io::Result<T>,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    value: Arc<T>,
    seen: Option<(SystemTime, u64, u64)>,
    looked: Instant,
}

impl<T> Watched<T> {
    /// Reads it for the first time.
    pub(crate) fn open(path: &Path, parse: fn(&str) -> io::Result<T>) -> Result<Self, FileError> {
        let seen = seen(path);
        let value = Arc::new(load(path, parse)?);
        let state = Mutex::new(State { value, seen, looked: Instant::now() });
        Ok(Self { path: path.to_owned(), parse, state })
    }

    /// What it holds now. When it cannot be read any more, `complain` is told once, and what it held before counts.
    pub(crate) fn get(&self, complain: impl FnOnce(&FileError)) -> Arc<T> {
        let state = self.state.lock();
        if state.looked.elapsed() < LOOK {
            return state.value.clone();
        }
        drop(state);
        self.get_now(complain)
    }

    /// As [`get`](Self::get), looking at the file however short ago that was done last.
    pub(crate) fn get_now(&self, complain: impl FnOnce(&FileError)) -> Arc<T> {
        let mut state = self.state.lock();
        state.looked = Instant::now();
        let now = seen(&self.path);
        if now != state.seen {
            state.seen = now;
            match load(&self.path, self.parse) {
                Ok(value) => state.value = Arc::new(value),
                Err(error) => complain(&error),
            }
        }
        state.value.clone()
    }
}

/// Gives a file the owner and the mode of the one whose place it takes, or the owner of its folder. Root changes files of a server that is not root.
fn adopt(file: &File, path: &Path, folder: &Path) -> io::Result<()> {
    let (like, mode) = match fs::metadata(path) {
        Ok(old) => (old.clone(), Some(old.permissions())),
        Err(_) => (fs::metadata(folder)?, None),
    };
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
        std::os::unix::fs::fchown(file, Some(like.uid()), Some(like.gid()))?;
    }
    match mode {
        Some(mode) => file.set_permissions(mode),
        None => Ok(()),
    }
}

fn read(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other,
    }
}

/// What a file holds; one that is not there, what an empty one does.
pub(crate) fn load<T>(path: &Path, parse: fn(&str) -> io::Result<T>) -> Result<T, FileError> {
    read(path).and_then(|text| parse(&text)).map_err(|source| FileError { path: path.to_owned(), source })
}

fn seen(path: &Path) -> Option<(SystemTime, u64, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

/// Changes a file as a whole: one process at a time, and no reader sees half of it. It stays its owner's with its mode, whoever changes it; a new one belongs to
/// whom its folder belongs to, who alone can read it (mode 0600). Of a link, what it leads to is changed.
pub(crate) fn change<T, E: From<FileError>>(path: &Path, change: impl FnOnce(String) -> Result<(String, T), E>) -> Result<T, E> {
    let real = fs::canonicalize(path);
    let path = real.as_deref().unwrap_or(path);
    let failed = |source: io::Error| FileError { path: path.to_owned(), source };
    let folder = path.parent().unwrap_or(Path::new("."));
    let lock = || {
        fs::create_dir_all(folder)?;
        let folder = File::open(folder)?;
        rustix::fs::flock(&folder, FlockOperation::LockExclusive)?;
        Ok(folder)
    };
    let locked = lock().map_err(failed)?;
    let (text, result) = change(read(path).map_err(failed)?)?;
    let write = || {
        let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(0o600)).tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        adopt(file.as_file(), path, folder)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        locked.sync_all()
    };
    write().map_err(failed)?;
    Ok(result)
}

/// Replaces a file as a whole; a new one belongs to whom its folder belongs to, who alone can read it.
///
/// # Errors
///
/// It cannot be written; what it held before is still there.
pub fn write_private(path: &Path, text: &str) -> Result<(), FileError> {
    change(path, |_| Ok((text.to_owned(), ())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_stays_what_it_was_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("users"), folder.path().join("link"));
        fs::write(&file, "a").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("users", &link).unwrap();
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            std::os::unix::fs::chown(&file, Some(12), Some(34)).unwrap();
        }
        change::<_, FileError>(&link, |text| Ok((text + "b", ()))).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "ab");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let metadata = fs::metadata(&file).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o640);
        assert!(!is_root || (metadata.uid(), metadata.gid()) == (12, 34));
    }
}
