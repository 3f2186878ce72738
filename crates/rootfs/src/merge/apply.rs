//! Records of a layer applied to what is below it.

use std::mem;

use wharf_layers::{EntryPath, LayersError};

use super::place::Asking;
use super::tree::{Body, Device, NOBODY, NodeId, ROOT, Tree};
use crate::RootfsError;
use crate::layer::{Attributes, Change, Record, What};

impl Tree {
    /// Goes on with the next layer, whose contents begin at this block.
    pub fn begin(&mut self, layer: u32, base: u64) {
        self.layer = layer;
        self.base = base;
    }

    /// Applies a record of the layer.
    pub fn apply(&mut self, record: Record) -> Result<(), RootfsError> {
        let Record { path, change } = record;
        match change {
            Change::Whiteout => self.whiteout(&path),
            Change::Opaque => self.opaque(&path),
            Change::Link(target) => self.make_link(&path, &target),
            Change::File(attributes, what) => self.make_file(&path, &attributes, what),
        }
    }

    /// Removes what lower layers have at this path.
    fn whiteout(&mut self, path: &EntryPath) -> Result<(), RootfsError> {
        let Some((parent, removed)) = path.parent().zip(path.file_name()) else { return Ok(()) };
        if let Ok(directory) = self.resolve(path, &parent, Asking::Only)? {
            self.remove(directory, removed, true);
        }
        Ok(())
    }

    /// Removes what lower layers have in this directory.
    fn opaque(&mut self, path: &EntryPath) -> Result<(), RootfsError> {
        if let Ok(directory) = self.resolve(path, path, Asking::Only)? {
            self.remove_lower(directory);
        }
        Ok(())
    }

    fn make_file(&mut self, path: &EntryPath, attributes: &Attributes, what: What) -> Result<(), RootfsError> {
        let Some((parent, name)) = path.parent().zip(path.file_name()) else {
            if what != What::Directory {
                return Err(refused(path, "the root is a directory".to_owned()));
            }
            return self.set_attributes(ROOT, attributes);
        };
        let directory = self.resolve_to_write(path, &parent)?;
        if what == What::Directory
            && let Some(child) = self.child(directory, name)
            && self.directory(child.node).is_some()
        {
            self.mark(child.node);
            return self.set_attributes(child.node, attributes);
        }
        self.remove(directory, name, false);
        let body = match what {
            What::Directory => mem::replace(&mut self.implied(directory).body, Body::Fifo),
            What::Regular { size: 0, .. } => Body::Regular { size: 0, block: 0 },
            What::Regular { size, block } => Body::Regular { size, block: self.base.saturating_add(block) },
            What::Symlink(target) => Body::Symlink(target.into()),
            What::Fifo => Body::Fifo,
            What::Character { major, minor } => Body::Device { kind: Device::Character, major, minor },
            What::Block { major, minor } => Body::Device { kind: Device::Block, major, minor },
        };
        let node = self.make(body, attributes)?;
        let node = self.add(node)?;
        self.link(directory, name, node, self.layer)?;
        self.mark(if self.directory(node).is_some() { node } else { directory });
        Ok(())
    }

    /// Gives a file that is there another name.
    fn make_link(&mut self, path: &EntryPath, target: &EntryPath) -> Result<(), RootfsError> {
        let missing = || refused(path, format!("its target `{target}` is not there"));
        let (parent, name) = path.parent().zip(path.file_name()).ok_or_else(missing)?;
        let (target_parent, old) = target.parent().zip(target.file_name()).ok_or_else(missing)?;
        let from = self.resolve(path, &target_parent, Asking::Only)?.map_err(|_| missing())?;
        let node = self.child(from, old).ok_or_else(missing)?.node;
        if self.directory(node).is_some() {
            return Err(refused(path, format!("its target `{target}` is a directory")));
        }
        let directory = self.resolve_to_write(path, &parent)?;
        if (directory, name) == (from, old) {
            return Ok(());
        }
        if self.child(directory, name).is_some_and(|child| self.is_within(from, child.node)) {
            return Err(refused(path, "its target is below it".to_owned()));
        }
        self.remove(directory, name, false);
        self.link(directory, name, node, self.layer)?;
        self.mark(directory);
        Ok(())
    }

    /// Finds or makes the directory that an entry belongs in.
    fn resolve_to_write(&mut self, path: &EntryPath, parent: &EntryPath) -> Result<NodeId, RootfsError> {
        self.resolve(path, parent, Asking::ToMake)?.map_err(|file| refused(path, format!("{file} is no directory")))
    }

    /// Notes that the current layer has made something in this directory, and so in those above it.
    fn mark(&mut self, directory: NodeId) {
        let (layer, mut next) = (self.layer, directory);
        debug_assert_ne!(layer, NOBODY);
        while let Some(directory) = self.directory_mut(next) {
            if directory.layer == layer {
                break;
            }
            directory.layer = layer;
            next = directory.parent;
        }
    }

    fn set_attributes(&mut self, id: NodeId, attributes: &Attributes) -> Result<(), RootfsError> {
        let mut node = self.make(Body::Fifo, attributes)?;
        let former = self.node_mut(id);
        mem::swap(&mut node.body, &mut former.body);
        *former = node;
        Ok(())
    }
}

fn refused(path: &EntryPath, why: String) -> RootfsError {
    LayersError::Refused { name: path.to_string().into_bytes(), why }.into()
}
