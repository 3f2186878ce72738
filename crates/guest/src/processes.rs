//! The processes that the host has started, by the numbers that it gave them.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{Winsize, tcsetwinsize};
use wharf_guest_protocol::{Event, Stream, StreamKind, Terminal};

use crate::error::{Doing, GuestError};
use crate::files::Pipe;
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
    who: Who,
    terminal: Option<OwnedFd>,
    stdin: Option<Incoming>,
    windows: Vec<(StreamKind, Arc<Window>)>,
}

/// Whose streams they are.
enum Who {
    Process(Pid),
    /// Work of this program's own, which ends when this is set.
    Work(Arc<AtomicBool>),
}

/// How long work that was given up may take to notice.
const NOTICE: Duration = Duration::from_secs(5);

/// Which way the bytes of some work go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the host.
    In,
    /// To the host.
    Out,
}

/// Give a terminal a size.
pub fn set_size(terminal: &OwnedFd, size: Terminal) {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    let _ = tcsetwinsize(terminal, size);
}

impl Running {
    /// Let work of this program's own end: nothing more comes, and nobody waits for what it sends.
    fn give_up(&mut self) {
        if let Who::Work(given_up) = &self.who {
            given_up.store(true, Ordering::Relaxed);
            self.stdin = None;
            for (_, window) in &self.windows {
                window.give(usize::MAX / 2);
            }
        }
    }
}

/// The processes that run.
pub struct Processes {
    link: Arc<Link>,
    reaper: Arc<Reaper>,
    running: Mutex<HashMap<u32, Running>>,
    fewer: Condvar,
}

impl Processes {
    /// None yet.
    pub fn new(link: Arc<Link>, reaper: Arc<Reaper>) -> Self {
        Self { link, reaper, running: Mutex::default(), fewer: Condvar::new() }
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
        self.lock().insert(number, Running { who: Who::Process(pid), terminal, stdin, windows });
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

    /// Do something that has a stream as a process has, in a thread. `done` gets what comes of it, once all was sent.
    ///
    /// # Errors
    /// When the system has no room for the threads.
    pub fn work<T: Send + 'static>(
        self: &Arc<Self>,
        number: u32,
        way: Way,
        work: impl FnOnce(Pipe) -> T + Send + 'static,
        done: impl FnOnce(T) + Send + 'static,
    ) -> Result<(), GuestError> {
        let failed = || "carry an archive".to_owned();
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).doing(failed)?;
        let given_up = Arc::new(AtomicBool::new(false));
        let stream = |kind| Stream { process: number, kind };
        let (own, stdin, out) = match way {
            Way::In => {
                let stdin = Incoming::start(Arc::clone(&self.link), stream(StreamKind::In), writer, false).doing(failed)?;
                (reader, Some(stdin), None)
            }
            Way::Out => {
                (writer, None, Some(Outgoing::start(Arc::clone(&self.link), stream(StreamKind::Out), reader).doing(failed)?))
            }
        };
        let windows = out.iter().map(|out| (out.stream.kind, Arc::clone(&out.window))).collect();
        let who = Who::Work(Arc::clone(&given_up));
        self.lock().insert(number, Running { who, terminal: None, stdin, windows });
        let all = Arc::clone(self);
        let started = thread::Builder::new().name("files".to_owned()).spawn(move || {
            let came = work(Pipe::new(own, given_up));
            if let Some(out) = out {
                out.finish();
            }
            all.lock().remove(&number);
            all.fewer.notify_all();
            done(came);
        });
        started.map(|_| ()).doing(failed)
    }

    /// Give up all work of this program's own, and wait until it has ended, for a while.
    pub fn give_up_work(&self) {
        let is_work = |running: &Running| matches!(running.who, Who::Work(_));
        let mut running = self.lock();
        running.values_mut().for_each(Running::give_up);
        while running.values().any(is_work) {
            let (after, waited) = self.fewer.wait_timeout(running, NOTICE).unwrap_or_else(PoisonError::into_inner);
            running = after;
            if waited.timed_out() {
                return;
            }
        }
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
        if let (Some(running), Some(signal)) = (self.lock().get_mut(&number), signal) {
            match running.who {
                Who::Process(pid) => drop(kill_process(pid, signal)),
                Who::Work(_) => running.give_up(),
            }
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
