//! Layers laid out as a root file system.
//!
//! One layer is applied after the other, as the image-spec's "Image Layer Filesystem Changeset" has it. A layer is believed nothing: names
//! that climb are refused, and a symbolic link on the way to a file is followed as if the directory were the root of the machine, never
//! by the system itself.

mod attributes;
mod place;
mod remove;
mod whiteout;

use std::collections::{BTreeMap, HashSet};
use std::fs::{DirBuilder, File};
use std::io::{self, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use attributes::Attributes;
use place::Place;
pub use whiteout::{Change, change};

use crate::holes;
use crate::system::{self, Open};
use crate::tar::{Extent, Member as TarMember, TarReader};
use crate::{Entry, EntryPath, Kind, LayersError};

/// Bytes of what is remembered of a layer; a bound on memory, enough for some 400,000 files in one layer.
const MEMORY_MAX: usize = 64 << 20;
/// Bytes that it takes to remember a path or a directory, besides its name and attributes.
const REMEMBERED: usize = 96;

/// Bytes of a layer that are read at once.
const BUFFER: usize = 256 << 10;

/// How layers are laid out.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnpackOptions {
    /// What only root may do is left out where it is not allowed: owners stay as they are, devices become empty files, privileged
    /// attributes are missing. Without it, this is an error.
    pub rootless: bool,
}

/// What was left out because it was not allowed; see [`UnpackOptions::rootless`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Files that belong to another owner than they should.
    pub owners: u64,
    /// Devices that are empty files.
    pub devices: u64,
    /// Extended attributes that are missing.
    pub attributes: u64,
}

/// Lays out layers in a directory. What was made is removed again unless [`Unpacker::finish`] succeeds.
///
/// Until then the directories made belong to whoever unpacks, and are closed to all others.
#[derive(Debug)]
pub struct Unpacker {
    path: PathBuf,
    root: File,
    /// Whether the directory itself was made here.
    made_root: bool,
    finished: bool,
    options: UnpackOptions,
    skipped: Skipped,
    /// Every directory that was made, and what it gets in the end: not before, since what happens in them changes their time, and their mode may forbid it.
    directories: BTreeMap<EntryPath, Attributes>,
    /// What the layer that is being read has made, and the directories above it.
    made: HashSet<EntryPath>,
    /// Bytes in the two above.
    remembered: usize,
    /// Where the previous entry was put: most are in the same directory as the one before.
    place: Option<(EntryPath, Place)>,
}

impl Unpacker {
    /// Lays out layers in this directory, which is made if it does not exist.
    ///
    /// # Errors
    /// When the directory cannot be made, or has something in it.
    pub fn new(path: &Path, options: UnpackOptions) -> Result<Self, LayersError> {
        let made_root = match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(source) => return Err(LayersError::File { what: "make", path: path.to_path_buf(), source }),
        };
        let root = File::open(path).map_err(LayersError::file("read", path))?;
        if !system::names(root.as_fd()).map_err(LayersError::file("read", path))?.is_empty() {
            let source = io::Error::from(io::ErrorKind::DirectoryNotEmpty);
            return Err(LayersError::File { what: "unpack to", path: path.to_path_buf(), source });
        }
        Ok(Self {
            path: path.to_path_buf(),
            root,
            made_root,
            finished: false,
            options,
            skipped: Skipped::default(),
            directories: BTreeMap::from([(EntryPath::root(), Attributes::implied())]),
            made: HashSet::new(),
            remembered: 0,
            place: None,
        })
    }

    /// Applies a layer, decompressed. All of it is read, what follows the end of the archive included.
    ///
    /// # Errors
    /// [`LayersError::Refused`] and [`LayersError::Name`] for an entry that cannot be what it says without harm, [`LayersError::Privileged`]
    /// for what only root may do, [`LayersError::Tar`] for a damaged archive, and what reader and system fail with. After an error, the
    /// directory holds a part of the layer, and can only be dropped.
    pub fn layer(&mut self, reader: impl Read) -> Result<(), LayersError> {
        let made = std::mem::take(&mut self.made);
        self.remembered -= made.iter().map(|path| REMEMBERED + path.as_bytes().len()).sum::<usize>();
        let mut archive = TarReader::new(BufReader::with_capacity(BUFFER, reader));
        let mut buffer = vec![0; BUFFER];
        while let Some(member) = archive.next()? {
            if let Some(file) = self.make(&member.entry)? {
                self.fill(&file, &member, &mut archive, &mut buffer)?;
                self.complete(&file)?;
            }
        }
        let rest = io::copy(&mut archive.trailer(), &mut io::sink());
        rest.map(drop).map_err(LayersError::stream("reading the layer"))
    }

    /// Gives all directories their owners, modes, attributes and times, which ends the work.
    ///
    /// # Errors
    /// As for each file: what the system refuses.
    pub fn finish(mut self) -> Result<Skipped, LayersError> {
        // From below upwards: a directory's mode may forbid to go to those below it.
        for (path, attributes) in std::mem::take(&mut self.directories).into_iter().rev() {
            let directory = system::open_below(self.root.as_fd(), path.as_bytes(), Open::Directory)
                .map_err(LayersError::file("read", self.below(&path)))?;
            self.set_attributes(directory.as_fd(), b".", &path, &Kind::Directory, &attributes)?;
        }
        self.finished = true;
        Ok(self.skipped)
    }

    /// Makes what an entry says. For a regular file with content, hands back the empty file that the content belongs in, to be
    /// completed with [`Unpacker::complete`].
    fn make(&mut self, entry: &Entry) -> Result<Option<Unwritten>, LayersError> {
        let path = match change(&entry.name)? {
            Change::Entry(path) => path,
            Change::Whiteout(path) => return self.whiteout(&entry.name, &path).map(|()| None),
            Change::Opaque(path) => return self.opaque(&entry.name, &path).map(|()| None),
            Change::Ignored => return Ok(None),
        };
        let attributes = Attributes::of(entry)?;
        let Some((parent, name)) = path.parent().zip(path.file_name()) else {
            if entry.kind != Kind::Directory {
                return Err(refused(entry, "the root is a directory"));
            }
            return self.pend(EntryPath::root(), attributes).map(|()| None);
        };
        if let Kind::Hardlink(target) = &entry.kind {
            return self.make_link(entry, target, &parent, name).map(|()| None);
        }
        let place = self.resolve_to_write(entry, &parent)?;
        let path = place.path.join(name);
        let directory = place.directory.as_fd();
        if entry.kind == Kind::Directory {
            if !system::status_at(directory, name).is_ok_and(|status| status.is_directory()) {
                self.remove(&place, name, false)?;
                system::make_directory_at(directory, name).map_err(LayersError::file("make", self.below(&path)))?;
            }
            self.remember(&path)?;
            return self.pend(path, attributes).map(|()| None);
        }
        self.remove(&place, name, false)?;
        self.remember(&path)?;
        let failed = LayersError::file("make", self.below(&path));
        match &entry.kind {
            Kind::Regular => {
                let file = system::open_at(directory, name, Open::Create).map_err(failed)?;
                return Ok(Some(Unwritten { file: file.into(), name: name.to_vec(), path, place, attributes }));
            }
            Kind::Symlink(target) => system::symlink_at(target, directory, name).map_err(failed)?,
            kind => self.make_node(directory, name, &path, kind)?,
        }
        self.set_attributes(directory, name, &path, &entry.kind, &attributes)?;
        Ok(None)
    }

    /// Writes the content of a member.
    fn fill(
        &self,
        unwritten: &Unwritten,
        member: &TarMember,
        content: &mut impl Read,
        buffer: &mut [u8],
    ) -> Result<(), LayersError> {
        let failed = || LayersError::file("write", self.below(&unwritten.path));
        let whole = [Extent { offset: 0, length: member.entry.size }];
        for extent in member.sparse.as_deref().unwrap_or(&whole) {
            let (mut offset, mut left) = (extent.offset, extent.length);
            while left > 0 {
                let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let piece = &mut buffer[..most];
                content.read_exact(piece).map_err(LayersError::stream("reading the layer"))?;
                holes::write(&unwritten.file, offset, piece).map_err(failed())?;
                (offset, left) = (offset + most as u64, left - most as u64);
            }
        }
        unwritten.file.set_len(member.entry.size).map_err(failed())
    }

    /// Gives a file its attributes, once its content is written.
    fn complete(&mut self, file: &Unwritten) -> Result<(), LayersError> {
        self.set_attributes(file.place.directory.as_fd(), &file.name, &file.path, &Kind::Regular, &file.attributes)
    }

    /// Gives a file that is there another name, in the directory that `parent` means.
    fn make_link(&mut self, entry: &Entry, target: &[u8], parent: &EntryPath, name: &[u8]) -> Result<(), LayersError> {
        let shown = String::from_utf8_lossy(target);
        let target = EntryPath::parse(target).map_err(|why| refused(entry, &format!("its target `{shown}` is none: {why}")))?;
        let missing = || refused(entry, &format!("its target `{shown}` is not there"));
        let (target_parent, old) = target.parent().zip(target.file_name()).ok_or_else(missing)?;
        let from = self.resolve(&entry.name, &target_parent, false)?.map_err(|_| missing())?;
        let target = from.path.join(old);
        match system::status_at(from.directory.as_fd(), old) {
            Ok(status) if status.is_directory() => {
                return Err(refused(entry, &format!("its target `{shown}` is a directory")));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
            Err(source) => return Err(LayersError::File { what: "read", path: self.below(&target), source }),
        }
        let place = self.resolve_to_write(entry, parent)?;
        let path = place.path.join(name);
        if target == path {
            return Ok(());
        }
        if target.is_within(&path) {
            return Err(refused(entry, "its target is below it"));
        }
        self.remove(&place, name, false)?;
        self.remember(&path)?;
        let linked = system::link_at(from.directory.as_fd(), old, place.directory.as_fd(), name);
        linked.map_err(LayersError::file("make the link", self.below(&path)))
    }

    /// Finds or makes the directory that an entry belongs in.
    fn resolve_to_write(&mut self, entry: &Entry, parent: &EntryPath) -> Result<Place, LayersError> {
        self.resolve(&entry.name, parent, true)?.map_err(|file| refused(entry, &format!("{file} is no directory")))
    }

    /// Makes a device or pipe.
    fn make_node(&mut self, directory: impl AsFd, name: &[u8], path: &EntryPath, kind: &Kind) -> Result<(), LayersError> {
        match system::make_node_at(directory.as_fd(), name, kind) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && self.options.rootless => {
                self.skipped.devices += 1;
                let file = system::open_at(directory.as_fd(), name, Open::Create);
                file.map(drop).map_err(LayersError::file("make", self.below(path)))
            }
            made => made.map_err(self.privileged("make the device", path)),
        }
    }

    /// Notes that the current layer has made something here.
    fn remember(&mut self, path: &EntryPath) -> Result<(), LayersError> {
        let mut next = Some(path.clone());
        while let Some(path) = next {
            if self.made.contains(&path) {
                break;
            }
            next = path.parent();
            self.count(&path, REMEMBERED + path.as_bytes().len())?;
            self.made.insert(path);
        }
        Ok(())
    }

    /// Notes what a directory gets in the end.
    fn pend(&mut self, path: EntryPath, attributes: Attributes) -> Result<(), LayersError> {
        self.forget_directory(&path);
        self.count(&path, REMEMBERED + path.as_bytes().len() + attributes.len())?;
        self.directories.insert(path, attributes);
        Ok(())
    }

    fn forget_directory(&mut self, path: &EntryPath) {
        if let Some(attributes) = self.directories.remove(path) {
            self.remembered -= REMEMBERED + path.as_bytes().len() + attributes.len();
        }
    }

    fn forget_made(&mut self, path: &EntryPath) {
        if self.made.remove(path) {
            self.remembered -= REMEMBERED + path.as_bytes().len();
        }
    }

    fn count(&mut self, path: &EntryPath, bytes: usize) -> Result<(), LayersError> {
        self.remembered += bytes;
        if self.remembered > MEMORY_MAX {
            let why = format!("with it, names and attributes take more than {} MiB", MEMORY_MAX >> 20);
            return Err(LayersError::Refused { name: path.to_string().into_bytes(), why });
        }
        Ok(())
    }

    /// What a path of the root file system is called outside of it.
    fn below(&self, path: &EntryPath) -> PathBuf {
        self.path.join(std::ffi::OsStr::from_bytes(path.as_bytes()))
    }
}

impl Drop for Unpacker {
    fn drop(&mut self) {
        if !self.finished {
            self.discard();
        }
    }
}

/// A regular file that was made, and has no content yet.
struct Unwritten {
    file: File,
    name: Vec<u8>,
    path: EntryPath,
    place: Place,
    attributes: Attributes,
}

fn refused(entry: &Entry, why: &str) -> LayersError {
    LayersError::Refused { name: entry.name.clone(), why: why.to_owned() }
}
