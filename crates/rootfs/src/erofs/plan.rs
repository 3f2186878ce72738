//! Where everything goes, before anything is written: entries of directories tell where inodes are.

use super::directory;
use super::{BLOCK, INODE, SLOT};
use crate::RootfsError;
use crate::merge::{Body, NodeId, ROOT, Tree};

/// Bytes of metadata at most: what two gigabytes of a disk have room for.
const METADATA_MAX: u64 = 2 << 30;

/// Where the inodes of a tree go.
pub(crate) struct Plan {
    /// The files that are there, in the order of their inodes, and how their contents are kept.
    pub(super) order: Vec<(NodeId, Kept)>,
    /// The slot of each file's inode, by its id; 0 if it is not there.
    slots: Vec<u32>,
    /// Blocks up to the end of the inodes, and up to the contents.
    pub(super) inode_end: u64,
    pub(super) data_start: u64,
}

/// How the content of a directory or link is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// There is none.
    Empty,
    /// So many bytes behind the inode, in the same block.
    Inline(usize),
    /// So many bytes in blocks of their own.
    Blocks(usize),
}

impl Plan {
    /// Plans a file system of all files that the root leads to.
    pub fn new(tree: &Tree) -> Result<Self, RootfsError> {
        let mut plan = Self { order: Vec::new(), slots: vec![0; tree.ids()], inode_end: 0, data_start: 0 };
        // Byte by byte, from the second block on.
        let mut at = BLOCK as u64;
        let mut blocks = 0;
        let mut waiting = vec![ROOT];
        plan.reach(ROOT, tree, &mut at, &mut blocks)?;
        while let Some(id) = waiting.pop() {
            let Some(directory) = tree.directory(id) else { continue };
            // The files of a directory lie beside each other, and so do their inodes.
            for child in directory.children.values() {
                if plan.slots[child.node.0 as usize] == 0 {
                    plan.reach(child.node, tree, &mut at, &mut blocks)?;
                }
            }
            let below = directory.children.values().rev().map(|child| child.node);
            waiting.extend(below.filter(|child| tree.directory(*child).is_some()));
        }
        plan.inode_end = at.div_ceil(BLOCK as u64);
        plan.data_start = plan.inode_end + blocks;
        Ok(plan)
    }

    fn reach(&mut self, id: NodeId, tree: &Tree, at: &mut u64, blocks: &mut u64) -> Result<(), RootfsError> {
        let node = tree.node(id);
        let fixed = INODE + tree.xattrs(node).len();
        let kept = kept(tree, id);
        let length = match kept {
            Kept::Empty => fixed,
            Kept::Inline(length) => fixed + length,
            Kept::Blocks(length) => {
                *blocks += length.div_ceil(BLOCK) as u64;
                fixed
            }
        };
        let left = BLOCK as u64 - *at % BLOCK as u64;
        // Nothing that fits into a block lies in two: Linux wants it so of what is kept behind an inode.
        if length as u64 > left && (length <= BLOCK || left < INODE as u64) {
            *at += left;
        }
        self.slots[id.0 as usize] = (*at / SLOT) as u32;
        self.order.push((id, kept));
        *at = (*at + length as u64).next_multiple_of(SLOT);
        if *at + *blocks * BLOCK as u64 > METADATA_MAX {
            return Err(RootfsError::TooMuch(format!(
                "the image's files take more than {} GiB besides their contents",
                METADATA_MAX >> 30
            )));
        }
        Ok(())
    }

    /// The number of a file's inode, in slots from the beginning of the disk.
    pub(super) fn nid(&self, id: NodeId) -> u64 {
        u64::from(self.slots[id.0 as usize])
    }

    /// Files that are there.
    pub fn files(&self) -> u64 {
        self.order.len() as u64
    }

    /// Bytes of metadata: where contents begin on the disk.
    pub fn length(&self) -> u64 {
        self.data_start * BLOCK as u64
    }
}

/// How the content of a file is kept, of what is no regular file.
fn kept(tree: &Tree, id: NodeId) -> Kept {
    let node = tree.node(id);
    let length = match &node.body {
        Body::Directory(directory) => directory::size(&directory::names(id, directory)),
        Body::Symlink(target) => target.len(),
        _ => return Kept::Empty,
    };
    if INODE + tree.xattrs(node).len() + length <= BLOCK { Kept::Inline(length) } else { Kept::Blocks(length) }
}
