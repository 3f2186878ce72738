//! A machine that waits, restored and warm, for the next container.
//!
//! QEMU translates what a guest executes when it is executed for the first time, and forgets its translations with the machine: most of the time
//! from a restored machine to a running container is that. A spare has run a container before.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};
use wharf_guest_protocol::{Task, read};
use wharf_machine::Networking;
use wharf_terminal::ui::Failure;

use super::prepare::{self, Places};
use super::protocol::{Ask, Tell, parse, send};
use super::refusal::Refusal;
use super::start::keeper;
use super::{run, socket};
use crate::containers::record::{Folder, MachineSize};
use crate::lock;
use crate::settings::Settings;

/// How often a spare is warmed: twice, for some of what a container needs is only executed when there was one before.
const WARMTH: u32 = 2;

/// How a spare stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SpareState {
    /// Its process.
    pub pid: u32,
    /// QEMU's process.
    pub machine: u32,
    /// Its size.
    pub size: MachineSize,
    /// When it was ready, in seconds since 1970.
    pub since: u64,
}

/// The place for the spare machine of an instance.
pub struct Spare {
    folder: PathBuf,
}

impl Spare {
    /// That of the settings.
    pub fn of(settings: &Settings) -> Self {
        Self { folder: settings.state().join("spare") }
    }

    /// At a folder.
    pub fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The one that is ready, if one is.
    pub fn state(&self) -> Option<SpareState> {
        let state = serde_json::from_slice(&fs::read(self.folder.join("state.json")).ok()?).ok()?;
        // Who is ready holds the lock.
        lock::is_taken(&self.folder.join("lock")).then_some(state)
    }

    /// Connect to one of a size, which then waits for [`Ask::Take`] and for nobody else.
    pub fn take(&self, size: MachineSize) -> Option<UnixStream> {
        let state = self.state()?;
        if state.size.memory != size.memory || state.size.cpus != size.cpus {
            return None;
        }
        let socket = socket::connect(&self.folder).ok()?;
        // The first one to be let in gets it.
        match read(&mut &socket) {
            Ok(Some(frame)) if matches!(parse(&frame.payload), Ok(Tell::Started)) => Some(socket),
            _ => None,
        }
    }

    /// Start one, and return when it is ready.
    ///
    /// # Errors
    /// Why there is none.
    pub fn start(&self, settings: &Settings, size: MachineSize, note: &dyn Fn(&str)) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::new("cannot start a virtual machine to be kept ready").because(&error);
        // Whoever may connect there can have a container run as this user.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(failed)?;
        fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        fs::write(self.folder.join("size.json"), serde_json::to_vec(&size).map_err(|error| failed(error.into()))?)
            .map_err(failed)?;
        let (ours, its) = UnixStream::pair().map_err(failed)?;
        let mut command = keeper(settings);
        command.arg("spare").arg(&self.folder).stdin(Stdio::from(std::os::fd::OwnedFd::from(its)));
        command.spawn().map_err(failed)?;
        while let Ok(Some(frame)) = read(&mut &ours) {
            match parse(&frame.payload).map_err(failed)? {
                Tell::Note { text } => note(&text),
                Tell::Started => return Ok(()),
                Tell::Failed(refusal) => return Err(refusal.into()),
                _ => {}
            }
        }
        Err(Failure::new("the virtual machine that was to be kept ready has ended"))
    }

    /// End the one that is ready; whether there was one.
    ///
    /// # Errors
    /// What the system says.
    pub fn stop(&self) -> io::Result<bool> {
        let Some(state) = self.state() else { return Ok(false) };
        let Some(pid) = i32::try_from(state.pid).ok().and_then(rustix::process::Pid::from_raw) else { return Ok(false) };
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.state().is_some() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(true)
    }
}

/// Be a spare: get a machine ready, and wait for a container.
pub fn wait(places: &Places, folder: &Path, mut starter: UnixStream) {
    let note = |text: &str| {
        let _ = send(&mut &starter, &Tell::Note { text: text.to_owned() });
    };
    let prepared = (|| {
        let gone = |error: io::Error| Refusal::of(&error);
        let lock = lock::take(&folder.join("lock")).map_err(gone)?.ok_or_else(|| Refusal::new("there is one already"))?;
        let size: MachineSize =
            serde_json::from_slice(&fs::read(folder.join("size.json")).map_err(gone)?).map_err(|error| gone(error.into()))?;
        let _ = fs::remove_file(folder.join("state.json"));
        let mut machine = prepare::awake(places, size, None, &Networking::default(), &note)?;
        for _ in 0..WARMTH {
            prepare::ask(&mut machine, places.timeout, Task::WarmUp)?;
        }
        let listener = socket::listen(folder).map_err(gone)?;
        let state =
            SpareState { pid: std::process::id(), machine: machine.pid(), size, since: super::log::now() / 1_000_000_000 };
        fs::write(folder.join("state.json"), serde_json::to_vec(&state).map_err(|error| gone(error.into()))?).map_err(gone)?;
        Ok::<_, Refusal>((machine, listener, lock))
    })();
    let (machine, listener, lock) = match prepared {
        Ok(found) => found,
        Err(refusal) => {
            let _ = send(&mut starter, &Tell::Failed(refusal));
            return;
        }
    };
    let _ = send(&mut starter, &Tell::Started);
    drop(starter);
    let limit = (places.idle_timeout > 0)
        .then(|| Timespec { tv_sec: i64::try_from(places.idle_timeout).unwrap_or(i64::MAX), tv_nsec: 0 });
    let mut watched = [PollFd::new(&listener, PollFlags::IN)];
    if !matches!(poll(&mut watched, limit.as_ref()), Ok(1..)) {
        let _ = fs::remove_file(folder.join("state.json"));
        return;
    }
    let Ok((mut owner, _)) = listener.accept() else { return };
    drop(listener);
    let _ = fs::remove_file(folder.join("state.json"));
    let _ = send(&mut owner, &Tell::Started);
    let asked = read(&mut owner).ok().flatten().and_then(|frame| parse(&frame.payload).ok());
    // The place is free for the next one.
    drop(lock);
    let Some(Ask::Take { folder: container, role }) = asked else { return };
    let next = replace(folder);
    run::keep(places, &Folder::at(container), owner, role, Some(machine));
    // A container may have ended before the next spare was started.
    if let Some(next) = next {
        let _ = next.join();
    }
}

/// Start the next spare, once this one's container has had time to start.
fn replace(folder: &Path) -> Option<std::thread::JoinHandle<()>> {
    let exe = std::env::current_exe().ok()?;
    let mut arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let folder = folder.to_owned();
    let started = std::thread::Builder::new().name("next spare".to_owned()).spawn(move || {
        std::thread::sleep(Duration::from_secs(1));
        let Ok((ours, its)) = UnixStream::pair() else { return };
        let mut command = std::process::Command::new(exe);
        std::os::unix::process::CommandExt::arg0(&mut command, run::NAME);
        // All but the folder, which is given below.
        arguments.truncate(6);
        command.args(arguments).arg(folder).stdin(Stdio::from(std::os::fd::OwnedFd::from(its)));
        // Nobody waits for it to be ready.
        drop(ours);
        let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    });
    started.ok()
}
