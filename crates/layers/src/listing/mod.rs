//! The files of an image: its layers laid over each other, without laying them out.

mod scan;
mod toc;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;

use crate::packages::Content;
use crate::{Entry, EntryPath, Kind, LayersError, Time};

pub use toc::Wanted;

/// What hides a file of the layers below stands before its name (image-spec, "Whiteouts").
const WHITEOUT: &[u8] = b".wh.";
/// What hides all that the layers below have in a directory.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Bytes of memory for names and attributes of one layer, enough for a million files; and for those of all layers of an image.
const MEMORY_MAX: usize = 256 << 20;
const LISTED_MAX: usize = 4 * MEMORY_MAX;
/// Bytes that it takes to remember a file, besides its name and attributes.
const REMEMBERED: usize = 200;
/// Folders that a file may lie in, one in another: as many as are laid out at most.
const DEPTH_MAX: usize = 512;

/// What else begins so is bookkeeping of the file system that the rule comes from.
const BOOKKEEPING: &[u8] = b".wh..wh.";

/// A file of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// What it is.
    pub kind: FileKind,
    /// Permissions with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Time of the last change of the content.
    pub mtime: Time,
    /// Extended attributes, by name.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What a file of an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file, under one of its names or under several.
    Regular {
        /// Bytes.
        size: u64,
        /// SHA-256 of the content.
        content: Content,
    },
    /// A directory.
    Directory,
    /// A symbolic link, with what it says.
    Symlink(Box<[u8]>),
    /// A character device, with its major and minor number.
    Character(u32, u32),
    /// A block device, with its major and minor number.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
}

impl FileKind {
    /// Its name in words: `file`, `directory`, `symlink`, `character device`, `block device`, `pipe`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Regular { .. } => "file",
            Self::Directory => "directory",
            Self::Symlink(_) => "symlink",
            Self::Character(..) => "character device",
            Self::Block(..) => "block device",
            Self::Fifo => "pipe",
        }
    }
}

impl File {
    /// Bytes of a regular file; 0 for all else.
    pub fn size(&self) -> u64 {
        match self.kind {
            FileKind::Regular { size, .. } => size,
            _ => 0,
        }
    }
}

/// What one layer changes. Entries are added in the archive's order; [`Listing::apply`] lays it over others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changeset {
    files: BTreeMap<EntryPath, Arc<File>>,
    /// Hard links to files of the layers below.
    links: Vec<(EntryPath, EntryPath)>,
    hidden: Vec<EntryPath>,
    opaque: Vec<EntryPath>,
    /// Bytes in all of them.
    remembered: usize,
}

impl Changeset {
    /// One without changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry; `content` is the digest of a regular file's content, and counts for no other kind.
    ///
    /// # Errors
    ///
    /// [`LayersError::Name`] for a name that is no place below the root, [`LayersError::Refused`] for a regular file without a digest, for one that lies too deep
    /// and for more than 256 MiB of names and attributes.
    pub fn add(&mut self, entry: &Entry, content: Option<Content>) -> Result<(), LayersError> {
        let parse = |name: &[u8]| EntryPath::parse(name).map_err(|why| LayersError::Name { name: name.to_vec(), why });
        let path = parse(&entry.name)?;
        if path.parts().count() > DEPTH_MAX {
            return Err(LayersError::Refused { name: entry.name.clone(), why: "it lies too deep".to_owned() });
        }
        self.count(entry)?;
        if let Some(name) = path.file_name().filter(|name| name.starts_with(WHITEOUT)) {
            let folder = path.parent().unwrap_or_default();
            if name == OPAQUE {
                self.opaque.push(folder);
            } else if !name.starts_with(BOOKKEEPING) {
                self.hidden.push(folder.join(&name[WHITEOUT.len()..]));
            }
            return Ok(());
        }
        let kind = match &entry.kind {
            Kind::Hardlink(target) => {
                let target = parse(target)?;
                match self.files.get(&target).cloned() {
                    Some(file) => self.put(&path, &file),
                    None => self.links.push((path, target)),
                }
                return Ok(());
            }
            Kind::Regular => {
                let refused = || LayersError::Refused { name: entry.name.clone(), why: "its content has no digest".to_owned() };
                FileKind::Regular { size: entry.size, content: content.ok_or_else(refused)? }
            }
            Kind::Directory => FileKind::Directory,
            Kind::Symlink(target) => FileKind::Symlink(target.as_slice().into()),
            Kind::Character { major, minor } => FileKind::Character(*major, *minor),
            Kind::Block { major, minor } => FileKind::Block(*major, *minor),
            Kind::Fifo => FileKind::Fifo,
        };
        let Entry { mode, uid, gid, mtime, ref xattrs, .. } = *entry;
        self.put(&path, &Arc::new(File { kind, mode, uid, gid, mtime, xattrs: xattrs.clone() }));
        Ok(())
    }

    fn count(&mut self, entry: &Entry) -> Result<(), LayersError> {
        let target = match &entry.kind {
            Kind::Symlink(target) | Kind::Hardlink(target) => target.len(),
            _ => 0,
        };
        let attributes: usize = entry.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.remembered += REMEMBERED + entry.name.len() + target + attributes;
        if self.remembered > MEMORY_MAX {
            let why = format!("with it, names and attributes take more than {} MiB", MEMORY_MAX >> 20);
            return Err(LayersError::Refused { name: entry.name.clone(), why });
        }
        Ok(())
    }

    fn put(&mut self, path: &EntryPath, file: &Arc<File>) {
        replace(&mut self.files, path, file);
    }
}

/// The files of an image, by their places. The root directory is not one of them.
///
/// Memory goes with the number of files, about 200 bytes for each, and not with their length. A copy shares what is known of each file.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    files: BTreeMap<EntryPath, Arc<File>>,
    /// Bytes in the layers that were laid over each other.
    remembered: usize,
}

impl Listing {
    /// One without files, over which the lowest layer is laid.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lays a layer over those below. What it hides are their files, never its own (image-spec, "Whiteouts").
    ///
    /// # Errors
    ///
    /// [`LayersError::Refused`] for a hard link to a file that is nowhere, and for more than 1 GiB of names and attributes in all layers.
    pub fn apply(&mut self, layer: &Changeset) -> Result<(), LayersError> {
        self.remembered += layer.remembered;
        if self.remembered > LISTED_MAX {
            let why = format!("with its layer, names and attributes take more than {} MiB", LISTED_MAX >> 20);
            return Err(LayersError::Refused {
                name: layer.files.keys().next().map_or_else(Vec::new, |path| path.as_bytes().to_vec()),
                why,
            });
        }
        let mut links = Vec::with_capacity(layer.links.len());
        for (path, target) in &layer.links {
            let found = layer.files.get(target).or_else(|| self.files.get(target));
            let nowhere = || LayersError::Refused {
                name: path.as_bytes().to_vec(),
                why: format!("it is a link to {target}, which is not there"),
            };
            links.push((path, Arc::clone(found.ok_or_else(nowhere)?)));
        }
        for path in &layer.hidden {
            self.files.remove(path);
            clear(&mut self.files, path);
        }
        for path in &layer.opaque {
            clear(&mut self.files, path);
        }
        for (path, file) in layer.files.iter().chain(links.iter().map(|(path, file)| (*path, file))) {
            // A directory that the layer does not mention stands where it puts something into it.
            let mut above = path.parent();
            while let Some(folder) = above.filter(|folder| !folder.is_root()) {
                let is_other = |file: &Arc<File>| file.kind != FileKind::Directory;
                if !layer.files.contains_key(&folder) && self.files.get(&folder).is_some_and(is_other) {
                    self.files.remove(&folder);
                }
                above = folder.parent();
            }
            replace(&mut self.files, path, file);
        }
        Ok(())
    }

    /// The files, in the order of the bytes of their names.
    pub fn files(&self) -> impl Iterator<Item = (&EntryPath, &File)> {
        self.files.iter().map(|(path, file)| (path, &**file))
    }

    /// Regular files with the digests of their content.
    pub fn contents(&self) -> impl Iterator<Item = (&EntryPath, &Content)> {
        self.files.iter().filter_map(|(path, file)| match &file.kind {
            FileKind::Regular { content, .. } => Some((path, content)),
            _ => None,
        })
    }

    /// The file in a place.
    pub fn get(&self, path: &EntryPath) -> Option<&File> {
        self.files.get(path).map(|file| &**file)
    }

    /// How many files there are, directories and all others included.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

/// Puts a file where another may be. Only a directory over a directory leaves what is in it.
fn replace(files: &mut BTreeMap<EntryPath, Arc<File>>, path: &EntryPath, file: &Arc<File>) {
    if path.is_root() {
        return;
    }
    let was_directory = match files.entry(path.clone()) {
        Slot::Vacant(slot) => {
            slot.insert(Arc::clone(file));
            return;
        }
        Slot::Occupied(mut slot) => slot.insert(Arc::clone(file)).kind == FileKind::Directory,
    };
    if was_directory && file.kind != FileKind::Directory {
        clear(files, path);
    }
}

/// Removes all that is below a place.
fn clear(files: &mut BTreeMap<EntryPath, Arc<File>>, folder: &EntryPath) {
    // No name holds a zero byte: this one comes before all in the folder, and after the folder itself.
    let mut from = Included(folder.join(&[0]));
    loop {
        let next = files.range((from, Unbounded)).next().map(|(path, _)| path.clone());
        let Some(path) = next.filter(|path| path.is_within(folder)) else { return };
        files.remove(&path);
        from = Excluded(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, kind: Kind) -> Entry {
        let (mode, mtime) = (0o644, Time::default());
        Entry { name: name.into(), kind, mode, uid: 0, gid: 0, mtime, size: 1, xattrs: BTreeMap::new() }
    }

    /// A layer of names: `d/` is a directory, `a=b` a hard link, `a>b` a symbolic one, all else a file whose content is its digit at the end.
    fn layer(names: &[&str]) -> Changeset {
        let mut layer = Changeset::new();
        for name in names {
            let (name, kind) = match (name.split_once('='), name.split_once('>')) {
                (Some((name, target)), _) => (name, Kind::Hardlink(target.into())),
                (_, Some((name, target))) => (name, Kind::Symlink(target.into())),
                _ if name.ends_with('/') => (*name, Kind::Directory),
                _ => (*name, Kind::Regular),
            };
            layer.add(&entry(name, kind), Some([*name.as_bytes().last().unwrap(); 32])).unwrap();
        }
        layer
    }

    fn listed(layers: &[&[&str]]) -> Vec<String> {
        let mut listing = Listing::new();
        for names in layers {
            listing.apply(&layer(names)).unwrap();
        }
        let shown = |(path, file): (&EntryPath, &File)| match &file.kind {
            FileKind::Regular { content, .. } => format!("{path}#{}", char::from(content[0])),
            FileKind::Directory => format!("{path}/"),
            kind => format!("{path} {}", kind.as_str()),
        };
        listing.files().map(shown).collect()
    }

    #[test]
    fn layers_lie_over_each_other() {
        assert_eq!(
            listed(&[&["./", "a/", "a/x1", "b1"], &["b2", "a/", "a/y3"]]),
            ["/a/", "/a/x1#1", "/a/y3#3", "/b1#1", "/b2#2"]
        );
        let replaced = listed(&[&["a/", "a/x1", "a-b1", "a1/", "a1/z1"], &["a>q"]]);
        assert_eq!(replaced, ["/a symlink", "/a-b1#1", "/a1/", "/a1/z1#1"], "what is beside the folder stays");
        assert_eq!(listed(&[&["a>q"], &["a/x1"]]), ["/a/x1#1"], "a directory that is not mentioned stands there all the same");
        assert_eq!(listed(&[&["a/", "a>q", "a/x1", "a/"]]), ["/a/", "/a/x1#1"], "the last of a name counts");
    }

    #[test]
    fn whiteouts_hide_what_is_below_and_nothing_of_their_own_layer() {
        assert_eq!(listed(&[&["a/", "a/b/", "a/b/x1", "a/b1"], &["a/.wh.b"]]), ["/a/", "/a/b1#1"]);
        let below: &[&str] = &["a/", "a/b/", "a/b/x1", "c1"];
        for above in [["a/", "a/y1", "a/.wh..wh..opq"], ["a/.wh..wh..opq", "a/", "a/y1"]] {
            assert_eq!(listed(&[below, &above]), ["/a/", "/a/y1#1", "/c1#1"]);
        }
        assert_eq!(listed(&[below, &[".wh.c1", "c1"]]), ["/a/", "/a/b/", "/a/b/x1#1", "/c1#1"]);
        assert_eq!(listed(&[below, &[".wh..wh..opq", "z1"]]), ["/z1#1"]);
        assert_eq!(listed(&[&["a1"], &[".wh..wh.plnk", ".wh.none"]]), ["/a1#1"]);
    }

    #[test]
    fn hard_links_are_what_they_lead_to() {
        assert_eq!(listed(&[&["x1", "b=x1"]]), ["/b#1", "/x1#1"]);
        assert_eq!(listed(&[&["b=x1", "x1"]]), ["/b#1", "/x1#1"], "also when that comes later");
        assert_eq!(listed(&[&["x1"], &["b=./x1", ".wh.x1"]]), ["/b#1"], "or lies below");
        let refused = Listing::new().apply(&layer(&["b=x1"])).unwrap_err();
        assert_eq!(refused.to_string(), "b is refused: it is a link to /x1, which is not there");
    }

    #[test]
    fn what_is_no_place_is_refused() {
        let mut layer = Changeset::new();
        assert!(matches!(layer.add(&entry("../x", Kind::Regular), Some([0; 32])), Err(LayersError::Name { .. })));
        assert!(matches!(layer.add(&entry("x", Kind::Hardlink(b"../y".to_vec())), None), Err(LayersError::Name { .. })));
        assert!(matches!(layer.add(&entry("x", Kind::Regular), None), Err(LayersError::Refused { .. })));
    }
}
