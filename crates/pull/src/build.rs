//! One blob as it comes to be on disk: copied where it is at hand, received where not, and hashed on the way.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::Receiver;
use wharf_client::Observer;
use wharf_layers::assemble::Part;
use wharf_oci::{Digest, Hasher};

/// Bytes that are read at once.
const BUFFER: usize = 256 << 10;

/// Something that bytes are at hand in.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A blob of the layout.
    File(PathBuf),
    /// What was received before.
    Memory(Bytes),
}

/// A blob to be put together. Blocks the thread that it runs on.
pub struct Build {
    /// The file, which holds the blob's first `done` bytes or does not exist.
    pub path: PathBuf,
    /// Bytes that are there.
    pub done: u64,
    /// The rest, in order.
    pub parts: Vec<Part<usize>>,
    /// What the parts are taken from.
    pub origins: Vec<Origin>,
    /// The blob's digest.
    pub digest: Digest,
    /// Who is told how far it is.
    pub observer: Arc<dyn Observer>,
}

/// Why a blob did not come to be. What the file holds is the blob's beginning all the same, as far as it goes.
#[derive(Debug)]
pub enum BuildError {
    /// The file cannot be written, or not be read again.
    File(io::Error),
    /// What was to be at hand is not.
    Origin,
    /// Nothing more is received.
    Ended,
}

impl Build {
    /// Builds it out of what is at hand, and what comes for the other parts in their order. Returns the digest that it has. What is whole is on
    /// disk then, for who puts it to its place.
    pub fn run(self, mut received: Receiver<Bytes>) -> Result<Digest, BuildError> {
        let mut sink = Sink { file: None, hasher: Hasher::new(self.digest.algorithm()), at: 0, build: &self };
        let mut buffer = vec![0; BUFFER];
        while sink.at < self.done {
            let length = (self.done - sink.at).min(BUFFER as u64) as usize;
            let read = sink.file()?.read(&mut buffer[..length]).map_err(BuildError::File)?;
            if read == 0 {
                return Err(BuildError::File(io::ErrorKind::UnexpectedEof.into()));
            }
            sink.hash(&buffer[..read]);
        }
        let mut open = None::<(usize, File)>;
        let mut rest = Bytes::new();
        for part in &self.parts {
            match *part {
                Part::Local { id, offset, length } => match self.origins.get(id) {
                    Some(Origin::Memory(bytes)) => {
                        let from = usize::try_from(offset).unwrap_or(usize::MAX);
                        let to = usize::try_from(offset + length).unwrap_or(usize::MAX);
                        sink.write(bytes.get(from..to).ok_or(BuildError::Origin)?)?;
                    }
                    Some(Origin::File(path)) => {
                        let file = match open.take() {
                            Some((same, file)) if same == id => file,
                            _ => File::open(path).map_err(|_| BuildError::Origin)?,
                        };
                        let mut at = offset;
                        while at < offset + length {
                            let piece = &mut buffer[..(offset + length - at).min(BUFFER as u64) as usize];
                            file.read_exact_at(piece, at).map_err(|_| BuildError::Origin)?;
                            sink.write(piece)?;
                            at += piece.len() as u64;
                        }
                        open = Some((id, file));
                    }
                    None => return Err(BuildError::Origin),
                },
                Part::Remote { length, .. } => {
                    let mut left = length;
                    while left > 0 {
                        if rest.is_empty() {
                            rest = received.blocking_recv().ok_or(BuildError::Ended)?;
                        }
                        let piece = rest.split_to(left.min(rest.len() as u64) as usize);
                        sink.write(&piece)?;
                        left -= piece.len() as u64;
                    }
                }
            }
        }
        sink.file()?.sync_data().map_err(BuildError::File)?;
        sink.hasher.digest(self.digest.algorithm()).ok_or(BuildError::Ended)
    }
}

/// The file and what is known of it.
struct Sink<'a> {
    /// None before the first byte: of a failure before that nothing stays behind.
    file: Option<File>,
    hasher: Hasher,
    at: u64,
    build: &'a Build,
}

impl Sink<'_> {
    fn file(&mut self) -> Result<&mut File, BuildError> {
        match &mut self.file {
            Some(file) => Ok(file),
            none => {
                let file = File::options().create(true).truncate(false).read(true).append(true).open(&self.build.path);
                Ok(none.insert(file.map_err(BuildError::File)?))
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), BuildError> {
        self.file()?.write_all(bytes).map_err(BuildError::File)?;
        self.hash(bytes);
        Ok(())
    }

    fn hash(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.at += bytes.len() as u64;
        self.build.observer.at(&self.build.digest, self.at);
    }
}
