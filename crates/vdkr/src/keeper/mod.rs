//! The process beside each virtual machine.
//!
//! It owns QEMU, carries what a container reads and writes between the machine and the commands that look at it, keeps the log, and answers the
//! guest's requests for files. Every other vdkr asks it, over a socket in the container's folder. The first connection is its owner's: a container
//! in the foreground ends when that one closes.

mod between;
mod connection;
mod files;
mod log;
mod prepare;
mod protocol;
mod refusal;
mod room;
mod run;
mod socket;
mod spare;
mod start;

pub use log::{lines, now};
pub use protocol::{Ask, IN, Role, Tell, parse, send};
pub use run::be_keeper;
pub use socket::connect;
pub use spare::Spare;
pub use start::start;
