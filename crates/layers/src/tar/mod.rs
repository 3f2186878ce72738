//! Tar archives: read as everyone writes them, written as everyone reads them.
//!
//! What is read: v7, ustar, pax (POSIX.1-2017, `pax`, "pax Interchange Format"), the formats of GNU tar and of star, with all four forms
//! of sparse files. Where readers differ, Go's `archive/tar` is followed, by which nearly every layer is read in the end.

mod encode;
mod header;
mod member;
mod pax;
mod reader;
mod sparse;

pub use encode::encode;
pub use member::Member;
pub use reader::{TarReader, Trailer};
pub use sparse::Extent;

/// What an archive ends with: two blocks of zeros.
pub const END: [u8; 1024] = [0; 1024];

/// Bytes of zeros that follow this many bytes of content.
pub fn padding(size: u64) -> usize {
    let over = (size % header::BLOCK as u64) as usize;
    (header::BLOCK - over) % header::BLOCK
}

/// What is wrong with a part of an archive; the reader adds where.
type Damage = std::borrow::Cow<'static, str>;

/// Bytes that a pax header, or a long name of GNU tar, may have; the same bound as Go's `archive/tar` sets.
const MAX_EXTENSION: usize = 1 << 20;

#[cfg(test)]
mod tests;
