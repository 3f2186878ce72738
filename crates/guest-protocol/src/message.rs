//! What vdkr asks of a guest, and what a guest tells.

use serde::{Deserialize, Serialize};

use crate::{Container, FileWork, Mount, Process, Terminal};

/// The bytes of a stream that may be under way, from the start.
pub const WINDOW: usize = 256 << 10;

/// One stream of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stream {
    /// The process, by the number that vdkr gave it.
    pub process: u32,
    /// Which of its streams.
    pub kind: StreamKind,
}

/// Which stream of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StreamKind {
    /// Standard input, to the guest.
    In,
    /// Standard output, or all that a terminal shows.
    Out,
    /// Standard error.
    Err,
}

impl Stream {
    /// The channel of the frames that carry it.
    pub fn channel(self) -> u32 {
        (self.process << 2) + 1 + self.kind as u32
    }

    /// The stream whose frames have this channel; `None` for a channel that no stream has.
    pub fn of_channel(channel: u32) -> Option<Self> {
        let kind = match channel & 3 {
            1 => StreamKind::In,
            2 => StreamKind::Out,
            3 => StreamKind::Err,
            _ => return None,
        };
        Some(Self { process: channel >> 2, kind })
    }
}

/// What vdkr asks of a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// Something that is answered by [`Event::Done`] or [`Event::Failed`] with the same number.
    Ask {
        /// The number.
        id: u32,
        /// What to do.
        task: Task,
    },
    /// Send a process a signal; nothing happens when it has ended.
    Signal {
        /// The process.
        process: u32,
        /// The signal's number, as x86-64 and arm64 have it.
        signal: i32,
    },
    /// A process's terminal has another size now.
    Resize {
        /// The process.
        process: u32,
        /// The size.
        terminal: Terminal,
    },
    /// So many bytes of a stream from the guest were taken.
    Credit {
        /// The stream.
        stream: Stream,
        /// The bytes.
        bytes: usize,
    },
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "kebab-case")]
pub enum Task {
    /// Run a container from the guest's own files once and forget it, so that what containers need is in memory when the snapshot is taken.
    WarmUp,
    /// The first words to a restored machine: what two of them must not share, and what stood still.
    Wake {
        /// At least 32 random bytes, in hexadecimal.
        random: String,
        /// The time now, in nanoseconds since 1970.
        unix_nanos: u64,
    },
    /// Mount the disks and start the container. Its first process has the number given; done when it runs.
    Start {
        /// The number.
        process: u32,
        /// The container.
        container: Box<Container>,
    },
    /// Start another process in the container; done when it runs.
    Exec {
        /// The number.
        process: u32,
        /// The process.
        spec: Box<Process>,
    },
    /// Mount the disks of a container, and start nothing: for its files.
    Open {
        /// Volumes that are seen in it, in the order in which they are mounted; others are left out.
        mounts: Vec<Mount>,
    },
    /// Do something with the container's files. The archive is the standard output, or the standard input, of a process that does not exist
    /// otherwise; a signal to it gives the work up. Answered when all of it is done and sent.
    Files {
        /// The process's number.
        process: u32,
        /// What to do.
        work: FileWork,
    },
    /// Stop all processes of the container where they are.
    Pause,
    /// Let them go on.
    Resume,
    /// The processes of the container: answered with [`Report::Processes`].
    Top,
    /// End everything, write everything to the disks and let go of them.
    Finish,
}

/// What a guest tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// It has started and listens.
    Ready {
        /// Its kernel's release.
        kernel: String,
        /// The version of the guest program.
        version: String,
    },
    /// What was asked is done.
    Done {
        /// The number.
        id: u32,
        /// What was asked for, if something.
        report: Option<Report>,
    },
    /// What was asked could not be done.
    Failed {
        /// The number.
        id: u32,
        /// Why, in a sentence without a dot.
        message: String,
        /// The way out, if one is known.
        hint: Option<String>,
        /// The exit code that says it to scripts: 125 for the machine, 126 for a program that cannot be run, 127 for one that is not there.
        code: u8,
    },
    /// A process has ended, and all that it wrote was sent.
    Exited {
        /// The process.
        process: u32,
        /// Its exit code; 128 and the signal's number for one that a signal ended.
        code: u8,
    },
    /// So many bytes of a standard input were taken.
    Credit {
        /// The stream.
        stream: Stream,
        /// The bytes.
        bytes: usize,
    },
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "kebab-case")]
pub enum Report {
    /// The processes of a container.
    Processes {
        /// A line of `ps -ef` each: user, pid, parent, start, time, command.
        rows: Vec<Vec<String>>,
    },
    /// The first process of a container or an exec has this number inside the machine.
    Started {
        /// The number.
        pid: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CONTROL;

    #[test]
    fn channels_and_streams_belong_together() {
        for process in [0, 1, 17, u32::MAX >> 2] {
            for kind in [StreamKind::In, StreamKind::Out, StreamKind::Err] {
                let stream = Stream { process, kind };
                assert_ne!(stream.channel(), CONTROL);
                assert_eq!(Stream::of_channel(stream.channel()), Some(stream));
            }
        }
        assert_eq!(Stream::of_channel(CONTROL), None);
    }
}
