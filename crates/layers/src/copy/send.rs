//! What lies at a place, as an archive.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::place::Place;
use super::{BUFFER, DEPTH_MAX};
use crate::system::{self, Open, Status};
use crate::tar::{END, encode, padding};
use crate::{Entry, EntryPath, Kind, LayersError};

/// Which extended attributes come along, by name.
pub type Wanted = fn(&[u8]) -> bool;

/// Which directories are sent without what is in them, of one that is open.
pub type Hollow = fn(BorrowedFd<'_>) -> io::Result<bool>;

/// Writes an archive as a stream: directories before what is in them, names sorted, second names of a file as hard links. Links are never followed.
///
/// A file that grows meanwhile is cut at the length that it had, one that vanishes below a directory is left out, and sockets there are, too.
pub struct Sender<W> {
    out: W,
    wanted: Wanted,
    hollow: Hollow,
    /// The names of files that have several, by what tells them apart.
    names: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
    written: u64,
}

/// A directory that is being sent.
struct Folder {
    directory: OwnedFd,
    path: EntryPath,
    /// The names that are still to go, the next one last.
    names: Vec<Vec<u8>>,
}

impl<W: Write> Sender<W> {
    /// To a stream, which need not be buffered.
    pub fn new(out: W, wanted: Wanted) -> Self {
        Self { out, wanted, hollow: |_| Ok(false), names: HashMap::new(), buffer: vec![0; BUFFER], written: 0 }
    }

    /// Of these directories what is in them is left out.
    #[must_use]
    pub fn leaving_empty(self, hollow: Hollow) -> Self {
        Self { hollow, ..self }
    }

    /// Send what lies at a place, all that is in it included. In the archive it is called `name`, where `.` is the root; errors call it `shown`.
    ///
    /// # Errors
    /// What is not there or cannot be read, what no archive can hold, as a socket that is no more than that, a file that shrinks meanwhile, and what the stream fails with.
    pub fn send(&mut self, place: &Place, name: &[u8], shown: &Path) -> Result<(), LayersError> {
        let path = EntryPath::parse(name).map_err(|why| LayersError::Name { name: name.to_vec(), why })?;
        let status = place.status().map_err(LayersError::file("read", shown))?;
        if status.kind().is_none() {
            let why = "a socket is of use to the program alone that made it".to_owned();
            return Err(LayersError::Refused { name: shown.as_os_str().as_bytes().to_vec(), why });
        }
        let mut open: Vec<Folder> =
            self.one(place.directory(), place.name(), path.clone(), &status, shown)?.into_iter().collect();
        let below = |child: &EntryPath| {
            let rest = &child.as_bytes()[path.as_bytes().len()..];
            shown.join(OsStr::from_bytes(rest.strip_prefix(b"/").unwrap_or(rest)))
        };
        while let Some(last) = open.last_mut() {
            let Some(name) = last.names.pop() else {
                open.pop();
                continue;
            };
            let child = last.path.join(&name);
            let shown = below(&child);
            let status = match system::status_at(last.directory.as_fd(), &name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                status => status.map_err(LayersError::file("read", &shown))?,
            };
            let directory = last.directory.try_clone().map_err(LayersError::file("read", &shown))?;
            if let Some(next) = self.one(directory.as_fd(), &name, child, &status, &shown)? {
                if open.len() == DEPTH_MAX {
                    let why = format!("more than {DEPTH_MAX} folders lie in each other");
                    return Err(LayersError::Refused { name: shown.as_os_str().as_bytes().to_vec(), why });
                }
                open.push(next);
            }
        }
        Ok(())
    }

    /// End the archive: the bytes that it has.
    ///
    /// # Errors
    /// What the stream fails with.
    pub fn finish(mut self) -> Result<u64, LayersError> {
        self.write(&END)?;
        self.out.flush().map_err(LayersError::stream("writing the archive"))?;
        Ok(self.written)
    }

    /// Send one file; of a directory what is in it comes next.
    fn one(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        path: EntryPath,
        status: &Status,
        shown: &Path,
    ) -> Result<Option<Folder>, LayersError> {
        let Some(mut kind) = status.kind() else { return Ok(None) };
        let failed = |what| LayersError::file(what, shown);
        if let Kind::Symlink(target) = &mut kind {
            *target = match system::read_link_at(directory, name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                target => target.map_err(failed("read the link"))?,
            };
        }
        let xattrs = system::xattrs_at(directory, name, self.wanted).map_err(failed("read the attributes of"))?;
        let entry = Entry {
            name: if path.is_root() { b".".to_vec() } else { path.as_bytes().to_vec() },
            kind,
            mode: status.mode & 0o7777,
            uid: status.uid.into(),
            gid: status.gid.into(),
            mtime: status.mtime,
            size: status.size,
            xattrs: xattrs.into_iter().collect(),
        };
        match &entry.kind {
            Kind::Directory => {
                let open = system::open_at(directory, name, Open::Directory).map_err(failed("read"))?;
                check(open.as_fd(), status, shown)?;
                let is_hollow = (self.hollow)(open.as_fd()).map_err(failed("read"))?;
                let mut names = if is_hollow { Vec::new() } else { system::names(open.as_fd()).map_err(failed("read"))? };
                names.sort_unstable_by(|one, other| other.cmp(one));
                self.header(&entry)?;
                Ok(Some(Folder { directory: open, path, names }))
            }
            _ if status.links > 1 && self.names.contains_key(&status.identity) => {
                let first = self.names.get(&status.identity).cloned().unwrap_or_default();
                self.header(&Entry { kind: Kind::Hardlink(first), size: 0, xattrs: Default::default(), ..entry })?;
                Ok(None)
            }
            Kind::Regular => {
                let open: File = system::open_at(directory, name, Open::Read).map_err(failed("read"))?.into();
                let now = check(open.as_fd(), status, shown)?;
                self.remember(status, &entry);
                self.content(open, &Entry { size: now.size, ..entry }, shown)?;
                Ok(None)
            }
            _ => {
                self.remember(status, &entry);
                self.header(&entry)?;
                Ok(None)
            }
        }
    }

    fn remember(&mut self, status: &Status, entry: &Entry) {
        // overlayfs marks what was removed with names of one device, each of which is a mark of its own.
        if status.links > 1 && entry.kind != (Kind::Character { major: 0, minor: 0 }) {
            self.names.insert(status.identity, entry.name.clone());
        }
    }

    fn content(&mut self, file: File, entry: &Entry, shown: &Path) -> Result<(), LayersError> {
        self.header(entry)?;
        let mut from = file.take(entry.size);
        let mut left = entry.size;
        let mut buffer = std::mem::take(&mut self.buffer);
        while left > 0 {
            let read = match from.read(&mut buffer) {
                Ok(0) => return Err(LayersError::Changed { path: shown.to_owned() }),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(LayersError::file("read", shown)(error)),
            };
            self.write(&buffer[..read])?;
            left -= read as u64;
        }
        self.buffer = buffer;
        let zeros = padding(entry.size);
        self.write(&END[..zeros])
    }

    fn header(&mut self, entry: &Entry) -> Result<(), LayersError> {
        let header = encode(entry)?;
        self.write(&header)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), LayersError> {
        self.written += bytes.len() as u64;
        self.out.write_all(bytes).map_err(LayersError::stream("writing the archive"))
    }
}

/// What an open file is, which has to be the one that was found before: another one may have taken its place.
fn check(file: BorrowedFd<'_>, found: &Status, shown: &Path) -> Result<Status, LayersError> {
    let now = system::status(file).map_err(LayersError::file("read", shown))?;
    if now.identity == found.identity { Ok(now) } else { Err(LayersError::Changed { path: PathBuf::from(shown) }) }
}
