//! Whose the files are, for the guest and on the host.
//!
//! The caller's own files are shown to the guest as its container's user's (root's, unless told otherwise); others' as they are. What the guest makes
//! is the caller's. A container that gives a file to another of its users (a database does so with its folder) finds it given: an ordinary user
//! cannot do so on the host, so the wish is kept in an attribute of the file, as Docker Desktop does. Where there can be none, on a symbolic link or a
//! file system without, the gift is accepted and without effect. Root can give files away, so where the caller is root the host's owner is all.

use std::ffi::CStr;
use std::os::fd::AsFd;

use parking_lot::RwLock;
use rustix::fs::{AtFlags, Gid, Mode, Uid, XattrFlags};
use rustix::io::Errno;

use super::tree::{Status, by_name, by_number};
use crate::owner::Owner;

/// The attribute: `UID:GID` in the guest.
pub(crate) const ATTRIBUTE: &CStr = c"user.vdkr.owner";

fn parse(text: &[u8]) -> Option<Owner> {
    let (uid, gid) = std::str::from_utf8(text).ok()?.split_once(':')?;
    Some(Owner { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
}

/// The caller, and whom the guest takes it for.
#[derive(Debug)]
pub(crate) struct Owners {
    caller: Owner,
    shown: RwLock<Owner>,
}

impl Owners {
    /// The caller is the user of this thread, and of all that serve.
    pub(crate) fn new() -> Self {
        let caller = Owner { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
        Self { caller, shown: RwLock::new(Owner::ROOT) }
    }

    /// Show the caller's files as somebody else's than root's. A caller who is root can make files anybody's, and needs no stand-in.
    pub(crate) fn show_as(&self, owner: Owner) {
        if !self.caller_is_root() {
            *self.shown.write() = owner;
        }
    }

    fn caller_is_root(&self) -> bool {
        self.caller.uid == 0
    }

    fn to_guest(&self, host: Owner) -> Owner {
        let shown = *self.shown.read();
        Owner {
            uid: if host.uid == self.caller.uid { shown.uid } else { host.uid },
            gid: if host.gid == self.caller.gid { shown.gid } else { host.gid },
        }
    }

    fn to_host(&self, guest: Owner) -> Owner {
        let shown = *self.shown.read();
        Owner {
            uid: if guest.uid == shown.uid { self.caller.uid } else { guest.uid },
            gid: if guest.gid == shown.gid { self.caller.gid } else { guest.gid },
        }
    }

    /// Only the caller's wishes are kept: anyone could set the attribute on files of their own.
    fn may_have_wish(&self, status: &Status) -> bool {
        !self.caller_is_root() && status.0.stx_uid == self.caller.uid && (status.is_file() || status.is_folder())
    }

    /// The owner as the guest sees it, of a file that is held or open.
    pub(crate) fn of(&self, status: &Status, file: &impl AsFd) -> Owner {
        self.shown(status, |wish| rustix::fs::getxattr(by_number(file), ATTRIBUTE, wish))
    }

    /// The same for a name in a folder.
    pub(crate) fn at(&self, status: &Status, folder: &impl AsFd, name: &CStr) -> Owner {
        self.shown(status, |wish| rustix::fs::lgetxattr(by_name(folder, name), ATTRIBUTE, wish))
    }

    fn shown(&self, status: &Status, read: impl FnOnce(&mut [u8; 32]) -> Result<usize, Errno>) -> Owner {
        if self.may_have_wish(status) {
            let mut text = [0; 32];
            if let Some(wish) = read(&mut text).ok().and_then(|length| parse(&text[..length])) {
                return wish;
            }
        }
        self.to_guest(Owner { uid: status.0.stx_uid, gid: status.0.stx_gid })
    }

    /// Gives a file that is held or open to others; `None` leaves a user or group as it is.
    pub(crate) fn give(&self, file: &impl AsFd, status: &Status, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
        let before = self.of(status, file);
        let wanted = Owner { uid: uid.unwrap_or(before.uid), gid: gid.unwrap_or(before.gid) };
        if self.caller_is_root() {
            let host = self.to_host(wanted);
            let uid = uid.map(|_| Uid::from_raw(host.uid));
            let gid = gid.map(|_| Gid::from_raw(host.gid));
            return rustix::fs::chownat(file, c"", uid, gid, AtFlags::EMPTY_PATH);
        }
        if wanted == before {
            return Ok(());
        }
        if status.0.stx_uid != self.caller.uid {
            return Err(Errno::PERM);
        }
        if self.may_have_wish(status) {
            self.keep_wish(file, status, wanted)?;
        }
        Ok(())
    }

    /// Gives a new file to whoever in the guest made it.
    pub(crate) fn give_new(&self, file: &impl AsFd, folder: &impl AsFd, maker: Owner) -> Result<(), Errno> {
        let status = Status::of(file)?;
        // A folder with setgid hands its group on; the host has done so for its own.
        let folder_status = Status::of(folder)?;
        let gid = if folder_status.mode() & 0o2000 == 0 { maker.gid } else { self.of(&folder_status, folder).gid };
        self.give(file, &status, Some(maker.uid), Some(gid))
    }

    fn keep_wish(&self, file: &impl AsFd, status: &Status, wanted: Owner) -> Result<(), Errno> {
        let path = by_number(file);
        let plain = self.to_guest(Owner { uid: status.0.stx_uid, gid: status.0.stx_gid });
        let write = || {
            if wanted == plain {
                return rustix::fs::removexattr(&*path, ATTRIBUTE);
            }
            let text = format!("{}:{}", wanted.uid, wanted.gid);
            rustix::fs::setxattr(&*path, ATTRIBUTE, text.as_bytes(), XattrFlags::empty())
        };
        let mut result = write();
        if result == Err(Errno::ACCESS) {
            // Attributes are for those who may write; the owner may always make that so.
            let mode = Mode::from_raw_mode(status.mode());
            rustix::fs::chmod(&*path, mode | Mode::WUSR)?;
            result = write();
            rustix::fs::chmod(&*path, mode)?;
        }
        match result {
            // Nothing to take away, or nowhere to keep it.
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            result => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_files_are_the_containers_users() {
        let owners = Owners { caller: Owner { uid: 1000, gid: 100 }, shown: RwLock::new(Owner::ROOT) };
        assert_eq!(owners.to_guest(Owner { uid: 1000, gid: 100 }), Owner::ROOT);
        assert_eq!(owners.to_guest(Owner { uid: 1001, gid: 100 }), Owner { uid: 1001, gid: 0 });
        assert_eq!(owners.to_host(Owner::ROOT), Owner { uid: 1000, gid: 100 });
    }

    #[test]
    fn a_wish_that_is_none_does_not_count() {
        assert_eq!(parse(b"70:71"), Some(Owner { uid: 70, gid: 71 }));
        for text in [&b"70"[..], b"70:", b":", b"-1:0", b"70:71:72", b"4294967296:0", b"\xff:0", b""] {
            assert_eq!(parse(text), None);
        }
    }
}
