//! Starting a keeper, or waking a spare machine that takes its place.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use wharf_terminal::ui::Failure;

use super::protocol::{Ask, Role, send};
use super::run::NAME;
use super::spare::Spare;
use crate::containers::record::{Folder, MachineSize};
use crate::settings::Settings;

/// The connection of the one that started a container.
pub struct Owner {
    /// The connection; messages first say whether the container has started.
    pub socket: UnixStream,
}

/// Start a container's keeper.
///
/// # Errors
/// When no process can be started.
pub fn start(settings: &Settings, folder: &Folder, size: MachineSize, role: Role) -> Result<Owner, Failure> {
    let failed = |error: std::io::Error| Failure::new("cannot start the process that keeps the container").because(&error);
    if let Some(mut socket) = Spare::of(settings).take(size) {
        let ask = Ask::Take { folder: folder.path().to_owned(), role };
        match send(&mut socket, &ask) {
            Ok(()) => return Ok(Owner { socket }),
            // It ended just now: another one is started as if there had been none.
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let (ours, its) = UnixStream::pair().map_err(failed)?;
    let mut command = keeper(settings);
    command.arg(role.name()).arg(folder.path());
    command.stdin(Stdio::from(OwnedFd::from(its)));
    command.spawn().map_err(failed)?;
    Ok(Owner { socket: ours })
}

/// This program as a keeper, told what it needs of the settings.
pub fn keeper(settings: &Settings) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0(NAME).arg(settings.arch.name()).arg(settings.shared()).arg(settings.state());
    command.arg(settings.idle_timeout.to_string()).arg(settings.timeout.to_string());
    command.current_dir("/").stdout(Stdio::null()).stderr(Stdio::null());
    command
}
