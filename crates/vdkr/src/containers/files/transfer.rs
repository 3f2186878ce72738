//! Archives on their way: to a guest with credit, and from it until it says that all was sent.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use wharf_guest_protocol::{CONTROL, WINDOW, read, write};
use wharf_terminal::ui::{self, Failure};

use super::session::Session;
use crate::keeper::{IN, Tell, parse};

/// The most bytes that are sent at once.
const PIECE: usize = 64 << 10;

/// An archive from a container.
pub struct Download<'a> {
    session: &'a Session,
    piece: Vec<u8>,
    taken: usize,
    bytes: u64,
    ended: Option<Result<(), Failure>>,
}

impl<'a> Download<'a> {
    /// What was asked for on a session.
    pub fn of(session: &'a Session) -> Self {
        Self { session, piece: Vec::new(), taken: 0, bytes: 0, ended: None }
    }

    /// Wait until the other side says that this was all: the bytes.
    ///
    /// # Errors
    /// Why it was not.
    pub fn finish(mut self) -> Result<u64, Failure> {
        while self.ended.is_none() {
            self.next();
        }
        let bytes = self.bytes;
        self.ended.unwrap_or(Ok(())).map(|()| bytes)
    }

    /// Why no more came, when that was no end: this and not what it broke is to be told.
    pub fn failure(&mut self) -> Option<Failure> {
        match self.ended.take() {
            Some(Err(failure)) => Some(failure),
            ended => {
                self.ended = ended;
                None
            }
        }
    }

    fn next(&mut self) {
        let frame = match read(&mut self.session.socket()) {
            Ok(Some(frame)) => frame,
            _ => return self.ended = Some(Err(self.session.gone())),
        };
        if frame.channel == IN + 1 {
            self.bytes += frame.payload.len() as u64;
            (self.piece, self.taken) = (frame.payload, 0);
        } else if frame.channel == CONTROL {
            match parse(&frame.payload) {
                Ok(Tell::Done { .. }) => self.ended = Some(Ok(())),
                Ok(Tell::Failed(refusal)) => self.ended = Some(Err(refusal.into())),
                Ok(Tell::Note { text }) => ui::say(text),
                Ok(Tell::Started | Tell::Detached | Tell::Credit { .. }) => {}
                Ok(Tell::Exited { .. }) | Err(_) => self.ended = Some(Err(self.session.gone())),
            }
        }
    }
}

impl Read for Download<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.piece.len() {
            match &self.ended {
                Some(Ok(())) => return Ok(0),
                Some(Err(_)) => return Err(io::Error::other("the archive from the container ends early")),
                None => self.next(),
            }
        }
        let length = buffer.len().min(self.piece.len() - self.taken);
        buffer[..length].copy_from_slice(&self.piece[self.taken..self.taken + length]);
        self.taken += length;
        Ok(length)
    }
}

/// What is known of an upload.
#[derive(Default)]
struct Progress {
    /// Bytes that were sent and not taken yet.
    under_way: usize,
    ended: Option<Result<(), Failure>>,
}

#[derive(Default)]
struct Shared {
    progress: Mutex<Progress>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An archive to a container.
pub struct Upload<'a> {
    session: &'a Session,
    shared: Arc<Shared>,
    listener: JoinHandle<()>,
}

impl<'a> Upload<'a> {
    /// What was asked for on a session.
    ///
    /// # Errors
    /// When the system has no room for a thread.
    pub fn of(session: &'a Session) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::of(&error);
        let mut socket = session.socket().try_clone().map_err(failed)?;
        let shared = Arc::new(Shared::default());
        let listener = thread::Builder::new().name("answers".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || {
                while let Ok(Some(frame)) = read(&mut socket) {
                    let mut progress = shared.lock();
                    match parse(&frame.payload) {
                        Ok(Tell::Credit { bytes }) => progress.under_way = progress.under_way.saturating_sub(bytes),
                        Ok(Tell::Done { .. }) => progress.ended = Some(Ok(())),
                        Ok(Tell::Failed(refusal)) => progress.ended = Some(Err(refusal.into())),
                        Ok(Tell::Exited { .. }) | Err(_) => break,
                        Ok(Tell::Note { text }) => ui::say(text),
                        _ => {}
                    }
                    shared.changed.notify_all();
                    if progress.ended.is_some() {
                        return;
                    }
                }
                shared.lock().ended = Some(Err(Failure::Reported));
                shared.changed.notify_all();
            }
        });
        Ok(Self { session, shared, listener: listener.map_err(failed)? })
    }

    /// Say that this was all, and wait until it is unpacked. When there was a problem here, the archive is not whole, and nothing is said.
    ///
    /// # Errors
    /// Why it is not unpacked: what the container's side says counts before what went wrong here because of it.
    pub fn finish(self, here: Result<(), Failure>) -> Result<(), Failure> {
        if let Err(failure) = here {
            return match self.shared.lock().ended.take() {
                Some(Err(Failure::Reported)) => Err(self.session.gone()),
                Some(Err(theirs)) => Err(theirs),
                _ => Err(failure),
            };
        }
        // Refused by one that is gone: that shows in the answer.
        let _ = write(&mut self.session.socket(), IN, &[]);
        let progress = self.shared.lock();
        let mut progress =
            self.shared.changed.wait_while(progress, |progress| progress.ended.is_none()).unwrap_or_else(PoisonError::into_inner);
        let ended = progress.ended.take();
        drop(progress);
        let _ = self.listener.join();
        match ended {
            Some(Ok(())) => Ok(()),
            Some(Err(Failure::Reported)) | None => Err(self.session.gone()),
            Some(Err(failure)) => Err(failure),
        }
    }
}

impl Write for Upload<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let progress = self.shared.lock();
        let is_full = |progress: &mut Progress| progress.under_way >= WINDOW && progress.ended.is_none();
        let mut progress = self.shared.changed.wait_while(progress, is_full).unwrap_or_else(PoisonError::into_inner);
        if progress.ended.is_some() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let length = bytes.len().min(WINDOW - progress.under_way).min(PIECE);
        progress.under_way += length;
        drop(progress);
        write(&mut self.session.socket(), IN, &bytes[..length])?;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
