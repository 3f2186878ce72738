//! QEMU as vdkr uses it: its command line, its monitor, a snapshot once per architecture, and machines restored from it.
//!
//! A [`Shape`] is all that a snapshot depends on. [`Snapshot::get`] finds the snapshot of a shape or makes it, and [`Snapshot::restore`] starts a
//! machine from it, in which the guest program already listens. The snapshot's memory is a file that every machine maps for itself, so a
//! restored machine reads of it what it touches, and shares with others what none of them changes.
//!
//! What may be relied on: a snapshot holds no image, no name and no secret, and is readable by its owner alone. One that does not fit is made
//! again. A machine ends with the process that started it.
#![deny(unsafe_code)]

mod architecture;
mod clock;
mod command;
mod error;
mod machine;
mod monitor;
mod qemu;
mod shape;
mod snapshot;
mod watch;

pub use architecture::{Architecture, UnknownArchitecture};
pub use command::{Disks, Forward, IMAGE_DISK, Networking};
pub use error::MachineError;
pub use machine::Machine;
pub use qemu::Qemu;
pub use shape::Shape;
pub use snapshot::Snapshot;
pub use watch::Watch;
