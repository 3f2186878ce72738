//! A container's files within reach: through the keeper of one that runs, or with a machine of their own.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use wharf_guest_protocol::{CONTROL, FileWork, read};
use wharf_terminal::ui::{self, Failure};

use crate::containers::record::{Folder, Record, State};
use crate::keeper::{self, Ask, Role, Tell, parse, send};
use crate::settings::Settings;

/// A way to a container's files. Signals end it, and whoever uses it fails and tidies up.
pub struct Session {
    socket: UnixStream,
    name: String,
    /// Whether the machine is there for this session alone.
    is_own: bool,
    interrupted: Arc<AtomicBool>,
}

impl Session {
    /// Begin one. `role` is that of a machine for a container that does not run.
    ///
    /// # Errors
    /// When no machine can be had.
    pub fn begin(settings: &Settings, folder: &Folder, record: &Record, state: &State, role: Role) -> Result<Self, Failure> {
        match Self::begin_as(settings, folder, record, role, !state.status.is_alive()) {
            // It was started just now.
            Err(_) if !state.status.is_alive() && folder.state().status.is_alive() => {
                Self::begin_as(settings, folder, record, role, false)
            }
            begun => begun,
        }
    }

    fn begin_as(settings: &Settings, folder: &Folder, record: &Record, role: Role, is_own: bool) -> Result<Self, Failure> {
        let socket = if is_own {
            keeper::start(settings, folder, record.machine, role)?.socket
        } else {
            let gone =
                |error: std::io::Error| Failure::new(format!("the container {} has just ended", record.name)).because(&error);
            keeper::connect(folder.path()).map_err(gone)?
        };
        let session = Self { socket, name: record.name.clone(), is_own, interrupted: Arc::default() };
        session.end_with_signals().map_err(|error| Failure::new("cannot wait for signals").because(&error))?;
        if is_own {
            session.until_open()?;
        }
        Ok(session)
    }

    /// Ask for something, of which the archive comes or goes next.
    ///
    /// # Errors
    /// When the other side is gone.
    pub fn ask(&self, work: FileWork) -> Result<(), Failure> {
        send(&mut &self.socket, &Ask::Files { work }).map_err(|_| self.gone())
    }

    /// The connection.
    pub fn socket(&self) -> &UnixStream {
        &self.socket
    }

    /// Why nothing comes any more.
    pub fn gone(&self) -> Failure {
        if self.interrupted.load(Ordering::Relaxed) {
            Failure::new("interrupted")
        } else {
            Failure::new(format!("the container {} has ended meanwhile", self.name))
        }
    }

    /// End it, once everything is done: returns when the disk of a container that does not run is in order.
    ///
    /// # Errors
    /// When it is not.
    pub fn end(self) -> Result<(), Failure> {
        if !self.is_own {
            return Ok(());
        }
        self.socket.shutdown(Shutdown::Write).map_err(|_| self.gone())?;
        loop {
            match self.next()? {
                Tell::Done { .. } => return Ok(()),
                Tell::Failed(refusal) => {
                    return Err(Failure::from(refusal).about(&format!("the disk of {} was not left in order", self.name)));
                }
                _ => {}
            }
        }
    }

    fn until_open(&self) -> Result<(), Failure> {
        loop {
            match self.next()? {
                Tell::Started => return Ok(()),
                Tell::Failed(refusal) => return Err(refusal.into()),
                _ => {}
            }
        }
    }

    /// The next message. Notes are said.
    fn next(&self) -> Result<Tell, Failure> {
        loop {
            match read(&mut &self.socket) {
                Ok(Some(frame)) if frame.channel == CONTROL => match parse(&frame.payload) {
                    Ok(Tell::Note { text }) => ui::say(text),
                    message => return message.map_err(|_| self.gone()),
                },
                Ok(Some(_)) => {}
                _ => return Err(self.gone()),
            }
        }
    }

    fn end_with_signals(&self) -> std::io::Result<()> {
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
        let (socket, interrupted) = (self.socket.try_clone()?, Arc::clone(&self.interrupted));
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            if signals.forever().next().is_some() {
                interrupted.store(true, Ordering::Relaxed);
                let _ = socket.shutdown(Shutdown::Both);
            }
        })?;
        Ok(())
    }
}
