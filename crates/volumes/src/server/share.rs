//! One volume as the guest uses it: where a request goes, and what all requests need.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::abi::{self, MAJOR, MINOR, OLDEST_MINOR, ROOT, init};
use super::handles::{Handle, Handles};
use super::nodes::Nodes;
use super::owners::Owners;
use super::reply::Reply;
use super::request::{Header, Name, Operation};
use super::tree::{Status, Tree};
use super::{Kind, Volume};
use crate::frame::MAX_DATA;
use crate::owner::Owner;

/// How long the guest takes a name or attributes for right without asking: what the host changes is seen after this at the latest. Walking a large
/// tree twice is many times quicker with it.
const VALID: Duration = Duration::from_secs(1);
/// Requests that the guest may have under way without a program waiting for them: read-ahead and written pages.
const MAX_BACKGROUND: u16 = 32;
/// File systems whose errors may show only when a file is closed: NFS, SMB in its three drivers, FUSE, Ceph, AFS.
const LATE_ERRORS: [u32; 7] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x6573_5546, 0x00c3_6400, 0x5346_414f];

/// A volume, and what the guest has of it.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) tree: Tree,
    /// The one file of a volume that is a file, in the tree's root.
    file: Option<CString>,
    pub(crate) read_only: bool,
    pub(crate) owners: Owners,
    pub(crate) nodes: Mutex<Nodes>,
    pub(crate) handles: Handles,
    device: u64,
    late_errors: bool,
}

/// A file that is held, or already open.
pub(crate) enum Held<'a> {
    Root(BorrowedFd<'a>),
    Path(OwnedFd),
    Handle(Arc<Handle>),
}

impl AsFd for Held<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(root) => root.as_fd(),
            Self::Path(file) => file.as_fd(),
            Self::Handle(handle) => handle.as_fd(),
        }
    }
}

impl Share {
    /// Opens what is to be shared. A link given by the caller is followed now, and never again.
    pub(crate) fn open(volume: &Volume) -> Result<(Self, Kind), Errno> {
        let errno = |error: &std::io::Error| error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
        let path = volume.path.canonicalize().map_err(|error| errno(&error))?;
        let hold = |path: &Path, flags| rustix::fs::open(path, flags | OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let status = Status::of(hold(&path, OFlags::NOFOLLOW)?)?;
        let (folder, file, kind) = if status.is_folder() {
            (path.as_path(), None, Kind::Folder)
        } else if status.is_file()
            && let (Some(folder), Some(name)) = (path.parent(), path.file_name())
        {
            (folder, Some(CString::new(name.as_bytes()).map_err(|_| Errno::INVAL)?), Kind::File)
        } else {
            return Err(Errno::NOTSUP);
        };
        let root = hold(folder, OFlags::DIRECTORY)?;
        let late_errors = LATE_ERRORS.contains(&(rustix::fs::fstatfs(&root)?.f_type as u32));
        let device = Status::of(&root)?.identity().device;
        let share = Self {
            tree: Tree::new(root),
            file,
            read_only: volume.read_only,
            owners: Owners::new(),
            nodes: Mutex::default(),
            handles: Handles::default(),
            device,
            late_errors,
        };
        Ok((share, kind))
    }

    /// Everything that the guest had is closed.
    pub(crate) fn reset(&self) {
        self.handles.clear();
        let nodes = std::mem::take(&mut *self.nodes.lock());
        drop(nodes);
    }

    pub(crate) fn forget(&self, forgets: &[(u64, u64)]) {
        let mut nodes = self.nodes.lock();
        for (node, count) in forgets {
            nodes.forget(*node, *count);
        }
    }

    /// Does what is asked and writes the body of the reply.
    pub(crate) fn answer(&self, header: Header, operation: Operation<'_>, reply: &mut Reply) -> Result<(), Errno> {
        if self.read_only && writes(&operation) {
            return Err(Errno::ROFS);
        }
        let node = header.node;
        let maker = Owner { uid: header.uid, gid: header.gid };
        match operation {
            Operation::Init { major, minor, max_readahead, flags } => self.init(reply, major, minor, max_readahead, flags),
            Operation::Destroy => {
                self.reset();
                Ok(())
            }
            Operation::Forget(forgets) => {
                self.forget(&forgets);
                Ok(())
            }
            Operation::Lookup { name } => self.lookup(node, name, reply),
            Operation::GetAttributes { handle } => self.get_attributes(node, handle, reply),
            Operation::SetAttributes(changes) => self.set_attributes(node, changes, reply),
            Operation::ReadLink => self.read_link(node, reply),
            Operation::SymbolicLink { name, target } => self.symbolic_link(node, name, target, maker, reply),
            Operation::MakeNode { name, mode } => self.make_node(node, name, mode, maker, reply),
            Operation::MakeFolder { name, mode } => self.make_folder(node, name, mode, maker, reply),
            Operation::Unlink { name } => self.unlink(node, name, false),
            Operation::RemoveFolder { name } => self.unlink(node, name, true),
            Operation::Rename { name, to, new_name, flags } => self.rename((node, name), (to, new_name), flags),
            Operation::Link { source, name } => self.link(source, node, name, reply),
            Operation::Open { flags, kill } => self.open_file(node, flags, kill, reply),
            Operation::Create { name, flags, mode } => self.create(node, name, flags, mode, maker, reply),
            Operation::Read { handle, offset, size } => self.read(handle, offset, size, reply),
            Operation::Write { handle, offset, flags, data } => self.write(handle, offset, flags, data, reply),
            Operation::StatFs => self.stat_fs(node, reply),
            Operation::Release { handle } => {
                self.handles.remove(handle);
                Ok(())
            }
            // The kernel then does without for good, which saves a trip for every file that is closed.
            Operation::Flush { .. } if !self.late_errors => Err(Errno::NOSYS),
            Operation::Flush { handle } => self.flush(handle),
            Operation::Sync { handle, flags } => self.sync(handle, flags),
            Operation::SetXattr { name, value, flags } => self.set_xattr(node, name, value, flags),
            Operation::GetXattr { name, size } => self.get_xattr(node, name, size, reply),
            Operation::ListXattr { size } => self.list_xattr(node, size, reply),
            Operation::RemoveXattr { name } => self.remove_xattr(node, name),
            Operation::OpenFolder => self.open_folder(node, reply),
            Operation::ReadFolder { handle, offset, size, attributes } => {
                self.read_folder(node, handle, offset, size, attributes, reply)
            }
            Operation::Access { mask } => self.access(node, mask),
            Operation::Allocate { handle, offset, length, mode } => self.allocate(handle, offset, length, mode),
            Operation::Seek { handle, offset, whence } => self.seek(handle, offset, whence, reply),
            Operation::CopyRange(copy) => self.copy_range(copy, reply),
        }
    }

    fn init(&self, reply: &mut Reply, major: u32, minor: u32, max_readahead: u32, flags: u32) -> Result<(), Errno> {
        const WANTED: u32 = init::ASYNC_READ
            | init::ATOMIC_O_TRUNC
            | init::BIG_WRITES
            | init::AUTO_INVAL_DATA
            | init::DO_READDIRPLUS
            | init::READDIRPLUS_AUTO
            | init::ASYNC_DIO
            | init::PARALLEL_DIROPS
            | init::MAX_PAGES
            | init::CACHE_SYMLINKS
            | init::HANDLE_KILLPRIV_V2;
        if major < MAJOR || (major == MAJOR && minor < OLDEST_MINOR) {
            return Err(Errno::PROTO);
        }
        self.reset();
        reply.u32(MAJOR);
        reply.u32(if major == MAJOR { minor.min(MINOR) } else { MINOR });
        reply.u32(max_readahead);
        reply.u32(flags & WANTED);
        reply.u16(MAX_BACKGROUND);
        reply.u16(MAX_BACKGROUND * 3 / 4);
        reply.u32(MAX_DATA as u32);
        // Times have nanoseconds.
        reply.u32(1);
        reply.u16((MAX_DATA / 4096) as u16);
        reply.zeros(2 + 4 + 7 * 4);
        Ok(())
    }

    /// Finds a node's file: one that is open by its handle, others by their names.
    pub(crate) fn find(&self, node: u64) -> Result<(Held<'_>, Status), Errno> {
        if node == ROOT {
            let Some(file) = &self.file else {
                return Ok((Held::Root(self.tree.root()), Status::of(self.tree.root())?));
            };
            // Whatever file has the name now: programs save by putting a new file in place.
            let held = self.tree.hold(file.to_bytes())?;
            let status = Status::of(&held)?;
            return if status.is_file() { Ok((Held::Path(held), status)) } else { Err(Errno::STALE) };
        }
        // Not so a folder: the host may have moved it elsewhere, which is outside.
        if let Some(handle) = self.handles.of_node(node).filter(|handle| !handle.is_folder()) {
            let status = Status::of(&*handle)?;
            return Ok((Held::Handle(handle), status));
        }
        let (identity, paths) = self.nodes.lock().paths(node)?;
        for path in paths {
            match self.tree.hold(&path) {
                Ok(held) => {
                    let status = Status::of(&held)?;
                    if status.identity() == identity {
                        return Ok((Held::Path(held), status));
                    }
                }
                // No such path any more.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(errno),
            }
        }
        // The guest's kernel looks the names up again.
        Err(Errno::STALE)
    }

    /// Finds a folder.
    pub(crate) fn folder(&self, node: u64) -> Result<Held<'_>, Errno> {
        let (held, status) = self.find(node)?;
        if status.is_folder() { Ok(held) } else { Err(Errno::NOTDIR) }
    }

    /// Writes what the guest is to know of a file under this name, which it then knows once more.
    pub(crate) fn entry(&self, parent: u64, name: &CStr, status: &Status, owner: Owner, reply: &mut Reply) -> Result<u64, Errno> {
        let node = self.nodes.lock().enter(parent, name, status.identity(), status.is_folder(), status.stamp())?;
        reply.u64(node);
        // Numbers are never used again, so no generations.
        reply.u64(0);
        reply.u64(VALID.as_secs());
        reply.u64(VALID.as_secs());
        reply.zeros(8);
        self.attributes(status, owner, reply);
        Ok(node)
    }

    /// Tells the guest that there is nothing of this name, for as long as it may believe what there is.
    pub(crate) fn no_entry(reply: &mut Reply) {
        reply.zeros(16);
        reply.u64(VALID.as_secs());
        reply.zeros(16 + 88);
    }

    /// The same without a name, for a file that the guest knows already.
    pub(crate) fn attributes_reply(&self, node: u64, status: &Status, owner: Owner, reply: &mut Reply) {
        self.nodes.lock().told(node, status.stamp());
        reply.u64(VALID.as_secs());
        reply.zeros(8);
        self.attributes(status, owner, reply);
    }

    fn attributes(&self, status: &Status, owner: Owner, reply: &mut Reply) {
        let s = &status.0;
        reply.u64(self.inode(status));
        reply.u64(s.stx_size);
        reply.u64(s.stx_blocks);
        for time in [&s.stx_atime, &s.stx_mtime, &s.stx_ctime] {
            reply.u64(time.tv_sec.cast_unsigned());
        }
        for time in [&s.stx_atime, &s.stx_mtime, &s.stx_ctime] {
            reply.u32(time.tv_nsec);
        }
        reply.u32(u32::from(s.stx_mode));
        reply.u32(s.stx_nlink);
        reply.u32(owner.uid);
        reply.u32(owner.gid);
        // As the kernel packs a device's number into 32 bits.
        reply.u32((s.stx_rdev_minor & 0xff) | (s.stx_rdev_major << 8) | ((s.stx_rdev_minor & !0xff) << 12));
        reply.u32(s.stx_blksize);
        reply.u32(0);
    }

    /// The file's number in the guest, where all is one file system: files of others mounted below must not seem to be links to each other.
    pub(crate) fn inode(&self, status: &Status) -> u64 {
        let identity = status.identity();
        if identity.device == self.device { identity.inode } else { identity.inode ^ identity.device.rotate_left(40) }
    }
}

/// Whether it would change something, as far as can be told from the request alone.
fn writes(operation: &Operation<'_>) -> bool {
    match operation {
        Operation::SetAttributes(_)
        | Operation::SymbolicLink { .. }
        | Operation::MakeNode { .. }
        | Operation::MakeFolder { .. }
        | Operation::Unlink { .. }
        | Operation::RemoveFolder { .. }
        | Operation::Rename { .. }
        | Operation::Link { .. }
        | Operation::Create { .. }
        | Operation::Write { .. }
        | Operation::SetXattr { .. }
        | Operation::RemoveXattr { .. }
        | Operation::Allocate { .. }
        | Operation::CopyRange(_) => true,
        Operation::Open { flags, .. } => flags & (abi::open::ACCESS_MODE | abi::open::TRUNC) != 0,
        Operation::Access { mask } => mask & 2 != 0,
        Operation::Init { .. }
        | Operation::Destroy
        | Operation::Forget(_)
        | Operation::Lookup { .. }
        | Operation::GetAttributes { .. }
        | Operation::ReadLink
        | Operation::Read { .. }
        | Operation::StatFs
        | Operation::Release { .. }
        | Operation::Flush { .. }
        | Operation::Sync { .. }
        | Operation::GetXattr { .. }
        | Operation::ListXattr { .. }
        | Operation::OpenFolder
        | Operation::ReadFolder { .. }
        | Operation::Seek { .. } => false,
    }
}

/// The name for calls to the host's kernel.
pub(crate) fn c(name: Name<'_>) -> &CStr {
    name.as_c_str()
}
