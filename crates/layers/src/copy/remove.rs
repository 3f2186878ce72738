//! Removing what was made, when the rest cannot be.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::DEPTH_MAX;
use crate::system::{self, Open};

/// Remove what has this name, with all that is in it, as far as that is possible; links are not followed.
pub(super) fn remove_all(directory: BorrowedFd<'_>, name: &[u8]) {
    // The error that led here is the one to tell.
    let _ = remove(directory, name, DEPTH_MAX + 1);
}

fn remove(directory: BorrowedFd<'_>, name: &[u8], depth: usize) -> io::Result<()> {
    if !system::status_at(directory, name)?.is_directory() {
        return system::unlink_at(directory, name, false);
    }
    if depth == 0 {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    let open = system::open_at(directory, name, Open::Directory)?;
    for child in system::names(open.as_fd())? {
        remove(open.as_fd(), &child, depth - 1)?;
    }
    drop(open);
    system::unlink_at(directory, name, true)
}
