//! A container that does not run, for its files.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use wharf_guest_protocol::Mount;
use wharf_volumes::Owner;
use wharf_volumes::relay::Relay;

use super::{bundle, mount_volumes};
use crate::disks::Disks;
use crate::error::{Doing, GuestError};

/// The mounted disks and volumes of a container that does not run.
pub struct Opened {
    disks: Disks,
    /// Where volumes are seen, the last one first.
    seen: Vec<PathBuf>,
}

impl Opened {
    /// Mount the disks, and the volumes where a process of the container would see them.
    ///
    /// # Errors
    /// A disk that cannot be mounted, a volume for which there is no place.
    pub fn mount(volumes: &Relay, mounts: &[Mount]) -> Result<Self, GuestError> {
        let mut opened = Self { disks: Disks::mount()?, seen: Vec::new() };
        mount_volumes(volumes, mounts, Owner::ROOT)?;
        for mount in mounts {
            if let Mount::Volume { volume, target, is_file, .. } = mount {
                let shown = || format!("show a volume at {}", target.shown());
                let place = place(opened.disks.root(), target.as_os_str().as_encoded_bytes(), *is_file).doing(shown)?;
                // By its file: the path's links are the container's, and must not be followed from here.
                let path = PathBuf::from(format!("/proc/self/fd/{}", place.as_raw_fd()));
                mount_bind(Path::new(bundle::VOLUMES).join(volume.to_string()), &path).doing(shown)?;
                let real = std::fs::read_link(&path).doing(shown)?;
                opened.seen.insert(0, real);
            }
        }
        Ok(opened)
    }

    /// The container's root.
    pub fn root(&self) -> &'static Path {
        self.disks.root()
    }

    /// Write everything out and let go of the disks.
    ///
    /// # Errors
    /// When something still uses them.
    pub fn finish(self) -> Result<(), GuestError> {
        for place in &self.seen {
            unmount(place, UnmountFlags::empty()).doing(|| format!("unmount {}", place.display()))?;
        }
        self.disks.finish()
    }
}

/// What lies at a path of the container, made where it is missing, as the runtime would.
fn place(root: &Path, path: &[u8], is_file: bool) -> Result<OwnedFd, Errno> {
    let root = openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let open = |path: &[u8]| openat2(root.as_fd(), path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), inside);
    match open(path) {
        Err(Errno::NOENT) => {}
        found => return found,
    }
    let parts: Vec<_> = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
    let mut so_far = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let parent = open(if so_far.is_empty() { b"/" } else { &so_far })?;
        so_far.push(b'/');
        so_far.extend_from_slice(part);
        if is_file && at + 1 == parts.len() {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            openat(&parent, *part, flags, Mode::from_raw_mode(0o644)).map(File::from).map(drop)?;
        } else {
            match mkdirat(&parent, *part, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
        }
    }
    open(path)
}
