//! Requests about contents of files.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::{FallocateFlags, Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use super::abi;
use super::handles::{Handle, Kind};
use super::nodes::Stamp;
use super::reply::Reply;
use super::request::Copy;
use super::share::Share;
use super::tree::{Status, by_number, reopen};

/// Two changes of a file within one tick of the kernel's clock look like one. What is older than this has had its last within the tick.
const SETTLED: i128 = 1_000_000_000;

/// The host's flags for the guest's.
pub(crate) fn host_flags(guest: u32) -> OFlags {
    let mut flags = match guest & abi::open::ACCESS_MODE {
        abi::open::WRITE_ONLY => OFlags::WRONLY,
        abi::open::READ_WRITE => OFlags::RDWR,
        _ => OFlags::RDONLY,
    };
    if guest & abi::open::APPEND != 0 {
        flags |= OFlags::APPEND;
    }
    if guest & abi::open::SYNC == abi::open::SYNC {
        flags |= OFlags::SYNC;
    } else if guest & abi::open::DSYNC != 0 {
        flags |= OFlags::DSYNC;
    }
    flags
}

/// Opens a file that is held, with the guest's flags.
pub(crate) fn open_held(held: &impl AsFd, status: &Status, flags: u32) -> Result<OwnedFd, Errno> {
    if status.is_folder() {
        return Err(Errno::ISDIR);
    }
    if !status.is_file() {
        // The guest's kernel opens pipes, sockets and devices itself and follows links: here it has an old picture of the name.
        return Err(Errno::STALE);
    }
    let truncate = if flags & abi::open::TRUNC == 0 { OFlags::empty() } else { OFlags::TRUNC };
    reopen(held, host_flags(flags) | truncate)
}

fn settled(stamp: Stamp) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.as_nanos().cast_signed() - stamp.changed.max(stamp.modified) > SETTLED
}

/// Takes setuid and setgid away, as a write by another than root does. The host's kernel does so itself unless this is root.
fn kill_suid(file: &impl AsFd) -> Result<(), Errno> {
    let status = Status::of(file)?;
    let mode = status.mode();
    // Setgid without execution by the group is a mark of other use.
    let gone = mode & 0o4000 | if mode & 0o2010 == 0o2010 { 0o2000 } else { 0 };
    if status.is_file() && gone != 0 {
        rustix::fs::chmod(by_number(file), Mode::from_raw_mode(mode & !gone))?;
    }
    Ok(())
}

impl Share {
    pub(crate) fn open_file(&self, node: u64, flags: u32, kill: u32, reply: &mut Reply) -> Result<(), Errno> {
        let (held, status) = self.find(node)?;
        let file = open_held(&held, &status, flags)?;
        if kill & abi::OPEN_KILL_SUIDGID != 0 && flags & abi::open::TRUNC != 0 {
            kill_suid(&file)?;
        }
        let stamp = Status::of(&file)?.stamp();
        let freshness = self.nodes.lock().opened(node, stamp, settled(stamp));
        if !freshness.attributes {
            reply.outdate(node);
        }
        self.opened(file, node, flags, if freshness.pages { abi::FOPEN_KEEP_CACHE } else { 0 }, reply);
        Ok(())
    }

    fn file(&self, handle: u64) -> Result<Arc<Handle>, Errno> {
        let handle = self.handles.get(handle)?;
        if handle.is_folder() { Err(Errno::BADF) } else { Ok(handle) }
    }

    pub(crate) fn read(&self, handle: u64, offset: u64, size: usize, reply: &mut Reply) -> Result<(), Errno> {
        let file = self.file(handle)?;
        let mut done = 0;
        // Less than was asked for means the end of the file.
        while done < size {
            match rustix::io::pread(&*file, reply.room(size - done), offset.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(count) => {
                    reply.grow(count);
                    done += count;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    pub(crate) fn write(&self, handle: u64, offset: u64, flags: u32, data: &[u8], reply: &mut Reply) -> Result<(), Errno> {
        let file = self.file(handle)?;
        let written = match file.kind {
            // Pages out of the guest's cache have their place, even if the file was opened for appending.
            Kind::File { append: true, .. } if flags & abi::WRITE_CACHE != 0 => {
                write_all(&reopen(&file, OFlags::WRONLY)?, offset, data)?
            }
            _ => write_all(&file, offset, data)?,
        };
        if flags & abi::WRITE_KILL_SUIDGID != 0 {
            kill_suid(&file)?;
        }
        reply.u32(written as u32);
        reply.u32(0);
        Ok(())
    }

    /// The errors that closing would tell.
    pub(crate) fn flush(&self, handle: u64) -> Result<(), Errno> {
        let file = self.file(handle)?;
        match file.kind {
            Kind::File { writable: true, .. } => rustix::fs::fdatasync(&*file),
            _ => Ok(()),
        }
    }

    pub(crate) fn sync(&self, handle: u64, flags: u32) -> Result<(), Errno> {
        let handle = self.handles.get(handle)?;
        if flags & abi::FSYNC_DATA != 0 { rustix::fs::fdatasync(&*handle) } else { rustix::fs::fsync(&*handle) }
    }

    pub(crate) fn allocate(&self, handle: u64, offset: u64, length: u64, mode: u32) -> Result<(), Errno> {
        rustix::fs::fallocate(&*self.file(handle)?, FallocateFlags::from_bits_retain(mode), offset, length)
    }

    pub(crate) fn seek(&self, handle: u64, offset: u64, whence: u32, reply: &mut Reply) -> Result<(), Errno> {
        let place = match whence {
            3 => SeekFrom::Data(offset),
            4 => SeekFrom::Hole(offset),
            _ => return Err(Errno::INVAL),
        };
        reply.u64(rustix::fs::seek(&*self.file(handle)?, place)?);
        Ok(())
    }

    pub(crate) fn copy_range(&self, copy: Copy, reply: &mut Reply) -> Result<(), Errno> {
        let (source, target) = (self.file(copy.source)?, self.file(copy.target)?);
        let (mut from, mut to) = (copy.source_offset, copy.target_offset);
        let length = usize::try_from(copy.length).map_err(|_| Errno::INVAL)?;
        let copied = rustix::fs::copy_file_range(&*source, Some(&mut from), &*target, Some(&mut to), length)?;
        reply.u32(copied as u32);
        reply.u32(0);
        Ok(())
    }
}

/// Writes all, or as much as there is room for; an error only if nothing was written.
fn write_all(file: &impl AsFd, offset: u64, data: &[u8]) -> Result<usize, Errno> {
    let mut written = 0;
    while written < data.len() {
        match rustix::io::pwrite(file, &data[written..], offset.saturating_add(written as u64)) {
            Ok(0) => break,
            Ok(count) => written += count,
            Err(Errno::INTR) => {}
            Err(errno) if written == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(written)
}
