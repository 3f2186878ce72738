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
pub mod compare;
mod convert;
mod cut;
mod decode;
mod entry;
mod error;
mod inflate;
pub mod listing;
mod older;
mod pack;
pub mod packages;
pub mod piece;
mod system;
pub mod tar;
pub mod toc;
pub mod tree;
pub mod unpack;
mod writer;

pub use convert::convert;
pub use cut::{Cut, CutError};
pub use decode::{Compression, Decoded};
pub use entry::{Entry, EntryPath, EntryPathError, Kind, Time};
pub use error::LayersError;
pub use older::OlderPieces;
pub use pack::pack;
pub use writer::{Form, Layer, LayerWriter, Undescribed};
