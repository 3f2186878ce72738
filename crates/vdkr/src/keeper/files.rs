//! A machine for the files of a container that does not run.

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use wharf_guest_protocol::Task;
use wharf_machine::{Disks, Machine, Networking};

use super::between::{DISKS, Keeper, MAIN, lock, spawn};
use super::connection::Connection;
use super::log::Log;
use super::prepare::{self, Places};
use super::protocol::{Role, Tell};
use super::refusal::Refusal;
use super::run::share;
use crate::containers::record::{Folder, State, Status};

/// Mount a container's disks, do what the owner asks with its files until it sends no more, and leave the disks in order. The container's state
/// stays as it is; meanwhile nobody starts it.
pub fn keep(
    places: &Places,
    folder: &Folder,
    owner: UnixStream,
    connection: &Arc<Connection>,
    role: Role,
    spare: Option<Machine>,
) {
    match serve(places, folder, owner, connection, role, spare) {
        Ok(()) => connection.tell(&Tell::Done { report: None }),
        Err(refusal) => connection.tell(&Tell::Failed(refusal)),
    }
}

fn serve(
    places: &Places,
    folder: &Folder,
    owner: UnixStream,
    connection: &Arc<Connection>,
    role: Role,
    spare: Option<Machine>,
) -> Result<(), Refusal> {
    let gone = |error: std::io::Error| Refusal::of(&error);
    let _lock = prepare::lock(folder)?;
    // Its keeper was lost, or it would hold the lock: from here on that would not show.
    let state = folder.state();
    if state.status.is_alive() {
        folder.set_state(&State { status: Status::Exited, exit_code: 137, ..state }).map_err(gone)?;
    }
    let mut record = folder.record().map_err(gone)?;
    if role == Role::OwnFiles {
        record.volumes.clear();
    }
    let server = share(&mut record)?;
    // Also of one that vanishes when it ends: it has not run yet.
    let disks = Disks { is_forgotten: false, ..prepare::disks(places, folder, &record)? };
    let note = |text: &str| connection.tell(&Tell::Note { text: text.to_owned() });
    let machine = prepare::with_disks(places, record.machine, &disks, &Networking::default(), spare, &note)?;
    let (reader, writer) =
        machine.control.try_clone().and_then(|reader| Ok((reader, machine.control.try_clone()?))).map_err(gone)?;
    let (from, to) = machine.volumes.try_clone().and_then(|from| Ok((from, machine.volumes.try_clone()?))).map_err(gone)?;
    spawn("volumes", move || {
        let _ = server.serve(from, to);
    });
    let keeper = Arc::new(Keeper::new(writer, machine.pid(), folder.clone()));
    // There is no process of the container's own, but somebody to tell of a full disk.
    lock(&keeper.viewers).insert(MAIN, vec![Arc::clone(connection)]);
    if let Ok(watch) = machine.watch() {
        spawn("disk", {
            let keeper = Arc::clone(&keeper);
            move || keeper.wait_for_room(watch)
        });
    }
    spawn("guest", {
        let keeper = Arc::clone(&keeper);
        move || {
            let _ = Log::open(None).map(|mut log| keeper.carry(reader, &mut log, false));
        }
    });
    keeper.ask_within(DISKS, Task::Open { mounts: record.container.mounts })?;
    connection.tell(&Tell::Started);
    keeper.serve(owner, connection, None);
    let finished = keeper.ask_within(DISKS, Task::Finish);
    let ended = machine.end().map_err(gone);
    finished.and(ended)
}
