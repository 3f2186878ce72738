//! Requests, decoded and checked: whatever bytes the guest sends, a request names one file in one folder, and its sizes are bounded.

use std::ffi::CStr;

use rustix::io::Errno;

use super::abi::{IN_HEADER, opcode};
use crate::frame::MAX_DATA;

/// The longest name of a file, as everywhere on Linux.
const LONGEST_NAME: usize = 255;
/// The longest extended attribute, as everywhere on Linux.
const LONGEST_XATTR: u32 = 64 << 10;
/// The most bytes that one COPY_FILE_RANGE copies; a caller goes on by itself. It keeps one request from holding a worker for minutes.
const MOST_COPIED: u64 = 64 << 20;

/// Who asks, about what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) unique: u64,
    pub(crate) node: u64,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    opcode: u32,
}

/// One step of a path: not empty, no `/`, neither `.` nor `..`, at most 255 bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Name<'a>(&'a CStr);

impl<'a> Name<'a> {
    fn new(name: &'a CStr) -> Result<Self, Errno> {
        match name.to_bytes() {
            b"" | b"." | b".." => Err(Errno::INVAL),
            bytes if bytes.contains(&b'/') => Err(Errno::INVAL),
            bytes if bytes.len() > LONGEST_NAME => Err(Errno::NAMETOOLONG),
            _ => Ok(Self(name)),
        }
    }

    pub(crate) fn as_c_str(self) -> &'a CStr {
        self.0
    }
}

/// The fields of SETATTR; `valid` tells which count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Changes {
    pub(crate) valid: u32,
    pub(crate) handle: u64,
    pub(crate) size: u64,
    pub(crate) atime: (i64, u32),
    pub(crate) mtime: (i64, u32),
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The fields of COPY_FILE_RANGE.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Copy {
    pub(crate) source: u64,
    pub(crate) source_offset: u64,
    pub(crate) target: u64,
    pub(crate) target_offset: u64,
    pub(crate) length: u64,
}

/// What is asked.
#[derive(Debug)]
pub(crate) enum Operation<'a> {
    Init { major: u32, minor: u32, max_readahead: u32, flags: u32 },
    Destroy,
    Forget(Vec<(u64, u64)>),
    Lookup { name: Name<'a> },
    GetAttributes { handle: Option<u64> },
    SetAttributes(Changes),
    ReadLink,
    SymbolicLink { name: Name<'a>, target: &'a CStr },
    MakeNode { name: Name<'a>, mode: u32 },
    MakeFolder { name: Name<'a>, mode: u32 },
    Unlink { name: Name<'a> },
    RemoveFolder { name: Name<'a> },
    Rename { name: Name<'a>, to: u64, new_name: Name<'a>, flags: u32 },
    Link { source: u64, name: Name<'a> },
    Open { flags: u32, kill: u32 },
    Create { name: Name<'a>, flags: u32, mode: u32 },
    Read { handle: u64, offset: u64, size: usize },
    Write { handle: u64, offset: u64, flags: u32, data: &'a [u8] },
    StatFs,
    Release { handle: u64 },
    Flush { handle: u64 },
    Sync { handle: u64, flags: u32 },
    SetXattr { name: &'a CStr, value: &'a [u8], flags: u32 },
    GetXattr { name: &'a CStr, size: usize },
    ListXattr { size: usize },
    RemoveXattr { name: &'a CStr },
    OpenFolder,
    ReadFolder { handle: u64, offset: u64, size: usize, attributes: bool },
    Access { mask: u32 },
    Allocate { handle: u64, offset: u64, length: u64, mode: u32 },
    Seek { handle: u64, offset: u64, whence: u32 },
    CopyRange(Copy),
}

/// Whether the kernel waits for an answer, and what it asks.
#[derive(Debug)]
pub(crate) enum Request<'a> {
    /// To be answered, with the error at least.
    Answered(Header, Result<Operation<'a>, Errno>),
    /// Never to be answered: a FORGET.
    Silent(Operation<'a>),
    /// Nothing to do: an INTERRUPT of something that a worker already has, or bytes that are no request.
    Nothing,
}

impl<'a> Request<'a> {
    /// Decodes one message.
    pub(crate) fn parse(message: &'a [u8]) -> Self {
        let Some((head, body)) = message.split_at_checked(IN_HEADER) else { return Self::Nothing };
        let mut input = Input(head);
        let Ok((length, header)) = header(&mut input) else { return Self::Nothing };
        let body = Input(body);
        match header.opcode {
            // A request is either with a worker, which does not wait for anything but the host's file system, or not read yet.
            opcode::INTERRUPT | opcode::NOTIFY_REPLY => Self::Nothing,
            opcode::FORGET | opcode::BATCH_FORGET => match forgets(header, body) {
                Ok(forgets) => Self::Silent(Operation::Forget(forgets)),
                Err(_) => Self::Nothing,
            },
            _ if length as usize != message.len() => Self::Answered(header, Err(Errno::INVAL)),
            _ => Self::Answered(header, operation(header, body)),
        }
    }
}

fn header(input: &mut Input<'_>) -> Result<(u32, Header), Errno> {
    let length = input.u32()?;
    let opcode = input.u32()?;
    let unique = input.u64()?;
    let node = input.u64()?;
    let uid = input.u32()?;
    let gid = input.u32()?;
    Ok((length, Header { unique, node, uid, gid, opcode }))
}

fn forgets(header: Header, mut input: Input<'_>) -> Result<Vec<(u64, u64)>, Errno> {
    if header.opcode == opcode::FORGET {
        return Ok(vec![(header.node, input.u64()?)]);
    }
    let count = input.u32()?;
    input.skip(4)?;
    // The count is the guest's word; the bytes are what is there.
    let mut forgets = Vec::new();
    for _ in 0..count {
        forgets.push((input.u64()?, input.u64()?));
    }
    Ok(forgets)
}

fn operation<'a>(header: Header, mut input: Input<'a>) -> Result<Operation<'a>, Errno> {
    Ok(match header.opcode {
        opcode::INIT => {
            let (major, minor) = (input.u32()?, input.u32()?);
            let (max_readahead, flags) = (input.u32()?, input.u32()?);
            Operation::Init { major, minor, max_readahead, flags }
        }
        opcode::DESTROY => Operation::Destroy,
        opcode::LOOKUP => Operation::Lookup { name: input.name()? },
        opcode::GETATTR => {
            let flags = input.u32()?;
            input.skip(4)?;
            let handle = input.u64()?;
            Operation::GetAttributes { handle: (flags & super::abi::GETATTR_FH != 0).then_some(handle) }
        }
        opcode::SETATTR => Operation::SetAttributes(changes(&mut input)?),
        opcode::READLINK => Operation::ReadLink,
        opcode::SYMLINK => {
            let name = input.name()?;
            Operation::SymbolicLink { name, target: input.text()? }
        }
        opcode::MKNOD => {
            let mode = input.u32()?;
            input.skip(12)?;
            Operation::MakeNode { name: input.name()?, mode }
        }
        opcode::MKDIR => {
            let mode = input.u32()?;
            input.skip(4)?;
            Operation::MakeFolder { name: input.name()?, mode }
        }
        opcode::UNLINK => Operation::Unlink { name: input.name()? },
        opcode::RMDIR => Operation::RemoveFolder { name: input.name()? },
        opcode::RENAME => {
            let to = input.u64()?;
            Operation::Rename { to, flags: 0, name: input.name()?, new_name: input.name()? }
        }
        opcode::RENAME2 => {
            let (to, flags) = (input.u64()?, input.u32()?);
            input.skip(4)?;
            Operation::Rename { to, flags, name: input.name()?, new_name: input.name()? }
        }
        opcode::LINK => Operation::Link { source: input.u64()?, name: input.name()? },
        opcode::OPEN => Operation::Open { flags: input.u32()?, kill: input.u32()? },
        opcode::CREATE => {
            let (flags, mode) = (input.u32()?, input.u32()?);
            input.skip(8)?;
            Operation::Create { name: input.name()?, flags, mode }
        }
        opcode::READ => {
            let (handle, offset, size) = (input.u64()?, input.u64()?, input.size()?);
            Operation::Read { handle, offset, size }
        }
        opcode::WRITE => {
            let (handle, offset, size, flags) = (input.u64()?, input.u64()?, input.size()?, input.u32()?);
            input.skip(16)?;
            Operation::Write { handle, offset, flags, data: input.bytes(size)? }
        }
        opcode::STATFS => Operation::StatFs,
        opcode::RELEASE | opcode::RELEASEDIR => Operation::Release { handle: input.u64()? },
        opcode::FLUSH => Operation::Flush { handle: input.u64()? },
        opcode::FSYNC | opcode::FSYNCDIR => Operation::Sync { handle: input.u64()?, flags: input.u32()? },
        opcode::SETXATTR => {
            let (size, flags) = (input.u32()?, input.u32()?);
            let name = input.text()?;
            if size > LONGEST_XATTR {
                return Err(Errno::TOOBIG);
            }
            Operation::SetXattr { name, value: input.bytes(size as usize)?, flags }
        }
        opcode::GETXATTR => {
            let size = input.u32()?.min(LONGEST_XATTR) as usize;
            input.skip(4)?;
            Operation::GetXattr { name: input.text()?, size }
        }
        opcode::LISTXATTR => Operation::ListXattr { size: input.u32()?.min(LONGEST_XATTR) as usize },
        opcode::REMOVEXATTR => Operation::RemoveXattr { name: input.text()? },
        opcode::OPENDIR => Operation::OpenFolder,
        opcode::READDIR | opcode::READDIRPLUS => {
            let (handle, offset, size) = (input.u64()?, input.u64()?, input.size()?);
            Operation::ReadFolder { handle, offset, size, attributes: header.opcode == opcode::READDIRPLUS }
        }
        opcode::ACCESS => Operation::Access { mask: input.u32()? },
        opcode::FALLOCATE => {
            let (handle, offset, length, mode) = (input.u64()?, input.u64()?, input.u64()?, input.u32()?);
            Operation::Allocate { handle, offset, length, mode }
        }
        opcode::LSEEK => {
            let (handle, offset, whence) = (input.u64()?, input.u64()?, input.u32()?);
            Operation::Seek { handle, offset, whence }
        }
        opcode::COPY_FILE_RANGE => {
            let (source, source_offset) = (input.u64()?, input.u64()?);
            input.skip(8)?;
            let (target, target_offset, length) = (input.u64()?, input.u64()?, input.u64()?.min(MOST_COPIED));
            Operation::CopyRange(Copy { source, source_offset, target, target_offset, length })
        }
        // Without a name, as O_TMPFILE is: programs fall back to a name.
        opcode::TMPFILE => return Err(Errno::OPNOTSUPP),
        // The kernel takes this for "never ask again" and does without: locks and leases are then its own.
        _ => return Err(Errno::NOSYS),
    })
}

fn changes(input: &mut Input<'_>) -> Result<Changes, Errno> {
    let valid = input.u32()?;
    input.skip(4)?;
    let (handle, size) = (input.u64()?, input.u64()?);
    input.skip(8)?;
    let (atime, mtime) = (input.u64()?.cast_signed(), input.u64()?.cast_signed());
    input.skip(8)?;
    let (atime_nanos, mtime_nanos) = (input.u32()?, input.u32()?);
    input.skip(4)?;
    let mode = input.u32()?;
    input.skip(4)?;
    let (uid, gid) = (input.u32()?, input.u32()?);
    Ok(Changes { valid, handle, size, atime: (atime, atime_nanos), mtime: (mtime, mtime_nanos), mode, uid, gid })
}

/// What is left of a message.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Errno> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn skip(&mut self, count: usize) -> Result<(), Errno> {
        self.bytes(count).map(drop)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Errno> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn u32(&mut self) -> Result<u32, Errno> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Errno> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number of bytes to read or write. The kernel was told not to ask for more than [`MAX_DATA`].
    fn size(&mut self) -> Result<usize, Errno> {
        let size = self.u32()? as usize;
        if size > MAX_DATA { Err(Errno::INVAL) } else { Ok(size) }
    }

    fn text(&mut self) -> Result<&'a CStr, Errno> {
        let text = CStr::from_bytes_until_nul(self.0).map_err(|_| Errno::INVAL)?;
        self.skip(text.count_bytes() + 1)?;
        Ok(text)
    }

    fn name(&mut self) -> Result<Name<'a>, Errno> {
        Name::new(self.text()?)
    }
}
