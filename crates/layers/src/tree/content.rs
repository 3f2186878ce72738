//! The content of nodes.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::walk::below;
use super::{Node, Place, Run, Source};
use crate::system::{self, Open, Status};
use crate::{LayersError, Time};

/// The content of a file, as many bytes as its entry says. Holes are not read, only handed out as zeros.
#[derive(Debug)]
pub struct Content<'a> {
    size: u64,
    position: u64,
    /// Where the run of bytes, or the hole, that `position` is in ends, and where in the source its bytes lie; none for a hole.
    until: u64,
    stored: Option<u64>,
    bytes: Bytes<'a>,
}

/// Where the bytes come from.
#[derive(Debug)]
enum Bytes<'a> {
    Nowhere,
    File { open: File, path: PathBuf, identity: (u64, u64), mtime: Time },
    Archive { open: &'a File, path: &'a Path, status: &'a Status, runs: std::slice::Iter<'a, Run> },
}

impl<'a> Content<'a> {
    pub(super) fn open(source: &'a Source, node: &'a Node) -> Result<Self, LayersError> {
        let bytes = match (&node.place, source) {
            (Place::File { identity, mtime }, Source::Directory { path: root, open }) => {
                let path = below(root, node.path_bytes());
                let open =
                    system::open_below(open.as_fd(), node.path_bytes(), Open::Read).map_err(LayersError::file("read", &path))?;
                Bytes::File { open: open.into(), path, identity: *identity, mtime: *mtime }
            }
            (Place::Archive(runs), Source::Archive { path, open, status }) => {
                Bytes::Archive { open, path, status, runs: runs.iter() }
            }
            _ => Bytes::Nowhere,
        };
        let content = Self { size: node.entry.size, position: 0, until: 0, stored: None, bytes };
        content.check()?;
        Ok(content)
    }

    /// Reads the next bytes into `buffer`; fewer than it takes at most where a hole begins or ends. 0 once all were read.
    ///
    /// # Errors
    /// [`LayersError::Changed`] as soon as it shows that the file is not, or no longer, the one that the tree was made of: at the latest
    /// instead of the 0 at the end. Until then, what was read is not to be trusted.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, LayersError> {
        if self.position == self.size {
            self.check()?;
            return Ok(0);
        }
        if self.position == self.until {
            self.next_run()?;
        }
        let length = usize::try_from(self.until - self.position).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..length];
        let read = match (self.stored, &self.bytes) {
            (Some(stored), Bytes::File { open, path, .. }) => read_at(open, path, buffer, stored)?,
            (Some(stored), Bytes::Archive { open, path, .. }) => read_at(open, path, buffer, stored)?,
            _ => {
                buffer.fill(0);
                length
            }
        };
        self.position += read as u64;
        self.stored = self.stored.map(|stored| stored + read as u64);
        Ok(read)
    }

    /// Finds what lies at `position`.
    fn next_run(&mut self) -> Result<(), LayersError> {
        let position = self.position;
        let (start, stored, end) = match &mut self.bytes {
            Bytes::Nowhere => (self.size, 0, self.size),
            Bytes::File { open, path, .. } => {
                let run =
                    system::next_data(open.as_fd(), position, self.size).map_err(LayersError::file("read", path.as_path()))?;
                run.map_or((self.size, 0, self.size), |(start, end)| (start, start, end))
            }
            Bytes::Archive { runs, .. } => match runs.as_slice().first() {
                Some(run) if run.offset > position => (run.offset, run.stored, run.offset + run.length),
                Some(run) => {
                    runs.next();
                    (run.offset, run.stored, run.offset + run.length)
                }
                None => (self.size, 0, self.size),
            },
        };
        (self.until, self.stored) = if start > position { (start, None) } else { (end, Some(stored)) };
        self.until = self.until.min(self.size);
        Ok(())
    }

    /// Whether the file, or the archive that it is in, is still the one that the tree was made of.
    fn check(&self) -> Result<(), LayersError> {
        let (open, path, identity, size, mtime) = match &self.bytes {
            Bytes::Nowhere => return Ok(()),
            Bytes::File { open, path, identity, mtime } => (open, path.as_path(), *identity, self.size, *mtime),
            Bytes::Archive { open, path, status, .. } => (*open, *path, status.identity, status.size, status.mtime),
        };
        let now = system::status(open.as_fd()).map_err(LayersError::file("read", path))?;
        if (now.identity, now.size, now.mtime) != (identity, size, mtime) {
            return Err(LayersError::Changed { path: path.to_path_buf() });
        }
        Ok(())
    }
}

/// Reads at least one byte.
fn read_at(file: &File, path: &Path, buffer: &mut [u8], offset: u64) -> Result<usize, LayersError> {
    if buffer.is_empty() {
        return Ok(0);
    }
    loop {
        match file.read_at(buffer, offset) {
            Ok(0) => return Err(LayersError::Changed { path: path.to_path_buf() }),
            Ok(read) => return Ok(read),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(source) => return Err(LayersError::File { what: "read", path: path.to_path_buf(), source }),
        }
    }
}
