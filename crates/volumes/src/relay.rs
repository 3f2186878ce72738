//! The guest's side: FUSE mounts whose requests are carried over one port, unread.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::frame;
use crate::owner::Owner;

/// A thread here only copies.
const STACK: usize = 128 << 10;
/// Kibibytes that the kernel reads ahead of a program. Its own choice is a half of one request.
const READ_AHEAD: usize = 4 * (frame::MAX_DATA >> 10);
/// How often a port without a host is looked at.
const RETRY: Duration = Duration::from_millis(10);

/// One port and all volumes mounted over it.
#[derive(Debug, Clone)]
pub struct Relay {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    port: File,
    /// Whose turn it is to write a frame.
    writing: Mutex<()>,
    mounts: Mutex<HashMap<u32, Mounted>>,
}

#[derive(Debug)]
struct Mounted {
    device: Arc<OwnedFd>,
    target: PathBuf,
}

impl Relay {
    /// Over `port`, a virtio serial port or a stream socket, whose other end is a server. Nobody else may read from it or write to it.
    ///
    /// # Errors
    /// No thread could be made.
    pub fn new(port: OwnedFd) -> io::Result<Self> {
        let shared = Shared { port: port.into(), writing: Mutex::default(), mounts: Mutex::default() };
        let shared = Arc::new(shared);
        let replies = Arc::clone(&shared);
        // An end of the port ends the mounts: their programs get errors instead of waiting for ever.
        spawn("replies", move || {
            let _ = replies.deliver();
            for (_, mounted) in lock(&replies.mounts).drain() {
                // By force, which fails what programs wait for; and now, though they may have files open.
                let _ = rustix::mount::unmount(&mounted.target, UnmountFlags::FORCE | UnmountFlags::DETACH);
            }
        })?;
        Ok(Self { shared })
    }

    /// Mounts a volume on `target`, a file for a volume that is a file, else a folder. It ends when it is unmounted. The files of the host's caller
    /// belong to `owner` in it: the container's user.
    ///
    /// Setuid programs have no effect and devices cannot be opened, as everything in it is as the host's user wants it. Whether the server has the
    /// volume shows at its first use.
    ///
    /// # Errors
    /// `/dev/fuse` cannot be opened (no module `fuse`), or the kernel refuses the mount.
    pub fn mount(&self, volume: u32, target: &Path, read_only: bool, owner: Owner) -> io::Result<()> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let device = Arc::new(rustix::fs::open("/dev/fuse", flags, Mode::empty())?);
        let root_mode = std::fs::metadata(target)?.mode() & 0o170_000;
        let options = format!(
            "fd={},rootmode={root_mode:o},user_id=0,group_id=0,allow_other,default_permissions,max_read={}\0",
            device.as_raw_fd(),
            frame::MAX_DATA
        );
        let options = std::ffi::CStr::from_bytes_with_nul(options.as_bytes()).map_err(io::Error::other)?;
        let mut flags = MountFlags::NODEV | MountFlags::NOSUID;
        if read_only {
            flags |= MountFlags::RDONLY;
        }
        {
            let _turn = lock(&self.shared.writing);
            (&self.shared.port).write_all(&frame::owner(volume, owner))?;
        }
        // Before the mount, after which the first request may be there.
        let mounted = Mounted { device: Arc::clone(&device), target: target.to_owned() };
        lock(&self.shared.mounts).insert(volume, mounted);
        if let Err(error) = rustix::mount::mount("vdkr", target, "fuse", flags, Some(options)) {
            lock(&self.shared.mounts).remove(&volume);
            return Err(error.into());
        }
        let shared = Arc::clone(&self.shared);
        spawn("requests", move || {
            let _ = shared.collect(volume, &device);
            lock(&shared.mounts).remove(&volume);
        })?;
        read_ahead(target);
        Ok(())
    }
}

impl Shared {
    /// Carries a volume's requests to the port.
    fn collect(&self, volume: u32, device: &OwnedFd) -> io::Result<()> {
        let mut buffer = vec![0; frame::HEADER + frame::MAX_MESSAGE];
        loop {
            let length = match rustix::io::read(device, &mut buffer[frame::HEADER..]) {
                Ok(length) => length,
                // Taken back before it was read.
                Err(Errno::NOENT | Errno::INTR | Errno::AGAIN) => continue,
                // Unmounted.
                Err(errno) => return Err(errno.into()),
            };
            buffer[..frame::HEADER].copy_from_slice(&frame::header(length, volume));
            let _turn = lock(&self.writing);
            (&self.port).write_all(&buffer[..frame::HEADER + length])?;
        }
    }

    /// Carries replies from the port to their volumes.
    fn deliver(&self) -> io::Result<()> {
        let mut port = io::BufReader::with_capacity(64 << 10, Port::new(&self.port)?);
        let mut message = Vec::new();
        loop {
            let mut header = [0; frame::HEADER];
            port.read_exact(&mut header)?;
            let (length, volume) = frame::parse(header).ok_or(io::ErrorKind::InvalidData)?;
            message.resize(length, 0);
            port.read_exact(&mut message)?;
            let device = lock(&self.mounts).get(&volume).map(|mounted| Arc::clone(&mounted.device));
            // Nobody waits any more for a reply that the kernel refuses.
            let _ = device.map(|device| rustix::io::write(device, &message));
        }
    }
}

/// A port to read from, until it ends; a serial one has no end, only times without a host.
struct Port<'a> {
    file: &'a File,
    endless: bool,
}

impl<'a> Port<'a> {
    fn new(file: &'a File) -> io::Result<Self> {
        Ok(Self { file, endless: file.metadata()?.file_type().is_char_device() })
    }
}

impl Read for Port<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.file.read(buffer) {
                Ok(0) if self.endless => std::thread::sleep(RETRY),
                result => return result,
            }
        }
    }
}

/// Large files are read with several large requests under way. Without `/sys` they are not, no more.
fn read_ahead(target: &Path) {
    // Asking for attributes waits until the mount works, so the device's number is asked of the mount itself.
    let Ok(info) = rustix::fs::open(target, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) else { return };
    let Ok(text) = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", info.as_fd().as_raw_fd())) else { return };
    let Some(id) = text.lines().find_map(|line| line.strip_prefix("mnt_id:")) else { return };
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mountinfo") else { return };
    let mut fields = mounts.lines().map(|line| line.split(' '));
    let device = fields.find_map(|mut line| if line.next() == Some(id.trim()) { line.nth(1) } else { None });
    if let Some(device) = device {
        let _ = std::fs::write(format!("/sys/class/bdi/{device}/read_ahead_kb"), READ_AHEAD.to_string());
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(format!("volumes {name}")).stack_size(STACK).spawn(work).map(drop)
}

/// What a panicking thread leaves behind is in order: each change of it is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
