//! The one folder, and nothing outside it.
//!
//! No symbolic link is ever followed here, in no step of a path: the guest gets its text and follows it in its own tree. So no link, whenever and
//! by whomever it is put in place of a folder, leads out of the shared one.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno;

use super::nodes::{Identity, Stamp};

/// The kernel takes paths of less than 4,096 bytes. Longer ones are walked in pieces.
const LONGEST_PATH: usize = 4000;

/// To hold a file without opening it: reading from a pipe or a device would have effects.
const HOLD: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A folder below which paths are resolved.
#[derive(Debug)]
pub(crate) struct Tree {
    root: OwnedFd,
    /// Linux 5.6 has `openat2`, which some containers' filters do not let through.
    openat2: bool,
}

impl Tree {
    /// Below `root`, which may be held only.
    pub(crate) fn new(root: OwnedFd) -> Self {
        let openat2 = whole(root.as_fd(), c".").is_ok();
        Self { root, openat2 }
    }

    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Holds what is at `path`, of whatever kind.
    pub(crate) fn hold(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let mut folder: Option<OwnedFd> = None;
        let mut rest = path;
        loop {
            let (piece, after) = piece(rest);
            let from = folder.as_ref().map_or(self.root.as_fd(), AsFd::as_fd);
            let text = CString::new(piece).map_err(|_| Errno::INVAL)?;
            let found = if self.openat2 { whole(from, &text)? } else { stepwise(from, piece)? };
            if after.is_empty() {
                return Ok(found);
            }
            folder = Some(found);
            rest = after;
        }
    }
}

/// As much of a path as the kernel takes at once, and the rest.
fn piece(path: &[u8]) -> (&[u8], &[u8]) {
    if path.len() <= LONGEST_PATH {
        return (path, &[]);
    }
    match path[..LONGEST_PATH].iter().rposition(|byte| *byte == b'/') {
        Some(cut) => (&path[..cut], &path[cut + 1..]),
        None => (path, &[]),
    }
}

fn whole(from: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(from, path, HOLD, Mode::empty(), resolve)
}

fn stepwise(from: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let mut held: Option<OwnedFd> = None;
    for step in path.split(|byte| *byte == b'/') {
        let folder = held.as_ref().map_or(from, AsFd::as_fd);
        held = Some(rustix::fs::openat(folder, step, HOLD, Mode::empty())?);
    }
    held.ok_or(Errno::INVAL)
}

/// Opens what is held. The caller has made sure that it is a file or a folder: others have effects when opened.
pub(crate) fn reopen(held: &impl AsFd, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, by_number(held), flags | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
}

/// A path to what is held, good for as long as that is, for calls that take no descriptor that only holds. The last step is followed to the file itself, be it a link.
pub(crate) fn by_number(held: &impl AsFd) -> String {
    format!("/proc/self/fd/{}", held.as_fd().as_raw_fd())
}

/// A path to a name in a folder that is held, for calls that do not follow the last step.
pub(crate) fn by_name(folder: &impl AsFd, name: &CStr) -> Vec<u8> {
    let mut path = by_number(folder).into_bytes();
    path.push(b'/');
    path.extend_from_slice(name.to_bytes());
    path
}

/// Attributes of a file and what it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Status(pub(crate) Statx);

impl Status {
    pub(crate) fn of(file: impl AsFd) -> Result<Self, Errno> {
        Self::get(file.as_fd(), c"", AtFlags::EMPTY_PATH)
    }

    pub(crate) fn at(folder: impl AsFd, name: &CStr) -> Result<Self, Errno> {
        Self::get(folder.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT)
    }

    fn get(folder: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> Result<Self, Errno> {
        rustix::fs::statx(folder, name, flags, StatxFlags::BASIC_STATS | StatxFlags::BTIME).map(Self)
    }

    pub(crate) fn identity(&self) -> Identity {
        let device = rustix::fs::makedev(self.0.stx_dev_major, self.0.stx_dev_minor);
        let has_birth = self.0.stx_mask & StatxFlags::BTIME.bits() != 0;
        let born = if has_birth { nanoseconds(&self.0.stx_btime) } else { 0 };
        Identity { device, inode: self.0.stx_ino, born }
    }

    pub(crate) fn stamp(&self) -> Stamp {
        Stamp { size: self.0.stx_size, modified: nanoseconds(&self.0.stx_mtime), changed: nanoseconds(&self.0.stx_ctime) }
    }

    fn kind(&self) -> u32 {
        u32::from(self.0.stx_mode) & 0o170_000
    }

    pub(crate) fn is_folder(&self) -> bool {
        self.kind() == 0o040_000
    }

    pub(crate) fn is_file(&self) -> bool {
        self.kind() == 0o100_000
    }

    pub(crate) fn is_link(&self) -> bool {
        self.kind() == 0o120_000
    }

    /// Permissions with setuid, setgid and sticky.
    pub(crate) fn mode(&self) -> u32 {
        u32::from(self.0.stx_mode) & 0o7777
    }
}

fn nanoseconds(time: &rustix::fs::StatxTimestamp) -> i128 {
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree(path: &std::path::Path, openat2: bool) -> Tree {
        let root = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        Tree { openat2, ..Tree::new(root) }
    }

    /// With `openat2` and without.
    #[test]
    fn no_link_is_followed() {
        let scratch = tempfile::tempdir().unwrap();
        let (inside, outside) = (scratch.path().join("in"), scratch.path().join("out"));
        std::fs::create_dir_all(inside.join("folder")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(inside.join("folder/file"), "").unwrap();
        std::fs::write(outside.join("secret"), "").unwrap();
        symlink("../out", inside.join("up")).unwrap();
        symlink("folder", inside.join("within")).unwrap();
        assert!(tree(&inside, true).openat2);
        for openat2 in [true, false] {
            let tree = tree(&inside, openat2);
            assert!(Status::of(tree.hold(b"folder/file").unwrap()).unwrap().is_file());
            assert!(Status::of(tree.hold(b"up").unwrap()).unwrap().is_link());
            assert!(tree.hold(b"up/secret").is_err());
            assert!(tree.hold(b"within/file").is_err());
            assert_eq!(tree.hold(b"missing").err(), Some(Errno::NOENT));
        }
    }

    #[test]
    fn paths_longer_than_the_kernel_takes() {
        let scratch = tempfile::tempdir().unwrap();
        let mut folder = rustix::fs::open(scratch.path(), HOLD | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let step = "d".repeat(200);
        for _ in 0..50 {
            rustix::fs::mkdirat(&folder, &*step, Mode::RWXU).unwrap();
            folder = rustix::fs::openat(&folder, &*step, HOLD, Mode::empty()).unwrap();
        }
        let path = vec![step; 50].join("/");
        for openat2 in [true, false] {
            let found = tree(scratch.path(), openat2).hold(path.as_bytes()).unwrap();
            assert_eq!(Status::of(found).unwrap().identity(), Status::of(&folder).unwrap().identity());
        }
        let command = std::process::Command::new("rm").arg("-r").arg(scratch.path()).status().unwrap();
        assert!(command.success());
        std::fs::create_dir(scratch.path()).unwrap();
    }
}
