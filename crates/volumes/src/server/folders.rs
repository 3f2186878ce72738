//! Requests about open folders.

use std::mem::MaybeUninit;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::{OFlags, RawDir, RawDirEntry, SeekFrom};
use rustix::io::Errno;

use super::handles::{Handle, Kind};
use super::reply::Reply;
use super::share::Share;
use super::tree::{Status, reopen};

/// Bytes of an entry without its name, and of what READDIRPLUS puts before it.
const ENTRY: usize = 24;
const ATTRIBUTES: usize = 128;
/// The host's entries are read in pieces of this size. One of the guest's pages takes some 25 entries with attributes, which are a quarter of this; the
/// rest is read again.
const PIECE: usize = 2048;

impl Share {
    pub(crate) fn open_folder(&self, node: u64, reply: &mut Reply) -> Result<(), Errno> {
        let folder = reopen(&self.folder(node)?, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let kind = Kind::Folder { position: Mutex::new(Some(0)) };
        reply.u64(self.handles.insert(Handle::new(folder, node, kind)));
        reply.zeros(8);
        Ok(())
    }

    /// Writes entries from `offset` on, which is 0 or what came with an earlier entry. None is the end.
    pub(crate) fn read_folder(
        &self,
        node: u64,
        handle: u64,
        offset: u64,
        size: usize,
        attributes: bool,
        reply: &mut Reply,
    ) -> Result<(), Errno> {
        let handle: Arc<Handle> = self.handles.get(handle)?;
        let Kind::Folder { position } = &handle.kind else { return Err(Errno::NOTDIR) };
        let mut position = position.lock();
        if *position != Some(offset) {
            rustix::fs::seek(&*handle, SeekFrom::Start(offset))?;
        }
        *position = None;
        let mut piece = [MaybeUninit::uninit(); PIECE];
        let mut entries = RawDir::new(&*handle, &mut piece);
        let mut next = offset;
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let start = reply.len();
            if !self.folder_entry(node, &handle, &entry, size, attributes, reply)? {
                reply.truncate(start);
                if start == 0 {
                    // Not even one entry has room.
                    return Err(Errno::INVAL);
                }
                return Ok(());
            }
            next = entry.next_entry_cookie();
            // What would be read next may well not fit.
            if entries.is_buffer_empty() && reply.len() + ATTRIBUTES + ENTRY > size {
                break;
            }
        }
        if entries.is_buffer_empty() {
            *position = Some(next);
        }
        Ok(())
    }

    /// Writes one entry unless it is too long for what is left.
    fn folder_entry(
        &self,
        parent: u64,
        folder: &Handle,
        entry: &RawDirEntry<'_>,
        size: usize,
        attributes: bool,
        reply: &mut Reply,
    ) -> Result<bool, Errno> {
        let name = entry.file_name();
        let bytes = name.to_bytes();
        let length = (ENTRY + bytes.len()).next_multiple_of(8);
        if reply.len() + length + if attributes { ATTRIBUTES } else { 0 } > size {
            return Ok(false);
        }
        let mut inode = entry.ino();
        if attributes {
            let status = match bytes {
                b"." | b".." => None,
                // Gone since, or not to be looked at: the guest gets the name alone, and the error when it looks it up.
                _ => Status::at(folder, name).ok(),
            };
            let start = reply.len();
            let entered = status.map(|status| {
                inode = self.inode(&status);
                self.entry(parent, name, &status, self.owners.at(&status, folder, name), reply)
            });
            if !matches!(entered, Some(Ok(_))) {
                reply.truncate(start);
                reply.zeros(ATTRIBUTES);
            }
        }
        reply.u64(inode);
        reply.u64(entry.next_entry_cookie());
        reply.u32(bytes.len() as u32);
        reply.u32(entry.file_type().as_raw_mode() >> 12);
        reply.bytes(bytes);
        reply.zeros(length - ENTRY - bytes.len());
        Ok(true)
    }
}
