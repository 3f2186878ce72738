//! The terminal of a container, handed over by the runtime on a socket (runtime-spec's runtimes call it the console socket).

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::error::{Doing, GuestError};

/// Where a terminal arrives.
pub struct Console {
    listener: UnixListener,
    path: PathBuf,
}

impl Console {
    /// Wait at a path.
    ///
    /// # Errors
    /// What the system says.
    pub fn at(path: &Path) -> Result<Self, GuestError> {
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).doing(|| format!("listen at {}", path.display()))?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Where the runtime is told to go.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The terminal's controlling side. The runtime has answered by now: what did not arrive never will.
    ///
    /// # Errors
    /// When none has arrived.
    pub fn take(self) -> Result<OwnedFd, GuestError> {
        let none = || "take the container's terminal".to_owned();
        self.listener.set_nonblocking(true).doing(none)?;
        let (socket, _) = self.listener.accept().doing(none)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut name = [0; 256];
        recvmsg(&socket, &mut [IoSliceMut::new(&mut name)], &mut ancillary, RecvFlags::CMSG_CLOEXEC).doing(none)?;
        let found = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        let _ = std::fs::remove_file(&self.path);
        found.ok_or_else(|| GuestError::Asked("the container runtime sent no terminal".to_owned()))
    }
}
