//! What other vdkr processes ask a keeper, and what it tells them. The frames are those of `guest-protocol`.

use std::io::Write;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wharf_guest_protocol::{CONTROL, Process, Report, Task, Terminal, write};

use super::refusal::Refusal;

/// The channel of standard input; the two after it are output and error.
pub const IN: u32 = 1;

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Ask {
    /// From now on send what the container writes, and take what comes for its standard input.
    Attach,
    /// Start a process and send what it writes.
    Exec {
        /// The process.
        process: Box<Process>,
        /// Whether it goes on when this connection closes, with nobody to see what it writes.
        is_detached: bool,
    },
    /// A signal for the container, or for what [`Self::Exec`] has started on this connection.
    Signal {
        /// Its number.
        signal: i32,
    },
    /// The terminal has another size.
    Resize {
        /// The size.
        terminal: Terminal,
    },
    /// Something for the guest; answered by [`Tell::Done`] or [`Tell::Failed`].
    Guest {
        /// What.
        task: Task,
    },
    /// A spare machine is to take this container.
    Take {
        /// The container's folder.
        folder: std::path::PathBuf,
        /// Whether it ends when this connection closes.
        is_foreground: bool,
    },
}

/// What is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "tell", rename_all = "kebab-case")]
pub enum Tell {
    /// Something takes a while.
    Note {
        /// What.
        text: String,
    },
    /// It runs.
    Started,
    /// What was asked is done.
    Done {
        /// What was asked for.
        report: Option<Report>,
    },
    /// It could not be done.
    Failed(Refusal),
    /// The process has ended, and all that it wrote was sent.
    Exited {
        /// Its exit code.
        code: u8,
    },
    /// So many bytes of standard input were taken.
    Credit {
        /// The bytes.
        bytes: usize,
    },
}

/// Send a message.
///
/// # Errors
/// What the socket says.
pub fn send(to: &mut impl Write, message: &impl Serialize) -> std::io::Result<()> {
    write(to, CONTROL, &serde_json::to_vec(message)?)
}

/// Read a message.
///
/// # Errors
/// When it is none.
pub fn parse<T: DeserializeOwned>(payload: &[u8]) -> std::io::Result<T> {
    Ok(serde_json::from_slice(payload)?)
}
