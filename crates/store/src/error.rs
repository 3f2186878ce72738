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
    /// Wraps an I/O error, telling a full disk from all others.
    pub fn io(context: &'static str, error: std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        match error.kind() {
            StorageFull | QuotaExceeded => Self::Full,
            _ => Self::Backend { context, source: Box::new(error) },
        }
    }
}
