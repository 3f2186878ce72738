//! What goes between a guest and those who look at its container: questions and answers, and the streams of processes.

use std::collections::HashMap;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use wharf_guest_protocol::{CONTROL, Event, Report, Request, Stream, StreamKind, Task, read, write};
use wharf_machine::Machine;
use wharf_volumes::server::Server;

use super::connection::{Connection, Delivered};
use super::log::Log;
use super::protocol::{Ask, IN, Tell, parse};
use super::refusal::Refusal;
use crate::containers::record::{Folder, State, Status};

/// The number of the container's own process; others get the ones after it.
pub(super) const MAIN: u32 = 0;

/// How long a guest may take to mount disks, or to write to them what is in memory.
pub(super) const DISKS: Duration = Duration::from_secs(60);

/// How long one that was killed waits for those who do not read what it wrote.
const UNREAD: Duration = Duration::from_secs(5);

/// How long its guest may then take to say that it has ended.
const DEAF: Duration = Duration::from_secs(10);

/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(20);

/// Start a thread; without it what it was for does not happen, and the commands that wait for it say so.
pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    let _ = thread::Builder::new().name(name.to_owned()).stack_size(512 << 10).spawn(work);
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the guest says to a question.
type Answer = Result<Option<Report>, Refusal>;

/// The guest's answer; when it does not come any more, that.
fn answer_of(answered: &Receiver<Answer>) -> Answer {
    answered.recv().unwrap_or_else(|_| Err(ended()))
}

fn ended() -> Refusal {
    Refusal::new("the virtual machine has ended")
}

/// What the threads of a keeper share.
pub(super) struct Keeper {
    guest: Mutex<UnixStream>,
    /// Who waits for which answer; none when no more come.
    asks: Mutex<Option<HashMap<u32, Sender<Answer>>>>,
    next_ask: AtomicU32,
    next_process: AtomicU32,
    /// Who sees what a process writes.
    pub(super) viewers: Mutex<HashMap<u32, Vec<Arc<Connection>>>>,
    machine: u32,
    /// The container's own process has ended, or nothing comes from the guest any more.
    has_ended: AtomicBool,
    pub(super) folder: Folder,
    /// When the machine last stood still because the disk here is full.
    pub(super) without_room: Mutex<Option<Instant>>,
}

impl Keeper {
    /// Of a machine, whose volumes are served and whose disk is looked after from now on, with the reading side of the way to its guest. `viewer`
    /// looks at it from the start.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn of(
        machine: &Machine,
        volumes: Server,
        folder: &Folder,
        viewer: &Arc<Connection>,
    ) -> io::Result<(Arc<Self>, UnixStream)> {
        let (reader, writer) = (machine.control.try_clone()?, machine.control.try_clone()?);
        let (from, to) = (machine.volumes.try_clone()?, machine.volumes.try_clone()?);
        let keeper = Arc::new(Self {
            guest: Mutex::new(writer),
            asks: Mutex::new(Some(HashMap::new())),
            next_ask: AtomicU32::new(1),
            next_process: AtomicU32::new(MAIN + 1),
            viewers: Mutex::new(HashMap::from([(MAIN, vec![Arc::clone(viewer)])])),
            machine: machine.pid(),
            has_ended: AtomicBool::new(false),
            folder: folder.clone(),
            without_room: Mutex::default(),
        });
        spawn("volumes", move || {
            let _ = volumes.serve(from, to);
        });
        if let Ok(watch) = machine.watch() {
            spawn("disk", {
                let keeper = Arc::clone(&keeper);
                move || keeper.wait_for_room(watch)
            });
        }
        Ok((keeper, reader))
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

    /// The same within a time.
    pub(super) fn ask_within(&self, limit: Duration, task: Task) -> Answer {
        match self.begin(task).recv_timeout(limit) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Disconnected) => Err(ended()),
            Err(RecvTimeoutError::Timeout) => {
                Err(Refusal::new(format!("the virtual machine did not answer in {} seconds", limit.as_secs())))
            }
        }
    }

    /// Ask the guest.
    fn begin(&self, task: Task) -> Receiver<Answer> {
        let id = self.next_ask.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = channel();
        let is_asked = lock(&self.asks).as_mut().map(|asks| asks.insert(id, answer)).is_some();
        if is_asked {
            self.request(&Request::Ask { id, task });
        }
        answered
    }

    /// Kill the machine; the thread that reads from it sees to the rest.
    pub(super) fn end_machine(&self) {
        if let Some(pid) = i32::try_from(self.machine).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// End the container, however it and those who look at it stand: its process is killed, who does not read what it wrote is cut off,
    /// and a guest that does not hear loses its machine.
    pub(super) fn kill(self: &Arc<Self>) {
        // Nor does one that stands still.
        if self.is_without_room() {
            self.end_machine();
            return;
        }
        let keeper = Arc::clone(self);
        spawn("kill", move || keeper.request(&Request::Signal { process: MAIN, signal: Signal::KILL.as_raw() }));
        let keeper = Arc::clone(self);
        spawn("end", move || {
            if keeper.ends_within(UNREAD) {
                return;
            }
            keeper.viewers_of(MAIN).iter().for_each(|viewer| viewer.cut());
            if !keeper.ends_within(DEAF) {
                keeper.end_machine();
            }
        });
    }

    fn ends_within(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while !self.has_ended.load(Ordering::Relaxed) {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(LOOK);
        }
        true
    }

    /// Those who look at anything, who then look at nothing.
    pub(super) fn take_viewers(&self) -> Vec<Arc<Connection>> {
        lock(&self.viewers).drain().flat_map(|(_, viewers)| viewers).collect()
    }

    /// Show a process to somebody no longer.
    pub(super) fn forget(&self, process: u32, connection: &Arc<Connection>) {
        if let Some(viewers) = lock(&self.viewers).get_mut(&process) {
            viewers.retain(|viewer| !Arc::ptr_eq(viewer, connection));
        }
    }

    /// Carry what comes from the guest, to the end of the container: its exit code, or `None` when the machine ended before.
    pub(super) fn carry(self: &Arc<Self>, mut from: UnixStream, log: &mut Log, is_kept: bool) -> Option<u8> {
        let mut finishing: Option<(u32, Instant)> = None;
        let mut code = None;
        loop {
            if let Some((_, deadline)) = finishing {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() || from.set_read_timeout(Some(left)).is_err() {
                    break;
                }
            }
            let Ok(Some(frame)) = read(&mut from) else { break };
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
                    self.has_ended.store(true, Ordering::Relaxed);
                    if !is_kept {
                        break;
                    }
                    let id = self.next_ask.fetch_add(1, Ordering::Relaxed);
                    finishing = Some((id, Instant::now() + DISKS));
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
                Ok(Event::Done { id, .. } | Event::Failed { id, .. }) if finishing.is_some_and(|(asked, _)| asked == id) => break,
                Ok(Event::Done { id, report }) => self.answer(id, Ok(report)),
                Ok(Event::Failed { id, message, hint, code }) => {
                    self.answer(id, Err(Refusal { code, hint, ..Refusal::new(message) }));
                }
                Ok(Event::Ready { .. }) | Err(_) => {}
            }
        }
        // Nobody answers any more.
        self.has_ended.store(true, Ordering::Relaxed);
        lock(&self.asks).take();
        code
    }

    fn answer(&self, id: u32, answer: Answer) {
        let asker = lock(&self.asks).as_mut().and_then(|asks| asks.remove(&id));
        if let Some(asker) = asker {
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

    /// Serve everybody who connects.
    pub(super) fn listen(self: &Arc<Self>, listener: &UnixListener) {
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
                Ask::Signal { signal } if signal == Signal::KILL.as_raw() && process.is_none() => self.kill(),
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
