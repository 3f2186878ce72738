//! Backups of a storage folder, made beside a server, and brought back.
//!
//! A backup is a folder:
//!
//! ```text
//! wharf-backup.json   says that it is one, and of which form
//! data/index.sqlite   the index as of one moment, in one file, without uploads
//! data/blobs/…        the file of every blob that this index names, under the name that it has in the storage
//! …                   further folders, copied as they are
//! ```
//!
//! Why it is right without a server's help, though pushes and collections go on:
//!
//! * A blob's file is complete before the index names it, never changes, and its name is never used for other content. So a file that the backup's own
//!   index names already, with its length, is the right one; one that was left by a backup that was cut off is read first. Where storage and backup
//!   share a file system a hard link takes the place of a copy.
//! * Files may go between the look at the index and the copy, when what they hold is deleted or collected. The index drops a row before its file goes, so
//!   an index that is copied *afterwards* names none of these. Therefore most files are copied first, by a look at the live index; then the index is copied; and
//!   what that one names in addition, few files of the last moments, comes after it. Should one of these be gone, the index is copied once more. Each round has less
//!   to do than the one before. A file that is missing while a *later* index still names it was not collected but lost: it is told, and marked as damaged
//!   in the backup, where it then answers 404.
//! * So whatever was acknowledged before the backup began, and not deleted since, is in the index that counts, and with it all of its files.
//!
//! The new index takes the old one's place by a rename, once it and all files are durable. Files that only the old one named go after that. So a backup that is
//! cut off at any point leaves the one before it whole.

mod copy;
mod make;
mod restore;

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use wharf_oci::Digest;

use crate::CheckError;

pub use make::{Made, make};
pub use restore::{Restored, is_unfinished, restore};

/// Says that a folder is a backup.
const MARK: &str = "wharf-backup.json";
/// The form of a backup, as its mark says it.
const FORM: u64 = 1;
/// Where the storage folder's own files are in it.
const DATA: &str = "data";

/// Why a backup could not be made or brought back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A folder with something else in it.
    #[error("{0} is not empty, and no backup")]
    Foreign(PathBuf),
    /// There is no backup in a folder.
    #[error("{0} is no backup")]
    None(PathBuf),
    /// A backup that never came to its end, and had none before it.
    #[error("the backup in {0} was interrupted before its end, and there is none from before")]
    Unfinished(PathBuf),
    /// Another version's.
    #[error("the backup in {folder} is of form {found}; this program knows form {FORM}")]
    Form {
        /// The backup.
        folder: PathBuf,
        /// What its mark says.
        found: u64,
    },
    /// Somebody else makes or reads a backup there.
    #[error("the backup in {0} is in use by another process")]
    Busy(PathBuf),
    /// The backup would be in what it is to save.
    #[error("{folder} lies inside of {storage}: a backup there would go when that goes")]
    Inside {
        /// The backup.
        folder: PathBuf,
        /// The storage.
        storage: PathBuf,
    },
    /// Something is there already.
    #[error("{0} is not empty")]
    Occupied(PathBuf),
    /// More goes than can be copied.
    #[error("blobs were deleted faster than they could be copied")]
    Restless,
    /// The index cannot be read.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// The index could not be copied.
    #[error("cannot copy the index")]
    Index(#[source] rusqlite::Error),
    /// A file or folder.
    #[error("cannot {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl BackupError {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

/// How far a backup or a restore is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Blobs done.
    pub blobs: u64,
    /// Bytes of these.
    pub bytes: u64,
}

/// Whether a folder is a backup, whole or not.
pub fn is_backup(folder: &Path) -> bool {
    folder.join(MARK).is_file()
}

/// A backup to be read, held against changes by others until dropped.
#[derive(Debug)]
pub struct Backup {
    folder: PathBuf,
    _held: std::fs::File,
}

impl Backup {
    /// Opens a backup that came to its end.
    pub fn open(folder: &Path) -> Result<Self, BackupError> {
        form(folder)?;
        let held = hold(folder, rustix::fs::FlockOperation::NonBlockingLockShared)?;
        let backup = Self { folder: folder.to_owned(), _held: held };
        if !backup.data().join("index.sqlite").exists() {
            return Err(BackupError::Unfinished(folder.to_owned()));
        }
        Ok(backup)
    }

    /// What can be checked as a storage folder is ([`crate::check()`]).
    pub fn data(&self) -> PathBuf {
        self.folder.join(DATA)
    }

    /// The folder of this name that was saved beside the storage, if any.
    pub fn beside(&self, name: &str) -> Option<PathBuf> {
        Some(self.folder.join(name)).filter(|folder| folder.is_dir())
    }
}

/// Whether a folder's mark says that it is a backup that is understood here.
fn form(folder: &Path) -> Result<(), BackupError> {
    let mark = folder.join(MARK);
    let text = match std::fs::read(&mark) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(BackupError::None(folder.to_owned())),
        Err(error) => return Err(BackupError::io("read", &mark)(error)),
    };
    match serde_json::from_slice::<serde_json::Value>(&text).ok().and_then(|mark| mark["form"].as_u64()) {
        Some(FORM) => Ok(()),
        Some(found) => Err(BackupError::Form { folder: folder.to_owned(), found }),
        None => Err(BackupError::None(folder.to_owned())),
    }
}

fn hold(folder: &Path, how: rustix::fs::FlockOperation) -> Result<std::fs::File, BackupError> {
    let held = std::fs::File::open(folder).map_err(BackupError::io("open", folder))?;
    match rustix::fs::flock(&held, how) {
        Ok(()) => Ok(held),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(BackupError::Busy(folder.to_owned())),
        Err(errno) => Err(BackupError::io("lock", folder)(errno.into())),
    }
}

/// A blob of an index that is in a file.
struct Stored {
    /// Where, below the folder of blobs.
    place: String,
    /// Its length in bytes.
    size: u64,
    sha256: Digest,
}

/// Those of an index that are not known to be damaged.
fn files_of(connection: &Connection) -> rusqlite::Result<Vec<Stored>> {
    let mut statement = connection
        .prepare("SELECT location, size, sha256 FROM blobs WHERE location IS NOT NULL AND NOT damaged ORDER BY location")?;
    let stored = statement.query_map([], |row| {
        Ok(Stored { place: row.get(0)?, size: row.get::<_, i64>(1)?.unsigned_abs(), sha256: crate::index::digest(row, 2)? })
    })?;
    stored.collect()
}
