//! An archive, unpacked at a destination.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::attributes::{Attributes, Owners};
use super::destination::Destination;
use super::remove::remove_all;
use super::{BUFFER, DEPTH_MAX};
use crate::system::{self, Open};
use crate::tar::{Extent, Member, TarReader};
use crate::{Entry, EntryPath, Kind, LayersError, holes};

/// Bytes of names and attributes of folders that are remembered to the end; enough for some 400,000 folders.
const MEMORY_MAX: usize = 64 << 20;
/// Bytes that a folder takes besides those.
const REMEMBERED: usize = 96;

/// What was left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Devices.
    pub devices: u64,
    /// Extended attributes, which the file system does not take.
    pub attributes: u64,
}

/// Unpacks an archive at a destination.
///
/// A file is written beside the one that it takes the place of, so that readers see the old or the new one, never a part. When it fails, nothing
/// unfinished is left: what the archive was to become is gone again where this made it, and else has the files that were complete.
pub struct Receiver {
    destination: Destination,
    owners: Owners,
    shown: PathBuf,
    skipped: Skipped,
    /// Folders that were made, or were there, and what they get in the end: not before, for what happens in them changes their time.
    folders: Vec<(EntryPath, Attributes, bool)>,
    remembered: usize,
    /// Where the former member was put: most are in the same folder as the one before.
    parent: Option<(EntryPath, Rc<OwnedFd>)>,
    buffer: Vec<u8>,
    is_finished: bool,
    /// What was made as the root of the archive, where there had been nothing. Another copy to the same place may have been first.
    root: Option<(u64, u64)>,
    /// Names of files that are not complete.
    next_name: u32,
}

/// A file under a name that nobody else uses; gone unless it gets its own.
struct Unfinished {
    directory: Rc<OwnedFd>,
    name: Vec<u8>,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Renaming a name of a file to another name of it leaves both.
        let _ = system::unlink_at(self.directory.as_fd(), &self.name, false);
    }
}

impl Receiver {
    /// At a destination that errors call `shown`.
    pub fn new(destination: Destination, owners: Owners, shown: PathBuf) -> Self {
        Self {
            destination,
            owners,
            shown,
            skipped: Skipped::default(),
            folders: Vec::new(),
            remembered: 0,
            parent: None,
            buffer: vec![0; BUFFER],
            is_finished: false,
            root: None,
            next_name: 0,
        }
    }

    /// Unpack the members that are still to come, after the one that was read already, if one was.
    ///
    /// # Errors
    /// [`LayersError::Refused`] and [`LayersError::Name`] for a member that cannot be what it says without harm, [`LayersError::Tar`] for a damaged
    /// archive, and what stream and system fail with.
    pub fn receive<R: Read>(mut self, archive: &mut TarReader<R>, first: Option<&Member>) -> Result<Skipped, LayersError> {
        if let Some(member) = first {
            self.member(member, archive)?;
        }
        while let Some(member) = archive.next()? {
            self.member(&member, archive)?;
        }
        io::copy(&mut archive.trailer(), &mut io::sink()).map_err(LayersError::stream("reading the archive"))?;
        self.settle()?;
        self.is_finished = true;
        Ok(self.skipped)
    }

    fn member(&mut self, member: &Member, content: &mut impl Read) -> Result<(), LayersError> {
        let entry = &member.entry;
        let path = self.place_of(&entry.name)?;
        let shown = self.below(&path);
        let Some((parent, name)) = path.parent().zip(path.file_name()) else {
            // The folder was there before, and stays as it is.
            return if entry.kind == Kind::Directory { Ok(()) } else { Err(refused(&shown, "it would take the folder's place")) };
        };
        let directory = self.folder(entry, &parent)?;
        let mut there = system::is_directory_at(directory.as_fd(), name).map_err(LayersError::file("read", &shown))?;
        if entry.kind == Kind::Directory {
            if there.is_none() && !self.make_folder(directory.as_fd(), name, &path)? {
                there = system::is_directory_at(directory.as_fd(), name).map_err(LayersError::file("read", &shown))?;
            }
            if there == Some(false) {
                return Err(refused(&shown, "there is a file or a link in the folder's place"));
            }
            return self.pend(path.clone(), Attributes::of(entry, self.owners)?, there.is_some());
        }
        if there == Some(true) {
            return Err(refused(&shown, "there is a folder in its place"));
        }
        if self.owners == Owners::Receiver && matches!(entry.kind, Kind::Character { .. } | Kind::Block { .. }) {
            self.skipped.devices += 1;
            return Ok(());
        }
        let new = self.make(entry, &directory, member, content, &path)?;
        if !matches!(entry.kind, Kind::Hardlink(_)) {
            let attributes = Attributes::of(entry, self.owners)?;
            let is_link = matches!(entry.kind, Kind::Symlink(_));
            attributes.give(directory.as_fd(), &new.name, is_link, &mut self.skipped, &shown)?;
        }
        let made = system::status_at(directory.as_fd(), &new.name).map_err(LayersError::file("read", &shown))?;
        system::rename_at(directory.as_fd(), &new.name, directory.as_fd(), name).map_err(LayersError::file("write", shown))?;
        if there.is_none() && path == self.destination.path {
            self.root = Some(made.identity);
        }
        Ok(())
    }

    /// Make a folder; whether it was not there already.
    fn make_folder(&mut self, directory: BorrowedFd<'_>, name: &[u8], path: &EntryPath) -> Result<bool, LayersError> {
        match system::make_directory_at(directory, name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            made => made.map_err(LayersError::file("make", self.below(path)))?,
        }
        if *path == self.destination.path {
            let made = system::status_at(directory, name).map_err(LayersError::file("read", self.below(path)))?;
            self.root = Some(made.identity);
        }
        Ok(true)
    }

    /// Make a file that is no directory, under a name of its own.
    fn make(
        &mut self,
        entry: &Entry,
        directory: &Rc<OwnedFd>,
        member: &Member,
        content: &mut impl Read,
        path: &EntryPath,
    ) -> Result<Unfinished, LayersError> {
        let shown = self.below(path);
        match &entry.kind {
            Kind::Regular => {
                let (new, file) = self.unused(directory, |at, name| system::open_at(at, name, Open::Create), &shown)?;
                self.fill(&File::from(file), member, content, path)?;
                Ok(new)
            }
            Kind::Hardlink(target) => {
                let target = self.place_of(target)?;
                let (parent, old) =
                    target.parent().zip(target.file_name()).ok_or_else(|| refused(&shown, "it is a link to a folder"))?;
                let from = self.folder(entry, &parent)?;
                let link = |at: BorrowedFd<'_>, name: &[u8]| system::link_at(from.as_fd(), old, at, name);
                Ok(self.unused(directory, link, &shown)?.0)
            }
            Kind::Symlink(target) => Ok(self.unused(directory, |at, name| system::symlink_at(target, at, name), &shown)?.0),
            kind => Ok(self.unused(directory, |at, name| system::make_node_at(at, name, kind), &shown)?.0),
        }
    }

    /// Make something under a name that nothing has.
    fn unused<T>(
        &mut self,
        directory: &Rc<OwnedFd>,
        make: impl Fn(BorrowedFd<'_>, &[u8]) -> io::Result<T>,
        shown: &Path,
    ) -> Result<(Unfinished, T), LayersError> {
        loop {
            let name = format!(".vdkr-{}-{}", std::process::id(), self.next_name).into_bytes();
            self.next_name = self.next_name.wrapping_add(1);
            match make(directory.as_fd(), &name) {
                Ok(made) => return Ok((Unfinished { directory: Rc::clone(directory), name }, made)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(LayersError::file("make", shown)(error)),
            }
        }
    }

    fn fill(&mut self, file: &File, member: &Member, content: &mut impl Read, path: &EntryPath) -> Result<(), LayersError> {
        let shown = self.below(path);
        let whole = [Extent { offset: 0, length: member.entry.size }];
        for extent in member.sparse.as_deref().unwrap_or(&whole) {
            let (mut offset, mut left) = (extent.offset, extent.length);
            while left > 0 {
                let most = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let piece = &mut self.buffer[..most];
                content.read_exact(piece).map_err(LayersError::stream("reading the archive"))?;
                holes::write(file, offset, piece).map_err(LayersError::file("write", &shown))?;
                (offset, left) = (offset + most as u64, left - most as u64);
            }
        }
        file.set_len(member.entry.size).map_err(LayersError::file("write", shown))
    }

    /// Where a name of the archive belongs.
    fn place_of(&self, name: &[u8]) -> Result<EntryPath, LayersError> {
        let inside = EntryPath::parse(name).map_err(|why| LayersError::Name { name: name.to_vec(), why })?;
        let path = inside.parts().fold(self.destination.path.clone(), |path, part| path.join(part));
        if path.parts().count() > DEPTH_MAX {
            return Err(LayersError::Refused { name: name.to_vec(), why: "it lies too deep".to_owned() });
        }
        Ok(path)
    }

    /// Open a folder below the destination, one part after the other; what is missing is made.
    fn folder(&mut self, entry: &Entry, path: &EntryPath) -> Result<Rc<OwnedFd>, LayersError> {
        if let Some((known, open)) = &self.parent
            && known == path
        {
            return Ok(Rc::clone(open));
        }
        let own = self.destination.directory.try_clone();
        let mut at = own.map_err(LayersError::file("read", &self.shown))?;
        let mut so_far = EntryPath::root();
        for part in path.parts() {
            so_far = so_far.join(part);
            let opened = match system::open_at(at.as_fd(), part, Open::Directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if self.make_folder(at.as_fd(), part, &so_far)? {
                        self.pend(so_far.clone(), self.implied(entry)?, false)?;
                    }
                    system::open_at(at.as_fd(), part, Open::Directory)
                }
                opened => opened,
            };
            at = opened.map_err(|error| match error.raw_os_error() {
                Some(libc::ELOOP | libc::ENOTDIR) => {
                    refused(&self.below(&so_far), "there is a link or a file in the place of a folder")
                }
                _ => LayersError::file("read", self.below(&so_far))(error),
            })?;
        }
        let open = Rc::new(at);
        self.parent = Some((path.clone(), Rc::clone(&open)));
        Ok(open)
    }

    /// What a folder gets that the archive does not speak of: that of what is in it, with the mode that folders have.
    fn implied(&self, entry: &Entry) -> Result<Attributes, LayersError> {
        let folder = Entry { kind: Kind::Directory, mode: 0o755, xattrs: Default::default(), ..entry.clone() };
        Attributes::of(&folder, self.owners)
    }

    fn pend(&mut self, path: EntryPath, attributes: Attributes, was_there: bool) -> Result<(), LayersError> {
        self.remembered += REMEMBERED + path.as_bytes().len() + attributes.len();
        if self.remembered > MEMORY_MAX {
            let why = format!("with it, names and attributes of folders take more than {} MiB", MEMORY_MAX >> 20);
            return Err(LayersError::Refused { name: path.as_bytes().to_vec(), why });
        }
        self.folders.push((path, attributes, was_there));
        Ok(())
    }

    /// Give the folders what they get, from below upwards: a mode may forbid to go below it.
    fn settle(&mut self) -> Result<(), LayersError> {
        self.parent = None;
        let mut folders = std::mem::take(&mut self.folders);
        // Of one that the archive speaks of twice the last word counts.
        folders.reverse();
        folders.sort_by(|one, other| one.0.cmp(&other.0));
        folders.dedup_by(|later, first| later.0 == first.0);
        for (path, attributes, was_there) in folders.iter().rev() {
            let shown = self.below(path);
            let opened = path.parts().try_fold(None::<OwnedFd>, |at, part| {
                let from = at.as_ref().map_or(self.destination.directory.as_fd(), AsFd::as_fd);
                system::open_at(from, part, Open::Directory).map(Some)
            });
            let Some(open) = opened.map_err(LayersError::file("read", &shown))? else { continue };
            match attributes.give(open.as_fd(), b".", false, &mut self.skipped, &shown) {
                // Somebody else's, in which files may be made all the same.
                Err(LayersError::File { source, .. }) if *was_there && source.kind() == io::ErrorKind::PermissionDenied => {}
                given => given?,
            }
        }
        Ok(())
    }

    fn below(&self, path: &EntryPath) -> PathBuf {
        let inside = path.as_bytes().strip_prefix(self.destination.path.as_bytes()).unwrap_or(path.as_bytes());
        let inside = inside.strip_prefix(b"/").unwrap_or(inside);
        if inside.is_empty() { self.shown.clone() } else { self.shown.join(OsStr::from_bytes(inside)) }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        let (directory, name) = (self.destination.directory.as_fd(), self.destination.path.as_bytes());
        let is_own = |made| system::status_at(directory, name).is_ok_and(|status| status.identity == made);
        if self.root.is_some_and(is_own) {
            remove_all(directory, name);
        } else {
            let _ = self.settle();
        }
    }
}

fn refused(shown: &Path, why: &str) -> LayersError {
    LayersError::Refused { name: shown.as_os_str().as_bytes().to_vec(), why: why.to_owned() }
}
