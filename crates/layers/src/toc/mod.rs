//! The table of contents of a zstd:chunked layer: what files the layer has, and where in it each one's content lies, as JSON that was
//! compressed with zstd. Clients that know it fetch it first, and then the files that they lack. Field names and meaning are those of
//! containers/storage.

mod entry;
mod read;

use std::ops::Range;

use wharf_oci::{Descriptor, Digest};

pub use self::entry::{EntryError, Listed, TocEntry, TocKind};
pub(crate) use self::entry::{ZEROS, writable};
pub(crate) use self::read::pieces;
pub use self::read::{entries, for_each};
use crate::annotation::{CHUNKED_PREFIXES, MANIFEST_CHECKSUM, MANIFEST_POSITION};

/// Bytes of a compressed table at most that are read here.
const COMPRESSED_MAX: u64 = 32 << 20;
/// Bytes that it may decompress to.
const LENGTH_MAX: u64 = 64 << 20;

/// Where in a layer its table of contents lies, according to its descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TocPlace {
    range: Range<u64>,
    length: u64,
    checksum: Digest,
}

impl TocPlace {
    /// The place of the table; none when the layer has none, says something impossible of it, or one of more than 64 MiB.
    pub fn of(layer: &Descriptor) -> Option<Self> {
        CHUNKED_PREFIXES.iter().find_map(|prefix| {
            let mut numbers = layer.annotation(&format!("{prefix}{MANIFEST_POSITION}"))?.split(':');
            let mut number = || numbers.next()?.parse::<u64>().ok();
            let (offset, compressed, length, kind) = (number()?, number()?, number()?, number()?);
            let checksum = layer.annotation(&format!("{prefix}{MANIFEST_CHECKSUM}"))?.parse().ok()?;
            let end = offset.checked_add(compressed).filter(|end| *end <= layer.size)?;
            let fits = (1..=COMPRESSED_MAX).contains(&compressed) && length <= LENGTH_MAX;
            (kind == 1 && numbers.next().is_none() && fits).then_some(Self { range: offset..end, length, checksum })
        })
    }

    /// The bytes of the layer that are the compressed table: not empty, inside the layer, 32 MiB at most.
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }
}
