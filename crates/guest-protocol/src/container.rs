//! What a container and a process in it are to be.

use serde::{Deserialize, Serialize};

use crate::Text;

/// The one container of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its identifier, 64 hexadecimal digits.
    pub id: String,
    /// What `hostname` says inside.
    pub hostname: String,
    /// Its first process.
    pub process: Process,
    /// Whether nothing in its root may be changed.
    pub read_only: bool,
    /// All capabilities, all devices, no masked paths.
    pub privileged: bool,
    /// Capabilities beside the usual ones, as `CAP_NET_ADMIN`; `ALL` is all of them.
    pub cap_add: Vec<String>,
    /// Capabilities that it goes without.
    pub cap_drop: Vec<String>,
    /// What it sees of the network.
    pub network: Network,
    /// Folders and file systems beside its root, in the order in which they are mounted.
    pub mounts: Vec<Mount>,
    /// The most memory that it may use, in bytes.
    pub memory: Option<u64>,
    /// The most processor time, in thousandths of a processor.
    pub cpu_millis: Option<u64>,
}

/// What a container sees of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// The network of its machine, which has one container and reaches the outside through the host.
    Machine,
    /// Nothing but a loopback of its own.
    None,
}

/// Something mounted in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Mount {
    /// A folder or a file of the host.
    Volume {
        /// Which of the host's, as its requests say.
        volume: u32,
        /// Where it is seen, from the container's root.
        target: Text,
        /// Whether it is a file.
        is_file: bool,
        /// Whether it may not be written to. The host refuses it too.
        read_only: bool,
    },
    /// A file system in the machine's memory.
    Tmpfs {
        /// Where it is seen.
        target: Text,
        /// Options of mount(8), as `size=64m`.
        options: Vec<String>,
    },
}

/// A process in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The program and its arguments; never empty.
    pub args: Vec<Text>,
    /// The environment, `NAME=value`.
    pub env: Vec<Text>,
    /// Its folder; created where it is missing.
    pub working_dir: Text,
    /// `USER`, `USER:GROUP`, by name or number, as image configurations say it; empty for root.
    pub user: String,
    /// The terminal it gets; `None` for three pipes.
    pub terminal: Option<Terminal>,
    /// Whether something comes on standard input; otherwise it is empty.
    pub stdin: bool,
    /// All capabilities, for `exec --privileged`.
    pub privileged: bool,
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminal {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}
