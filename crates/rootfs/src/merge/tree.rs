//! Files in memory, by directory and name.

use std::collections::{BTreeMap, HashMap};

use wharf_layers::Time;

use crate::RootfsError;
use crate::layer::Attributes;
use crate::xattr;

/// A file, by its place in the tree's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeId(pub u32);

/// The root directory.
pub(crate) const ROOT: NodeId = NodeId(0);

/// Bytes that names and attributes of one image may take in memory: some two million files. Nobody has images that come near, but a
/// layer of a megabyte can name them.
const MEMORY_MAX: usize = 512 << 20;
/// Bytes for a file besides its name and attributes, maps included.
const FILE: usize = 192;
/// The same for another name of a file.
const NAME: usize = 64;

/// No layer: of directories that none has named.
pub(super) const NOBODY: u32 = u32::MAX;

/// The files of an image.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(super) nodes: Vec<Node>,
    /// Attributes as EROFS has them, each set of them once; the first one is none.
    xattrs: Vec<Box<[u8]>>,
    by_xattrs: HashMap<Box<[u8]>, u32>,
    /// The layer that is being applied, the first one being 0, and the block where its contents begin.
    pub(super) layer: u32,
    pub(super) base: u64,
    /// Where the previous entry was put.
    pub(super) place: Option<(Vec<u8>, NodeId)>,
    memory: usize,
}

/// A file.
#[derive(Debug)]
pub(crate) struct Node {
    pub body: Body,
    /// The lower twelve bits.
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub seconds: i64,
    pub nanoseconds: u32,
    /// Which of the sets of attributes it has.
    xattrs: u32,
    /// Names that it has; of a directory, none.
    pub links: u32,
}

/// What a file is.
#[derive(Debug)]
pub(crate) enum Body {
    Directory(Box<Directory>),
    /// Its bytes, and the block of all layers' contents where they begin.
    Regular {
        size: u64,
        block: u64,
    },
    Symlink(Box<[u8]>),
    Fifo,
    Device {
        kind: Device,
        major: u32,
        minor: u32,
    },
}

/// The two kinds of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    Character,
    Block,
}

/// What is in a directory.
#[derive(Debug)]
pub(crate) struct Directory {
    /// The directory that this one is in; of the root, itself.
    pub parent: NodeId,
    /// The layer that last made it, or something in it.
    pub(super) layer: u32,
    pub children: BTreeMap<Box<[u8]>, Child>,
}

/// A name in a directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Child {
    pub node: NodeId,
    /// The layer that made it, for anything but a directory.
    pub(super) layer: u32,
}

impl Tree {
    /// Nothing but a root, as directories are that no layer names: root's, mode 0755, of 1970.
    pub fn new() -> Self {
        let mut tree = Self {
            nodes: Vec::new(),
            xattrs: vec![Box::default()],
            by_xattrs: HashMap::new(),
            layer: 0,
            base: 0,
            place: None,
            memory: 0,
        };
        tree.nodes.push(tree.implied(ROOT));
        tree
    }

    /// A file. No id is of another tree.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    /// How many ids there are. Not each is one of a file that is still there.
    pub fn ids(&self) -> usize {
        self.nodes.len()
    }

    /// The attributes of a file as EROFS keeps them behind an inode; empty if there are none.
    pub fn xattrs(&self, node: &Node) -> &[u8] {
        &self.xattrs[node.xattrs as usize]
    }

    /// What is in a file that is a directory.
    pub fn directory(&self, id: NodeId) -> Option<&Directory> {
        match &self.node(id).body {
            Body::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    pub(super) fn directory_mut(&mut self, id: NodeId) -> Option<&mut Directory> {
        match &mut self.node_mut(id).body {
            Body::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    pub(super) fn child(&self, directory: NodeId, name: &[u8]) -> Option<Child> {
        self.directory(directory)?.children.get(name).copied()
    }

    /// Makes a file that nothing leads to yet.
    pub(super) fn add(&mut self, node: Node) -> Result<NodeId, RootfsError> {
        let id = NodeId(self.nodes.len() as u32);
        self.take(FILE)?;
        self.nodes.push(node);
        Ok(id)
    }

    /// Gives a file a name in a directory, where there is none of that name.
    pub(super) fn link(&mut self, directory: NodeId, name: &[u8], node: NodeId, layer: u32) -> Result<(), RootfsError> {
        self.take(NAME + name.len())?;
        if !matches!(self.node(node).body, Body::Directory(_)) {
            self.node_mut(node).links += 1;
        }
        if let Some(directory) = self.directory_mut(directory) {
            directory.children.insert(name.into(), Child { node, layer });
        }
        Ok(())
    }

    /// A directory of which nothing is said.
    pub(super) fn implied(&self, parent: NodeId) -> Node {
        let directory = Directory { parent, layer: NOBODY, children: BTreeMap::new() };
        Node {
            body: Body::Directory(Box::new(directory)),
            mode: 0o755,
            uid: 0,
            gid: 0,
            seconds: 0,
            nanoseconds: 0,
            xattrs: 0,
            links: 0,
        }
    }

    /// Makes a node of what a layer says.
    pub(super) fn make(&mut self, body: Body, attributes: &Attributes) -> Result<Node, RootfsError> {
        if let Body::Symlink(target) = &body {
            self.take(target.len())?;
        }
        let Time { seconds, nanoseconds } = attributes.mtime;
        let xattrs = self.set_of(&attributes.xattrs)?;
        Ok(Node { body, mode: attributes.mode, uid: attributes.uid, gid: attributes.gid, seconds, nanoseconds, xattrs, links: 0 })
    }

    fn set_of(&mut self, xattrs: &[(Vec<u8>, Vec<u8>)]) -> Result<u32, RootfsError> {
        if xattrs.is_empty() {
            return Ok(0);
        }
        let encoded = xattr::encode(xattrs)?;
        if let Some(known) = self.by_xattrs.get(encoded.as_slice()) {
            return Ok(*known);
        }
        self.take(2 * encoded.len() + NAME)?;
        let number = self.xattrs.len() as u32;
        let encoded = encoded.into_boxed_slice();
        self.xattrs.push(encoded.clone());
        self.by_xattrs.insert(encoded, number);
        Ok(number)
    }

    fn take(&mut self, bytes: usize) -> Result<(), RootfsError> {
        self.memory += bytes;
        if self.memory > MEMORY_MAX {
            return Err(RootfsError::TooMuch(format!(
                "names and attributes of the image's files take more than {} MiB",
                MEMORY_MAX >> 20
            )));
        }
        Ok(())
    }
}
