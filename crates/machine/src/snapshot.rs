//! Snapshots: made once for a shape, restored for every container.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use serde_json::json;
use wharf_guest_protocol::{CONTROL, Event, Request, Task, read, write};

use crate::clock;
use crate::command::{Disks, From, Networking};
use crate::monitor::Monitor;
use crate::{Machine, MachineError, Shape};

/// How long a machine may take from nothing to its first word: 3 seconds on an idle computer.
const BOOT: Duration = Duration::from_secs(180);

/// A snapshot on disk.
#[derive(Debug)]
pub struct Snapshot {
    folder: PathBuf,
    shape: Shape,
}

/// What is written last, so that a folder with it is whole.
#[derive(Serialize, Deserialize)]
struct About {
    kernel: String,
    guest: String,
    kilohertz: Option<u64>,
    memory_bytes: u64,
    state_bytes: u64,
}

impl Snapshot {
    /// The snapshot of a shape, from `folder` or made now; `telling` hears that it takes a while. Two processes that want the same one make
    /// it once. One that is broken, or of a computer with another clock, is made anew.
    ///
    /// # Errors
    /// When the machine does not come up.
    pub fn get(folder: &Path, shape: &Shape, telling: impl FnOnce()) -> Result<Self, MachineError> {
        let folder = folder.join(shape.key()?);
        let found = Self { folder, shape: shape.clone() };
        if found.fits() {
            return Ok(found);
        }
        fs::create_dir_all(&found.folder).map_err(MachineError::io(format!("cannot make {}", found.folder.display())))?;
        let lock = private(&found.folder.join("lock"), false)?;
        flock(&lock, FlockOperation::LockExclusive)
            .map_err(|error| MachineError::io("cannot wait for another vdkr's snapshot")(error.into()))?;
        if !found.fits() {
            telling();
            found.make()?;
        }
        Ok(found)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn fits(&self) -> bool {
        let Some(about) = fs::read(self.file("about.json")).ok().and_then(|bytes| serde_json::from_slice::<About>(&bytes).ok())
        else {
            return false;
        };
        let has = |name: &str, bytes: u64| fs::metadata(self.file(name)).is_ok_and(|found| found.len() == bytes);
        has("memory", about.memory_bytes)
            && has("state", about.state_bytes)
            && clock::is_same(about.kilohertz, clock::kilohertz(1))
    }

    /// Boot, warm up, and write down how things stand.
    fn make(&self) -> Result<(), MachineError> {
        for name in ["about.json", "memory", "state"] {
            match fs::remove_file(self.file(name)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(MachineError::io(format!("cannot remove {}", self.file(name).display()))(error));
                }
                _ => {}
            }
        }
        let memory = self.file("memory");
        let memory_bytes = self.shape.memory << 20;
        private(&memory, true)?.set_len(memory_bytes).map_err(MachineError::io(format!("cannot make {}", memory.display())))?;
        let kilohertz = clock::kilohertz(50);
        let mut machine =
            Machine::start(&self.shape, From::Boot { memory: &memory, kilohertz }, &[], None, &Networking::default())?;
        let (kernel, guest) = match get_ready(&mut machine) {
            Ok(found) => found,
            Err(error) => return Err(with_last_words(error, &mut machine)),
        };
        let state = self.file("state");
        private(&state, true)?;
        let monitor = machine.monitor();
        leave_memory_out(monitor)?;
        monitor.execute("migrate-set-parameters", &json!({"max-bandwidth": 1_u64 << 40}))?;
        let path = state.to_string_lossy().replace('\'', "'\\''");
        monitor.execute("migrate", &json!({"uri": format!("exec:cat >'{path}'")}))?;
        loop {
            let answer = monitor.execute("query-migrate", &json!({}))?;
            match answer["status"].as_str() {
                Some("completed") => break,
                Some("failed" | "cancelled") => {
                    let message = answer["error-desc"].as_str().unwrap_or("no reason given").to_owned();
                    return Err(MachineError::Refused { command: "migrate".to_owned(), message });
                }
                _ => std::thread::sleep(Duration::from_millis(2)),
            }
        }
        machine.end().map_err(MachineError::io("cannot end the machine"))?;
        let state_bytes = fs::metadata(&state).map_err(MachineError::io(format!("cannot read {}", state.display())))?.len();
        let about = About { kernel, guest, kilohertz, memory_bytes, state_bytes };
        let json =
            serde_json::to_vec(&about).map_err(|error| MachineError::io("cannot write about the snapshot")(error.into()))?;
        let written = self.file("about.json.new");
        fs::write(&written, json)
            .and_then(|()| fs::rename(&written, self.file("about.json")))
            .map_err(MachineError::io("cannot write about the snapshot"))
    }

    /// Start a machine from it, with these disks, or with placeholders for [`Machine::insert`]. It runs when this returns or soon after.
    ///
    /// # Errors
    /// When QEMU cannot be started.
    pub fn restore(&self, disks: Option<&Disks>, networking: &Networking) -> Result<Machine, MachineError> {
        let path = self.file("state");
        let state = File::open(&path).map_err(MachineError::io(format!("cannot open {}", path.display())))?;
        let from = From::Snapshot { memory: &self.file("memory") };
        let mut machine = Machine::start(&self.shape, from, &[&state], disks, networking)?;
        let load = |monitor: &mut Monitor| {
            leave_memory_out(monitor)?;
            monitor.execute("migrate-incoming", &json!({"uri": format!("fd:{}", state.as_raw_fd())}))
        };
        match load(machine.monitor()) {
            Ok(_) => Ok(machine),
            Err(error) => Err(with_last_words(error, &mut machine)),
        }
    }

    /// Remove it: it does not work.
    ///
    /// # Errors
    /// What the system says.
    pub fn discard(self) -> Result<(), MachineError> {
        fs::remove_file(self.file("about.json")).map_err(MachineError::io("cannot remove a snapshot"))
    }
}

/// Memory is in its file: a snapshot's state is all but that.
fn leave_memory_out(monitor: &mut Monitor) -> Result<(), MachineError> {
    let capability = json!({"capabilities": [{"capability": "x-ignore-shared", "state": true}]});
    monitor.execute("migrate-set-capabilities", &capability).map(|_| ())
}

/// A file that its owner alone may read.
fn private(path: &Path, truncate: bool) -> Result<File, MachineError> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(truncate).mode(0o600).open(path);
    file.map_err(MachineError::io(format!("cannot make {}", path.display())))
}

/// Wait for a booting guest's first word, and have it run one container.
fn get_ready(machine: &mut Machine) -> Result<(String, String), MachineError> {
    let deadline = Instant::now() + BOOT;
    let ready = next(machine, deadline)?;
    let Event::Ready { kernel, version } = ready else { return Err(MachineError::Guest(format!("it said {ready:?} first"))) };
    let request = Request::Ask { id: 0, task: Task::WarmUp };
    let json = serde_json::to_vec(&request).map_err(|error| MachineError::Guest(error.to_string()))?;
    write(&mut machine.control, CONTROL, &json).map_err(MachineError::io("cannot write to the guest"))?;
    match next(machine, deadline)? {
        Event::Done { .. } => Ok((kernel, version)),
        Event::Failed { message, .. } => Err(MachineError::Guest(message)),
        other => Err(MachineError::Guest(format!("it said {other:?} to the warm-up"))),
    }
}

fn next(machine: &mut Machine, deadline: Instant) -> Result<Event, MachineError> {
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let silent = || MachineError::Silent { seconds: BOOT.as_secs(), last: String::new() };
    machine.control.set_read_timeout(Some(left)).map_err(MachineError::io("cannot wait for the guest"))?;
    let frame = match read(&mut machine.control) {
        Ok(Some(frame)) => frame,
        Ok(None) => return Err(MachineError::Ended(String::new())),
        Err(wharf_guest_protocol::FrameError::Io(error))
            if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
        {
            return Err(silent());
        }
        Err(error) => return Err(MachineError::Guest(error.to_string())),
    };
    serde_json::from_slice(&frame.payload).map_err(|error| MachineError::Guest(format!("its message is none: {error}")))
}

fn with_last_words(error: MachineError, machine: &mut Machine) -> MachineError {
    let words = machine.last_words();
    match error {
        MachineError::Ended(_) => MachineError::Ended(words),
        MachineError::Silent { seconds, .. } => MachineError::Silent { seconds, last: words },
        MachineError::Guest(message) => MachineError::Guest(format!("{message} ({words})")),
        other => other,
    }
}
