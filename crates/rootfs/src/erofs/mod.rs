//! The read-only file system that a guest mounts: EROFS, with nothing in it that Linux 6.1 does not know.
//!
//! What is written here is metadata alone. On the disk, the layers' contents follow it, and regular files point there.
//!
//! ```text
//! block 0   superblock, at byte 1024
//! block 1   inodes, each followed by its attributes, and by the content of a directory or link where that fits into the same block
//! …         the other directories and links, block by block
//! …         contents of regular files, which are not written here
//! ```
//!
//! The format is that of Linux' `fs/erofs/erofs_fs.h`.

mod directory;
mod plan;
mod write;

pub(crate) use plan::Plan;
pub(crate) use write::write;

/// Bytes of a block.
const BLOCK: usize = crate::layer::BLOCK as usize;
/// Bytes of an inode in its extended form, and of the slots that inodes are counted in.
const INODE: usize = 64;
const SLOT: u64 = 32;
