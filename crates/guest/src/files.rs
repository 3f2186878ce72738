//! The container's files, to and from the host.
//!
//! None of the container's programs has a part in it: files are read and written from here, below the container's root, and links that the container
//! made lead nowhere else. What is done here is done in a thread, for the host takes and gives bytes as it can.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstatfs, openat, openat2};
use wharf_guest_protocol::{Copied, FileWork, Text};
use wharf_layers::copy::{Destination, Owners, Place, Receiver, Sender, Source};
use wharf_layers::tar::TarReader;
use wharf_layers::{LayersError, OPAQUE};

use crate::disks;
use crate::error::GuestError;

/// How much of an archive is read at once.
const BUFFER: usize = 128 << 10;

/// Do it: `stream` is where the archive comes from, or goes to.
///
/// # Errors
/// What is not there, does not fit, or cannot be read or written.
pub fn perform(root: &Path, work: &FileWork, stream: impl Read + Write) -> Result<(), GuestError> {
    match work {
        FileWork::Export { path, name, follow_link } => export(&Root::open(root)?, path, name, *follow_link, stream),
        FileWork::Import { path, source, keeps_owners } => import(&Root::open(root)?, path, source, *keeps_owners, stream),
        FileWork::Changes { .. } => changes(stream),
    }
}

/// The root of a container, open.
struct Root(OwnedFd);

impl Root {
    fn open(path: &Path) -> Result<Self, GuestError> {
        match openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(root) => Ok(Self(root)),
            Err(_) => Err(GuestError::Asked("the container has ended".to_owned())),
        }
    }

    /// Open a folder as a process of the container would.
    fn folder(&self, path: &[u8]) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        Ok(openat2(self.0.as_fd(), path, flags, Mode::empty(), inside)?)
    }
}

/// A path of the container as it is told.
fn shown(path: &Text) -> PathBuf {
    Path::new("/").join(path.as_os_str())
}

fn export(root: &Root, path: &Text, name: &Text, follow_link: bool, to: impl Write) -> Result<(), GuestError> {
    let shown = shown(path);
    let cannot_read = |error: io::Error| files(format!("cannot read {} in the container: {error}", shown.display()));
    let place =
        Place::find(path.as_bytes(), follow_link, |path| root.folder(path)).and_then(|place| match place.is_directory()? {
            Some(_) => Ok(place),
            None => Err(io::ErrorKind::NotFound.into()),
        });
    let place = place.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => GuestError::Files {
            message: format!("there is no {} in the container", shown.display()),
            hint: Some("paths begin at the container's root; a link that leads nowhere is none, either".to_owned()),
        },
        _ => cannot_read(error),
    })?;
    if lies_in_kernels(&place).map_err(cannot_read)? {
        return Err(GuestError::Files {
            message: format!("{} in the container is no file, but what the kernel says", shown.display()),
            hint: Some(format!("read it there: `vdkr exec CONTAINER cat {}`", shown.display())),
        });
    }
    let mut sender = Sender::new(to, wharf_layers::is_portable).leaving_empty(is_kernels);
    sender.send(&place, name.as_bytes(), &shown).and_then(|()| sender.finish()).map(drop).map_err(|error| failed(&error))
}

/// The kernel's own file systems (`<linux/magic.h>`, and `ipc/mqueue.c`): what is in them is made up when it is read, without an end that is known.
const KERNELS: [u32; 6] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x1cd1,      // devpts
    0x1980_0202, // mqueue
];

fn is_kernels(file: BorrowedFd<'_>) -> io::Result<bool> {
    let kind = fstatfs(file)?.f_type;
    Ok(KERNELS.iter().any(|known| i64::from(*known) == kind as i64))
}

fn lies_in_kernels(place: &Place) -> io::Result<bool> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    is_kernels(openat(place.directory(), place.name(), flags, Mode::empty())?.as_fd())
}

fn import(root: &Root, path: &Text, source: &Copied, keeps_owners: bool, from: impl Read) -> Result<(), GuestError> {
    let shown = shown(path);
    let source = match source {
        Copied::Folder { name } => Source::Folder(name.as_ref().map(Text::as_bytes)),
        Copied::File { name } => Source::File(name.as_bytes()),
        Copied::Archive => Source::Archive,
    };
    let destination =
        Destination::find(path.as_bytes(), source, |path| root.folder(path)).map_err(|error| GuestError::Files {
            message: format!("cannot copy to {} in the container: {error}", shown.display()),
            hint: error.hint().map(str::to_owned),
        })?;
    let owners = if keeps_owners { Owners::Kept } else { Owners::Given(0, 0) };
    let mut archive = TarReader::new(BufReader::with_capacity(BUFFER, from));
    Receiver::new(destination, owners, shown).receive(&mut archive, None).map(drop).map_err(|error| failed(&error))
}

fn changes(to: impl Write) -> Result<(), GuestError> {
    let root = openat(CWD, disks::UPPER, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let place = root.map_err(io::Error::from).and_then(|root| Place::find(b".", false, |_| root.try_clone()));
    let place = place.map_err(|error| files(format!("cannot read what the container has changed: {error}")))?;
    let mut sender = Sender::new(to, |name| name == OPAQUE || wharf_layers::is_portable(name));
    sender.send(&place, b".", Path::new("/")).and_then(|()| sender.finish()).map(drop).map_err(|error| failed(&error))
}

fn files(message: String) -> GuestError {
    GuestError::Files { message, hint: None }
}

/// An error with all that lies behind it, and the way out where there is one.
fn failed(error: &LayersError) -> GuestError {
    let mut message = error.to_string();
    let mut code = None;
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        message.push_str(&format!(": {cause}"));
        code = cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error).or(code);
        next = cause.source();
    }
    let hint = match code {
        Some(libc::ENOSPC) => Some("free space on the container's file system, or copy to another one"),
        Some(libc::EROFS) => Some("the container's root, or the volume, may not be written to: copy to another one"),
        Some(libc::EBUSY) => Some("something is mounted there: copy to the folder that it is from"),
        _ => None,
    };
    GuestError::Files { message: format!("in the container: {message}"), hint: hint.map(str::to_owned) }
}

/// A pipe's end as a stream of one direction, which ends when the work is given up.
pub struct Pipe {
    file: File,
    given_up: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Pipe {
    /// Over an end of a pipe.
    pub fn new(end: OwnedFd, given_up: std::sync::Arc<std::sync::atomic::AtomicBool>) -> Self {
        Self { file: end.into(), given_up }
    }

    fn check(&self) -> io::Result<()> {
        if self.given_up.load(std::sync::atomic::Ordering::Relaxed) { Err(io::Error::other("it was given up")) } else { Ok(()) }
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        let read = self.file.read(buffer)?;
        // The host's side closes, too, when the work is given up.
        self.check().map(|()| read)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.check()?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
