//! From the kernel's hands to a machine that containers can run in.

use std::fs::{self, File, OpenOptions};
use std::path::PathBuf;

use rustix::mount::{MountFlags, mount};

use crate::error::{Doing, GuestError, make_folder, write_file};
use crate::{modules, network};

/// The serial ports to the host.
pub struct Ports {
    /// Messages and streams.
    pub control: File,
    /// Requests for files of the host and their answers.
    pub volumes: File,
}

/// File systems of the kernel: type, place, options.
const FILE_SYSTEMS: [(&str, &str, &str); 6] = [
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("devtmpfs", "/dev", "mode=0755"),
    ("devpts", "/dev/pts", "mode=0620,ptmxmode=0666"),
    ("tmpfs", "/run", "mode=0755"),
    ("cgroup2", "/sys/fs/cgroup", ""),
];

/// Set the machine up.
///
/// # Errors
/// What is missing or was refused.
pub fn set_up() -> Result<Ports, GuestError> {
    for (kind, place, options) in FILE_SYSTEMS {
        make_folder(place)?;
        let options = std::ffi::CString::new(options).map_err(std::io::Error::other).doing(|| "read options".to_owned())?;
        match mount(kind, place, kind, MountFlags::empty(), Some(options.as_c_str())) {
            // Some kernels mount /dev themselves.
            Ok(()) | Err(rustix::io::Errno::BUSY) => {}
            Err(error) => return Err(error).doing(|| format!("mount {kind} on {place}")),
        }
    }
    make_folder("/tmp")?;
    make_folder("/dev/shm")?;
    modules::load()?;
    // Without these a container has no limits, and says so when one is asked for.
    let offered = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    for controller in offered.split_whitespace() {
        let _ = write_file("/sys/fs/cgroup/cgroup.subtree_control", format!("+{controller}"));
    }
    // As Docker has it: ordinary users of a container may listen on every port and ping.
    let _ = write_file("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    let _ = write_file("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
    // A user of a container must not lead who works for root, as a copy into it does, to files of others by links in a folder that all may write to.
    for (name, value) in [("hardlinks", "1"), ("symlinks", "1"), ("fifos", "1"), ("regular", "2")] {
        write_file(format!("/proc/sys/fs/protected_{name}"), value)?;
    }
    network::set_up()?;
    Ok(Ports { control: port("vdkr.control")?, volumes: port("vdkr.volumes")? })
}

/// Open the serial port of a name.
fn port(name: &str) -> Result<File, GuestError> {
    let folder = "/sys/class/virtio-ports";
    let entries = fs::read_dir(folder).doing(|| format!("list {folder}"))?;
    for entry in entries.flatten() {
        if fs::read_to_string(entry.path().join("name")).is_ok_and(|found| found.trim_end() == name) {
            let device = PathBuf::from("/dev").join(entry.file_name());
            return OpenOptions::new().read(true).write(true).open(&device).doing(|| format!("open {}", device.display()));
        }
    }
    Err(GuestError::Asked(format!("there is no serial port {name}")))
}
