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
    let status = system::status_at(directory, name)?;
    if !status.is_directory() {
        return system::unlink_at(directory, name, false);
    }
    if depth == 0 {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    if status.mode & 0o700 != 0o700 {
        // It has got the mode that it was sent with.
        system::set_own_mode_at(directory, name, 0o700)?;
    }
    let open = system::open_at(directory, name, Open::Directory)?;
    for child in system::names(open.as_fd())? {
        remove(open.as_fd(), &child, depth - 1)?;
    }
    drop(open);
    system::unlink_at(directory, name, true)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Whoever is not root may neither list nor change these before their mode is another one.
    #[test]
    fn folders_that_are_closed_go_too() {
        let folder = tempfile::tempdir().unwrap();
        let own = fs::File::open(folder.path()).unwrap();
        for mode in [0, 0o500, 0o600] {
            let closed = folder.path().join("closed");
            fs::create_dir(&closed).unwrap();
            fs::write(closed.join("file"), "").unwrap();
            fs::set_permissions(&closed, fs::Permissions::from_mode(mode)).unwrap();
            remove(own.as_fd(), b"closed", DEPTH_MAX).unwrap();
            assert!(!closed.exists(), "{mode:o}");
        }
    }
}
