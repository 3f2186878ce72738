//! Layers of images: written, cut, read, converted, laid out as files and compared.
//!
//! A layer is a tar archive of changes to a file system, compressed (image-spec, "Image Layer Filesystem Changeset"). What is
//! written here is cut into pieces that are compressed each by itself: at the boundaries of files, and inside large files by
//! content. A later version of the same files then has most pieces in common with an earlier one, byte for byte, and storing or
//! fetching it costs what changed.
//!
//! [`copy`] carries files from one machine to another as such an archive. With [`tar`] it is all that there is without the feature `layers`.
//!
//! Nothing here knows a network. Metadata of files is read and set through the C library alone, never by raw system calls: `pseudo` and
//! `fakeroot`, under which builds run, work by standing in front of it.
#![deny(unsafe_code)]
// What layers alone need of files is not called then.
#![cfg_attr(not(feature = "layers"), allow(dead_code))]

#[cfg(feature = "layers")]
pub mod annotation;
#[cfg(feature = "layers")]
pub mod assemble;
#[cfg(feature = "layers")]
pub mod compare;
#[cfg(feature = "layers")]
mod convert;
pub mod copy;
#[cfg(feature = "layers")]
mod cut;
#[cfg(feature = "layers")]
mod decode;
mod entry;
mod error;
mod holes;
#[cfg(feature = "layers")]
mod inflate;
#[cfg(feature = "layers")]
pub mod listing;
#[cfg(feature = "layers")]
mod older;
#[cfg(feature = "layers")]
mod pack;
#[cfg(feature = "layers")]
pub mod packages;
#[cfg(feature = "layers")]
pub mod piece;
mod system;
pub mod tar;
#[cfg(feature = "layers")]
pub mod toc;
#[cfg(feature = "layers")]
pub mod tree;
#[cfg(feature = "layers")]
pub mod unpack;
#[cfg(feature = "layers")]
mod writer;

#[cfg(feature = "layers")]
pub use convert::convert;
#[cfg(feature = "layers")]
pub use cut::{Cut, CutError};
#[cfg(feature = "layers")]
pub use decode::{Compression, Decoded};
pub use entry::{Entry, EntryPath, EntryPathError, Kind, OPAQUE, Time, is_portable};
pub use error::LayersError;
#[cfg(feature = "layers")]
pub use older::OlderPieces;
#[cfg(feature = "layers")]
pub use pack::pack;
#[cfg(feature = "layers")]
pub use writer::{Form, Layer, LayerWriter, Undescribed};
