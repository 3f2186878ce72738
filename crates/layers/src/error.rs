//! What can go wrong with a layer.

use std::io;
use std::path::PathBuf;

use crate::EntryPathError;

/// Why a layer cannot be written, read or laid out.
#[derive(Debug, thiserror::Error)]
pub enum LayersError {
    /// The archive is not one, ends early or contradicts itself.
    #[error("the tar archive is damaged: {what} at byte {offset}")]
    Tar {
        /// What is wrong.
        what: String,
        /// Bytes of the archive before the header of the member that it is about.
        offset: u64,
    },
    /// A member with a name that is no place below the root.
    #[error("{} is refused: {why}", String::from_utf8_lossy(name))]
    Name {
        /// The name as it stands in the archive.
        name: Vec<u8>,
        /// What is wrong with it.
        why: EntryPathError,
    },
    /// An entry that cannot be what it says, or be put where it says.
    #[error("{} is refused: {why}", String::from_utf8_lossy(name))]
    Refused {
        /// The name as it stands in the archive or the file system.
        name: Vec<u8>,
        /// Why.
        why: String,
    },
    /// A file that became another one while it was read.
    #[error("{} changed while it was read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Compressed content that does not decompress.
    #[error("the layer does not decompress: {0}")]
    Compression(String),
    /// A list of pieces that is none.
    #[error("the list of the layer's pieces is damaged: {0}")]
    Pieces(String),
    /// A zstd:chunked table of contents that is none.
    #[error("the layer's table of contents is damaged: {0}")]
    Toc(String),
    /// A level that a compression does not have.
    #[error("{form} has no level {level}")]
    Level {
        /// The compression.
        form: &'static str,
        /// The level asked for.
        level: i32,
    },
    /// A compression that is not known here.
    #[error("the layer is compressed with {0}, which is not supported")]
    Unsupported(&'static str),
    /// A file of this machine that cannot be read or written.
    #[error("cannot {what} {}", path.display())]
    File {
        /// What was to be done: `read`, `write`, `set the owner of`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it cannot be.
        source: io::Error,
    },
    /// Something that the system allows root alone.
    #[error("cannot {what} {}: run as root, under pseudo or fakeroot, or with --rootless", path.display())]
    Privileged {
        /// What was to be done: `set the owner of`.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The stream that a layer is read from, or written to, fails.
    #[error("{what} fails")]
    Stream {
        /// The stream, such as `reading the layer`.
        what: &'static str,
        /// How.
        source: io::Error,
    },
}

impl LayersError {
    /// Makes an I/O error one of a file.
    pub(crate) fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { what, path: path.into(), source }
    }

    /// Makes an I/O error one of a stream, unless it is one of these that came through a reader.
    pub(crate) fn stream(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| source.downcast::<Self>().unwrap_or_else(|source| Self::Stream { what, source })
    }
}

/// For readers, whose errors have to be I/O errors; [`LayersError::stream`] finds it again.
impl From<LayersError> for io::Error {
    fn from(error: LayersError) -> Self {
        let kind = match &error {
            LayersError::Stream { source, .. } => source.kind(),
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}
