//! The disk where programs find it: mounted with FUSE, in this process.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry,
    ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use parking_lot::Mutex;

use super::disk::{Bytes, Disk, Kind, Names, Node, Refused};

/// How long the kernel may believe what it was told: only it changes anything.
const KEPT: Duration = Duration::from_secs(3_600);
const BLOCK: u32 = 4_096;

/// A mounted disk. Dropping it takes it away.
pub struct Mounted {
    disk: Arc<Mutex<Disk>>,
    session: Option<BackgroundSession>,
}

impl Mounted {
    /// Mounts a disk on an empty folder.
    pub fn new(disk: Disk, folder: &Path) -> io::Result<Self> {
        let disk = Arc::new(Mutex::new(disk));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("power".to_owned()), MountOption::DefaultPermissions];
        let session = fuser::spawn_mount(Served(disk.clone()), folder, &config)?;
        Ok(Self { disk, session: Some(session) })
    }

    /// Cuts the power.
    pub fn cut(&self) {
        self.disk.lock().cut();
    }

    /// What the disk is like right now.
    pub fn look<T>(&self, look: impl FnOnce(&Disk) -> T) -> T {
        look(&self.disk.lock())
    }

    /// Takes the disk away from its folder. Nobody may use it any more.
    pub fn unmount(mut self) -> io::Result<Arc<Mutex<Disk>>> {
        if let Some(session) = self.session.take() {
            session.umount_and_join()?;
        }
        Ok(self.disk.clone())
    }
}

/// The disk as the kernel asks for it.
struct Served(Arc<Mutex<Disk>>);

impl From<Refused> for Errno {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Off => Self::EIO,
            Refused::Missing => Self::ENOENT,
            Refused::Exists => Self::EEXIST,
            Refused::NotEmpty => Self::ENOTEMPTY,
            Refused::Kind => Self::EINVAL,
        }
    }
}

fn kind(node: &Node) -> FileType {
    match node.kind {
        Kind::File(_) => FileType::RegularFile,
        Kind::Folder(_) => FileType::Directory,
        Kind::Link(_) => FileType::Symlink,
        Kind::Special => match node.mode & 0o170_000 {
            0o140_000 => FileType::Socket,
            _ => FileType::NamedPipe,
        },
    }
}

fn attributes(number: u64, node: &Node) -> FileAttr {
    let size = match &node.kind {
        Kind::File(bytes) => bytes.now().len() as u64,
        Kind::Link(target) => target.as_os_str().len() as u64,
        _ => 0,
    };
    let (seconds, nanoseconds) = node.modified;
    let modified = UNIX_EPOCH + Duration::new(seconds.unsigned_abs(), nanoseconds);
    FileAttr {
        ino: INodeNo(number),
        size,
        blocks: size.div_ceil(512),
        atime: modified,
        mtime: modified,
        ctime: modified,
        crtime: modified,
        kind: kind(node),
        perm: (node.mode & 0o7777) as u16,
        nlink: node.links,
        uid: node.uid,
        gid: node.gid,
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    }
}

fn since_epoch(time: SystemTime) -> (i64, u32) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_nanos())
}

/// Something new of the caller's.
fn new_node(request: &Request, kind: Kind, mode: u32) -> Node {
    let links = if matches!(kind, Kind::Folder(_)) { 2 } else { 1 };
    Node { kind, mode, uid: request.uid(), gid: request.gid(), links, modified: since_epoch(SystemTime::now()) }
}

impl Served {
    fn entry(&self, found: Result<u64, Refused>, reply: ReplyEntry) {
        let disk = self.0.lock();
        match found.and_then(|number| Ok((number, disk.node(number)?))) {
            Ok((number, node)) => reply.entry(&KEPT, &attributes(number, node), Generation(0)),
            Err(refused) => reply.error(refused.into()),
        }
    }

    fn make(&self, folder: INodeNo, name: &OsStr, node: Node, reply: ReplyEntry) {
        let made = self.0.lock().make(folder.0, name, node);
        self.entry(made, reply);
    }
}

fn done(outcome: Result<(), Refused>, reply: ReplyEmpty) {
    match outcome {
        Ok(()) => reply.ok(),
        Err(refused) => reply.error(refused.into()),
    }
}

impl Filesystem for Served {
    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.0.lock().find(parent.0, name);
        self.entry(found, reply);
    }

    fn getattr(&self, _request: &Request, number: INodeNo, _file: Option<FileHandle>, reply: ReplyAttr) {
        match self.0.lock().node(number.0) {
            Ok(node) => reply.attr(&KEPT, &attributes(number.0, node)),
            Err(refused) => reply.error(refused.into()),
        }
    }

    fn setattr(
        &self,
        _request: &Request,
        number: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _file: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut disk = self.0.lock();
        let resized = size.map_or(Ok(()), |size| disk.resize(number.0, size as usize));
        let node = match resized.and_then(|()| disk.node_mut(number.0)) {
            Ok(node) => node,
            Err(refused) => return reply.error(refused.into()),
        };
        if let Some(mode) = mode {
            node.mode = node.mode & 0o170_000 | mode & 0o7777;
        }
        node.uid = uid.unwrap_or(node.uid);
        node.gid = gid.unwrap_or(node.gid);
        match modified {
            Some(TimeOrNow::SpecificTime(time)) => node.modified = since_epoch(time),
            Some(TimeOrNow::Now) => node.modified = since_epoch(SystemTime::now()),
            None => {}
        }
        reply.attr(&KEPT, &attributes(number.0, node));
    }

    fn readlink(&self, _request: &Request, number: INodeNo, reply: ReplyData) {
        use std::os::unix::ffi::OsStrExt;
        match self.0.lock().node(number.0) {
            Ok(Node { kind: Kind::Link(target), .. }) => reply.data(target.as_os_str().as_bytes()),
            Ok(_) => reply.error(Errno::EINVAL),
            Err(refused) => reply.error(refused.into()),
        }
    }

    fn mknod(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, _rdev: u32, reply: ReplyEntry) {
        let kind = if mode & 0o170_000 == 0o100_000 { Kind::File(Bytes::default()) } else { Kind::Special };
        self.make(parent, name, new_node(request, kind, mode & !umask), reply);
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let mode = 0o040_000 | mode & 0o7777 & !umask;
        self.make(parent, name, new_node(request, Kind::Folder(Names::default()), mode), reply);
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        self.make(parent, name, new_node(request, Kind::Link(target.to_owned()), 0o120_777), reply);
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.0.lock().remove(parent.0, name), reply);
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.0.lock().remove(parent.0, name), reply);
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if flags.contains(RenameFlags::RENAME_EXCHANGE) {
            return reply.error(Errno::EINVAL);
        }
        let replace = !flags.contains(RenameFlags::RENAME_NOREPLACE);
        done(self.0.lock().rename((parent.0, name), (new_parent.0, new_name), replace), reply);
    }

    fn link(&self, _request: &Request, number: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let linked = self.0.lock().link(number.0, parent.0, name);
        self.entry(linked.map(|()| number.0), reply);
    }

    fn create(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, _flags: i32, reply: ReplyCreate) {
        let node = new_node(request, Kind::File(Bytes::default()), 0o100_000 | mode & 0o7777 & !umask);
        let mut disk = self.0.lock();
        let made = disk.make(parent.0, name, node).and_then(|number| Ok(attributes(number, disk.node(number)?)));
        match made {
            Ok(found) => reply.created(&KEPT, &found, Generation(0), FileHandle(0), FopenFlags::empty()),
            Err(refused) => reply.error(refused.into()),
        }
    }

    fn read(
        &self,
        _request: &Request,
        number: INodeNo,
        _file: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.0.lock().read(number.0, offset as usize, size as usize) {
            Ok(bytes) => reply.data(bytes),
            Err(refused) => reply.error(refused.into()),
        }
    }

    fn write(
        &self,
        _request: &Request,
        number: INodeNo,
        _file: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.0.lock().write(number.0, offset as usize, data) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(refused) => reply.error(refused.into()),
        }
    }

    fn flush(&self, _request: &Request, _number: INodeNo, _file: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _request: &Request, number: INodeNo, _file: FileHandle, _data_only: bool, reply: ReplyEmpty) {
        done(self.0.lock().sync(number.0), reply);
    }

    fn fsyncdir(&self, _request: &Request, number: INodeNo, _file: FileHandle, _data_only: bool, reply: ReplyEmpty) {
        done(self.0.lock().sync(number.0), reply);
    }

    fn readdir(&self, _request: &Request, number: INodeNo, _file: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let disk = self.0.lock();
        let names = match disk.node(number.0) {
            Ok(Node { kind: Kind::Folder(names), .. }) => names.now(),
            Ok(_) => return reply.error(Errno::ENOTDIR),
            Err(refused) => return reply.error(refused.into()),
        };
        let own = [(OsStr::new("."), number.0), (OsStr::new(".."), number.0)];
        let all = own.into_iter().chain(names.iter().map(|(name, number)| (name.as_os_str(), *number)));
        for (place, (name, number)) in all.enumerate().skip(offset as usize) {
            let kind = disk.node(number).map_or(FileType::RegularFile, kind);
            if reply.add(INodeNo(number), place as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _request: &Request, _number: INodeNo, reply: ReplyStatfs) {
        let blocks = 1 << 22;
        reply.statfs(blocks, blocks, blocks, 1 << 20, 1 << 20, BLOCK, 255, BLOCK);
    }
}
