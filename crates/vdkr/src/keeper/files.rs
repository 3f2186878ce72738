//! A machine for the files of a container that does not run.

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use wharf_guest_protocol::Task;
use wharf_machine::{Disks, Machine, Networking};

use super::between::{DISKS, Keeper, spawn};
use super::connection::Connection;
use super::log::Log;
use super::prepare::{self, Places};
use super::protocol::{Role, Tell};
use super::refusal::Refusal;
use super::run::share;
use crate::containers::record::{Folder, State, Status};

/// Mount a container's disks, do what the owner asks with its files until it sends no more, and leave the disks in order. The container's state
/// stays as it is; meanwhile nobody starts it.
///
/// # Errors
/// A container that runs, a machine that cannot be had, disks that cannot be mounted or are not left in order.
pub fn keep(
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
    // There is no process of the container's own, but somebody to tell of a full disk.
    let (keeper, reader) = Keeper::of(&machine, server, folder, connection).map_err(gone)?;
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
