//! The container runtime: youki's libcontainer, in a process of its own.
//!
//! It forks without an exec, which a program with threads cannot do safely; so a [`worker`] without threads does it, started once when the machine
//! boots. It is part of the snapshot: a restored machine starts its container without starting any other program, and without the time that
//! loading one takes.

mod call;
mod console;
mod executor;
mod worker;

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;
use wharf_guest_protocol::{Process, Text, read};

use crate::error::{Doing, GuestError};
use crate::processes::{Ends, set_size};
use crate::reaper::Reaper;
use call::{Answer, Call};
use console::Console;

pub use call::What;
pub use worker::{WORKER, work};

/// The way to the worker.
pub struct Runtime {
    worker: Mutex<UnixStream>,
}

impl Runtime {
    /// Start the worker.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn start(reaper: &Reaper) -> Result<Self, GuestError> {
        let (ours, its) = UnixStream::pair().doing(|| "make a socket".to_owned())?;
        let mut command = Command::new("/proc/self/exe");
        std::os::unix::process::CommandExt::arg0(&mut command, WORKER);
        reaper.start(command.stdin(Stdio::from(OwnedFd::from(its)))).doing(|| "start the container runtime".to_owned())?;
        Ok(Self { worker: Mutex::new(ours) })
    }

    /// Start a container or a process in one: the number of the process, and the ends of its streams.
    ///
    /// # Errors
    /// The runtime's own words.
    pub fn launch(&self, what: What, name: &str, process: &Process, env: Vec<Text>) -> Result<(Pid, Ends), GuestError> {
        let call = |console| Call::Start { what, name: name.to_owned(), args: process.args.clone(), env, console };
        if let Some(size) = process.terminal {
            let console = Console::at(Path::new("/run/vdkr/console"))?;
            let answer = self.call(&call(Some(console.path().to_owned())), &[])?;
            let master = console.take()?;
            set_size(&master, size);
            return Ok((pid(&answer)?, Ends::Terminal { master, stdin: process.stdin }));
        }
        let pipe = || pipe_with(PipeFlags::CLOEXEC).doing(|| "make a pipe".to_owned());
        let ((input, stdin), (stdout, output), (stderr, errors)) = (pipe()?, pipe()?, pipe()?);
        let answer = self.call(&call(None), &[&input, &output, &errors])?;
        Ok((pid(&answer)?, Ends::Pipes { stdin: process.stdin.then_some(stdin), stdout, stderr }))
    }

    /// Stop all processes of a container where they are, or let them go on.
    ///
    /// # Errors
    /// The runtime's own words.
    pub fn freeze(&self, name: &str, is_frozen: bool) -> Result<(), GuestError> {
        let name = name.to_owned();
        self.call(&if is_frozen { Call::Pause { name } } else { Call::Resume { name } }, &[]).map(|_| ())
    }

    /// End what still runs of a container and forget it.
    ///
    /// # Errors
    /// The runtime's own words.
    pub fn delete(&self, name: &str) -> Result<(), GuestError> {
        self.call(&Call::Delete { name: name.to_owned() }, &[]).map(|_| ())
    }

    fn call(&self, call: &Call, streams: &[&OwnedFd]) -> Result<Answer, GuestError> {
        let failed = || "ask the container runtime".to_owned();
        let json = serde_json::to_vec(call).map_err(std::io::Error::from).doing(failed)?;
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        // The files go along with the first byte of the frame.
        let length = u32::try_from(json.len()).unwrap_or(u32::MAX).to_le_bytes();
        let fds: Vec<_> = streams.iter().map(|fd| fd.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(&fds));
        }
        let header = [length, [0; 4]].concat();
        let sent = sendmsg(&*worker, &[IoSlice::new(&header)], &mut ancillary, SendFlags::NOSIGNAL).doing(failed)?;
        if sent != header.len() {
            return Err(GuestError::Asked("the container runtime takes no calls".to_owned()));
        }
        std::io::Write::write_all(&mut *worker, &json).doing(failed)?;
        let gone = || GuestError::Asked("the container runtime has ended".to_owned());
        let frame = read(&mut *worker).map_err(|_| gone())?.ok_or_else(gone)?;
        match serde_json::from_slice(&frame.payload).map_err(std::io::Error::from).doing(failed)? {
            Answer::Refused { message, code } => Err(GuestError::Runtime { message, code }),
            answer => Ok(answer),
        }
    }
}

fn pid(answer: &Answer) -> Result<Pid, GuestError> {
    let found = if let Answer::Started { pid } = answer { Pid::from_raw(*pid) } else { None };
    found.ok_or_else(|| GuestError::Asked("the container runtime started nothing".to_owned()))
}
