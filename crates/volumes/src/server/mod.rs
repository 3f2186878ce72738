//! The host's side: requests answered as the calling user, each within one folder.
//!
//! ```no_run
//! use wharf_volumes::server::{Server, Volume};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let port = std::os::unix::net::UnixStream::connect("port")?;
//! let server = Server::new();
//! server.add(&Volume { id: 1, path: "sources".into(), read_only: true })?;
//! server.serve(&port, &port)?;
//! # Ok(())
//! # }
//! ```
//!
//! # What the guest can rely on
//! - Each call has the caller's rights, and its error is the host's. The guest's root is not the host's: a file that the caller may not read, it may not.
//! - What the guest changes is on the host when its call returns. What the host changes is seen after a second at the latest, and at once when a file
//!   is opened.
//! - An open file stays what it is, whatever becomes of its names on either side.
//! - Owners: the caller's files belong to whom the guest names when it mounts the volume, root as a rule; files of others have their own owners. Permissions are the host's; setuid and setgid are kept.
//! - Locks hold between the programs of the guest, not between it and the host.
//! - No devices are made. Pipes and sockets are, and connect programs of one side only.
//! - Extended attributes: those named `user.…` of files and folders.
//!
//! # What the host can rely on
//! Nothing outside the folder is read or written, whatever the guest sends and whatever links lie in the folder or are put there. Memory is bounded,
//! and so are descriptors: one for each file that the guest has open, within what the process may have (raise the soft limit to the hard one before).

mod abi;
mod attributes;
mod files;
mod folders;
mod handles;
mod names;
mod nodes;
mod owners;
mod reply;
mod request;
mod share;
mod tree;
mod xattrs;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, BufReader, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rustix::io::Errno;

use reply::Reply;
use request::Request;
use share::Share;

use crate::frame;

/// Requests answered at once. More than the host has processors, as some wait for its disk.
const WORKERS: usize = 8;
/// A worker keeps one buffer of 2 KiB on its stack and calls nothing deep.
const STACK: usize = 256 << 10;
/// Small requests come many in one read.
const READ_AHEAD: usize = 64 << 10;

/// A folder or a file to be shared.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Its number in the frames.
    pub id: u32,
    /// Where it is. A symbolic link is followed, once.
    pub path: PathBuf,
    /// Nothing is changed, whatever the guest asks.
    pub read_only: bool,
}

/// What a volume is, and so what the guest must mount it upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// One file.
    File,
}

/// Why a volume cannot be shared, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing is there, or it may not be read, or it is neither a file nor a folder.
    #[error("{} cannot be shared", path.display())]
    Open {
        /// The volume.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is a volume of that number.
    #[error("volume {0} is shared already")]
    Taken(u32),
    /// The port broke. Its end is no error.
    #[error("the guest's port for volumes broke")]
    Port(#[source] io::Error),
    /// The guest sent what is no frame; nothing that follows could be understood.
    #[error("the guest sent a message that is too long for its port for volumes")]
    Frame,
}

/// All volumes of one guest.
#[derive(Debug, Default)]
pub struct Server {
    shares: RwLock<HashMap<u32, Arc<Share>>>,
}

impl Server {
    /// Without volumes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Shares one more, at any time before the guest mounts it. The caller whose files are the guest's is the user of this thread; those that
    /// serve must run as the same.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::Taken`].
    pub fn add(&self, volume: &Volume) -> Result<Kind, Error> {
        let Volume { id, path, .. } = volume;
        let (share, kind) = Share::open(volume).map_err(|errno| Error::Open { path: path.clone(), source: errno.into() })?;
        match self.shares.write().entry(*id) {
            Entry::Occupied(_) => Err(Error::Taken(*id)),
            Entry::Vacant(place) => {
                place.insert(Arc::new(share));
                Ok(kind)
            }
        }
    }

    /// Answers all requests that come, until the port ends, with some threads. Whatever the guest had open is closed then.
    ///
    /// To end it from outside, shut the socket down.
    ///
    /// # Errors
    /// [`Error::Port`], [`Error::Frame`].
    pub fn serve(&self, from_guest: impl Read + Send, to_guest: impl Write + Send) -> Result<(), Error> {
        let input = Mutex::new(Input { reader: BufReader::with_capacity(READ_AHEAD, from_guest), ended: false });
        let output = Mutex::new(to_guest);
        let first_error = Mutex::new(None);
        std::thread::scope(|scope| {
            let work = || {
                if let Err(error) = self.work(&input, &output) {
                    first_error.lock().get_or_insert(error);
                }
            };
            for number in 1..WORKERS {
                let builder = std::thread::Builder::new().name(format!("volumes {number}")).stack_size(STACK);
                // With fewer threads it is slower and as right.
                if builder.spawn_scoped(scope, work).is_err() {
                    break;
                }
            }
            work();
        });
        for share in self.shares.read().values() {
            share.reset();
        }
        first_error.into_inner().map_or(Ok(()), Err)
    }

    /// Takes turns at reading: who has read a request answers it, while another reads the next. So an answer waits for no other thread.
    fn work(&self, input: &Mutex<Input<impl Read>>, output: &Mutex<impl Write>) -> Result<(), Error> {
        let (mut message, mut reply) = (Vec::new(), Reply::default());
        loop {
            // In a statement of its own, after which the turn is over.
            let next = self.next(&mut input.lock(), &mut message)?;
            let Some(volume) = next else { return Ok(()) };
            let Some(frame) = self.answer(volume, &message, &mut reply) else { continue };
            let mut output = output.lock();
            let written = frame.notice.map_or(Ok(()), |notice| output.write_all(&notice));
            if let Err(error) = written.and_then(|()| output.write_all(frame.bytes)) {
                input.lock().ended = true;
                return if is_end(&error) { Ok(()) } else { Err(Error::Port(error)) };
            }
        }
    }

    /// Reads the next message of FUSE, and tells whose it is; `None` at the end. What comes after the name of an owner is answered after it.
    fn next(&self, input: &mut Input<impl Read>, message: &mut Vec<u8>) -> Result<Option<u32>, Error> {
        while let Some(volume) = input.next(message)? {
            let Some(owner) = frame::parse_owner(message) else { return Ok(Some(volume)) };
            if let Some(share) = self.shares.read().get(&volume) {
                share.owners.show_as(owner);
            }
        }
        Ok(None)
    }

    fn answer<'a>(&self, volume: u32, message: &[u8], reply: &'a mut Reply) -> Option<Answer<'a>> {
        let share = self.shares.read().get(&volume).cloned();
        reply.clear();
        match Request::parse(message) {
            Request::Nothing => None,
            Request::Silent(operation) => {
                if let (Some(share), request::Operation::Forget(forgets)) = (share, operation) {
                    share.forget(&forgets);
                }
                None
            }
            Request::Answered(header, operation) => {
                let share = share.ok_or(Errno::NODEV);
                let result = share.and_then(|share| share.answer(header, operation?, reply));
                let notice = if result.is_ok() { reply.notice(volume) } else { None };
                Some(Answer { notice, bytes: reply.finish(volume, header.unique, result) })
            }
        }
    }
}

/// Whether the guest is gone, as when its machine is killed, rather than the port broken.
fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

/// What is sent for one request.
struct Answer<'a> {
    notice: Option<Vec<u8>>,
    bytes: &'a [u8],
}

/// The guest's half of the port.
struct Input<R> {
    reader: BufReader<R>,
    ended: bool,
}

impl<R: Read> Input<R> {
    /// Reads one message and tells whose it is. `None` at the end.
    fn next(&mut self, message: &mut Vec<u8>) -> Result<Option<u32>, Error> {
        if self.ended {
            return Ok(None);
        }
        let result = self.frame(message);
        if !matches!(result, Ok(Some(_))) {
            self.ended = true;
        }
        result
    }

    fn frame(&mut self, message: &mut Vec<u8>) -> Result<Option<u32>, Error> {
        let mut header = [0; frame::HEADER];
        // A guest that is killed stops anywhere: within a frame as well as between two.
        let ended = |error| if is_end(&error) { Ok(None) } else { Err(Error::Port(error)) };
        if let Err(error) = self.reader.read_exact(&mut header) {
            return ended(error);
        }
        let (length, volume) = frame::parse(header).ok_or(Error::Frame)?;
        message.resize(length, 0);
        match self.reader.read_exact(message) {
            Ok(()) => Ok(Some(volume)),
            Err(error) => ended(error),
        }
    }
}
