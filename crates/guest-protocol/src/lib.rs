//! The messages between vdkr and the guest in its virtual machine, and how they are framed on the wire.
//!
//! One byte stream carries everything: a [`Frame`] is a length, a channel, and so many bytes. Channel 0 carries [`Request`]s to the guest and
//! [`Event`]s from it, as JSON; every other channel is one [`Stream`] of a process. A stream may have [`WINDOW`] bytes under way that its reader
//! has not taken; [`Request::Credit`] and [`Event::Credit`] give them back. So whoever reads the byte stream never has to wait for a process, and a
//! signal arrives although standard input is stuck.
#![forbid(unsafe_code)]

mod container;
mod files;
mod frame;
mod message;
mod text;

pub use container::{Container, Mount, Network, Process, Terminal};
pub use files::{Copied, FileWork};
pub use frame::{CONTROL, Frame, FrameError, MAX_PAYLOAD, read, write};
pub use message::{Event, Report, Request, Stream, StreamKind, Task, WINDOW};
pub use text::Text;
