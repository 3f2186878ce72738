//! Numbers of the FUSE protocol, as in Linux' `include/uapi/linux/fuse.h`. They are the same on every architecture; the flags of `open` are not,
//! except for those named here.

/// The protocol's major version, which never changed in the time of any supported kernel.
pub(crate) const MAJOR: u32 = 7;
/// The newest minor version spoken here. A newer kernel keeps to it.
pub(crate) const MINOR: u32 = 37;
/// The oldest one, of Linux 4.20: all messages have had their present size since then.
pub(crate) const OLDEST_MINOR: u32 = 28;

/// The node of a volume's root.
pub(crate) const ROOT: u64 = 1;

/// Bytes of a request's header.
pub(crate) const IN_HEADER: usize = 40;
/// Bytes of a reply's header.
pub(crate) const OUT_HEADER: usize = 16;

/// What the kernel asks for.
pub(crate) mod opcode {
    pub(crate) const LOOKUP: u32 = 1;
    pub(crate) const FORGET: u32 = 2;
    pub(crate) const GETATTR: u32 = 3;
    pub(crate) const SETATTR: u32 = 4;
    pub(crate) const READLINK: u32 = 5;
    pub(crate) const SYMLINK: u32 = 6;
    pub(crate) const MKNOD: u32 = 8;
    pub(crate) const MKDIR: u32 = 9;
    pub(crate) const UNLINK: u32 = 10;
    pub(crate) const RMDIR: u32 = 11;
    pub(crate) const RENAME: u32 = 12;
    pub(crate) const LINK: u32 = 13;
    pub(crate) const OPEN: u32 = 14;
    pub(crate) const READ: u32 = 15;
    pub(crate) const WRITE: u32 = 16;
    pub(crate) const STATFS: u32 = 17;
    pub(crate) const RELEASE: u32 = 18;
    pub(crate) const FSYNC: u32 = 20;
    pub(crate) const SETXATTR: u32 = 21;
    pub(crate) const GETXATTR: u32 = 22;
    pub(crate) const LISTXATTR: u32 = 23;
    pub(crate) const REMOVEXATTR: u32 = 24;
    pub(crate) const FLUSH: u32 = 25;
    pub(crate) const INIT: u32 = 26;
    pub(crate) const OPENDIR: u32 = 27;
    pub(crate) const READDIR: u32 = 28;
    pub(crate) const RELEASEDIR: u32 = 29;
    pub(crate) const FSYNCDIR: u32 = 30;
    pub(crate) const ACCESS: u32 = 34;
    pub(crate) const CREATE: u32 = 35;
    pub(crate) const INTERRUPT: u32 = 36;
    pub(crate) const DESTROY: u32 = 38;
    pub(crate) const NOTIFY_REPLY: u32 = 41;
    pub(crate) const BATCH_FORGET: u32 = 42;
    pub(crate) const FALLOCATE: u32 = 43;
    pub(crate) const READDIRPLUS: u32 = 44;
    pub(crate) const RENAME2: u32 = 45;
    pub(crate) const LSEEK: u32 = 46;
    pub(crate) const COPY_FILE_RANGE: u32 = 47;
    pub(crate) const TMPFILE: u32 = 51;
}

/// What both sides can do, as agreed upon at INIT.
pub(crate) mod init {
    pub(crate) const ASYNC_READ: u32 = 1 << 0;
    pub(crate) const ATOMIC_O_TRUNC: u32 = 1 << 3;
    pub(crate) const BIG_WRITES: u32 = 1 << 5;
    pub(crate) const AUTO_INVAL_DATA: u32 = 1 << 12;
    pub(crate) const DO_READDIRPLUS: u32 = 1 << 13;
    pub(crate) const READDIRPLUS_AUTO: u32 = 1 << 14;
    pub(crate) const ASYNC_DIO: u32 = 1 << 15;
    pub(crate) const PARALLEL_DIROPS: u32 = 1 << 18;
    pub(crate) const MAX_PAGES: u32 = 1 << 22;
    pub(crate) const CACHE_SYMLINKS: u32 = 1 << 23;
    pub(crate) const HANDLE_KILLPRIV_V2: u32 = 1 << 28;
}

/// Which fields of SETATTR count.
pub(crate) mod setattr {
    pub(crate) const MODE: u32 = 1 << 0;
    pub(crate) const UID: u32 = 1 << 1;
    pub(crate) const GID: u32 = 1 << 2;
    pub(crate) const SIZE: u32 = 1 << 3;
    pub(crate) const ATIME: u32 = 1 << 4;
    pub(crate) const MTIME: u32 = 1 << 5;
    pub(crate) const FH: u32 = 1 << 6;
    pub(crate) const ATIME_NOW: u32 = 1 << 7;
    pub(crate) const MTIME_NOW: u32 = 1 << 8;
    pub(crate) const KILL_SUIDGID: u32 = 1 << 11;
}

/// GETATTR names an open file.
pub(crate) const GETATTR_FH: u32 = 1 << 0;
/// FSYNC is for the data alone.
pub(crate) const FSYNC_DATA: u32 = 1 << 0;
/// A WRITE of pages from the guest's cache, by way of whichever open file there is.
pub(crate) const WRITE_CACHE: u32 = 1 << 0;
/// A WRITE takes away setuid and setgid.
pub(crate) const WRITE_KILL_SUIDGID: u32 = 1 << 2;
/// An OPEN that truncates takes away setuid and setgid.
pub(crate) const OPEN_KILL_SUIDGID: u32 = 1 << 0;
/// The pages that the guest has of the file are still right.
pub(crate) const FOPEN_KEEP_CACHE: u32 = 1 << 1;

/// The flags of `open` that matter on the host and have one value on x86-64 and on arm64. `O_DIRECT`, `O_DIRECTORY` and `O_NOFOLLOW` do not, and the
/// guest's kernel has dealt with them.
pub(crate) mod open {
    pub(crate) const ACCESS_MODE: u32 = 0o3;
    pub(crate) const WRITE_ONLY: u32 = 0o1;
    pub(crate) const READ_WRITE: u32 = 0o2;
    pub(crate) const EXCL: u32 = 0o200;
    pub(crate) const TRUNC: u32 = 0o1000;
    pub(crate) const APPEND: u32 = 0o2000;
    pub(crate) const DSYNC: u32 = 0o10000;
    pub(crate) const SYNC: u32 = 0o4_010_000;
}

/// A notice, in the place of an error: attributes of a node are to be asked for again.
pub(crate) const NOTIFY_INVAL_INODE: i32 = 2;
