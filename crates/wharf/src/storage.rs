//! The storage folder as the configuration describes it: locked, then opened.

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

use wharf_store::lock::{LockError, State, StorageLock};
use wharf_store::{Options, Store, StoreError, backup};

use crate::config::Config;

/// Why the storage could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder is not there and cannot be made.
    #[error("cannot create the storage folder {folder}")]
    Folder {
        /// Which.
        folder: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// SQLite would only say that it cannot open its file.
    #[error("the path of the storage folder {folder} is {length} bytes long; {LONGEST_ROOT} is the most that works")]
    TooLong {
        /// Which.
        folder: String,
        /// Of its path without symbolic links.
        length: usize,
    },
    /// Another server has it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Something of a backup is missing in it.
    #[error("a backup was being brought back into the storage folder {0}, and that was interrupted: run `wharf restore` again")]
    Unfinished(String),
    /// What is in it cannot be used.
    #[error("cannot open the storage {folder}")]
    Store {
        /// Which.
        folder: String,
        /// Why.
        #[source]
        source: StoreError,
    },
}

/// SQLite takes paths of 512 bytes, and appends to that of the index.
const LONGEST_ROOT: usize = 512 - "/index.sqlite-journal".len();

/// Takes the folder for this process to do what `state` says, creating it where it is missing.
pub fn lock(root: &Path, state: State) -> Result<StorageLock, OpenError> {
    let folder = || root.display().to_string();
    create(root).map_err(|source| OpenError::Folder { folder: folder(), source })?;
    let length = root.canonicalize().map_or(0, |path| path.as_os_str().len());
    if length > LONGEST_ROOT {
        return Err(OpenError::TooLong { folder: folder(), length });
    }
    let lock = StorageLock::acquire(root, state)?;
    if state != State::Restoring && backup::is_unfinished(root) {
        return Err(OpenError::Unfinished(folder()));
    }
    Ok(lock)
}

/// Creates the folder and those above it, where they are missing, so that their names outlast a power cut.
fn create(root: &Path) -> io::Result<()> {
    let root = std::path::absolute(root)?;
    let missing: Vec<_> = root.ancestors().take_while(|folder| !folder.exists()).collect();
    std::fs::DirBuilder::new().recursive(true).mode(0o750).create(&root)?;
    for folder in missing.iter().filter_map(|folder| folder.parent()) {
        match File::open(folder) {
            Ok(folder) => folder.sync_all()?,
            // One that may be written and not read is its owner's affair.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Opens the store in a folder that this process has locked.
pub async fn open(config: &Config, _lock: &StorageLock) -> Result<Store, OpenError> {
    let root = &config.storage.root;
    Store::open(root, options(config)).await.map_err(|source| OpenError::Store { folder: root.display().to_string(), source })
}

fn options(config: &Config) -> Options {
    let number = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    Options {
        lease: config.collection.lease,
        grace: config.collection.grace,
        collect_every: config.collection.interval.filter(|_| !config.storage.read_only),
        uploads: number(config.limits.uploads),
        uploads_of_one: number(config.limits.uploads_per_caller),
        upload_expiry: config.upload_expire,
        inline: usize::try_from(config.storage.inline.0).unwrap_or(usize::MAX),
        min_free: config.storage.min_free.0,
        upstream_cache: config.upstreams.cache_size.0,
        cache: number(config.cache_size.0),
        scrub_every: config.scrub.interval,
        scrub_rate: config.scrub.rate.0,
        history: config.history_keep,
    }
}

/// Binds the owner's socket in a folder that this process has locked. Whatever has its name is a dead server's.
pub fn bind_control(root: &Path) -> std::io::Result<UnixListener> {
    use std::os::fd::AsRawFd;
    let path = root.join("control.sock");
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // A socket's path may have 107 bytes; a build's folder is often longer. Through the folder's descriptor it is always short.
    let folder = std::fs::File::open(root)?;
    let listener = UnixListener::bind(format!("/proc/self/fd/{}/control.sock", folder.as_raw_fd()))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
