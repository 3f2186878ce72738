//! A keeper at work.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use wharf_guest_protocol::{CONTROL, Event, Mount, Report, Request, Stream, StreamKind, Task, read, write};
use wharf_machine::{Machine, Watch};
use wharf_volumes::server::{Kind, Server, Volume};

use super::connection::{Connection, Delivered};
use super::log::{Log, now};
use super::prepare::{self, Places};
use super::protocol::{Ask, IN, Role, Tell, parse};
use super::refusal::Refusal;
use super::{files, socket, spare};
use crate::containers::record::{Folder, Record, State, Status};

/// The name under which this program is a keeper.
pub const NAME: &str = "vdkr-keeper";

/// The number of the container's own process; others get the ones after it.
const MAIN: u32 = 0;

/// How long a container that has ended may take to write to its disk what is in memory.
const FINISH: Duration = Duration::from_secs(60);

/// How long a machine without room on its disk stands still before it tries again.
const NO_ROOM: Duration = Duration::from_secs(1);

/// Be a keeper, as its name and arguments say; `None` under any other name.
pub fn be_keeper() -> Option<ExitCode> {
    let mut arguments = std::env::args_os();
    if arguments.next()? != NAME {
        return None;
    }
    let _ = rustix::process::setsid();
    raise_descriptors();
    Some(if work(&arguments.collect::<Vec<_>>()).is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Have as many descriptors as are allowed: each file that a container has open in a volume takes one.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    // With fewer, what needs more is refused.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

fn work(arguments: &[OsString]) -> Option<()> {
    let [arch, shared, own, idle, timeout, role, folder] = arguments else { return None };
    let text = |text: &OsString| text.to_str().map(str::to_owned);
    let places = Places {
        architecture: text(arch)?.parse().ok()?,
        shared: PathBuf::from(shared),
        own: PathBuf::from(own),
        idle_timeout: text(idle)?.parse().ok()?,
        timeout: Duration::from_secs(text(timeout)?.parse().ok()?),
    };
    let socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().ok()?);
    match text(role)?.as_str() {
        "spare" => spare::wait(&places, Path::new(folder), socket),
        role => keep(&places, &Folder::at(PathBuf::from(folder)), socket, Role::of_name(role)?, None),
    }
    Some(())
}

/// Keep a container from its start to its end, or as long as somebody looks at its files, in a machine that is given or a new one.
pub fn keep(places: &Places, folder: &Folder, owner: UnixStream, role: Role, spare: Option<Machine>) {
    let Ok(connection) = Connection::over(&owner).map(Arc::new) else { return };
    if matches!(role, Role::Files | Role::OwnFiles) {
        files::keep(places, folder, owner, &connection, role, spare);
        connection.finish();
        return;
    }
    match prepare(places, folder, &connection, spare) {
        Ok((prepared, listener)) => prepared.run(listener, owner, connection, role == Role::Foreground),
        Err(refusal) => {
            refuse(folder, &refusal);
            connection.tell(&Tell::Failed(refusal));
            connection.finish();
        }
    }
}

/// A machine with its container's disks, before the start.
struct Prepared {
    machine: Machine,
    folder: Folder,
    record: Record,
    state: State,
    server: Arc<Server>,
    _lock: File,
}

/// Write down that it could not be started; one that was to vanish does.
fn refuse(folder: &Folder, refusal: &Refusal) {
    if let Ok(record) = folder.record() {
        if record.vanishes {
            let _ = folder.remove(&record.name);
        } else {
            let state = State {
                status: Status::Created,
                exit_code: refusal.code,
                error: Some(refusal.message.clone()),
                ..folder.state()
            };
            let _ = folder.set_state(&state);
        }
    }
}

fn prepare(
    places: &Places,
    folder: &Folder,
    owner: &Connection,
    spare: Option<Machine>,
) -> Result<(Prepared, UnixListener), Refusal> {
    let gone = |error: std::io::Error| Refusal::of(&error);
    let lock = prepare::lock(folder)?;
    let mut record = folder.record().map_err(gone)?;
    let networking = prepare::networking(&record)?;
    let server = Arc::new(share(&mut record)?);
    let disks = prepare::disks(places, folder, &record)?;
    let note = |text: &str| owner.tell(&Tell::Note { text: text.to_owned() });
    let machine = prepare::with_disks(places, record.machine, &disks, &networking, spare, &note)?;
    let state = State {
        status: Status::Running,
        keeper: Some(std::process::id()),
        machine: Some(machine.pid()),
        started: Some(now() / 1_000_000_000),
        ports: networking.forwards.iter().map(|forward| forward.host).collect(),
        ..State::default()
    };
    let listener = socket::listen(folder.path()).map_err(gone)?;
    Ok((Prepared { machine, folder: folder.clone(), record, state, server, _lock: lock }, listener))
}

/// Share a container's volumes, and tell the guest which are files.
pub(super) fn share(record: &mut Record) -> Result<Server, Refusal> {
    let server = Server::new();
    for (id, shared) in (0..).zip(&record.volumes) {
        let path = PathBuf::from(shared.source.as_os_str());
        let volume = Volume { id, path, read_only: shared.read_only };
        let kind = server.add(&volume).map_err(|error| Refusal::of(&error))?;
        let (target, read_only) = (shared.target.clone(), shared.read_only);
        record.container.mounts.push(Mount::Volume { volume: id, target, is_file: kind == Kind::File, read_only });
    }
    Ok(server)
}

impl Prepared {
    fn run(self, listener: UnixListener, owner: UnixStream, connection: Arc<Connection>, is_foreground: bool) {
        let Self { machine, folder, record, mut state, server, _lock } = self;
        let (Ok(reader), Ok(writer)) = (machine.control.try_clone(), machine.control.try_clone()) else { return };
        let keeper = Arc::new(Keeper::new(writer, machine.pid(), folder.clone()));
        lock(&keeper.viewers).insert(MAIN, vec![Arc::clone(&connection)]);
        let _ = folder.set_state(&state);
        if let (Ok(from), Ok(to)) = (machine.volumes.try_clone(), machine.volumes.try_clone()) {
            spawn("volumes", move || {
                let _ = server.serve(from, to);
            });
        }
        spawn("listener", {
            let keeper = Arc::clone(&keeper);
            move || keeper.listen(&listener)
        });
        let started = Arc::new(Mutex::new(None));
        spawn("owner", {
            let (keeper, started, container) = (Arc::clone(&keeper), Arc::clone(&started), record.container.clone());
            move || {
                match keeper.ask(Task::Start { process: MAIN, container: Box::new(container) }) {
                    Ok(_) => connection.tell(&Tell::Started),
                    Err(refusal) => {
                        *started.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
                        keeper.end_machine();
                        return;
                    }
                }
                let is_detached = keeper.serve(owner, &connection, Some(MAIN));
                if is_foreground && !is_detached {
                    keeper.end_machine();
                } else {
                    keeper.forget(MAIN, &connection);
                }
            }
        });
        if let Ok(watch) = machine.watch() {
            spawn("disk", {
                let keeper = Arc::clone(&keeper);
                move || keeper.wait_for_room(watch)
            });
        }
        let keeps_log = !(record.vanishes && is_foreground);
        let log = Log::open(keeps_log.then(|| folder.log()).as_deref()).or_else(|_| Log::open(None));
        let code = log.ok().and_then(|mut log| keeper.carry(reader, &mut log, !record.vanishes));
        let refused = started.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _ = machine.end();
        state.status = Status::Exited;
        state.finished = Some(now() / 1_000_000_000);
        state.keeper = None;
        state.machine = None;
        // A machine that ended under a container is as if it had been killed.
        state.exit_code = code.unwrap_or(137);
        if record.vanishes {
            let _ = folder.remove(&record.name);
        } else if let Some(refusal) = &refused {
            refuse(&folder, refusal);
        } else {
            let _ = folder.set_state(&state);
        }
        for viewer in keeper.take_viewers() {
            match &refused {
                Some(refusal) => viewer.tell(&Tell::Failed(refusal.clone())),
                None => viewer.tell(&Tell::Exited { code: state.exit_code }),
            }
            viewer.finish();
        }
    }
}

/// Start a thread; without it what it was for does not happen, and the commands that wait for it say so.
pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    let _ = thread::Builder::new().name(name.to_owned()).stack_size(512 << 10).spawn(work);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the guest says to a question.
type Answer = Result<Option<Report>, Refusal>;

/// The guest's answer; when it does not come any more, that.
fn answer_of(answered: &Receiver<Answer>) -> Answer {
    answered.recv().unwrap_or_else(|_| Err(Refusal::new("the virtual machine has ended")))
}

/// What the threads of a keeper share.
pub(super) struct Keeper {
    guest: Mutex<UnixStream>,
    asks: Mutex<HashMap<u32, Sender<Answer>>>,
    next_ask: AtomicU32,
    next_process: AtomicU32,
    /// Who sees what a process writes.
    viewers: Mutex<HashMap<u32, Vec<Arc<Connection>>>>,
    machine: u32,
    folder: Folder,
    /// When the machine last stood still because the disk here is full.
    without_room: Mutex<Option<Instant>>,
}

impl Keeper {
    /// Of a machine, by the writing side of the way to its guest.
    pub(super) fn new(guest: UnixStream, machine: u32, folder: Folder) -> Self {
        Self {
            guest: Mutex::new(guest),
            asks: Mutex::default(),
            next_ask: AtomicU32::new(1),
            next_process: AtomicU32::new(MAIN + 1),
            viewers: Mutex::default(),
            machine,
            folder,
            without_room: Mutex::default(),
        }
    }

    fn request(&self, request: &Request) {
        if let Ok(json) = serde_json::to_vec(request) {
            self.send(CONTROL, &json);
        }
    }

    fn send(&self, channel: u32, payload: &[u8]) {
        // A guest that is gone shows at the reading side.
        let _ = write(&mut *lock(&self.guest), channel, payload);
    }

    /// Ask the guest, and wait for its answer. Not for the thread that reads from it.
    pub(super) fn ask(&self, task: Task) -> Answer {
        answer_of(&self.begin(task))
    }

    /// Ask the guest.
    fn begin(&self, task: Task) -> Receiver<Answer> {
        let id = self.next_ask.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = channel();
        lock(&self.asks).insert(id, answer);
        self.request(&Request::Ask { id, task });
        answered
    }

    /// Kill the machine; the thread that reads from it sees to the rest.
    fn end_machine(&self) {
        if let Some(pid) = i32::try_from(self.machine).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// Say when the machine stands still because the disk here is full, and have it try again until there is room.
    fn wait_for_room(&self, mut watch: Watch) {
        let disk = self.folder.disk();
        let text = format!("the disk is full that holds {}: the container waits until there is room", disk.display());
        let mut told: Vec<Weak<Connection>> = Vec::new();
        while watch.until_full() {
            // As long as there is no room it stands still again each time, which is no news to those who have heard of it.
            if !self.is_without_room() {
                told.clear();
            }
            *lock(&self.without_room) = Some(Instant::now());
            for viewer in lock(&self.viewers).values().flatten().map(Arc::downgrade) {
                if !told.iter().any(|known| known.ptr_eq(&viewer)) {
                    viewer.upgrade().inspect(|viewer| viewer.tell(&Tell::Note { text: text.clone() }));
                    told.push(viewer);
                }
            }
            thread::sleep(NO_ROOM);
            if watch.go_on().is_err() {
                return;
            }
        }
    }

    /// Whether the machine stood still just now because the disk here is full.
    fn is_without_room(&self) -> bool {
        lock(&self.without_room).is_some_and(|since| since.elapsed() < 3 * NO_ROOM)
    }

    fn take_viewers(&self) -> Vec<Arc<Connection>> {
        lock(&self.viewers).drain().flat_map(|(_, viewers)| viewers).collect()
    }

    fn forget(&self, process: u32, connection: &Arc<Connection>) {
        if let Some(viewers) = lock(&self.viewers).get_mut(&process) {
            viewers.retain(|viewer| !Arc::ptr_eq(viewer, connection));
        }
    }

    /// Carry what comes from the guest, to the end of the container: its exit code, or `None` when the machine ended before.
    pub(super) fn carry(self: &Arc<Self>, mut from: UnixStream, log: &mut Log, is_kept: bool) -> Option<u8> {
        let mut finishing = None;
        let mut code = None;
        while let Ok(Some(frame)) = read(&mut from) {
            if frame.channel != CONTROL {
                if let Some(stream) = Stream::of_channel(frame.channel) {
                    if stream.process == MAIN && !frame.payload.is_empty() {
                        log.add(stream.kind, &frame.payload);
                    }
                    self.show(stream, &frame.payload);
                }
                continue;
            }
            match serde_json::from_slice(&frame.payload) {
                Ok(Event::Exited { process: MAIN, code: found }) => {
                    code = Some(found);
                    if !is_kept {
                        break;
                    }
                    let id = self.next_ask.fetch_add(1, Ordering::Relaxed);
                    finishing = Some(id);
                    let _ = from.set_read_timeout(Some(FINISH));
                    self.request(&Request::Ask { id, task: Task::Finish });
                }
                Ok(Event::Exited { process, code }) => {
                    for viewer in lock(&self.viewers).remove(&process).unwrap_or_default() {
                        viewer.tell(&Tell::Exited { code });
                    }
                }
                Ok(Event::Credit { stream, bytes }) => {
                    for viewer in self.viewers_of(stream.process) {
                        viewer.tell(&Tell::Credit { bytes });
                    }
                }
                Ok(Event::Done { id, .. } | Event::Failed { id, .. }) if finishing == Some(id) => break,
                Ok(Event::Done { id, report }) => self.answer(id, Ok(report)),
                Ok(Event::Failed { id, message, hint, code }) => {
                    self.answer(id, Err(Refusal { code, hint, ..Refusal::new(message) }));
                }
                Ok(Event::Ready { .. }) | Err(_) => {}
            }
        }
        // Nobody answers any more.
        lock(&self.asks).clear();
        code
    }

    fn answer(&self, id: u32, answer: Answer) {
        if let Some(asker) = lock(&self.asks).remove(&id) {
            let _ = asker.send(answer);
        }
    }

    fn viewers_of(&self, process: u32) -> Vec<Arc<Connection>> {
        lock(&self.viewers).get(&process).cloned().unwrap_or_default()
    }

    /// Hand bytes to all who look at a process; the guest may send more once all have them.
    fn show(self: &Arc<Self>, stream: Stream, bytes: &[u8]) {
        let keeper = Arc::clone(self);
        let length = bytes.len();
        let give = move || keeper.request(&Request::Credit { stream, bytes: length });
        let delivered = Arc::new(Delivered(Box::new(give)));
        for viewer in self.viewers_of(stream.process) {
            viewer.carry(IN + stream.kind as u32, bytes.to_vec(), Some(Arc::clone(&delivered)));
        }
    }

    fn listen(self: &Arc<Self>, listener: &UnixListener) {
        for socket in listener.incoming().flatten() {
            let keeper = Arc::clone(self);
            spawn("connection", move || {
                if let Ok(connection) = Connection::over(&socket).map(Arc::new) {
                    keeper.serve(socket, &connection, None);
                    connection.finish();
                }
            });
        }
    }

    /// Do what a connection asks, until it closes. `process` is what it looks at. Returns whether that is to go on without it.
    pub(super) fn serve(self: &Arc<Self>, mut from: UnixStream, connection: &Arc<Connection>, mut process: Option<u32>) -> bool {
        let mut ends_with_it = None;
        let mut is_detached = false;
        while let Ok(Some(frame)) = read(&mut from) {
            if frame.channel == IN {
                if let Some(process) = process {
                    self.send(Stream { process, kind: StreamKind::In }.channel(), &frame.payload);
                }
                continue;
            }
            let Ok(ask) = parse::<Ask>(&frame.payload) else { break };
            match ask {
                Ask::Attach => {
                    process = Some(MAIN);
                    lock(&self.viewers).entry(MAIN).or_default().push(Arc::clone(connection));
                    connection.tell(&Tell::Started);
                }
                Ask::Exec { process: spec, is_detached } => {
                    let number = self.next_process.fetch_add(1, Ordering::Relaxed);
                    if !is_detached {
                        lock(&self.viewers).insert(number, vec![Arc::clone(connection)]);
                    }
                    match self.ask(Task::Exec { process: number, spec }) {
                        Ok(_) => {
                            process = Some(number);
                            ends_with_it = (!is_detached).then_some(number);
                            connection.tell(&Tell::Started);
                        }
                        Err(refusal) => connection.tell(&Tell::Failed(refusal)),
                    }
                }
                // A guest that stands still does not hear of it.
                Ask::Signal { signal } if signal == Signal::KILL.as_raw() && process.is_none() && self.is_without_room() => {
                    self.end_machine();
                }
                Ask::Signal { signal } => self.request(&Request::Signal { process: process.unwrap_or(MAIN), signal }),
                Ask::Resize { terminal } => self.request(&Request::Resize { process: process.unwrap_or(MAIN), terminal }),
                Ask::Guest { task } => self.pass_on(task, connection),
                Ask::Files { work } => {
                    let number = self.next_process.fetch_add(1, Ordering::Relaxed);
                    lock(&self.viewers).insert(number, vec![Arc::clone(connection)]);
                    (process, ends_with_it) = (Some(number), Some(number));
                    // Asked now, for bytes may come for it at once; answered when it is done.
                    let answered = self.begin(Task::Files { process: number, work });
                    let (keeper, connection) = (Arc::clone(self), Arc::clone(connection));
                    spawn("files", move || {
                        match answer_of(&answered) {
                            Ok(report) => connection.tell(&Tell::Done { report }),
                            Err(refusal) => connection.tell(&Tell::Failed(refusal)),
                        }
                        keeper.forget(number, &connection);
                    });
                }
                Ask::Detach => {
                    (is_detached, ends_with_it) = (true, None);
                    connection.tell(&Tell::Detached);
                }
                Ask::Take { .. } => break,
            }
        }
        // What was started on this connection has nobody to talk to any more.
        if let Some(process) = ends_with_it {
            self.request(&Request::Signal { process, signal: Signal::HUP.as_raw() });
        }
        if let Some(process) = process {
            self.forget(process, connection);
        }
        is_detached
    }

    /// Something for the guest itself.
    fn pass_on(&self, task: Task, connection: &Connection) {
        let status = match task {
            Task::Pause => Some(Status::Paused),
            Task::Resume => Some(Status::Running),
            _ => None,
        };
        match self.ask(task) {
            Ok(report) => {
                if let Some(status) = status {
                    let _ = self.folder.set_state(&State { status, ..self.folder.state() });
                }
                connection.tell(&Tell::Done { report });
            }
            Err(refusal) => connection.tell(&Tell::Failed(refusal)),
        }
    }
}
