//! What files get besides content.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;

use super::{Unpacker, refused};
use crate::system;
use crate::tree::is_portable;
use crate::{Entry, EntryPath, Kind, LayersError, Time};

/// Owner, mode, time and extended attributes of a file.
#[derive(Clone, Debug)]
pub(super) struct Attributes {
    mode: u32,
    /// User and group; none for whoever unpacks.
    owner: Option<(u32, u32)>,
    mtime: Time,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Attributes {
    /// Those that an entry asks for.
    pub(super) fn of(entry: &Entry) -> Result<Self, LayersError> {
        let refuse = || refused(entry, "no system has so high a number of an owner or group");
        let owner = entry.owner().ok_or_else(refuse)?;
        let xattrs = entry.xattrs.iter().filter(|(name, _)| is_portable(name));
        let xattrs = xattrs.map(|(name, value)| (name.clone(), value.clone())).collect();
        Ok(Self { mode: entry.mode & 0o7777, owner: Some(owner), mtime: entry.mtime, xattrs })
    }

    /// Those of a directory that no entry speaks of.
    pub(super) fn implied() -> Self {
        Self { mode: 0o755, owner: None, mtime: Time::default(), xattrs: BTreeMap::new() }
    }

    /// Bytes in memory besides a fixed few.
    pub(super) fn len(&self) -> usize {
        self.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

impl Unpacker {
    /// Gives the file `name` in this directory, which is at `path`, its attributes.
    ///
    /// In this order: a new owner takes setuid bits and capabilities away, and a mode may forbid what comes before it.
    pub(super) fn set_attributes(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        path: &EntryPath,
        kind: &Kind,
        attributes: &Attributes,
    ) -> Result<(), LayersError> {
        let owned = attributes.owner.map_or(Ok(()), |(uid, gid)| system::set_owner_at(directory, name, uid, gid));
        match owned {
            // Inside a user namespace, numbers that it does not know are invalid rather than forbidden.
            Err(error) if self.options.rootless && (is_forbidden(&error) || error.raw_os_error() == Some(libc::EINVAL)) => {
                self.skipped.owners += 1;
            }
            owned => owned.map_err(self.privileged("set the owner of", path))?,
        }
        for (attribute, value) in &attributes.xattrs {
            match system::set_xattr_at(directory, name, attribute, value) {
                Err(error) if self.options.rootless && (is_forbidden(&error) || error.raw_os_error() == Some(libc::ENOTSUP)) => {
                    self.skipped.attributes += 1;
                }
                set => set.map_err(self.privileged("set the attributes of", path))?,
            }
        }
        let set = system::set_mtime_at(directory, name, attributes.mtime);
        set.map_err(LayersError::file("set the time of", self.below(path)))?;
        if !matches!(kind, Kind::Symlink(_)) {
            let set = system::set_mode_at(directory, name, attributes.mode);
            set.map_err(LayersError::file("set the mode of", self.below(path)))?;
        }
        Ok(())
    }

    /// Makes an I/O error one of a file, and one of missing rights where it is.
    pub(super) fn privileged(&self, what: &'static str, path: &EntryPath) -> impl FnOnce(io::Error) -> LayersError {
        let path = self.below(path);
        move |source| match is_forbidden(&source) {
            true => LayersError::Privileged { what, path },
            false => LayersError::File { what, path, source },
        }
    }
}

/// Whether an error says that only root may do this.
pub(super) fn is_forbidden(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EPERM)
}
