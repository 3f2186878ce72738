//! The first process of vdkr's virtual machine.
//!
//! It sets the machine up, says that it is ready on a serial port, and does what is asked there: it mounts the disks of one container,
//! has the [`runtime`] start it, and carries its streams. It never decides anything of its own, and ends with its machine.
#![deny(unsafe_code)]

mod boot;
mod container;
mod disks;
mod error;
mod files;
mod link;
mod modules;
mod network;
mod processes;
mod reaper;
mod runtime;
mod serve;
mod streams;
mod wake;

use std::process::ExitCode;

fn main() -> ExitCode {
    let name = std::env::args_os().next().unwrap_or_default();
    match name.to_string_lossy().trim_start_matches('/') {
        container::WARM_UP => ExitCode::SUCCESS,
        runtime::WORKER => match runtime::work() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        _ => be_first(),
    }
}

fn be_first() -> ExitCode {
    if let Err(error) = boot::set_up().and_then(serve::serve) {
        // The console is all that is left to say it on; a machine whose first process ends stops with a panic, which says less.
        eprintln!("vdkr-guest: {error}");
    }
    let _ = rustix::system::reboot(rustix::system::RebootCommand::PowerOff);
    ExitCode::FAILURE
}
