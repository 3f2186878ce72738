//! Directories as EROFS keeps them: blocks of entries in ascending order, the names behind them.

use super::BLOCK;
use crate::merge::{Body, Device, Directory, NodeId, Tree};

/// Bytes of an entry besides its name.
const ENTRY: usize = 12;

/// What is in a directory, `.` and `..` too, in order.
pub(super) fn names(id: NodeId, directory: &Directory) -> Vec<(&[u8], NodeId)> {
    let own: [(&[u8], NodeId); 2] = [(b".", id), (b"..", directory.parent)];
    let mut names = Vec::with_capacity(directory.children.len() + own.len());
    names.extend(own);
    names.extend(directory.children.iter().map(|(name, child)| (&**name, child.node)));
    // A few names, such as `+`, come before the two.
    names.sort_unstable_by_key(|(name, _)| *name);
    names
}

/// Bytes of a directory with these names, whose last block ends with its last name.
pub(super) fn size(names: &[(&[u8], NodeId)]) -> usize {
    let (mut blocks, mut used) = (0, 0);
    for block in blocks_of(names) {
        (blocks, used) = (blocks + 1, bytes_of(block));
    }
    blocks * BLOCK - if blocks > 0 { BLOCK - used } else { 0 }
}

/// Writes a directory to `out`, where each of its blocks but the last is filled up.
pub(super) fn encode(names: &[(&[u8], NodeId)], tree: &Tree, nid: impl Fn(NodeId) -> u64, out: &mut Vec<u8>) {
    let start = out.len();
    for block in blocks_of(names) {
        out.resize(start + (out.len() - start).next_multiple_of(BLOCK), 0);
        let mut at = block.len() * ENTRY;
        for (name, id) in block {
            out.extend_from_slice(&nid(*id).to_le_bytes());
            // Less than a block.
            out.extend_from_slice(&(at as u16).to_le_bytes());
            out.extend_from_slice(&[file_type(&tree.node(*id).body), 0]);
            at += name.len();
        }
        for (name, _) in block {
            out.extend_from_slice(name);
        }
    }
}

fn bytes_of(block: &[(&[u8], NodeId)]) -> usize {
    block.iter().map(|(name, _)| ENTRY + name.len()).sum()
}

/// The names that go into a block each.
fn blocks_of<'a, 'b>(names: &'b [(&'a [u8], NodeId)]) -> impl Iterator<Item = &'b [(&'a [u8], NodeId)]> {
    let mut rest = names;
    std::iter::from_fn(move || {
        let mut used = 0;
        let fits = |(name, _): &&(&[u8], NodeId)| {
            used += ENTRY + name.len();
            used <= BLOCK
        };
        let count = rest.iter().take_while(fits).count();
        let (block, after) = rest.split_at(count);
        rest = after;
        (count > 0).then_some(block)
    })
}

/// What an entry says of its file: the numbers of Linux' `fs_types.h`.
fn file_type(body: &Body) -> u8 {
    match body {
        Body::Regular { .. } => 1,
        Body::Directory(_) => 2,
        Body::Device { kind: Device::Character, .. } => 3,
        Body::Device { kind: Device::Block, .. } => 4,
        Body::Fifo => 5,
        Body::Symlink(_) => 7,
    }
}
