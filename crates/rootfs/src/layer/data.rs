//! Contents of files written one after the other, each at a block of its own, without blocks of zeros.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use super::BLOCK;

/// Bytes that are written at once.
const BUFFER: usize = 1 << 20;
static ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];

/// Writes contents to a file that is empty so far.
pub(super) struct DataWriter<'a> {
    file: &'a File,
    buffer: Box<[u8]>,
    /// Bytes of the buffer that are used, and where they belong: at a block's beginning.
    used: usize,
    start: u64,
}

impl<'a> DataWriter<'a> {
    pub fn new(file: &'a File) -> Self {
        Self { file, buffer: vec![0; BUFFER].into(), used: 0, start: 0 }
    }

    /// Where the next byte goes.
    pub fn position(&self) -> u64 {
        self.start + self.used as u64
    }

    /// Reads this many bytes and appends them. Errors of the reader are told from those of the file.
    pub fn append(&mut self, reader: &mut impl Read, mut length: u64) -> Result<(), Failure> {
        while length > 0 {
            if self.used == BUFFER {
                self.flush().map_err(Failure::Write)?;
            }
            let most = (BUFFER - self.used).min(usize::try_from(length).unwrap_or(usize::MAX));
            match reader.read(&mut self.buffer[self.used..self.used + most]) {
                Ok(0) => return Err(Failure::Read(io::ErrorKind::UnexpectedEof.into())),
                Ok(read) => (self.used, length) = (self.used + read, length - read as u64),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::Read(error)),
            }
        }
        Ok(())
    }

    /// Goes on at this place, which is not before the one that was reached; zeros lie between.
    pub fn advance(&mut self, position: u64) -> io::Result<()> {
        let near = usize::try_from(position - self.start).ok().filter(|used| *used <= BUFFER);
        if let Some(used) = near {
            self.buffer[self.used..used].fill(0);
            self.used = used;
            return Ok(());
        }
        let within = (position % BLOCK) as usize;
        self.flush()?;
        self.start = position - within as u64;
        self.buffer[..within].fill(0);
        self.used = within;
        Ok(())
    }

    /// Writes out what is left. The file is as long as what was written to it, whole blocks.
    pub fn finish(mut self) -> io::Result<u64> {
        let end = self.position().next_multiple_of(BLOCK);
        self.advance(end)?;
        self.flush()?;
        self.file.set_len(end)?;
        Ok(end)
    }

    /// Writes what is in the buffer, up to the next block; blocks of zeros become holes.
    fn flush(&mut self) -> io::Result<()> {
        let whole = self.used.next_multiple_of(BLOCK as usize);
        self.buffer[self.used..whole].fill(0);
        let mut rest = &self.buffer[..whole];
        let mut offset = self.start;
        while !rest.is_empty() {
            let zeros = rest.chunks(ZEROS.len()).take_while(|block| *block == ZEROS).count() * ZEROS.len();
            (rest, offset) = (&rest[zeros..], offset + zeros as u64);
            let length = rest.chunks(ZEROS.len()).take_while(|block| *block != ZEROS).count() * ZEROS.len();
            self.file.write_all_at(&rest[..length], offset)?;
            (rest, offset) = (&rest[length..], offset + length as u64);
        }
        self.start += self.used as u64;
        self.used = 0;
        Ok(())
    }
}

/// Which side of a copy failed.
#[derive(Debug)]
pub(super) enum Failure {
    Read(io::Error),
    Write(io::Error),
}
