//! Files and their metadata, through the functions of the C library.
//!
//! `pseudo` and `fakeroot` answer these functions in its place. Every one used here was tried under both as an ordinary user: `fstatat`,
//! `fstat`, `fchownat`, `fchmodat`, `mknodat`, `linkat`, `unlinkat` and the `l*xattr` family, the latter with names below
//! `/proc/self/fd` too, which is the only way to name a link or device relative to an open directory.
//!
//! Everything else that touches files of a tree or a layout goes through the C library as well: the standard library does, and `rustix`,
//! which `tempfile` is built on, does with its feature `use-libc`. A file that got its name past `pseudo` makes it end the program.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::c_int;

use crate::{Kind, Time};

/// Bytes that a path given to the system may have, its final zero byte included.
pub(crate) const PATH_MAX: usize = libc::PATH_MAX as usize;

/// What the system says about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// File system and number in it: two names with the same pair are one file.
    pub identity: (u64, u64),
    /// Kind and permissions, as `st_mode` has them.
    pub mode: u32,
    /// Names that the file has.
    pub links: u64,
    pub uid: u32,
    pub gid: u32,
    /// Device number of a device.
    device: u64,
    /// Bytes; of a regular file only.
    pub size: u64,
    pub mtime: Time,
}

impl Status {
    /// What the file is. None for a socket.
    ///
    /// A symbolic link comes without what it says.
    pub(crate) fn kind(&self) -> Option<Kind> {
        let (major, minor) = (libc::major(self.device), libc::minor(self.device));
        Some(match self.mode & libc::S_IFMT {
            libc::S_IFREG => Kind::Regular,
            libc::S_IFDIR => Kind::Directory,
            libc::S_IFLNK => Kind::Symlink(Vec::new()),
            libc::S_IFCHR => Kind::Character { major, minor },
            libc::S_IFBLK => Kind::Block { major, minor },
            libc::S_IFIFO => Kind::Fifo,
            _ => return None,
        })
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }

    pub(crate) fn is_symlink(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFLNK
    }

    #[allow(clippy::unnecessary_cast)] // The widths differ between architectures.
    fn new(stat: &libc::stat64) -> Self {
        let regular = stat.st_mode & libc::S_IFMT == libc::S_IFREG;
        Self {
            identity: (stat.st_dev as u64, stat.st_ino as u64),
            mode: stat.st_mode,
            links: stat.st_nlink as u64,
            uid: stat.st_uid,
            gid: stat.st_gid,
            device: stat.st_rdev as u64,
            size: if regular { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 },
            mtime: Time {
                seconds: stat.st_mtime as i64,
                nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(0).min(999_999_999),
            },
        }
    }
}

/// The outcome of a function that answers -1 for an error.
fn done(answer: c_int) -> io::Result<()> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The length that a function answers, or the error that -1 stands for.
fn length(answer: isize) -> io::Result<usize> {
    usize::try_from(answer).map_err(|_| io::Error::last_os_error())
}

fn c_string(name: &[u8]) -> io::Result<CString> {
    CString::new(name).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// What `name` in this directory is, links not followed.
pub(crate) fn status_at(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<Status> {
    let name = c_string(name)?;
    let mut stat = MaybeUninit::<libc::stat64>::zeroed();
    // SAFETY: the name ends with a zero byte and `stat` is as large as the function expects.
    done(unsafe { libc::fstatat64(directory.as_raw_fd(), name.as_ptr(), stat.as_mut_ptr(), libc::AT_SYMLINK_NOFOLLOW) })?;
    // SAFETY: all zero bytes are a valid value of this plain structure, whether or not it was filled.
    Ok(Status::new(&unsafe { stat.assume_init() }))
}

/// Whether `name` in this directory is a directory; `None` when there is nothing of that name.
pub(crate) fn is_directory_at(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<bool>> {
    match status_at(directory, name) {
        Ok(status) => Ok(Some(status.is_directory())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What an open file is.
pub(crate) fn status(file: BorrowedFd<'_>) -> io::Result<Status> {
    let mut stat = MaybeUninit::<libc::stat64>::zeroed();
    // SAFETY: `stat` is as large as the function expects.
    done(unsafe { libc::fstat64(file.as_raw_fd(), stat.as_mut_ptr()) })?;
    // SAFETY: all zero bytes are a valid value of this plain structure, whether or not it was filled.
    Ok(Status::new(&unsafe { stat.assume_init() }))
}

/// How a file is opened. None of them follows a link in the last part of the name.
#[derive(Clone, Copy)]
pub(crate) enum Open {
    /// A directory, to list it and to name files in it.
    Directory,
    /// A file that exists, to read it; a pipe does not block.
    Read,
    /// A file that does not exist, to write it; of mode 0600.
    Create,
}

/// Opens `name` in this directory.
pub(crate) fn open_at(directory: BorrowedFd<'_>, name: &[u8], how: Open) -> io::Result<OwnedFd> {
    let name = c_string(name)?;
    let flags = libc::O_CLOEXEC
        | libc::O_NOFOLLOW
        | match how {
            Open::Directory => libc::O_RDONLY | libc::O_DIRECTORY,
            Open::Read => libc::O_RDONLY | libc::O_NONBLOCK,
            Open::Create => libc::O_RDWR | libc::O_CREAT | libc::O_EXCL,
        };
    loop {
        // SAFETY: the name ends with a zero byte; the mode is given, which creating files asks for.
        let file = unsafe { libc::openat64(directory.as_raw_fd(), name.as_ptr(), flags, 0o600 as libc::c_uint) };
        match done(file) {
            // SAFETY: the function made this descriptor, and nobody else knows it.
            Ok(()) => return Ok(unsafe { OwnedFd::from_raw_fd(file) }),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Opens what lies at `path` below this directory, however long the path is. Links in its parents are followed.
pub(crate) fn open_below(directory: BorrowedFd<'_>, path: &[u8], how: Open) -> io::Result<OwnedFd> {
    let mut above: Option<OwnedFd> = None;
    let mut rest = path;
    loop {
        let from = above.as_ref().map_or(directory, std::os::fd::AsFd::as_fd);
        if rest.len() < PATH_MAX {
            return open_at(from, if rest.is_empty() { b"." } else { rest }, how);
        }
        let slash = rest[..PATH_MAX].iter().rposition(|byte| *byte == b'/');
        let slash = slash.ok_or_else(|| io::Error::from_raw_os_error(libc::ENAMETOOLONG))?;
        let next = open_at(from, &rest[..slash], Open::Directory)?;
        above = Some(next);
        rest = &rest[slash + 1..];
    }
}

/// The names in a directory, in no order, without `.` and `..`.
pub(crate) fn names(directory: BorrowedFd<'_>) -> io::Result<Vec<Vec<u8>>> {
    /// Closes the stream, and the descriptor in it, however the listing ends.
    struct Stream(*mut libc::DIR);
    impl Drop for Stream {
        fn drop(&mut self) {
            // SAFETY: the stream was opened below and is closed once.
            unsafe { libc::closedir(self.0) };
        }
    }
    // Opened anew, so that the listing begins at the first name whoever read this directory before.
    let own = open_at(directory, b".", Open::Directory)?;
    // SAFETY: the descriptor is one of a directory, and belongs to the stream from here on if there is one.
    let stream = unsafe { libc::fdopendir(own.as_raw_fd()) };
    if stream.is_null() {
        return Err(io::Error::last_os_error());
    }
    std::mem::forget(own);
    let stream = Stream(stream);
    let mut names = Vec::new();
    loop {
        // SAFETY: the place of `errno` is valid in every thread. It alone tells an error from the end of the listing.
        unsafe { *libc::__errno_location() = 0 };
        // SAFETY: the stream is open, and no other thread knows it.
        let entry = unsafe { libc::readdir64(stream.0) };
        if entry.is_null() {
            let error = io::Error::last_os_error();
            return if error.raw_os_error() == Some(0) { Ok(names) } else { Err(error) };
        }
        // SAFETY: an entry's name ends with a zero byte, and stays until the next call for this stream.
        let name = unsafe { CStr::from_ptr((&raw const (*entry).d_name).cast()) }.to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
}

/// What the symbolic link `name` in this directory says.
pub(crate) fn read_link_at(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<Vec<u8>> {
    let name = c_string(name)?;
    let mut target = vec![0; PATH_MAX];
    // SAFETY: the name ends with a zero byte, and no more bytes are written than `target` has.
    let read = unsafe { libc::readlinkat(directory.as_raw_fd(), name.as_ptr(), target.as_mut_ptr().cast(), target.len()) };
    target.truncate(length(read)?);
    target.shrink_to_fit();
    Ok(target)
}

/// Makes a directory that its owner alone may enter.
pub(crate) fn make_directory_at(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let name = c_string(name)?;
    // SAFETY: the name ends with a zero byte.
    done(unsafe { libc::mkdirat(directory.as_raw_fd(), name.as_ptr(), 0o700) })
}

/// Makes a device or a named pipe, of mode 0600. `kind` is neither a regular file nor a directory or link.
pub(crate) fn make_node_at(directory: BorrowedFd<'_>, name: &[u8], kind: &Kind) -> io::Result<()> {
    let name = c_string(name)?;
    let (mode, device) = match kind {
        Kind::Character { major, minor } => (libc::S_IFCHR, libc::makedev(*major, *minor)),
        Kind::Block { major, minor } => (libc::S_IFBLK, libc::makedev(*major, *minor)),
        Kind::Fifo => (libc::S_IFIFO, 0),
        _ => return Err(io::Error::from(io::ErrorKind::InvalidInput)),
    };
    // SAFETY: the name ends with a zero byte.
    done(unsafe { libc::mknodat(directory.as_raw_fd(), name.as_ptr(), mode | 0o600, device) })
}

/// Makes a symbolic link.
pub(crate) fn symlink_at(target: &[u8], directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let (target, name) = (c_string(target)?, c_string(name)?);
    // SAFETY: both strings end with a zero byte.
    done(unsafe { libc::symlinkat(target.as_ptr(), directory.as_raw_fd(), name.as_ptr()) })
}

/// Gives the file `old`, which may itself be a symbolic link, another name.
pub(crate) fn link_at(from: BorrowedFd<'_>, old: &[u8], directory: BorrowedFd<'_>, new: &[u8]) -> io::Result<()> {
    let (old, new) = (c_string(old)?, c_string(new)?);
    // SAFETY: both names end with a zero byte.
    done(unsafe { libc::linkat(from.as_raw_fd(), old.as_ptr(), directory.as_raw_fd(), new.as_ptr(), 0) })
}

/// Removes a name: of an empty directory, or of anything else.
pub(crate) fn unlink_at(directory: BorrowedFd<'_>, name: &[u8], is_directory: bool) -> io::Result<()> {
    let name = c_string(name)?;
    let flags = if is_directory { libc::AT_REMOVEDIR } else { 0 };
    // SAFETY: the name ends with a zero byte.
    done(unsafe { libc::unlinkat(directory.as_raw_fd(), name.as_ptr(), flags) })
}

/// Sets owner and group, of a link itself too.
pub(crate) fn set_owner_at(directory: BorrowedFd<'_>, name: &[u8], uid: u32, gid: u32) -> io::Result<()> {
    let name = c_string(name)?;
    // SAFETY: the name ends with a zero byte.
    done(unsafe { libc::fchownat(directory.as_raw_fd(), name.as_ptr(), uid, gid, libc::AT_SYMLINK_NOFOLLOW) })
}

/// Sets permissions, of a link's target where `name` is one.
pub(crate) fn set_mode_at(directory: BorrowedFd<'_>, name: &[u8], mode: u32) -> io::Result<()> {
    let name = c_string(name)?;
    // SAFETY: the name ends with a zero byte.
    done(unsafe { libc::fchmodat(directory.as_raw_fd(), name.as_ptr(), mode, 0) })
}

/// Sets permissions, never those of a link's target: where `name` is a link, this fails.
pub(crate) fn set_own_mode_at(directory: BorrowedFd<'_>, name: &[u8], mode: u32) -> io::Result<()> {
    let name = c_string(name)?;
    let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: the name ends with a zero byte; no file is created.
    let file = unsafe { libc::openat64(directory.as_raw_fd(), name.as_ptr(), flags) };
    done(file)?;
    // SAFETY: the function made this descriptor, and nobody else knows it.
    let file = unsafe { OwnedFd::from_raw_fd(file) };
    let path = c_string(format!("/proc/self/fd/{}", file.as_raw_fd()).as_bytes())?;
    // SAFETY: the path ends with a zero byte.
    done(unsafe { libc::chmod(path.as_ptr(), mode) })
}

/// Gives a file another name, in the place of what has that name and is no directory.
pub(crate) fn rename_at(from: BorrowedFd<'_>, old: &[u8], directory: BorrowedFd<'_>, new: &[u8]) -> io::Result<()> {
    let (old, new) = (c_string(old)?, c_string(new)?);
    // SAFETY: both names end with a zero byte.
    done(unsafe { libc::renameat(from.as_raw_fd(), old.as_ptr(), directory.as_raw_fd(), new.as_ptr()) })
}

/// Sets the time of the last change, and of the last reading to the same; of a link itself too.
pub(crate) fn set_mtime_at(directory: BorrowedFd<'_>, name: &[u8], mtime: Time) -> io::Result<()> {
    let name = c_string(name)?;
    // SAFETY: all zero bytes are a valid value of this plain structure.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    time.tv_sec = libc::time_t::from(mtime.seconds);
    time.tv_nsec = mtime.nanoseconds.into();
    let times = [time, time];
    // SAFETY: the name ends with a zero byte, and `times` has the two elements that the function reads.
    done(unsafe { libc::utimensat(directory.as_raw_fd(), name.as_ptr(), times.as_ptr(), libc::AT_SYMLINK_NOFOLLOW) })
}

/// How the system can be asked about the attributes of `name` in this directory: there are no functions that take both.
fn attribute_path(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<CString> {
    let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    c_string(&path)
}

/// The names and values of the extended attributes of `name` in this directory, of a link itself too; as far as `wanted` says.
/// None on file systems without attributes.
pub(crate) fn xattrs_at(
    directory: BorrowedFd<'_>,
    name: &[u8],
    wanted: impl Fn(&[u8]) -> bool,
) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let path = attribute_path(directory, name)?;
    // SAFETY: the path ends with a zero byte, and no more bytes are written than the buffer is said to have.
    let list = sized(|buffer, size| unsafe { libc::llistxattr(path.as_ptr(), buffer.cast(), size) });
    let list = match list {
        Ok(list) => list,
        Err(error) if error.raw_os_error() == Some(libc::ENOTSUP) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut attributes = Vec::new();
    for name in list.split(|byte| *byte == 0).filter(|name| !name.is_empty() && wanted(name)) {
        let attribute = c_string(name)?;
        // SAFETY: path and name end with a zero byte, and no more bytes are written than the buffer is said to have.
        let value = sized(|buffer, size| unsafe { libc::lgetxattr(path.as_ptr(), attribute.as_ptr(), buffer.cast(), size) });
        let value = match value {
            // `pseudo` lists attributes of no bytes, and then denies them.
            Err(error) if error.raw_os_error() == Some(libc::ENODATA) => Vec::new(),
            value => value?,
        };
        attributes.push((name.to_vec(), value));
    }
    Ok(attributes)
}

/// Calls a function that says how many bytes there are when it is given no buffer, and fills one otherwise.
///
/// Not every one fails when the buffer is too small: those of `pseudo` fill it, and answer how many bytes there would be.
fn sized(call: impl Fn(*mut u8, usize) -> isize) -> io::Result<Vec<u8>> {
    loop {
        let mut buffer = vec![0; length(call(std::ptr::null_mut(), 0))?];
        if buffer.is_empty() {
            return Ok(buffer);
        }
        match length(call(buffer.as_mut_ptr(), buffer.len())) {
            Ok(filled) if filled <= buffer.len() => {
                buffer.truncate(filled);
                return Ok(buffer);
            }
            Err(error) if error.raw_os_error() != Some(libc::ERANGE) => return Err(error),
            // It has grown since.
            Ok(_) | Err(_) => {}
        }
    }
}

/// Sets an extended attribute of `name` in this directory, of a link itself too.
pub(crate) fn set_xattr_at(directory: BorrowedFd<'_>, name: &[u8], attribute: &[u8], value: &[u8]) -> io::Result<()> {
    let (path, attribute) = (attribute_path(directory, name)?, c_string(attribute)?);
    // SAFETY: path and name end with a zero byte, and `value` has as many bytes as are read.
    done(unsafe { libc::lsetxattr(path.as_ptr(), attribute.as_ptr(), value.as_ptr().cast(), value.len(), 0) })
}

/// The next run of bytes at or after `offset` that the file system stores: where it begins and ends. None when only a hole follows.
///
/// On file systems that do not tell, everything is stored.
pub(crate) fn next_data(file: BorrowedFd<'_>, offset: u64, size: u64) -> io::Result<Option<(u64, u64)>> {
    let seek = |offset: u64, whence| {
        let offset = libc::off64_t::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        // SAFETY: moving the position of an open file touches no memory of this process.
        let found = unsafe { libc::lseek64(file.as_raw_fd(), offset, whence) };
        u64::try_from(found).map_err(|_| io::Error::last_os_error())
    };
    let unknown = |error: &io::Error| error.raw_os_error() == Some(libc::EINVAL);
    let start = match seek(offset, libc::SEEK_DATA) {
        Ok(start) => start,
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => return Ok(None),
        Err(error) if unknown(&error) => return Ok((offset < size).then_some((offset, size))),
        Err(error) => return Err(error),
    };
    match seek(start, libc::SEEK_HOLE) {
        Ok(end) => Ok(Some((start, end))),
        Err(error) if unknown(&error) => Ok(Some((start, size))),
        Err(error) => Err(error),
    }
}
