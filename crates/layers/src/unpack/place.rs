//! Directories of the root file system, found without ever leaving it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use super::Unpacker;
use super::attributes::Attributes;
use crate::system::{self, Open};
use crate::{EntryPath, LayersError};

/// Links that lead to a place at most; as many as Linux follows.
const LINKS_MAX: usize = 40;
/// Directories that lie in each other at most. Each costs a step on the way to what is in the innermost, and an archive names thousands
/// in few bytes.
const DEPTH_MAX: usize = 512;

/// A directory of the root file system, open.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Where it is; no part of it is a link.
    pub path: EntryPath,
    pub directory: Rc<OwnedFd>,
}

impl Unpacker {
    /// Finds the directory that this path means, with links on the way followed inside the root, as a process whose root it is would.
    /// `name` is the entry that asks.
    ///
    /// With `make`, what is missing is made; otherwise nothing is changed. Where there is no directory then, the answer is what is not one.
    ///
    /// # Errors
    /// Links that climb above the root or go in circles, and what lies too deep.
    pub(super) fn resolve(&mut self, name: &[u8], path: &EntryPath, make: bool) -> Result<Result<Place, EntryPath>, LayersError> {
        if let Some((asked, place)) = &self.place
            && asked == path
        {
            return Ok(Ok(place.clone()));
        }
        let place = self.walk(name, path, make)?;
        if let Ok(place) = &place {
            self.place = Some((path.clone(), place.clone()));
        }
        Ok(place)
    }

    fn walk(&mut self, name: &[u8], path: &EntryPath, make: bool) -> Result<Result<Place, EntryPath>, LayersError> {
        let refused = |why: &str| Err(LayersError::Refused { name: name.to_vec(), why: why.to_owned() });
        // The parts that are still to go, the next one last.
        let mut parts: Vec<Vec<u8>> = path.parts().map(<[u8]>::to_vec).collect();
        parts.reverse();
        let mut at = self.open(EntryPath::root())?;
        let mut links = 0;
        while let Some(part) = parts.pop() {
            if at.path.parts().count() > DEPTH_MAX {
                return refused("it lies too deep");
            }
            if part == b".." {
                let Some(parent) = at.path.parent() else {
                    return refused("a symbolic link above it leads out of the root");
                };
                at = self.open(parent)?;
                continue;
            }
            let child = at.path.join(&part);
            let error = match system::open_at(at.directory.as_fd(), &part, Open::Directory) {
                Ok(directory) => {
                    at = Place { path: child, directory: Rc::new(directory) };
                    continue;
                }
                Err(error) => error,
            };
            match error.raw_os_error() {
                Some(libc::ENOENT) if !make => return Ok(Err(child)),
                Some(libc::ENOENT) => at = self.make_implied(&at, &part, child)?,
                Some(libc::ENOTDIR | libc::ELOOP) => {
                    let status = system::status_at(at.directory.as_fd(), &part);
                    if !status.map_err(LayersError::file("read", self.below(&child)))?.is_symlink() {
                        return Ok(Err(child));
                    }
                    links += 1;
                    if links > LINKS_MAX {
                        return refused("symbolic links above it go in circles");
                    }
                    let target = system::read_link_at(at.directory.as_fd(), &part);
                    let target = target.map_err(LayersError::file("read the link", self.below(&child)))?;
                    if target.starts_with(b"/") {
                        at = self.open(EntryPath::root())?;
                    }
                    let steps = target.split(|byte| *byte == b'/').filter(|step| !matches!(*step, b"" | b"."));
                    parts.extend(steps.rev().map(<[u8]>::to_vec));
                }
                _ => return Err(LayersError::File { what: "read", path: self.below(&child), source: error }),
            }
        }
        Ok(Ok(at))
    }

    /// Makes a directory that no entry speaks of.
    fn make_implied(&mut self, parent: &Place, name: &[u8], path: EntryPath) -> Result<Place, LayersError> {
        let made = system::make_directory_at(parent.directory.as_fd(), name);
        let directory = made.and_then(|()| system::open_at(parent.directory.as_fd(), name, Open::Directory));
        let directory = directory.map_err(LayersError::file("make", self.below(&path)))?;
        self.pend(path.clone(), Attributes::implied())?;
        Ok(Place { path, directory: Rc::new(directory) })
    }

    /// Opens a directory at a path without links.
    pub(super) fn open(&self, path: EntryPath) -> Result<Place, LayersError> {
        let directory: io::Result<_> = system::open_below(self.root.as_fd(), path.as_bytes(), Open::Directory);
        let directory = directory.map_err(LayersError::file("read", self.below(&path)))?;
        Ok(Place { path, directory: Rc::new(directory) })
    }
}
