//! What files get besides content.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use super::Skipped;
use crate::entry::is_portable;
use crate::{Entry, Kind, LayersError, Time, system};

/// Whom the copies belong to, and how much of the archive is believed with that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    /// To those that the archive names: devices, modes and attributes are as it says, too. Takes root.
    Kept,
    /// To this user and group, with all else as the archive says. Takes root.
    Given(u32, u32),
    /// To whoever receives. A file that runs as its owner, a device, and an attribute that the system acts on would do so in the name of another one
    /// than before: they are left out.
    Receiver,
}

/// Owner, mode, time and extended attributes of a file.
#[derive(Clone, Debug)]
pub(super) struct Attributes {
    mode: u32,
    owner: Option<(u32, u32)>,
    mtime: Time,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Attributes {
    /// Those that an entry gets.
    pub(super) fn of(entry: &Entry, owners: Owners) -> Result<Self, LayersError> {
        let owner = match owners {
            Owners::Kept => Some(entry.owner().ok_or_else(|| LayersError::Refused {
                name: entry.name.clone(),
                why: "no system has so high a number of an owner or group".to_owned(),
            })?),
            Owners::Given(uid, gid) => Some((uid, gid)),
            Owners::Receiver => None,
        };
        let is_plain = owners == Owners::Receiver;
        // Set on folders, they only say how things are passed on below.
        let mask = if is_plain && entry.kind != Kind::Directory { 0o1777 } else { 0o7777 };
        let wanted = |name: &[u8]| is_portable(name) && (!is_plain || name.starts_with(b"user."));
        let xattrs = entry.xattrs.iter().filter(|(name, _)| wanted(name));
        let xattrs = xattrs.map(|(name, value)| (name.clone(), value.clone())).collect();
        Ok(Self { mode: entry.mode & mask, owner, mtime: entry.mtime, xattrs })
    }

    /// Bytes in memory besides a fixed few.
    pub(super) fn len(&self) -> usize {
        self.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    /// Give them to the file of this name, never to what a link of that name leads to. In this order: a new owner takes setuid bits and capabilities
    /// away, and a mode may forbid whoever is not root what comes before it.
    pub(super) fn give(
        &self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        is_link: bool,
        skipped: &mut Skipped,
        shown: &Path,
    ) -> Result<(), LayersError> {
        if let Some((uid, gid)) = self.owner {
            system::set_owner_at(directory, name, uid, gid).map_err(LayersError::file("set the owner of", shown))?;
        }
        for (attribute, value) in &self.xattrs {
            match system::set_xattr_at(directory, name, attribute, value) {
                // A file system that has none, or not these.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOTSUP | libc::EPERM | libc::ENOSYS)) => {
                    skipped.attributes += 1;
                }
                set => set.map_err(LayersError::file("set the attributes of", shown))?,
            }
        }
        set(system::set_mtime_at(directory, name, self.mtime), "set the time of", shown)?;
        if is_link {
            return Ok(());
        }
        set(system::set_own_mode_at(directory, name, self.mode), "set the mode of", shown)
    }
}

fn set(done: io::Result<()>, what: &'static str, shown: &Path) -> Result<(), LayersError> {
    done.map_err(LayersError::file(what, shown))
}
