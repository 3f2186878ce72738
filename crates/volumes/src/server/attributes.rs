//! Requests about attributes.

use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use rustix::io::Errno;

use super::abi::setattr;
use super::handles::Kind;
use super::reply::Reply;
use super::request::Changes;
use super::share::{Held, Share};
use super::tree::{Status, by_number, reopen};

impl Share {
    pub(crate) fn get_attributes(&self, node: u64, handle: Option<u64>, reply: &mut Reply) -> Result<(), Errno> {
        let (file, status) = match handle.map(|handle| self.handles.get(handle)) {
            Some(Ok(handle)) if handle.node == node => {
                let status = Status::of(&*handle)?;
                (Held::Handle(handle), status)
            }
            _ => match (self.find(node), self.handles.of_node(node)) {
                // A folder that is gone, or was moved away, can still be asked about while it is open.
                (Err(Errno::STALE), Some(handle)) => {
                    let status = Status::of(&*handle)?;
                    (Held::Handle(handle), status)
                }
                (found, _) => found?,
            },
        };
        self.attributes_reply(node, &status, self.owners.of(&status, &file), reply);
        Ok(())
    }

    pub(crate) fn set_attributes(&self, node: u64, changes: Changes, reply: &mut Reply) -> Result<(), Errno> {
        let has = |bit| changes.valid & bit != 0;
        let (file, status) = match self.handles.get(changes.handle) {
            Ok(handle) if has(setattr::FH) && handle.node == node => {
                let status = Status::of(&*handle)?;
                (Held::Handle(handle), status)
            }
            _ => self.find(node)?,
        };
        if has(setattr::SIZE) {
            truncate(&file, &status, changes.size)?;
        }
        let (uid, gid) = (has(setattr::UID).then_some(changes.uid), has(setattr::GID).then_some(changes.gid));
        if uid.is_some() || gid.is_some() {
            self.owners.give(&file, &status, uid, gid)?;
        }
        // The owner first: a change of it takes setuid away.
        let mode = if has(setattr::MODE) {
            Some(changes.mode & 0o7777)
        } else if uid.is_some() || gid.is_some() || has(setattr::KILL_SUIDGID) {
            let mode = Status::of(&file)?.mode();
            let kept = mode & !(0o4000 | if mode & 0o10 == 0 { 0 } else { 0o2000 });
            (status.is_file() && kept != mode).then_some(kept)
        } else {
            None
        };
        if let Some(mode) = mode {
            rustix::fs::chmod(by_number(&file), Mode::from_raw_mode(mode))?;
        }
        if has(setattr::ATIME) || has(setattr::MTIME) {
            let times = Timestamps {
                last_access: time(has(setattr::ATIME), has(setattr::ATIME_NOW), changes.atime),
                last_modification: time(has(setattr::MTIME), has(setattr::MTIME_NOW), changes.mtime),
            };
            if status.is_link() {
                rustix::fs::utimensat(&file, c"", &times, AtFlags::EMPTY_PATH)?;
            } else {
                rustix::fs::utimensat(CWD, by_number(&file), &times, AtFlags::empty())?;
            }
        }
        let status = Status::of(&file)?;
        self.attributes_reply(node, &status, self.owners.of(&status, &file), reply);
        Ok(())
    }

    pub(crate) fn read_link(&self, node: u64, reply: &mut Reply) -> Result<(), Errno> {
        let (link, status) = self.find(node)?;
        if !status.is_link() {
            return Err(Errno::INVAL);
        }
        reply.bytes(rustix::fs::readlinkat(&link, c"", Vec::new())?.to_bytes());
        Ok(())
    }

    pub(crate) fn access(&self, node: u64, mask: u32) -> Result<(), Errno> {
        let access = Access::from_bits((mask & 7).cast_signed()).ok_or(Errno::INVAL)?;
        let (file, _) = self.find(node)?;
        rustix::fs::accessat(CWD, by_number(&file), access, AtFlags::EACCESS)
    }

    pub(crate) fn stat_fs(&self, node: u64, reply: &mut Reply) -> Result<(), Errno> {
        let (file, _) = self.find(node)?;
        let fs = rustix::fs::fstatfs(&file)?;
        for count in [fs.f_blocks, fs.f_bfree, fs.f_bavail, fs.f_files, fs.f_ffree] {
            reply.u64(count);
        }
        for size in [fs.f_bsize, fs.f_namelen, fs.f_frsize] {
            reply.u32(size as u32);
        }
        reply.zeros(4 + 6 * 4);
        Ok(())
    }
}

/// Only a file has contents to cut: opening a pipe for it would wait.
fn truncate(file: &Held<'_>, status: &Status, size: u64) -> Result<(), Errno> {
    if let Held::Handle(handle) = file
        && let Kind::File { writable: true, .. } = handle.kind
    {
        return rustix::fs::ftruncate(&**handle, size);
    }
    if status.is_folder() {
        return Err(Errno::ISDIR);
    }
    if !status.is_file() {
        return Err(Errno::INVAL);
    }
    rustix::fs::ftruncate(reopen(file, OFlags::WRONLY)?, size)
}

/// Seconds and nanoseconds, or the host's present time, or no change.
fn time(given: bool, now: bool, (seconds, nanoseconds): (i64, u32)) -> Timespec {
    match (given, now) {
        (false, _) => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        (true, true) => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        (true, false) => Timespec { tv_sec: seconds, tv_nsec: nanoseconds.min(999_999_999).into() },
    }
}
