//! A root file system, as layers are made of it: from a directory or from a tar archive.
//!
//! Whatever order a directory lists its names in, and whatever order an archive was written in, the tree is the same: sorted, one node
//! for each path, hard links pointing to the first name in that order.

mod archive;
mod content;
mod pattern;
mod split;
mod walk;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::PathBuf;

pub use content::Content;
pub use pattern::{Pattern, PatternError};
pub use split::Split;

pub use crate::entry::is_portable;
use crate::system::Status;
use crate::{Entry, EntryPath, Kind, LayersError, Time};

/// Bytes that a tree may take in memory; enough for some 300,000 files.
const MEMORY_MAX: usize = 96 << 20;
/// Bytes that a node takes besides names, attributes and the like.
const NODE: usize = 256;

/// How a tree is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct TreeOptions {
    /// Seconds since 1970 that no time in the tree is after; later ones become this (`SOURCE_DATE_EPOCH`).
    pub mtime_max: Option<i64>,
}

/// The files of a root file system, sorted by path: byte by byte within a part, a directory before what is in it.
///
/// Times are whole seconds. Attributes that only mean something to the machine that they were read on are left out: see
/// [`is_portable`].
#[derive(Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    sockets: Vec<EntryPath>,
    source: Source,
}

/// A file of a tree.
#[derive(Clone, Debug)]
pub struct Node {
    entry: Entry,
    place: Place,
}

/// Where the content of all nodes is.
#[derive(Debug)]
enum Source {
    Directory { path: PathBuf, open: File },
    Archive { path: PathBuf, open: File, status: Status },
}

/// Where the content of a node is.
#[derive(Clone, Debug)]
enum Place {
    /// It has none.
    Nowhere,
    /// In the directory, in a file that was this one when the tree was made.
    File { identity: (u64, u64), mtime: Time },
    /// In the archive, in these runs; between them are holes.
    Archive(Box<[Run]>),
}

/// Bytes of a file as an archive stores them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    /// Where in the file they belong.
    offset: u64,
    /// Where in the archive they are.
    stored: u64,
    /// How many there are.
    length: u64,
}

impl Tree {
    /// The nodes in their order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The sockets of the directory. They are no nodes: no archive can hold them, and a program makes its own anew.
    pub fn sockets(&self) -> &[EntryPath] {
        &self.sockets
    }

    /// Assigns the nodes to layers: one for each list of patterns, and a last one for what no list names.
    pub fn split(&self, lists: &[Vec<Pattern>]) -> Split {
        split::split(&self.nodes, lists)
    }

    /// Opens the content of a node of this tree. Nothing but a regular file has any.
    ///
    /// # Errors
    /// [`LayersError::Changed`] when the file is no longer the one that the tree was made of.
    pub fn content<'a>(&'a self, node: &'a Node) -> Result<Content<'a>, LayersError> {
        Content::open(&self.source, node)
    }

    /// Sorts the nodes, and lets each file have its content at its first name.
    ///
    /// Nodes with the same file number are names of one file; whichever of them comes first takes content and attributes.
    fn new(mut found: Vec<Found>, sockets: Vec<EntryPath>, source: Source) -> Self {
        found.sort_by(|one, other| order(one.node.path_bytes(), other.node.path_bytes()));
        let mut first = HashMap::new();
        let mut nodes: Vec<Node> = Vec::with_capacity(found.len());
        for Found { mut node, file } in found {
            if let Some(file) = file {
                let index = *first.entry(file).or_insert(nodes.len());
                if let Some(first) = nodes.get(index) {
                    let (name, kind) = (node.entry.name, Kind::Hardlink(first.entry.name.clone()));
                    let Entry { mode, uid, gid, mtime, .. } = first.entry;
                    let entry = Entry { name, kind, mode, uid, gid, mtime, size: 0, xattrs: BTreeMap::new() };
                    node = Node { entry, place: Place::Nowhere };
                }
            }
            nodes.push(node);
        }
        Self { nodes, sockets, source }
    }
}

impl Node {
    /// What the node is. Its name is relative, without `./` in front; that of a directory ends with a slash, and that of the root is `./`.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The name without slash at the end; nothing for the root.
    fn path_bytes(&self) -> &[u8] {
        match self.entry.name.as_slice() {
            b"./" => b"",
            name => name.strip_suffix(b"/").unwrap_or(name),
        }
    }

    /// The parts of the name, from the root down.
    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.path_bytes().split(|byte| *byte == b'/').filter(|part| !part.is_empty())
    }
}

/// A node before the tree is whole, as one of perhaps several names of a file.
struct Found {
    node: Node,
    /// What tells the file from all others, if it may have other names.
    file: Option<(u64, u64)>,
}

/// The order of paths in a tree, in which a slash comes before every other byte.
fn order(one: &[u8], other: &[u8]) -> std::cmp::Ordering {
    let rank = |byte: Option<&u8>| byte.map(|byte| if *byte == b'/' { 0 } else { *byte });
    let same = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    rank(one.get(same)).cmp(&rank(other.get(same)))
}

/// The name that the entry at this path has in a layer.
fn entry_name(path: &EntryPath, kind: &Kind) -> Vec<u8> {
    match (kind, path.is_root()) {
        (_, true) => b"./".to_vec(),
        (Kind::Directory, false) => [path.as_bytes(), b"/"].concat(),
        (_, false) => path.as_bytes().to_vec(),
    }
}

/// What all sources must check about a name: that in a layer it would not remove something instead.
fn refuse_whiteout(path: &EntryPath) -> Result<(), LayersError> {
    if path.parts().any(|name| name.starts_with(b".wh.")) {
        let why = "in a layer, a name that begins with `.wh.` removes a file".to_owned();
        return Err(LayersError::Refused { name: path.to_string().into_bytes(), why });
    }
    Ok(())
}

/// Counts what a tree holds in memory.
#[derive(Default)]
struct Budget(usize);

impl Budget {
    fn take(&mut self, entry: &Entry, place: &Place) -> Result<(), LayersError> {
        let target = match &entry.kind {
            Kind::Symlink(target) | Kind::Hardlink(target) => target.len(),
            _ => 0,
        };
        let attributes: usize = entry.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        let runs = match place {
            Place::Archive(runs) => std::mem::size_of_val::<[Run]>(runs),
            Place::Nowhere | Place::File { .. } => 0,
        };
        self.0 += NODE + entry.name.len() + target + attributes + runs;
        if self.0 > MEMORY_MAX {
            let why = format!("with it, names and attributes take more than {} MiB", MEMORY_MAX >> 20);
            return Err(LayersError::Refused { name: entry.name.clone(), why });
        }
        Ok(())
    }
}

/// The time that an entry gets.
fn entry_time(mtime: Time, options: TreeOptions) -> Time {
    Time { seconds: options.mtime_max.map_or(mtime.seconds, |max| mtime.seconds.min(max)), nanoseconds: 0 }
}
