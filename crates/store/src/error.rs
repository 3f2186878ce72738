//! What can go wrong, as far as a caller can act on it.

use wharf_oci::Digest;

/// Result of a store operation.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why the store could not do what it was asked. None of these says anything about the caller's input: what is wrong with that is
/// part of each operation's own answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room for more. Reading and deleting still work; try again when space was freed.
    #[error("the storage is full")]
    Full,
    /// The content under this digest is not what was verified when it was written. It is refused from now on; pushing it again heals it.
    #[error("blob {digest} is damaged in the storage: {what}")]
    Damaged {
        /// The blob.
        digest: Digest,
        /// What was noticed.
        what: String,
    },
    /// Nothing can be changed. Reading still works; everything works again once the disk may be written to.
    #[error("the storage's file system is read-only")]
    ReadOnly,
    /// There is too little of something just now. The same request may succeed in a moment.
    #[error("{0}")]
    Busy(&'static str),
    /// The index's own file is damaged where it was looked at; what lies elsewhere in it is still served.
    #[error("the index of the storage is damaged ({context}): `wharf check` says more")]
    IndexDamaged {
        /// What was being done.
        context: &'static str,
        /// The engine's own words.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store is stopping.
    #[error("the store is shutting down")]
    Stopped,
    /// The index or the disk failed.
    #[error("{context}")]
    Backend {
        /// What was being done.
        context: &'static str,
        /// The engine's own words.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl StoreError {
    /// Wraps an I/O error, telling what a caller can act on from all others.
    pub fn io(context: &'static str, error: std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        match error.kind() {
            StorageFull | QuotaExceeded => Self::Full,
            ReadOnlyFilesystem => Self::ReadOnly,
            _ if is_lack_of_descriptors(&error) => Self::Busy("the registry has too many files open"),
            _ => Self::Backend { context, source: Box::new(error) },
        }
    }
}

/// Whether this process, or all together, may open no more files (EMFILE, ENFILE).
fn is_lack_of_descriptors(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
