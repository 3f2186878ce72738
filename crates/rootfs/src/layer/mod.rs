//! A layer as it is kept: one file that holds what its regular files hold, and after that what it says of all of them.
//!
//! ```text
//! 0         contents of regular files, each at a multiple of 4096 bytes, in the order of the archive
//! entries   records, see `record`
//! end - 64  the footer, see `footer`
//! ```

mod add;
mod data;
mod footer;
mod normal;
mod record;

pub(crate) use add::write;
pub(crate) use footer::{CRC32C, Footer, read_entries};
pub(crate) use record::{Attributes, Change, Record, Records, What};

/// Bytes of a block: the unit in which a file's content lies in a layer, and that of the file system.
pub(crate) const BLOCK: u64 = 4096;

/// Bytes rounded up to whole blocks; none past what 64 bits hold.
pub(crate) fn whole_blocks(bytes: u64) -> Option<u64> {
    bytes.checked_next_multiple_of(BLOCK)
}
