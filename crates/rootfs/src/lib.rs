//! Layers of images as file systems that are read only: cut to blocks once per layer, and put together per image.
//!
//! Each layer is kept as one file, in which the contents of its regular files lie uncompressed at multiples of 4096 bytes. For an image,
//! the layers' metadata is merged here, whiteouts and all, into the metadata of one EROFS file system whose inodes point into those
//! files. A VMDK descriptor puts metadata and layers behind each other on one virtual disk. So a guest mounts one file system, whatever
//! the number of layers, and no content is copied for an image.
//!
//! What is here may rely on: a layer that is kept is whole and has the digest that it is kept under, also after a crash; layers are
//! believed nothing, as in [`wharf_layers::unpack`], whose rules hold here too; any number of processes may use a [`Cache`] at once.
#![forbid(unsafe_code)]

mod cache;
mod disk;
mod erofs;
mod error;
mod layer;
mod merge;
mod vmdk;
mod xattr;

pub use cache::{Cache, Image, KeptLayer};
pub use error::RootfsError;
pub use vmdk::DISK_SECTORS;
