//! Layers of images: written, cut, read, converted, laid out as files and compared.
//!
//! A layer is a tar archive of changes to a file system, compressed (image-spec, "Image Layer Filesystem Changeset"). What is
//! written here is cut into pieces that are compressed each by itself: at the boundaries of files, and inside large files by
//! content. A later version of the same files then has most pieces in common with an earlier one, byte for byte, and storing or
//! fetching it costs what changed.
//!
//! Nothing here knows a network. Metadata of files is read and set through the C library alone, never by raw system calls: `pseudo` and
//! `fakeroot`, under which builds run, work by standing in front of it.
#![deny(unsafe_code)]

pub mod annotation;
pub mod assemble;
mod cut;
mod entry;
mod error;
pub mod piece;
pub mod toc;
mod writer;

pub use cut::{Cut, CutError};
pub use entry::{Entry, EntryPath, EntryPathError, Kind, Time};
pub use error::LayersError;
pub use writer::{Form, Layer, LayerWriter, Undescribed};
