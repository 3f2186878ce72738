//! A keeper, from its start to the container's end.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use wharf_guest_protocol::{Mount, Task};
use wharf_machine::Machine;
use wharf_volumes::server::{Kind, Server, Volume};

use super::between::{Keeper, MAIN, lock, spawn};
use super::connection::Connection;
use super::log::{Log, now};
use super::prepare::{self, Places};
use super::protocol::{Role, Tell};
use super::refusal::Refusal;
use super::{files, socket, spare};
use crate::containers::record::{Folder, Record, State, Status};

/// The name under which this program is a keeper.
pub const NAME: &str = "vdkr-keeper";

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
        let kept = files::keep(places, folder, owner, &connection, role, spare);
        connection.tell(&kept.map_or_else(Tell::Failed, |()| Tell::Done { report: None }));
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
    server: Server,
    lock: File,
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
    let server = share(&mut record)?;
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
    Ok((Prepared { machine, folder: folder.clone(), record, state, server, lock }, listener))
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
        let Self { machine, folder, record, mut state, server, lock: kept } = self;
        let Ok((keeper, reader)) = Keeper::of(&machine, server, &folder, &connection) else { return };
        let _ = folder.set_state(&state);
        spawn("listener", {
            let keeper = Arc::clone(&keeper);
            move || keeper.listen(&listener)
        });
        let started = Arc::new(Mutex::new(None));
        spawn("owner", {
            let (keeper, started, container) = (Arc::clone(&keeper), Arc::clone(&started), record.container.clone());
            let vanishes = record.vanishes;
            move || {
                match keeper.ask(Task::Start { process: MAIN, container: Box::new(container) }) {
                    Ok(_) => connection.tell(&Tell::Started),
                    Err(refusal) => {
                        *lock(&started) = Some(refusal);
                        keeper.end_machine();
                        return;
                    }
                }
                let is_detached = keeper.serve(owner, &connection, Some(MAIN));
                if is_foreground && !is_detached && vanishes {
                    keeper.end_machine();
                } else if is_foreground && !is_detached {
                    // What it has changed is kept.
                    keeper.kill();
                } else {
                    keeper.forget(MAIN, &connection);
                }
            }
        });
        let keeps_log = !(record.vanishes && is_foreground);
        let log = Log::open(keeps_log.then(|| folder.log()).as_deref()).or_else(|_| Log::open(None));
        let code = log.ok().and_then(|mut log| keeper.carry(reader, &mut log, !record.vanishes));
        let refused = lock(&started).take();
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
        // Others may go on with the container, though somebody does not read the last of it.
        drop(kept);
        for viewer in keeper.take_viewers() {
            match &refused {
                Some(refusal) => viewer.tell(&Tell::Failed(refusal.clone())),
                None => viewer.tell(&Tell::Exited { code: state.exit_code }),
            }
            viewer.finish();
        }
    }
}
