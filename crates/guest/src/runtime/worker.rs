//! The process without threads that starts containers.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use libcontainer::container::Container;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::error::LibcontainerError;
use libcontainer::syscall::syscall::SyscallType;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use wharf_guest_protocol::{CONTROL, write};

use super::call::{Answer, Call, What};
use super::executor::{NOT_FOUND, NOT_RUNNABLE, Program};

/// The name under which this program is the worker.
pub const WORKER: &str = "vdkr-runtime";

/// Where the runtime keeps what it knows of containers.
const STATE: &str = "/run/vdkr/runtime";

/// Answer calls that come on standard input, until the guest is gone.
///
/// # Errors
/// When standard input is no socket.
pub fn work() -> std::io::Result<()> {
    std::fs::create_dir_all(STATE)?;
    let mut guest = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    while let Some((call, streams)) = next(&mut guest)? {
        let answer = perform(call, streams).unwrap_or_else(|error| refusal(&error));
        write(&mut guest, CONTROL, &serde_json::to_vec(&answer)?)?;
    }
    Ok(())
}

fn next(guest: &mut UnixStream) -> std::io::Result<Option<(Call, Vec<OwnedFd>)>> {
    let mut header = [0; 8];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let got =
        recvmsg(&*guest, &mut [IoSliceMut::new(&mut header)], &mut ancillary, RecvFlags::CMSG_CLOEXEC | RecvFlags::WAITALL)?
            .bytes;
    if got == 0 {
        return Ok(None);
    }
    let streams = ancillary.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => fds.collect(),
        _ => Vec::new(),
    });
    let streams = streams.collect();
    let mut json = vec![0; u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize];
    std::io::Read::read_exact(guest, &mut json)?;
    Ok(Some((serde_json::from_slice(&json)?, streams)))
}

fn builder(
    name: String,
    program: Program,
    console: Option<PathBuf>,
    streams: Vec<OwnedFd>,
) -> Result<ContainerBuilder, LibcontainerError> {
    let mut builder = ContainerBuilder::new(name, SyscallType::Linux)
        .with_root_path(STATE)?
        .with_executor(program)
        .with_console_socket(console);
    let mut streams = streams.into_iter();
    if let (Some(stdin), Some(stdout), Some(stderr)) = (streams.next(), streams.next(), streams.next()) {
        builder = builder.with_stdin(stdin).with_stdout(stdout).with_stderr(stderr);
    }
    Ok(builder)
}

fn perform(call: Call, streams: Vec<OwnedFd>) -> Result<Answer, LibcontainerError> {
    let load = |name: String| Container::load(PathBuf::from(STATE).join(name));
    match call {
        Call::Start { what, name, args, env, console } => {
            let builder = builder(name, Program::new(&args, &env), console, streams)?;
            let pid = match what {
                What::Container(bundle) => {
                    // The root of a machine that runs from memory cannot be pivoted away, and it is the machine that isolates.
                    let builder =
                        builder.as_init(bundle).with_systemd(false).with_detach(true).as_sibling(true).with_no_pivot(true);
                    let mut container = builder.build()?;
                    container.start()?;
                    container.pid().map_or(0, |pid| pid.as_raw())
                }
                What::Process(spec) => {
                    builder.as_tenant().with_process(Some(spec)).with_detach(true).as_sibling(true).build()?.as_raw()
                }
            };
            Ok(Answer::Started { pid })
        }
        Call::Pause { name } => load(name)?.pause().map(|()| Answer::Done),
        Call::Resume { name } => load(name)?.resume().map(|()| Answer::Done),
        Call::Delete { name } => load(name)?.delete(true).map(|()| Answer::Done),
    }
}

/// An error as words, from the innermost: what lies around it says which functions were in between.
fn refusal(error: &LibcontainerError) -> Answer {
    let mut words = vec![error.to_string()];
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        words.push(cause.to_string());
        source = cause.source();
    }
    let all = words.join(": ");
    for (mark, code) in [(NOT_FOUND, 127), (NOT_RUNNABLE, 126)] {
        if let Some(at) = all.rfind(mark) {
            return Answer::Refused { message: all[at..].to_owned(), code };
        }
    }
    words.dedup();
    Answer::Refused { message: words.join(": "), code: 125 }
}
