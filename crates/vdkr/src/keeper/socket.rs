//! The socket of a keeper. Its path may be longer than an address takes, so the folder is named by an open file.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};

const NAME: &str = "socket";

fn short(folder: &Path) -> io::Result<(OwnedFd, PathBuf)> {
    let open = openat(CWD, folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", open.as_raw_fd()));
    Ok((open, path))
}

/// Listen in a folder, in the place of one that has ended.
///
/// # Errors
/// What the system says.
pub fn listen(folder: &Path) -> io::Result<UnixListener> {
    let (_open, path) = short(folder)?;
    let _ = std::fs::remove_file(&path);
    UnixListener::bind(path)
}

/// Connect to the keeper that listens in a folder.
///
/// # Errors
/// When none does.
pub fn connect(folder: &Path) -> io::Result<UnixStream> {
    let (_open, path) = short(folder)?;
    UnixStream::connect(path)
}
