//! What can be wrong with a layout.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::{Digest, DocumentError, MAX_MANIFEST};

/// Why a layout, or something in it, cannot be read. Every error names the file that it is about.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// Neither an OCI layout nor an archive of images.
    #[error("{} is no image layout or archive: {why}", path.display())]
    NotALayout {
        /// The folder or file.
        path: PathBuf,
        /// What it lacks.
        why: String,
    },
    /// A compressed archive: content is served from where it lies, which compression does not allow.
    #[error("{} is compressed with {format}; decompress it first, with {command}", path.display())]
    Compressed {
        /// The archive.
        path: PathBuf,
        /// The compression.
        format: &'static str,
        /// A program that undoes it.
        command: &'static str,
    },
    /// The archive ends early, or what should be a member of it is none.
    #[error("{} is damaged: {what} at byte {offset}", path.display())]
    Damaged {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
        /// Where the member begins, in bytes from the start of the file.
        offset: u64,
    },
    /// A Docker archive does not hold what its `manifest.json` says.
    #[error("manifest.json in {}: {what}", path.display())]
    Inconsistent {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A blob that is named and not there.
    #[error("blob {digest} is missing from {}", path.display())]
    MissingBlob {
        /// The blob.
        digest: Digest,
        /// The layout.
        path: PathBuf,
    },
    /// A blob with another length than its descriptor says.
    #[error("blob {digest} has {found} bytes in {}, and should have {expected}", path.display())]
    WrongLength {
        /// The blob.
        digest: Digest,
        /// The file that it is in.
        path: PathBuf,
        /// Bytes by the descriptor.
        expected: u64,
        /// Bytes in the layout.
        found: u64,
    },
    /// A blob with other content than its digest says.
    #[error("blob {digest} is altered in {}: its content has another digest", path.display())]
    Altered {
        /// The blob.
        digest: Digest,
        /// The file that it is in.
        path: PathBuf,
    },
    /// What should be a manifest or a configuration is longer than [`MAX_MANIFEST`].
    #[error("{what} in {} has {size} bytes, and may have {MAX_MANIFEST}", path.display())]
    TooLarge {
        /// Its name or digest.
        what: String,
        /// The file that it is in.
        path: PathBuf,
        /// Its length in bytes.
        size: u64,
    },
    /// `index.json`, `manifest.json` or a configuration is not what it should be.
    #[error("{what} in {}", path.display())]
    Json {
        /// Its name or digest.
        what: String,
        /// The folder or archive.
        path: PathBuf,
        /// What is wrong with it.
        source: DocumentError,
    },
    /// A file of a layout cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
}

impl LayoutError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |source| Self::Io { path: path.to_owned(), source }
    }

    pub(super) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |source| Self::Write { path: path.to_owned(), source }
    }

    pub(super) fn json(what: impl fmt::Display, path: &Path) -> impl FnOnce(DocumentError) -> Self {
        move |source| Self::Json { what: what.to_string(), path: path.to_owned(), source }
    }

    pub(super) fn not_a_layout(path: &Path, why: impl Into<String>) -> Self {
        Self::NotALayout { path: path.to_owned(), why: why.into() }
    }
}
