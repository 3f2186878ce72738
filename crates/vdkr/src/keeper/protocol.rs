//! What other vdkr processes ask a keeper, and what it tells them. The frames are those of `guest-protocol`.

use std::io::Write;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wharf_guest_protocol::{CONTROL, FileWork, Process, Report, Task, Terminal, write};

use super::refusal::Refusal;

/// The channel of standard input; the two after it are output and error.
pub const IN: u32 = 1;

/// What a keeper is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// To run the container, which ends when its owner's connection closes.
    Foreground,
    /// To run the container.
    Background,
    /// To have its files looked at, with those of its volumes. It ends, and says so with [`Tell::Done`], when its owner sends no more.
    Files,
    /// The same without volumes, which are not the container's own.
    OwnFiles,
}

impl Role {
    const ALL: [(&str, Self); 4] = [
        ("foreground", Self::Foreground),
        ("background", Self::Background),
        ("files", Self::Files),
        ("own-files", Self::OwnFiles),
    ];

    /// Its name on a command line.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, role)| *role == self).map_or("", |(name, _)| name)
    }

    /// The one of a name.
    pub fn of_name(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, _)| *name == text).map(|(_, role)| *role)
    }
}

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
    /// What is looked at goes on when this connection closes, whatever was said before. Answered by [`Tell::Detached`].
    Detach,
    /// Something for the guest; answered by [`Tell::Done`] or [`Tell::Failed`].
    Guest {
        /// What.
        task: Task,
    },
    /// A spare machine is to take this container.
    Take {
        /// The container's folder.
        folder: std::path::PathBuf,
        /// What for.
        role: Role,
    },
    /// Something with the container's files. The archive comes as standard output would, or goes as standard input would; answered by
    /// [`Tell::Done`] or [`Tell::Failed`] when all of it has been carried. It is given up when this connection closes.
    Files {
        /// What.
        work: FileWork,
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
    /// It goes on without this connection.
    Detached,
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
