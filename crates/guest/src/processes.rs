//! The processes that the host has started, by the numbers that it gave them.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{Winsize, tcsetwinsize};
use wharf_guest_protocol::{Event, Stream, StreamKind, Terminal};

use crate::error::{Doing, GuestError};
use crate::link::Link;
use crate::reaper::Reaper;
use crate::streams::{Incoming, Outgoing, Window};

/// The ends of a process's streams that this program holds.
pub enum Ends {
    /// Three pipes; the first only when something comes on standard input.
    Pipes {
        /// Where standard input is written.
        stdin: Option<OwnedFd>,
        /// Where standard output is read.
        stdout: OwnedFd,
        /// Where standard error is read.
        stderr: OwnedFd,
    },
    /// A terminal.
    Terminal {
        /// Its controlling side.
        master: OwnedFd,
        /// Whether something is typed.
        stdin: bool,
    },
}

struct Running {
    pid: Pid,
    terminal: Option<OwnedFd>,
    stdin: Option<Incoming>,
    windows: Vec<(StreamKind, Arc<Window>)>,
}

/// Give a terminal a size.
pub fn set_size(terminal: &OwnedFd, size: Terminal) {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    let _ = tcsetwinsize(terminal, size);
}

/// The processes that run.
pub struct Processes {
    link: Arc<Link>,
    reaper: Arc<Reaper>,
    running: Mutex<HashMap<u32, Running>>,
}

impl Processes {
    /// None yet.
    pub fn new(link: Arc<Link>, reaper: Arc<Reaper>) -> Self {
        Self { link, reaper, running: Mutex::default() }
    }

    /// Carry the streams of a process that was just started, and tell the host when it has ended.
    ///
    /// # Errors
    /// When the system has no room for the threads.
    pub fn add(self: &Arc<Self>, number: u32, pid: Pid, ends: Ends) -> Result<(), GuestError> {
        let failed = || "carry the streams of a process".to_owned();
        let stream = |kind| Stream { process: number, kind };
        let outgoing = |kind, source| Outgoing::start(Arc::clone(&self.link), stream(kind), source).doing(failed);
        let incoming = |target, is_terminal| {
            Incoming::start(Arc::clone(&self.link), stream(StreamKind::In), target, is_terminal).doing(failed)
        };
        let mut terminal = None;
        let (stdin, out) = match ends {
            Ends::Pipes { stdin, stdout, stderr } => {
                let stdin = stdin.map(|target| incoming(target, false)).transpose()?;
                (stdin, vec![outgoing(StreamKind::Out, stdout)?, outgoing(StreamKind::Err, stderr)?])
            }
            Ends::Terminal { master, stdin } => {
                let copy = |fd: &OwnedFd| fd.try_clone().doing(failed);
                let typed = if stdin { Some(incoming(copy(&master)?, true)?) } else { None };
                terminal = Some(copy(&master)?);
                (typed, vec![outgoing(StreamKind::Out, master)?])
            }
        };
        let windows = out.iter().map(|out| (out.stream.kind, Arc::clone(&out.window))).collect();
        self.lock().insert(number, Running { pid, terminal, stdin, windows });
        let all = Arc::clone(self);
        thread::Builder::new()
            .name("end".to_owned())
            .spawn(move || {
                let code = all.reaper.wait(pid);
                for stream in out {
                    stream.finish();
                }
                all.lock().remove(&number);
                all.link.tell(&Event::Exited { process: number, code });
            })
            .doing(failed)?;
        Ok(())
    }

    /// Bytes for a process's standard input; none at its end.
    pub fn feed(&self, stream: Stream, bytes: Vec<u8>) {
        match self.lock().get(&stream.process).and_then(|process| process.stdin.as_ref()) {
            Some(stdin) => stdin.push(bytes),
            // Ended meanwhile: the sender need not wait for it.
            None => self.link.tell(&Event::Credit { stream, bytes: bytes.len() }),
        }
    }

    /// The host has taken bytes of a stream.
    pub fn give(&self, stream: Stream, bytes: usize) {
        if let Some(process) = self.lock().get(&stream.process) {
            for (_, window) in process.windows.iter().filter(|(kind, _)| *kind == stream.kind) {
                window.give(bytes);
            }
        }
    }

    /// Send a process a signal.
    pub fn signal(&self, number: u32, signal: i32) {
        let signal = Signal::from_named_raw(signal);
        if let (Some(process), Some(signal)) = (self.lock().get(&number), signal) {
            let _ = kill_process(process.pid, signal);
        }
    }

    /// Give a process's terminal another size.
    pub fn resize(&self, number: u32, size: Terminal) {
        if let Some(terminal) = self.lock().get(&number).and_then(|process| process.terminal.as_ref()) {
            set_size(terminal, size);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u32, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
