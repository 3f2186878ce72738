//! From a container's record to a machine that is awake.

use std::fs::File;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use wharf_guest_protocol::{CONTROL, Event, Request, Task, read, write};
use wharf_machine::{Architecture, Disks, Forward, Machine, Networking, Qemu, Shape, Snapshot};
use wharf_rootfs::Cache;

use super::log::now;
use super::refusal::Refusal;
use crate::containers::record::{Folder, MachineSize, Record};
use crate::random::random;

/// The size of the disk that takes a container's changes: sparse, so only what is changed takes space.
pub const DISK: u64 = 16 << 30;

/// Where things are.
#[derive(Debug, Clone)]
pub struct Places {
    /// The architecture.
    pub architecture: Architecture,
    /// `~/.vdkr/ARCH`: guest and snapshots, which all instances share.
    pub shared: PathBuf,
    /// The instance's own folder.
    pub own: PathBuf,
    /// How long a spare machine waits to be used, in seconds; 0 is for ever.
    pub idle_timeout: u64,
    /// How long a restored machine may take to answer. On an idle computer that is a fifth of a second.
    pub timeout: Duration,
}

/// How long a container whose files somebody looks at is waited for.
const IN_USE: Duration = Duration::from_secs(60);

/// Become the one that keeps a container. One that does not run, whose files another command copies, is waited for.
///
/// # Errors
/// When it runs, or the other command takes long.
pub fn lock(folder: &Folder) -> Result<File, Refusal> {
    let deadline = Instant::now() + IN_USE;
    loop {
        if let Some(lock) = folder.lock().map_err(|error| Refusal::of(&error))? {
            return Ok(lock);
        }
        if folder.state().status.is_alive() {
            return Err(Refusal::new("it is running").hint("`vdkr ps` shows it, `vdkr stop` ends it"));
        }
        if Instant::now() >= deadline {
            return Err(Refusal::new("another command copies the container's files").hint("wait until it is done"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A machine of a size.
///
/// # Errors
/// No QEMU, no kernel.
pub fn shape(places: &Places, size: MachineSize) -> Result<Shape, Refusal> {
    let host = rustix::system::sysinfo();
    let installed = (u64::from(host.mem_unit) * host.totalram) >> 20;
    if size.memory > installed {
        let refusal = Refusal::new(format!("a machine of {} MiB is more than this computer has: {installed} MiB", size.memory));
        return Err(refusal.hint("give --memory or -m less"));
    }
    let given = std::env::var_os("VDKR_QEMU").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let qemu = Qemu::find(places.architecture, given.as_deref(), &path, &places.shared.join("machines"))?;
    let guest = places.shared.join("guest");
    Ok(Shape {
        qemu,
        architecture: places.architecture,
        memory: size.memory,
        cpus: size.cpus,
        kernel: guest.join("kernel"),
        initramfs: guest.join("initramfs.cpio"),
        disk: DISK,
        program: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

/// A machine that was restored and woken, with disks or with placeholders. A snapshot that does not work is made again, once.
///
/// # Errors
/// When the second one does not work either.
pub fn awake(
    places: &Places,
    size: MachineSize,
    disks: Option<&Disks>,
    networking: &Networking,
    note: &dyn Fn(&str),
) -> Result<Machine, Refusal> {
    let shape = shape(places, size)?;
    let folder = places.shared.join("machines");
    let get = || {
        Snapshot::get(&folder, &shape, || {
            note(&format!(
                "first use of {} MiB and {} processors: making the virtual machine ready, once",
                size.memory, size.cpus
            ));
        })
    };
    let first = get()?;
    match restored(places, &first, disks, networking) {
        Ok(machine) => Ok(machine),
        Err(problem) => {
            note(&format!("the snapshot of the virtual machine does not work and is made again: {}", problem.message));
            first.discard()?;
            restored(places, &get()?, disks, networking)
        }
    }
}

/// A machine with a container's disks: a spare that waits, or a new one.
///
/// # Errors
/// As for [`awake`].
pub fn with_disks(
    places: &Places,
    size: MachineSize,
    disks: &Disks,
    networking: &Networking,
    spare: Option<Machine>,
    note: &dyn Fn(&str),
) -> Result<Machine, Refusal> {
    let Some(mut machine) = spare else { return awake(places, size, Some(disks), networking, note) };
    machine.insert(disks, networking)?;
    // It has waited for a while: its clock may have drifted, and nobody knows who has looked at its random numbers.
    wake(&mut machine, places.timeout)?;
    Ok(machine)
}

fn restored(places: &Places, snapshot: &Snapshot, disks: Option<&Disks>, networking: &Networking) -> Result<Machine, Refusal> {
    let mut machine = snapshot.restore(disks, networking)?;
    match wake(&mut machine, places.timeout) {
        Ok(()) => Ok(machine),
        Err(mut refusal) => {
            let words = machine.last_words();
            if !words.is_empty() {
                refusal.causes.push(words);
            }
            Err(refusal)
        }
    }
}

/// Give a restored machine what it must not share with others, and the time.
///
/// # Errors
/// When it does not take it.
pub fn wake(machine: &mut Machine, timeout: Duration) -> Result<(), Refusal> {
    let random = random::<64>().map_err(|error| Refusal::of(&error))?;
    ask(machine, timeout, Task::Wake { random: hex::encode(random), unix_nanos: now() })
}

/// Ask a machine that nobody else listens to yet.
///
/// # Errors
/// The guest's words, or that it is gone.
pub fn ask(machine: &mut Machine, timeout: Duration, task: Task) -> Result<(), Refusal> {
    let json = serde_json::to_vec(&Request::Ask { id: 0, task }).map_err(|error| Refusal::of(&error))?;
    machine.control.set_read_timeout(Some(timeout.max(Duration::from_secs(1)))).map_err(|error| Refusal::of(&error))?;
    write(&mut machine.control, CONTROL, &json).map_err(|error| Refusal::of(&error))?;
    let frame = match read(&mut machine.control) {
        Ok(Some(frame)) => frame,
        Err(wharf_guest_protocol::FrameError::Io(error))
            if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
        {
            return Err(Refusal::new(format!("the virtual machine did not answer in {} seconds", timeout.as_secs())));
        }
        _ => return Err(Refusal::new("the virtual machine has ended")),
    };
    machine.control.set_read_timeout(None).map_err(|error| Refusal::of(&error))?;
    match serde_json::from_slice(&frame.payload) {
        Ok(Event::Done { .. }) => Ok(()),
        Ok(Event::Failed { message, hint, code, .. }) => Err(Refusal { code, hint, ..Refusal::new(message) }),
        other => Err(Refusal::new(format!("the virtual machine says {other:?}"))),
    }
}

/// The files behind a container's disks. The second is made at its first start.
///
/// # Errors
/// A layer that is not there any more, a full disk.
pub fn disks(places: &Places, folder: &Folder, record: &Record) -> Result<Disks, Refusal> {
    let cache = Cache::open(places.own.join("rootfs"))?;
    let image = cache.image(&record.layers)?;
    let changes = folder.disk();
    if !changes.exists() {
        cache.empty_disk(&changes, DISK)?;
    }
    Ok(Disks { image: image.path().to_owned(), changes, is_forgotten: record.vanishes })
}

/// What a container reaches, with a real port for each that may be any.
///
/// # Errors
/// A port that is in use.
pub fn networking(record: &Record) -> Result<Networking, Refusal> {
    let mut forwards = Vec::new();
    for published in &record.ports {
        if published.host.is_ipv6() {
            return Err(Refusal::new(format!(
                "cannot listen at {}: QEMU's network leads IPv4 only into its machines",
                published.host
            )));
        }
        let host = free(published.host, published.is_udp).map_err(|error| {
            let mut refusal = Refusal::new(format!("cannot publish port {} at {}", published.port, published.host));
            refusal.causes.push(error.to_string());
            refusal.hint("another program listens there: take another port, or end that program")
        })?;
        forwards.push(Forward { host, port: published.port, is_udp: published.is_udp });
    }
    Ok(Networking { is_off: record.offline, forwards })
}

/// The address, with a free port in the place of 0, if it can be listened at.
fn free(address: SocketAddr, is_udp: bool) -> std::io::Result<SocketAddr> {
    if is_udp { UdpSocket::bind(address)?.local_addr() } else { TcpListener::bind(address)?.local_addr() }
}
