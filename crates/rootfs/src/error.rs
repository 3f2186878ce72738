//! What can go wrong between layers and file systems.

use std::io;
use std::path::PathBuf;

use wharf_layers::LayersError;
use wharf_oci::Digest;

/// Why a layer cannot be kept, or an image not be made of layers.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
    /// The layer is no layer, or says what cannot be.
    #[error(transparent)]
    Layer(#[from] LayersError),
    /// The layer is another one than it should be.
    #[error("the layer's content has the digest {found}, not {expected}")]
    Digest {
        /// What the image's configuration names.
        expected: Box<Digest>,
        /// What was read.
        found: Box<Digest>,
    },
    /// A layer that is not kept here.
    #[error("the layer {0} is not in the cache of file systems")]
    Missing(Digest),
    /// A kept layer whose file is not what was written. It is removed when this is found, so that it can be added again.
    #[error("the cached layer {} was damaged, and is removed: {what}", path.display())]
    Damaged {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// More than a guest's disk or this program's memory holds.
    #[error("{0}")]
    TooMuch(String),
    /// A file of this machine that cannot be read or written.
    #[error("cannot {what} {}", path.display())]
    File {
        /// What was to be done: `read`, `write`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it cannot be.
        source: io::Error,
    },
    /// The program that makes disks for containers to write to is not installed.
    #[error("mke2fs is neither in PATH nor in /usr/sbin")]
    NoMke2fs,
    /// A disk that is too small, or that the program fails to make.
    #[error("cannot make a disk of {bytes} bytes: {message}")]
    Disk {
        /// The size that was asked for.
        bytes: u64,
        /// Why.
        message: String,
    },
}

impl RootfsError {
    /// The way out, where there is one.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Missing(_) | Self::Damaged { .. } => Some("pull the image again"),
            Self::NoMke2fs => Some("install e2fsprogs"),
            Self::Layer(_) | Self::Digest { .. } | Self::TooMuch(_) | Self::File { .. } | Self::Disk { .. } => None,
        }
    }

    /// Makes an I/O error one of a file.
    pub(crate) fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { what, path: path.into(), source }
    }
}
