//! What a layer says of its files, record by record.
//!
//! A record is bytes and numbers (LEB128, negative ones in zigzag form), in this order: how many bytes its path has in common with that of
//! the record before, the rest of the path, its kind, and for a file its mode, owner, group, time and attributes and what its kind needs.

use wharf_layers::{EntryPath, Time};

/// What a layer does at one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub path: EntryPath,
    pub change: Change,
}

/// What a record does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing of lower layers at this path.
    Whiteout,
    /// Nothing of lower layers in this directory.
    Opaque,
    /// Another name of the file that is at this path.
    Link(EntryPath),
    /// A file.
    File(Attributes, What),
}

/// Owner, mode, time and extended attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// The lower twelve bits.
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Time,
    /// By name, ascending.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Directory,
    /// Its bytes, and the block of the layer's file where they begin.
    Regular {
        size: u64,
        block: u64,
    },
    Symlink(Vec<u8>),
    Fifo,
    /// With numbers that fit into twelve and twenty bits.
    Character {
        major: u32,
        minor: u32,
    },
    Block {
        major: u32,
        minor: u32,
    },
}

const WHITEOUT: u8 = 0;
const OPAQUE: u8 = 1;
const LINK: u8 = 2;
const DIRECTORY: u8 = 3;
const REGULAR: u8 = 4;
const SYMLINK: u8 = 5;
const FIFO: u8 = 6;
const CHARACTER: u8 = 7;
const BLOCK_DEVICE: u8 = 8;

/// Writes records. What it wrote is taken out by whoever holds it.
#[derive(Default)]
pub(crate) struct Encoder {
    pub bytes: Vec<u8>,
    path: Vec<u8>,
}

impl Encoder {
    pub fn push(&mut self, record: &Record) {
        let path = record.path.as_bytes();
        let common = path.iter().zip(&self.path).take_while(|(one, other)| one == other).count();
        self.number(common as u64);
        self.bytes(&path[common..]);
        self.path.truncate(common);
        self.path.extend_from_slice(&path[common..]);
        match &record.change {
            Change::Whiteout => self.bytes.push(WHITEOUT),
            Change::Opaque => self.bytes.push(OPAQUE),
            Change::Link(target) => {
                self.bytes.push(LINK);
                self.bytes(target.as_bytes());
            }
            Change::File(attributes, what) => self.file(attributes, what),
        }
    }

    fn file(&mut self, attributes: &Attributes, what: &What) {
        let kind = match what {
            What::Directory => DIRECTORY,
            What::Regular { .. } => REGULAR,
            What::Symlink(_) => SYMLINK,
            What::Fifo => FIFO,
            What::Character { .. } => CHARACTER,
            What::Block { .. } => BLOCK_DEVICE,
        };
        self.bytes.push(kind);
        for number in [u64::from(attributes.mode), u64::from(attributes.uid), u64::from(attributes.gid)] {
            self.number(number);
        }
        let seconds = attributes.mtime.seconds;
        self.number(((seconds << 1) ^ (seconds >> 63)) as u64);
        self.number(u64::from(attributes.mtime.nanoseconds));
        self.number(attributes.xattrs.len() as u64);
        for (name, value) in &attributes.xattrs {
            self.bytes(name);
            self.bytes(value);
        }
        match *what {
            What::Symlink(ref target) => self.bytes(target),
            What::Regular { size, block } => [size, block].into_iter().for_each(|number| self.number(number)),
            What::Character { major, minor } | What::Block { major, minor } => {
                [major, minor].into_iter().for_each(|number| self.number(number.into()));
            }
            What::Directory | What::Fifo => {}
        }
    }

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }
}

/// Reads records. Where there is none any more although there are bytes, [`Records::is_whole`] is false.
pub(crate) struct Records<'a> {
    rest: &'a [u8],
    path: Vec<u8>,
    damaged: bool,
}

impl<'a> Records<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, path: Vec::new(), damaged: false }
    }

    /// Whether all of it was records, once there are no more.
    pub fn is_whole(&self) -> bool {
        !self.damaged
    }

    fn record(&mut self) -> Option<Record> {
        let common = usize::try_from(self.number()?).ok().filter(|common| *common <= self.path.len())?;
        let rest = self.bytes()?;
        self.path.truncate(common);
        self.path.extend_from_slice(rest);
        let path = EntryPath::parse(&self.path).ok()?;
        let change = match self.byte()? {
            WHITEOUT => Change::Whiteout,
            OPAQUE => Change::Opaque,
            LINK => Change::Link(EntryPath::parse(self.bytes()?).ok()?),
            kind => {
                let attributes = self.attributes()?;
                Change::File(attributes, self.what(kind)?)
            }
        };
        Some(Record { path, change })
    }

    fn attributes(&mut self) -> Option<Attributes> {
        let mode = u16::try_from(self.number()?).ok().filter(|mode| *mode <= 0o7777)?;
        let (uid, gid) = (self.short()?, self.short()?);
        let seconds = self.number()?;
        let seconds = (seconds >> 1) as i64 ^ -((seconds & 1) as i64);
        let nanoseconds = self.short()?;
        let mut xattrs = Vec::new();
        for _ in 0..self.number()? {
            xattrs.push((self.bytes()?.to_vec(), self.bytes()?.to_vec()));
        }
        Some(Attributes { mode, uid, gid, mtime: Time { seconds, nanoseconds }, xattrs })
    }

    fn what(&mut self, kind: u8) -> Option<What> {
        Some(match kind {
            DIRECTORY => What::Directory,
            REGULAR => What::Regular { size: self.number()?, block: self.number()? },
            SYMLINK => What::Symlink(self.bytes()?.to_vec()),
            FIFO => What::Fifo,
            CHARACTER => What::Character { major: self.short()?, minor: self.short()? },
            BLOCK_DEVICE => What::Block { major: self.short()?, minor: self.short()? },
            _ => return None,
        })
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn short(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }
}

impl Iterator for Records<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        if self.rest.is_empty() || self.damaged {
            return None;
        }
        let record = self.record();
        self.damaged = record.is_none();
        record
    }
}
