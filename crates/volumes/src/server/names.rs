//! Requests about names: looking up, making, taking away, renaming.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::abi;
use super::files;
use super::handles::{Handle, Kind};
use super::reply::Reply;
use super::request::Name;
use super::share::{Held, Share, c};
use super::tree::{Status, by_number};
use crate::owner::Owner;

/// The kinds of files in a mode.
const KIND: u32 = 0o170_000;

impl Share {
    pub(crate) fn lookup(&self, parent: u64, name: Name<'_>, reply: &mut Reply) -> Result<(), Errno> {
        let folder = self.folder(parent)?;
        match Status::at(&folder, c(name)) {
            Ok(status) => self.entry_at(parent, &folder, c(name), &status, reply),
            Err(Errno::NOENT) => {
                Self::no_entry(reply);
                Ok(())
            }
            Err(errno) => Err(errno),
        }
    }

    fn entry_at(&self, parent: u64, folder: &Held<'_>, name: &CStr, status: &Status, reply: &mut Reply) -> Result<(), Errno> {
        self.entry(parent, name, status, self.owners.at(status, folder, name), reply).map(drop)
    }

    /// Makes what was made what the guest wanted, whatever this process masks, and tells the guest of it.
    fn made(
        &self,
        parent: (u64, &Held<'_>),
        name: Name<'_>,
        file: &impl AsFd,
        mode: Option<u32>,
        maker: Owner,
        reply: &mut Reply,
    ) -> Result<u64, Errno> {
        // First, since a change of owner takes setuid away.
        self.owners.give_new(file, parent.1, maker)?;
        let mut status = Status::of(file)?;
        if let Some(mode) = mode {
            // Setgid comes to a folder from the one that it is made in.
            let inherited = if status.is_folder() { status.mode() & 0o2000 } else { 0 };
            let wanted = mode & 0o7777 | inherited;
            if status.mode() != wanted {
                rustix::fs::chmod(by_number(file), Mode::from_raw_mode(wanted))?;
                status = Status::of(file)?;
            }
        }
        let owner = self.owners.of(&status, file);
        self.entry(parent.0, c(name), &status, owner, reply)
    }

    pub(crate) fn symbolic_link(
        &self,
        parent: u64,
        name: Name<'_>,
        target: &CStr,
        maker: Owner,
        reply: &mut Reply,
    ) -> Result<(), Errno> {
        let folder = self.folder(parent)?;
        rustix::fs::symlinkat(target, &folder, c(name))?;
        let link = hold(&folder, name)?;
        self.made((parent, &folder), name, &link, None, maker, reply).map(drop)
    }

    pub(crate) fn make_folder(
        &self,
        parent: u64,
        name: Name<'_>,
        mode: u32,
        maker: Owner,
        reply: &mut Reply,
    ) -> Result<(), Errno> {
        let folder = self.folder(parent)?;
        rustix::fs::mkdirat(&folder, c(name), Mode::from_raw_mode(mode & 0o7777))?;
        let new = hold(&folder, name)?;
        self.made((parent, &folder), name, &new, Some(mode), maker, reply).map(drop)
    }

    pub(crate) fn make_node(&self, parent: u64, name: Name<'_>, mode: u32, maker: Owner, reply: &mut Reply) -> Result<(), Errno> {
        let folder = self.folder(parent)?;
        let kind = FileType::from_raw_mode(mode & KIND);
        let permissions = Mode::from_raw_mode(mode & 0o7777);
        match kind {
            FileType::RegularFile => drop(new_file(&folder, name, OFlags::WRONLY, mode)?),
            FileType::Fifo | FileType::Socket => rustix::fs::mknodat(&folder, c(name), kind, permissions, 0)?,
            // A device of the host's is nothing for a guest, and of the guest's nothing for the host.
            _ => return Err(Errno::PERM),
        }
        let new = hold(&folder, name)?;
        self.made((parent, &folder), name, &new, Some(mode), maker, reply).map(drop)
    }

    pub(crate) fn create(
        &self,
        parent: u64,
        name: Name<'_>,
        flags: u32,
        mode: u32,
        maker: Owner,
        reply: &mut Reply,
    ) -> Result<(), Errno> {
        let folder = self.folder(parent)?;
        let (file, node) = match new_file(&folder, name, files::host_flags(flags), mode) {
            Ok(file) => {
                let node = self.made((parent, &folder), name, &file, Some(mode), maker, reply)?;
                (file, node)
            }
            Err(Errno::EXIST) if flags & abi::open::EXCL == 0 => {
                let held = hold(&folder, name)?;
                let status = Status::of(&held)?;
                let file = files::open_held(&held, &status, flags)?;
                let status = Status::of(&file)?;
                let node = self.entry(parent, c(name), &status, self.owners.of(&status, &file), reply)?;
                (file, node)
            }
            Err(errno) => return Err(errno),
        };
        self.opened(file, node, flags, 0, reply);
        Ok(())
    }

    /// Writes the second half of an answer: the handle.
    pub(crate) fn opened(&self, file: OwnedFd, node: u64, flags: u32, fopen: u32, reply: &mut Reply) {
        let writable = matches!(flags & abi::open::ACCESS_MODE, abi::open::WRITE_ONLY | abi::open::READ_WRITE);
        let kind = Kind::File { writable, append: flags & abi::open::APPEND != 0 };
        reply.u64(self.handles.insert(Handle::new(file, node, kind)));
        reply.u32(fopen);
        reply.u32(0);
    }

    pub(crate) fn unlink(&self, parent: u64, name: Name<'_>, folder_wanted: bool) -> Result<(), Errno> {
        let folder = self.folder(parent)?;
        let status = Status::at(&folder, c(name))?;
        let flags = if folder_wanted { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        rustix::fs::unlinkat(&folder, c(name), flags)?;
        self.nodes.lock().unlinked(parent, c(name), status.identity(), is_last(&status));
        Ok(())
    }

    pub(crate) fn rename(&self, from: (u64, Name<'_>), to: (u64, Name<'_>), flags: u32) -> Result<(), Errno> {
        let flags = RenameFlags::from_bits(flags).ok_or(Errno::INVAL)?;
        if flags.contains(RenameFlags::WHITEOUT) {
            return Err(Errno::INVAL);
        }
        let (from_name, to_name) = (c(from.1), c(to.1));
        let (from_folder, to_folder) = (self.folder(from.0)?, self.folder(to.0)?);
        let moved = Status::at(&from_folder, from_name)?;
        let replaced = Status::at(&to_folder, to_name).ok().filter(|other| other.identity() != moved.identity());
        if flags.is_empty() {
            // Also by file systems that know no flags.
            rustix::fs::renameat(&from_folder, from_name, &to_folder, to_name)?;
        } else {
            rustix::fs::renameat_with(&from_folder, from_name, &to_folder, to_name, flags)?;
        }
        let mut nodes = self.nodes.lock();
        let (from, to) = ((from.0, from_name), (to.0, to_name));
        match replaced {
            Some(other) if flags.contains(RenameFlags::EXCHANGE) => {
                nodes.renamed(to, from, other.identity());
            }
            Some(other) => nodes.unlinked(to.0, to.1, other.identity(), is_last(&other)),
            None => {}
        }
        nodes.renamed(from, to, moved.identity());
        Ok(())
    }

    pub(crate) fn link(&self, source: u64, parent: u64, name: Name<'_>, reply: &mut Reply) -> Result<(), Errno> {
        let folder = self.folder(parent)?;
        let (file, _) = self.find(source)?;
        rustix::fs::linkat(CWD, by_number(&file), &folder, c(name), AtFlags::SYMLINK_FOLLOW)?;
        let status = Status::of(&file)?;
        self.entry(parent, c(name), &status, self.owners.of(&status, &file), reply).map(drop)
    }
}

/// Whether a file is gone with the name by which it was found.
fn is_last(status: &Status) -> bool {
    status.is_folder() || status.0.stx_nlink <= 1
}

fn hold(folder: &impl AsFd, name: Name<'_>) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(folder, c(name), OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Only ever a new one: one that is there may be a pipe.
fn new_file(folder: &impl AsFd, name: Name<'_>, flags: OFlags, mode: u32) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, c(name), flags, Mode::from_raw_mode(mode & 0o7777))
}
