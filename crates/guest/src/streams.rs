//! The streams of a process: pipes or a terminal on one side, the link to the host on the other.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use wharf_guest_protocol::{Event, Stream, WINDOW};

use crate::link::Link;

/// How much is read at once: a port takes 32 KiB with one request, and two of them keep it busy.
const PIECE: usize = 64 << 10;

/// The bytes of a stream that its reader has room for.
pub struct Window {
    room: Mutex<usize>,
    changed: Condvar,
}

impl Window {
    fn new() -> Self {
        Self { room: Mutex::new(WINDOW), changed: Condvar::new() }
    }

    /// The reader has taken so many.
    pub fn give(&self, bytes: usize) {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        *room = room.saturating_add(bytes);
        self.changed.notify_all();
    }

    /// Wait for room, and take all there is of it up to a limit.
    fn take(&self, most: usize) -> usize {
        let room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        let mut room = self.changed.wait_while(room, |room| *room == 0).unwrap_or_else(PoisonError::into_inner);
        let taken = (*room).min(most);
        *room -= taken;
        taken
    }
}

/// A stream to the host, carried by a thread.
pub struct Outgoing {
    /// Which stream.
    pub stream: Stream,
    /// The room that the host has.
    pub window: Arc<Window>,
    ended: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Outgoing {
    /// Carry what can be read from `source` until its end, or until [`Self::finish`].
    ///
    /// # Errors
    /// When the system has no room for another thread's means.
    pub fn start(link: Arc<Link>, stream: Stream, source: OwnedFd) -> std::io::Result<Self> {
        let window = Arc::new(Window::new());
        let ended = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let thread = thread::Builder::new().name("out".to_owned()).spawn({
            let (window, ended) = (Arc::clone(&window), Arc::clone(&ended));
            move || {
                carry_out(&link, stream, &File::from(source), &window, &ended);
                link.carry(stream, &[]);
            }
        })?;
        Ok(Self { stream, window, ended, thread: Some(thread) })
    }

    /// The writer has ended: carry what it has left behind, and no more. Others, as a daemon that it started, may still hold the other end.
    pub fn finish(mut self) {
        let _ = rustix::io::write(&*self.ended, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn carry_out(link: &Link, stream: Stream, mut source: &File, window: &Window, ended: &OwnedFd) {
    let mut buffer = vec![0; PIECE];
    let mut has_ended = false;
    loop {
        let mut watched = [PollFd::new(source, PollFlags::IN), PollFd::new(ended, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let (count, timeout) = if has_ended { (1, Some(&now)) } else { (2, None) };
        match poll(&mut watched[..count], timeout) {
            Ok(0) => return,
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
        }
        let readable = !watched[0].revents().is_empty();
        has_ended = has_ended || !watched[1].revents().is_empty();
        if !readable {
            continue;
        }
        let room = window.take(PIECE);
        match source.read(&mut buffer[..room]) {
            // A terminal whose last user is gone answers with an error.
            Ok(0) | Err(_) => return,
            Ok(read) => {
                link.carry(stream, &buffer[..read]);
                window.give(room - read);
            }
        }
    }
}

/// A stream from the host, written by a thread, so that a process which does not read holds up nobody.
pub struct Incoming {
    pieces: Sender<Vec<u8>>,
}

impl Incoming {
    /// Write what comes to `target`, and close it at the end.
    ///
    /// # Errors
    /// When the system has no room for another thread.
    pub fn start(link: Arc<Link>, stream: Stream, target: OwnedFd, is_terminal: bool) -> std::io::Result<Self> {
        let (pieces, incoming) = channel();
        thread::Builder::new()
            .name("in".to_owned())
            .spawn(move || carry_in(&link, stream, &File::from(target), &incoming, is_terminal))?;
        Ok(Self { pieces })
    }

    /// Bytes that came; none at the end.
    pub fn push(&self, bytes: Vec<u8>) {
        let _ = self.pieces.send(bytes);
    }
}

fn carry_in(link: &Link, stream: Stream, mut target: &File, incoming: &Receiver<Vec<u8>>, is_terminal: bool) {
    let mut is_read = true;
    while let Ok(bytes) = incoming.recv() {
        if bytes.is_empty() {
            // A terminal has no end of its own: its user types one.
            if is_terminal {
                let _ = target.write_all(&[4]);
                continue;
            }
            return;
        }
        // Who does not read any more does not hold up the sender: its bytes go nowhere.
        is_read = is_read && target.write_all(&bytes).is_ok();
        link.tell(&Event::Credit { stream, bytes: bytes.len() });
    }
}
