//! Metadata written, in one pass.

use std::io::{self, Write};

use super::directory;
use super::plan::{Kept, Plan};
use super::{BLOCK, INODE, SLOT};
use crate::layer::CRC32C;
use crate::merge::{Body, Device, Node, NodeId, ROOT, Tree};
use crate::xattr;

const MAGIC: u32 = 0xe0f5_e1e2;
/// Where the superblock is.
const SUPERBLOCK: usize = 1024;
/// The superblock has a checksum. A kernel that does not know it may ignore it.
const HAS_CHECKSUM: u32 = 1;
/// An inode of 64 bytes; the two layouts of contents that are used.
const EXTENDED: u16 = 1;
const FLAT_PLAIN: u16 = 0;
const FLAT_INLINE: u16 = 2 << 1;

/// Writes the metadata of a file system whose contents have so many blocks, and that `uuid` tells from others.
pub(crate) fn write(tree: &Tree, plan: &Plan, contents: u64, uuid: [u8; 16], out: &mut impl Write) -> io::Result<()> {
    out.write_all(&superblock(plan, contents, uuid))?;
    let mut writer = Writer { tree, plan, next_block: plan.inode_end, position: BLOCK as u64, scratch: Vec::new() };
    for (id, kept) in &plan.order {
        writer.inode(*id, *kept, out)?;
    }
    writer.pad(plan.inode_end * BLOCK as u64, out)?;
    for (id, _) in plan.order.iter().filter(|(_, kept)| matches!(kept, Kept::Blocks(_))) {
        writer.pad(writer.position.next_multiple_of(BLOCK as u64), out)?;
        writer.content(*id, out)?;
    }
    writer.pad(plan.length(), out)
}

/// The first block.
fn superblock(plan: &Plan, contents: u64, uuid: [u8; 16]) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[SUPERBLOCK + at..SUPERBLOCK + at + bytes.len()].copy_from_slice(bytes);
    put(0, &MAGIC.to_le_bytes());
    put(8, &HAS_CHECKSUM.to_le_bytes());
    put(12, &[BLOCK.trailing_zeros() as u8]);
    // The root is the first inode, so this fits.
    put(14, &(plan.nid(ROOT) as u16).to_le_bytes());
    put(16, &plan.files().to_le_bytes());
    // Only told to those who ask how large the file system is.
    put(36, &u32::try_from(plan.data_start + contents).unwrap_or(u32::MAX).to_le_bytes());
    put(48, &uuid);
    // As the kernel computes it: over the rest of the block, the field itself zero, and without the inversion at the end.
    let checksum = !CRC32C.checksum(&block[SUPERBLOCK..]);
    block[SUPERBLOCK + 4..SUPERBLOCK + 8].copy_from_slice(&checksum.to_le_bytes());
    block
}

struct Writer<'a> {
    tree: &'a Tree,
    plan: &'a Plan,
    /// The block that the next content goes to that does not fit behind its inode.
    next_block: u64,
    /// Bytes that were written.
    position: u64,
    scratch: Vec<u8>,
}

impl Writer<'_> {
    fn inode(&mut self, id: NodeId, kept: Kept, out: &mut impl Write) -> io::Result<()> {
        self.pad(self.plan.nid(id) * SLOT, out)?;
        let node = self.tree.node(id);
        let xattrs = self.tree.xattrs(node);
        // Devices have their numbers in the place of an address.
        let (size, address) = match (kept, &node.body) {
            (Kept::Inline(size), _) => (size as u64, 0),
            (Kept::Blocks(size), _) => {
                let block = self.next_block;
                self.next_block += size.div_ceil(BLOCK) as u64;
                (size as u64, block)
            }
            (Kept::Empty, Body::Regular { size: size @ 1.., block }) => (*size, self.plan.data_start + block),
            (Kept::Empty, Body::Device { major, minor, .. }) => (0, device(*major, *minor)),
            (Kept::Empty, _) => (0, 0),
        };
        let layout = if matches!(kept, Kept::Inline(_)) { FLAT_INLINE } else { FLAT_PLAIN };
        let mut inode = [0; INODE];
        let mut put = |at: usize, bytes: &[u8]| inode[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &(EXTENDED | layout).to_le_bytes());
        put(2, &xattr::count(xattrs.len()).to_le_bytes());
        put(4, &(file_kind(&node.body) | node.mode).to_le_bytes());
        put(8, &size.to_le_bytes());
        // The disk has fewer blocks than 32 bits count; see `DISK_SECTORS`.
        put(16, &(address as u32).to_le_bytes());
        put(20, &(self.plan.nid(id) as u32).to_le_bytes());
        put(24, &node.uid.to_le_bytes());
        put(28, &node.gid.to_le_bytes());
        put(32, &node.seconds.to_le_bytes());
        put(40, &node.nanoseconds.to_le_bytes());
        put(44, &self.links(node).to_le_bytes());
        self.put(&inode, out)?;
        self.put(xattrs, out)?;
        if let Kept::Inline(_) = kept { self.content(id, out) } else { Ok(()) }
    }

    /// Names that lead to a file: to a directory also its own `.` and the `..` of those in it.
    fn links(&self, node: &Node) -> u32 {
        match &node.body {
            Body::Directory(directory) => {
                let below = directory.children.values().filter(|child| self.tree.directory(child.node).is_some());
                2 + below.count() as u32
            }
            _ => node.links,
        }
    }

    fn content(&mut self, id: NodeId, out: &mut impl Write) -> io::Result<()> {
        match &self.tree.node(id).body {
            Body::Directory(directory) => {
                let mut bytes = std::mem::take(&mut self.scratch);
                bytes.clear();
                directory::encode(&directory::names(id, directory), self.tree, |id| self.plan.nid(id), &mut bytes);
                self.put(&bytes, out)?;
                self.scratch = bytes;
                Ok(())
            }
            Body::Symlink(target) => self.put(target, out),
            _ => Ok(()),
        }
    }

    fn put(&mut self, bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
        self.position += bytes.len() as u64;
        out.write_all(bytes)
    }

    fn pad(&mut self, position: u64, out: &mut impl Write) -> io::Result<()> {
        let zeros = io::copy(&mut io::Read::take(io::repeat(0), position.saturating_sub(self.position)), out)?;
        self.position += zeros;
        Ok(())
    }
}

/// The kind of a file as `st_mode` has it.
fn file_kind(body: &Body) -> u16 {
    match body {
        Body::Fifo => 0o010_000,
        Body::Device { kind: Device::Character, .. } => 0o020_000,
        Body::Directory(_) => 0o040_000,
        Body::Device { kind: Device::Block, .. } => 0o060_000,
        Body::Regular { .. } => 0o100_000,
        Body::Symlink(_) => 0o120_000,
    }
}

/// A device's number as Linux keeps it in 32 bits.
fn device(major: u32, minor: u32) -> u64 {
    u64::from((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xf_ff00) << 12))
}

#[cfg(test)]
mod tests {
    use super::device;

    #[test]
    fn devices_are_numbered_as_linux_does() {
        assert_eq!(device(1, 3), 0x103);
        assert_eq!(device(259, 0x1_2345), 0x1231_0345);
    }
}
