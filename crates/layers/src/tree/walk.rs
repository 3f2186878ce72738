//! Trees of directories.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Budget, Found, Node, Place, Source, Tree, TreeOptions, entry_name, entry_time, is_portable, order, refuse_whiteout};
use crate::system::{self, Open, Status};
use crate::{Entry, EntryPath, Kind, LayersError};

impl Tree {
    /// The files below a directory, the directory itself as the root. File systems that are mounted below it belong to it.
    ///
    /// Content is not read yet; see [`Tree::content`].
    ///
    /// # Errors
    /// What cannot be read, a name that begins with `.wh.`, and what changes or vanishes during the walk.
    pub fn of_directory(path: &Path, options: TreeOptions) -> Result<Self, LayersError> {
        let open = File::open(path).map_err(LayersError::file("read", path))?;
        let root = system::status(open.as_fd()).map_err(LayersError::file("read", path))?;
        if !root.is_directory() {
            let source = std::io::Error::from(std::io::ErrorKind::NotADirectory);
            return Err(LayersError::File { what: "read", path: path.to_path_buf(), source });
        }
        let mut walk = Walk { path, open: &open, options, found: Vec::new(), sockets: Vec::new(), budget: Budget::default() };
        walk.add(&open, b".", EntryPath::root(), &root)?;
        let mut directories = vec![(EntryPath::root(), root)];
        while let Some((directory, status)) = directories.pop() {
            walk.list(&directory, &status, &mut directories)?;
        }
        let Walk { found, mut sockets, .. } = walk;
        sockets.sort_by(|one, other| order(one.as_bytes(), other.as_bytes()));
        Ok(Self::new(found, sockets, Source::Directory { path: path.to_path_buf(), open }))
    }
}

struct Walk<'a> {
    path: &'a Path,
    open: &'a File,
    options: TreeOptions,
    found: Vec<Found>,
    sockets: Vec<EntryPath>,
    budget: Budget,
}

impl Walk<'_> {
    /// Adds what is in a directory, and to `directories` what is to be listed in turn.
    fn list(
        &mut self,
        directory: &EntryPath,
        status: &Status,
        directories: &mut Vec<(EntryPath, Status)>,
    ) -> Result<(), LayersError> {
        let path = below(self.path, directory.as_bytes());
        let open = system::open_below(self.open.as_fd(), directory.as_bytes(), Open::Directory)
            .map_err(LayersError::file("read", &path))?;
        // Between its parent's listing and its own, a directory may have become a link to another place.
        if system::status(open.as_fd()).map_err(LayersError::file("read", &path))?.identity != status.identity {
            return Err(LayersError::Changed { path });
        }
        for name in system::names(open.as_fd()).map_err(LayersError::file("read", &path))? {
            let child = directory.join(&name);
            let status =
                system::status_at(open.as_fd(), &name).map_err(LayersError::file("read", below(self.path, child.as_bytes())))?;
            refuse_whiteout(&child)?;
            if status.is_directory() {
                directories.push((child.clone(), status));
            }
            self.add(&open, &name, child, &status)?;
        }
        Ok(())
    }

    /// Adds the file called `name` in the open directory.
    fn add(&mut self, directory: &impl AsFd, name: &[u8], path: EntryPath, status: &Status) -> Result<(), LayersError> {
        let Some(mut kind) = status.kind() else {
            self.sockets.push(path);
            return Ok(());
        };
        let file = |what| LayersError::file(what, below(self.path, path.as_bytes()));
        if let Kind::Symlink(target) = &mut kind {
            *target = system::read_link_at(directory.as_fd(), name).map_err(file("read the link"))?;
        }
        let xattrs = system::xattrs_at(directory.as_fd(), name, is_portable).map_err(file("read the attributes of"))?;
        let place = match kind {
            Kind::Regular => Place::File { identity: status.identity, mtime: status.mtime },
            _ => Place::Nowhere,
        };
        let shared = !status.is_directory() && status.links > 1;
        let entry = Entry {
            name: entry_name(&path, &kind),
            kind,
            mode: status.mode & 0o7777,
            uid: status.uid.into(),
            gid: status.gid.into(),
            mtime: entry_time(status.mtime, self.options),
            size: status.size,
            xattrs: xattrs.into_iter().collect(),
        };
        self.budget.take(&entry, &place)?;
        self.found.push(Found { node: Node { entry, place }, file: shared.then_some(status.identity) });
        Ok(())
    }
}

/// What a path of the tree is called outside of it.
pub(super) fn below(directory: &Path, path: &[u8]) -> PathBuf {
    directory.join(std::ffi::OsStr::from_bytes(path))
}
