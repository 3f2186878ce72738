//! Where files lie: a directory that is open, and a name in it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::system::{self, Status};

/// Links that lead to a place at most; as many as Linux follows.
const LINKS_MAX: usize = 40;

/// A name in an open directory. Whether there is anything of that name is another question.
#[derive(Debug)]
pub struct Place {
    directory: OwnedFd,
    name: Vec<u8>,
}

impl Place {
    /// Find what a path means. `open` opens a directory, with links on the way followed as the root that it belongs to has it; that alone decides
    /// where the place can be. A link in the last part is followed when `follow` says so, or when the path ends with a slash or a dot.
    ///
    /// # Errors
    /// What `open` says of a directory on the way, and links that go in circles.
    pub fn find(path: &[u8], follow: bool, open: impl Fn(&[u8]) -> io::Result<OwnedFd>) -> io::Result<Self> {
        let mut path = path.to_vec();
        for _ in 0..=LINKS_MAX {
            let (parent, name) = split(&path);
            if matches!(name, b"" | b"." | b"..") {
                let directory = open(if path.is_empty() { b"." } else { &path })?;
                return Ok(Self { directory, name: b".".to_vec() });
            }
            let directory = open(if parent.is_empty() { b"." } else { parent })?;
            let is_link = follow && system::status_at(directory.as_fd(), name).is_ok_and(|status| status.is_symlink());
            if !is_link {
                return Ok(Self { directory, name: name.to_vec() });
            }
            let target = system::read_link_at(directory.as_fd(), name)?;
            path = if target.starts_with(b"/") { target } else { [parent, &target].concat() };
        }
        Err(io::Error::from_raw_os_error(libc::ELOOP))
    }

    /// Whether there is a directory; `None` when there is nothing.
    ///
    /// # Errors
    /// What the system says.
    pub fn is_directory(&self) -> io::Result<Option<bool>> {
        system::is_directory_at(self.directory(), &self.name)
    }

    pub(super) fn status(&self) -> io::Result<Status> {
        system::status_at(self.directory(), &self.name)
    }

    /// The directory in which it lies.
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Its name there; `.` when it is that directory itself.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    pub(super) fn into_parts(self) -> (OwnedFd, Vec<u8>) {
        (self.directory, self.name)
    }
}

/// A path's last part, and what stands before it, its slash included.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    path.split_at(path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1))
}

/// Whether a path says that it means a directory: it ends with a slash, or its last part is a dot or two.
pub fn asserts_folder(path: &[u8]) -> bool {
    matches!(split(path).1, b"" | b"." | b"..")
}

/// What a copy of the file at this path is called in the directory that it is copied into: the last part of its name; `None` when not the file but
/// what is in it is copied, as of a root or of a path that ends with `/.`.
pub fn base_name(path: &[u8]) -> Option<&[u8]> {
    if matches!(split(path).1, b"." | b"..") {
        return None;
    }
    let end = path.iter().rposition(|byte| *byte != b'/')?;
    let name = split(&path[..=end]).1;
    (!matches!(name, b"." | b"..")).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_copies_and_what_is_said_of_folders() {
        for (path, name, asserts) in [
            ("/etc/passwd", Some("passwd"), false),
            ("etc/", Some("etc"), true),
            ("a//b//", Some("b"), true),
            ("x", Some("x"), false),
            ("...", Some("..."), false),
            ("/etc/.", None, true),
            ("/etc/./", None, true),
            ("a/..", None, true),
            (".", None, true),
            ("/", None, true),
            ("", None, true),
        ] {
            assert_eq!(base_name(path.as_bytes()), name.map(str::as_bytes), "{path}");
            assert_eq!(asserts_folder(path.as_bytes()), asserts, "{path}");
        }
    }

    #[test]
    fn links_in_the_last_part_are_followed_where_that_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("real")).unwrap();
        std::fs::write(folder.path().join("real/file"), "").unwrap();
        for (target, link) in [("real", "d"), ("d/file", "f"), ("loop", "loop"), ("none", "dangling")] {
            std::os::unix::fs::symlink(target, folder.path().join(link)).unwrap();
        }
        let root = std::fs::File::open(folder.path()).unwrap();
        let open =
            |path: &[u8]| system::open_below(root.as_fd(), path.strip_prefix(b"/").unwrap_or(path), system::Open::Directory);
        let find = |path: &str, follow| Place::find(path.as_bytes(), follow, open);
        assert_eq!(find("f", true).unwrap().name(), b"file");
        assert!(find("f", false).unwrap().status().unwrap().is_symlink());
        assert_eq!(find("real/", false).unwrap().name(), b".");
        assert_eq!(find("dangling", true).unwrap().is_directory().unwrap(), None);
        assert_eq!(find("loop", true).unwrap_err().raw_os_error(), Some(libc::ELOOP));
        assert_eq!(find("no/where", true).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
