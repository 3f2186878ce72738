//! A terminal, or three streams, as those of a process in a container.

use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::Signals;
use wharf_guest_protocol::{CONTROL, Terminal, WINDOW, read, write};
use wharf_terminal::ui::{self, Failure};

use super::detach::Watch;
use crate::cli::keys::DetachKeys;
use crate::keeper::{Ask, IN, Tell, parse, send};

/// How a process is to be seen.
#[derive(Debug, Clone)]
pub struct View {
    /// Hand standard input on.
    pub stdin: bool,
    /// It has a terminal: ours is handed over to it, if ours is one.
    pub terminal: bool,
    /// Hand signals on.
    pub signals: bool,
    /// Keys that leave it to itself, when it has a terminal.
    pub detach_keys: DetachKeys,
}

/// The size of the terminal here, if there is one.
pub fn size() -> Option<Terminal> {
    let size = tcgetwinsize(io::stdout()).or_else(|_| tcgetwinsize(io::stdin())).ok()?;
    (size.ws_col > 0).then_some(Terminal { columns: size.ws_col, rows: size.ws_row })
}

/// The terminal is put back as it was when this goes.
struct Raw {
    before: Termios,
}

impl Raw {
    fn enter() -> Option<Self> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// Wait until what was started runs; what takes a while is said.
///
/// # Errors
/// Why it does not run.
pub fn until_started(socket: &UnixStream) -> Result<Early, Failure> {
    let mut streams = Vec::new();
    loop {
        let frame = match read(&mut &*socket) {
            Ok(Some(frame)) => frame,
            _ => return Err(gone()),
        };
        if frame.channel != CONTROL {
            streams.push((frame.channel, frame.payload));
            continue;
        }
        match parse(&frame.payload).map_err(|error| Failure::of(&error))? {
            Tell::Note { text } => ui::say(text),
            Tell::Started | Tell::Done { .. } => return Ok(Early { streams, code: None }),
            Tell::Exited { code } => return Ok(Early { streams, code: Some(code) }),
            Tell::Failed(refusal) => {
                let code = refusal.code;
                Failure::from(refusal).report();
                return Ok(Early { streams: Vec::new(), code: Some(code) });
            }
            Tell::Credit { .. } | Tell::Detached => {}
        }
    }
}

/// What came before it was known that the process runs.
pub struct Early {
    streams: Vec<(u32, Vec<u8>)>,
    /// The exit code, when it has ended already or was never started; that was said.
    pub code: Option<u8>,
}

fn gone() -> Failure {
    Failure::new("the process that keeps the container has ended")
}

/// Room for bytes of standard input on the other side.
#[derive(Default)]
struct Room {
    taken: Mutex<(usize, bool)>,
    changed: Condvar,
}

/// Be a process's terminal or streams until it ends: its exit code.
///
/// # Errors
/// When its keeper is gone.
pub fn attach(socket: &UnixStream, early: &Early, view: View) -> Result<ExitCode, Failure> {
    if let Some(code) = early.code {
        show(&early.streams);
        return Ok(ExitCode::from(code));
    }
    let to = Arc::new(Mutex::new(socket.try_clone().map_err(|error| Failure::of(&error))?));
    let ask = |ask: &Ask| {
        let _ = send(&mut *to.lock().unwrap_or_else(PoisonError::into_inner), ask);
    };
    let raw = if view.terminal && view.stdin && io::stdin().is_terminal() { Raw::enter() } else { None };
    if view.terminal
        && let Some(terminal) = size()
    {
        ask(&Ask::Resize { terminal });
    }
    hand_signals_on(&to, &view, raw.is_some())?;
    let room = Arc::new(Room::default());
    if view.stdin {
        let (to, room) = (Arc::clone(&to), Arc::clone(&room));
        let watch = view.terminal.then(|| Watch::for_keys(view.detach_keys));
        let is_ours = raw.is_some();
        let started = thread::Builder::new().name("stdin".to_owned()).spawn(move || feed(&to, &room, watch, is_ours));
        started.map_err(|error| Failure::of(&error))?;
    }
    show(&early.streams);
    let mut from = socket.try_clone().map_err(|error| Failure::of(&error))?;
    let code = loop {
        let frame = match read(&mut from) {
            Ok(Some(frame)) => frame,
            _ => {
                drop(raw);
                return Err(gone());
            }
        };
        if frame.channel != CONTROL {
            if !put(frame.channel, &frame.payload) {
                // Who reads our output is gone: as any program, this one ends.
                drop(raw);
                return Err(Failure::BrokenPipe);
            }
            continue;
        }
        match parse(&frame.payload).map_err(|error| Failure::of(&error))? {
            Tell::Exited { code } => break code,
            Tell::Credit { bytes } => {
                let mut taken = room.taken.lock().unwrap_or_else(PoisonError::into_inner);
                taken.0 = taken.0.saturating_sub(bytes);
                room.changed.notify_all();
            }
            Tell::Failed(refusal) => {
                drop(raw);
                let code = refusal.code;
                Failure::from(refusal).report();
                return Ok(ExitCode::from(code));
            }
            Tell::Note { text } => ui::say(text),
            // It goes on without us.
            Tell::Detached => {
                drop(raw);
                ui::say("read escape sequence");
                return Ok(ExitCode::SUCCESS);
            }
            Tell::Started | Tell::Done { .. } => {}
        }
    };
    drop(raw);
    Ok(ExitCode::from(code))
}

fn show(streams: &[(u32, Vec<u8>)]) {
    for (channel, bytes) in streams {
        put(*channel, bytes);
    }
}

/// Write what came on a stream; whether somebody still reads.
fn put(channel: u32, bytes: &[u8]) -> bool {
    let written = if channel == IN + 2 {
        let mut to = io::stderr().lock();
        to.write_all(bytes).and_then(|()| to.flush())
    } else {
        let mut to = io::stdout().lock();
        to.write_all(bytes).and_then(|()| to.flush())
    };
    written.is_ok()
}

/// Hand standard input on. The end of a terminal, which closes with its window, is not the end of what runs.
fn feed(to: &Mutex<UnixStream>, room: &Room, mut watch: Option<Watch>, is_terminal: bool) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let most = {
            let taken = room.taken.lock().unwrap_or_else(PoisonError::into_inner);
            let taken = room.changed.wait_while(taken, |taken| taken.0 >= WINDOW).unwrap_or_else(PoisonError::into_inner);
            (WINDOW - taken.0).min(buffer.len())
        };
        let got = match io::stdin().lock().read(&mut buffer[..most]) {
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => 0,
        };
        if got == 0 && is_terminal {
            return;
        }
        let typed = &buffer[..got];
        let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
        let (passed, is_left) = match &mut watch {
            Some(watch) => watch.pass(typed),
            None => (typed.to_vec(), false),
        };
        // Where keys are held back there is nothing to send: that would be the end of standard input.
        if !passed.is_empty() || got == 0 {
            room.taken.lock().unwrap_or_else(PoisonError::into_inner).0 += passed.len();
            if write(&mut *to, IN, &passed).is_err() {
                return;
            }
        }
        if is_left {
            let _ = send(&mut *to, &Ask::Detach);
        }
        if is_left || got == 0 {
            return;
        }
    }
}

fn hand_signals_on(to: &Arc<Mutex<UnixStream>>, view: &View, is_our_terminal: bool) -> Result<(), Failure> {
    let mut all = Vec::new();
    if view.signals {
        all.extend([SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2]);
        // A terminal that closes is ours to end with, and not the container's business.
        all.extend((!is_our_terminal).then_some(SIGHUP));
    }
    all.extend(view.terminal.then_some(SIGWINCH));
    let mut signals = Signals::new(all).map_err(|error| Failure::new("cannot hand signals on").because(&error))?;
    let to = Arc::clone(to);
    let started = thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            let ask = match (signal, size()) {
                (SIGWINCH, Some(terminal)) => Ask::Resize { terminal },
                (SIGWINCH, None) => continue,
                (signal, _) => Ask::Signal { signal },
            };
            if send(&mut *to.lock().unwrap_or_else(PoisonError::into_inner), &ask).is_err() {
                return;
            }
        }
    });
    started.map(|_| ()).map_err(|error| Failure::of(&error))
}
