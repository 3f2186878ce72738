//! The machine's two disks, put together to the root of a container.
//!
//! A snapshot was taken with placeholders in their place. Nothing but the kernel's look for partitions has ever read them before
//! [`Disks::mount`], and what that left in memory is dropped first.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::error::{Doing, GuestError, make_folder};

/// The serial number of the disk with the layers of the image, as one file system.
const IMAGE: &str = "image";
/// That of the disk for what the container changes.
const CHANGES: &str = "changes";

const LOWER: &str = "/run/vdkr/image";
const DISK: &str = "/run/vdkr/disk";
/// Where what the container has changed lies, as overlayfs has it.
pub const UPPER: &str = "/run/vdkr/disk/upper";
const ROOT: &str = "/run/vdkr/root";

/// Drop what the kernel remembers of a block device (`BLKFLSBUF`, `<linux/fs.h>`).
const FLUSH_BUFFERS: libc::Ioctl = 0x1261;

/// The mounted disks.
pub struct Disks {
    _private: (),
}

impl Disks {
    /// Mount the disks and put the container's root together.
    ///
    /// # Errors
    /// A disk that is not what it should be.
    pub fn mount() -> Result<Self, GuestError> {
        let (image, changes) = (device(IMAGE)?, device(CHANGES)?);
        for device in [&image, &changes] {
            forget(device).doing(|| format!("forget what {} held", device.display()))?;
        }
        for folder in [LOWER, DISK, ROOT] {
            make_folder(folder)?;
        }
        mount(&image, LOWER, "erofs", MountFlags::RDONLY, None).doing(|| "mount the image".to_owned())?;
        mount(&changes, DISK, "ext4", MountFlags::NOATIME, Some(c"nodiscard,noinit_itable"))
            .doing(|| "mount the container's disk".to_owned())?;
        for folder in ["upper", "work"] {
            make_folder(Path::new(DISK).join(folder))?;
        }
        // Without redirect_dir and metacopy what is in `upper` is a layer as image-spec has it.
        let options =
            c"lowerdir=/run/vdkr/image,upperdir=/run/vdkr/disk/upper,workdir=/run/vdkr/disk/work,redirect_dir=off,metacopy=off";
        mount("overlay", ROOT, "overlay", MountFlags::empty(), Some(options))
            .doing(|| "put image and changes together".to_owned())?;
        Ok(Self { _private: () })
    }

    /// The container's root.
    pub fn root(&self) -> &'static Path {
        Path::new(ROOT)
    }

    /// Write everything out and let go of the disks.
    ///
    /// # Errors
    /// When something still uses them.
    pub fn finish(self) -> Result<(), GuestError> {
        for folder in [ROOT, DISK, LOWER] {
            unmount(folder, UnmountFlags::empty()).doing(|| format!("unmount {folder}"))?;
        }
        Ok(())
    }
}

/// The device of a serial number: which one comes first is not the same on all machines.
fn device(serial: &str) -> Result<PathBuf, GuestError> {
    let disks = std::fs::read_dir("/sys/block").doing(|| "list the disks".to_owned())?;
    let is_it = |entry: &std::fs::DirEntry| {
        std::fs::read_to_string(entry.path().join("serial")).is_ok_and(|found| found.trim_end() == serial)
    };
    let found = disks.flatten().find(is_it).map(|entry| Path::new("/dev").join(entry.file_name()));
    found.ok_or_else(|| GuestError::Asked(format!("this machine has no disk {serial}")))
}

fn forget(device: &Path) -> std::io::Result<()> {
    let device = File::open(device)?;
    // SAFETY: this request has no argument that is read.
    if unsafe { libc::ioctl(device.as_raw_fd(), FLUSH_BUFFERS, 0) } < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}
