//! The disk of an image: a VMDK descriptor that puts files behind each other.
//!
//! QEMU (`block/vmdk.c`) reads what is called `monolithicFlat` as any number of extents in raw files, whose names it takes up to the next
//! quote, and relative to the descriptor's own folder. The names here are relative and made here, so that a folder may be called anything.
//! It takes only extents that may be written; that the disk is only read is said where it is attached.

use std::fmt::Write;

/// Sectors of 512 bytes that each image's disk has: 1 TiB, whatever is in it. A guest that was saved with one disk goes on with another one
/// only if they have the same size.
pub const DISK_SECTORS: u64 = 1 << 31;

/// Sectors of the file of zeros with which disks are filled up: 64 GiB. Not all file systems have files of a tebibyte, even empty ones.
pub(crate) const ZEROS_SECTORS: u64 = 1 << 27;

/// A run of sectors of a file, from its beginning.
pub(crate) struct Extent {
    /// The file, relative to the descriptor, without quotes and line breaks.
    pub name: String,
    /// None of a file that only has to be there: it is named, and no part of the disk.
    pub sectors: u64,
}

/// The descriptor of a disk of these extents, filled up with zeros from the file `zeros`; none if they are more than it holds.
pub(crate) fn descriptor(extents: &[Extent], zeros: &str, id: u32) -> Option<String> {
    let used = extents.iter().try_fold(0_u64, |sum, extent| sum.checked_add(extent.sectors))?;
    let mut left = DISK_SECTORS.checked_sub(used)?;
    // The highest numbers mean that there is none.
    let id = id & 0x7fff_ffff;
    let mut text = format!(
        "# Disk DescriptorFile\nversion=1\nCID={id:08x}\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n\n# Extent description\n"
    );
    // A String takes whatever is written to it.
    for Extent { name, sectors } in extents {
        let _ = match sectors {
            0 => writeln!(text, "# \"{name}\" has no contents"),
            _ => writeln!(text, "RW {sectors} FLAT \"{name}\" 0"),
        };
    }
    while left > 0 {
        let sectors = left.min(ZEROS_SECTORS);
        let _ = writeln!(text, "RW {sectors} FLAT \"{zeros}\" 0");
        left -= sectors;
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_disk_has_the_same_size() {
        let extent = |sectors| Extent { name: "a b".to_owned(), sectors };
        for extents in [vec![], vec![extent(8)], vec![extent(0), extent(8)], vec![extent(DISK_SECTORS - 8), extent(8)]] {
            let text = descriptor(&extents, "z", u32::MAX).unwrap();
            let sectors = text.lines().filter_map(|line| line.strip_prefix("RW ")?.split(' ').next()?.parse::<u64>().ok());
            assert_eq!(sectors.sum::<u64>(), DISK_SECTORS);
            assert!(text.contains("\nCID=7fffffff\n"));
        }
        assert_eq!(descriptor(&[extent(DISK_SECTORS), extent(8)], "z", 1), None);
    }
}
