//! What the guest asks of its worker.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use wharf_guest_protocol::Text;

/// What is started.
#[derive(Debug, Serialize, Deserialize)]
pub enum What {
    /// A container: the folder with its `config.json`.
    Container(PathBuf),
    /// A process in one: a file with a process of runtime-spec.
    Process(PathBuf),
}

/// What the guest asks. Standard input, output and error come along as files where there is no console.
#[derive(Debug, Serialize, Deserialize)]
pub enum Call {
    /// Start a container, or a process in one.
    Start {
        /// Which.
        what: What,
        /// The container's name.
        name: String,
        /// The program and its arguments.
        args: Vec<Text>,
        /// Its environment.
        env: Vec<Text>,
        /// Where its terminal is awaited.
        console: Option<PathBuf>,
    },
    /// Stop its processes where they are.
    Pause {
        /// The container.
        name: String,
    },
    /// Let them go on.
    Resume {
        /// The container.
        name: String,
    },
    /// End and forget it.
    Delete {
        /// The container.
        name: String,
    },
}

/// What comes of it.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// It runs.
    Started {
        /// Its process, a child of the machine's first one.
        pid: i32,
    },
    /// Done.
    Done,
    /// Not done.
    Refused {
        /// Why.
        message: String,
        /// 126 for a program that cannot be run, 127 for one that is not there, 125 for all else.
        code: u8,
    },
}
