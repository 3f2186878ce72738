//! Small files, read whole and within a bound.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Configuration of people who log in to hundreds of registries stays far below.
pub(crate) const FILE_MAX: u64 = 1024 * 1024;

/// A configuration file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system says why.
    #[error("cannot read {}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Larger than 1 MiB.
    #[error("{} has more than {FILE_MAX} bytes", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
    },
}

impl ReadError {
    /// Whether there is no such file.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. }
            if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
    }
}

/// Reads a file of at most [`FILE_MAX`] bytes. A pipe will do.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, ReadError> {
    let failed = |source| ReadError::Io { file: path.to_owned(), source };
    read_open(&File::open(path).map_err(failed)?, path)
}

/// Reads the rest of an open file, as [`read`] does.
pub(crate) fn read_open(file: &File, path: &Path) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(|source| ReadError::Io { file: path.to_owned(), source })?;
    if bytes.len() as u64 > FILE_MAX { Err(ReadError::TooLarge { file: path.to_owned() }) } else { Ok(bytes) }
}

/// The line, from 1, that holds the byte at `offset`.
pub(crate) fn line_at(bytes: &[u8], offset: usize) -> usize {
    bytes.iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}
