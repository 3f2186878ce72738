//! Why there is no machine.

use std::io;
use std::path::PathBuf;

use crate::Architecture;

/// Why there is no machine.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// QEMU's program for the architecture is not installed.
    #[error("no {program} in PATH, which runs images for {architecture}", program = .0.program(), architecture = .0)]
    NoQemu(Architecture),
    /// This QEMU cannot run what builds make.
    #[error("{} is QEMU {version}, which lacks the processors that images are built for; 7.2 has them", .program.display())]
    OldQemu {
        /// The program.
        program: PathBuf,
        /// Its version.
        version: String,
    },
    /// The kernel or the initial file system is not there.
    #[error("no {what} for {architecture} at {}", .path.display())]
    NoGuest {
        /// What is missing.
        what: &'static str,
        /// For which architecture.
        architecture: Architecture,
        /// Where it should be.
        path: PathBuf,
    },
    /// The machine ended by itself.
    #[error("the machine ended: {0}")]
    Ended(String),
    /// The machine said nothing in time.
    #[error("the machine did not say in {seconds} seconds that it is ready: {last}")]
    Silent {
        /// How long it had.
        seconds: u64,
        /// Its last words.
        last: String,
    },
    /// QEMU refused a command of its monitor.
    #[error("QEMU refuses {command}: {message}")]
    Refused {
        /// The command.
        command: String,
        /// Why.
        message: String,
    },
    /// The guest could not do what was asked.
    #[error("the guest cannot get ready: {0}")]
    Guest(String),
    /// A file or a socket.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl MachineError {
    /// Names what was being done.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
