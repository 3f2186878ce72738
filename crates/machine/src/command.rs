//! QEMU's command line.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{Architecture, Shape};

/// The size of the disk that holds an image, in bytes. Devices are fixed when the snapshot is taken, so every image comes on a disk of this size.
pub const IMAGE_DISK: u64 = 1 << 40;

/// The files behind a machine's two disks.
#[derive(Debug, Clone)]
pub struct Disks {
    /// The image: a VMDK descriptor over [`IMAGE_DISK`] bytes.
    pub image: PathBuf,
    /// What the container changes: a plain file of [`Shape::disk`] bytes.
    pub changes: PathBuf,
    /// Whether the changes need not survive the machine.
    pub is_forgotten: bool,
}

/// A port of the host that leads into the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// Where the host listens.
    pub host: SocketAddr,
    /// The port in the machine.
    pub port: u16,
    /// Whether it is UDP, not TCP.
    pub is_udp: bool,
}

/// What a machine reaches, and what reaches it.
#[derive(Debug, Clone, Default)]
pub struct Networking {
    /// Whether it reaches nothing at all.
    pub is_off: bool,
    /// Ports that lead into it.
    pub forwards: Vec<Forward>,
}

/// The file descriptors that QEMU inherits.
#[derive(Debug, Clone, Copy)]
pub struct Wires {
    /// Its monitor.
    pub monitor: RawFd,
    /// The guest's messages and streams.
    pub control: RawFd,
    /// The guest's requests for files.
    pub volumes: RawFd,
}

/// Where memory and state come from.
#[derive(Debug, Clone, Copy)]
pub enum From<'a> {
    /// Nowhere: it boots, and its memory becomes this file.
    Boot {
        /// The file.
        memory: &'a Path,
        /// The host's time stamp counter in kilohertz, where it has one.
        kilohertz: Option<u64>,
    },
    /// A snapshot.
    Snapshot {
        /// The file with its memory, which stays as it is.
        memory: &'a Path,
    },
}

/// QEMU's arguments for a machine of a shape.
pub fn arguments(shape: &Shape, wires: Wires, from: From<'_>, disks: Option<&Disks>, networking: &Networking) -> Vec<OsString> {
    let mut all: Vec<OsString> = Vec::new();
    let mut add = |option: &str, value: String| all.extend([option.into(), value.into()]);
    add("-name", "vdkr".to_owned());
    add("-machine", machine(shape));
    add("-accel", "tcg,thread=multi".to_owned());
    add("-cpu", processor(shape).to_owned());
    add("-smp", shape.cpus.to_string());
    add("-m", format!("{}M", shape.memory));
    let (memory, is_shared) = match from {
        From::Boot { memory, .. } => (memory, true),
        From::Snapshot { memory } => (memory, false),
    };
    let memory = json!({"qom-type": "memory-backend-file", "id": "ram", "size": shape.memory << 20, "mem-path": memory, "share": is_shared});
    add("-object", memory.to_string());
    add("-kernel", path(&shape.kernel));
    add("-initrd", path(&shape.initramfs));
    let kilohertz = if let From::Boot { kilohertz, .. } = from { kilohertz } else { None };
    add("-append", kernel_arguments(shape, kilohertz));
    for block in [image_block(disks), changes_block(shape, disks)].concat() {
        add("-blockdev", block.to_string());
    }
    add("-device", "virtio-blk-device,drive=image,serial=image".to_owned());
    add("-device", "virtio-blk-device,drive=changes,serial=changes".to_owned());
    add("-netdev", netdev(networking));
    add("-device", "virtio-net-device,netdev=net,mac=52:54:00:12:34:56".to_owned());
    add("-device", "virtio-serial-device,max_ports=3".to_owned());
    for (number, name, fd) in [(1, "control", wires.control), (2, "volumes", wires.volumes)] {
        add("-chardev", format!("socket,id={name},fd={fd}"));
        add("-device", format!("virtserialport,chardev={name},nr={number},name=vdkr.{name}"));
    }
    add("-chardev", format!("socket,id=monitor,fd={}", wires.monitor));
    add("-mon", "chardev=monitor,mode=control".to_owned());
    match from {
        From::Boot { .. } => {
            // What the kernel says, for the error when it does not come up.
            add("-serial", "stdio".to_owned());
        }
        From::Snapshot { .. } => {
            add("-serial", "null".to_owned());
            add("-incoming", "defer".to_owned());
            add("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny".to_owned());
        }
    }
    all.extend(["-nodefaults", "-no-user-config", "-no-reboot", "-nographic"].map(OsString::from));
    all
}

fn machine(shape: &Shape) -> String {
    match shape.architecture {
        // A machine without firmware, PCI and clocks of long ago: it starts soonest. The guest is told the time.
        Architecture::X86_64 => "microvm,pit=off,pic=off,rtc=off,isa-serial=on,x-option-roms=off,memory-backend=ram".to_owned(),
        Architecture::Aarch64 => "virt,gic-version=3,memory-backend=ram".to_owned(),
    }
}

/// The processor that builds' images need: x86-64-v3 and ARMv8.2, with 32-bit programs.
fn processor(shape: &Shape) -> &'static str {
    match shape.architecture {
        Architecture::X86_64 => "Haswell-noTSX",
        Architecture::Aarch64 => "cortex-a76",
    }
}

fn kernel_arguments(shape: &Shape, kilohertz: Option<u64>) -> String {
    // No mitigations: the machine runs one container, and what it isolates is the machine.
    let mut all = "quiet loglevel=4 panic=-1 mitigations=off audit=0 random.trust_bootloader=on rdinit=/init".to_owned();
    match shape.architecture {
        Architecture::X86_64 => {
            all.push_str(" console=ttyS0 reboot=t tsc=reliable no_timer_check");
            if let Some(kilohertz) = kilohertz {
                all.push_str(&format!(" tsc_early_khz={kilohertz}"));
            }
        }
        Architecture::Aarch64 => all.push_str(" console=ttyAMA0"),
    }
    all
}

/// The image's disk, in two parts: what the device has, and what lies behind it and may be exchanged.
fn image_block(disks: Option<&Disks>) -> Vec<Value> {
    let behind = match disks {
        None => {
            json!({"driver": "null-co", "node-name": "image-file", "size": IMAGE_DISK, "read-zeroes": true, "read-only": true})
        }
        Some(disks) => image_file(disks),
    };
    vec![behind, json!({"driver": "raw", "node-name": "image", "file": "image-file", "read-only": true})]
}

/// What lies behind the image's disk.
pub fn image_file(disks: &Disks) -> Value {
    json!({"driver": "vmdk", "node-name": "image-file", "read-only": true, "file": {"driver": "file", "filename": disks.image, "read-only": true}})
}

fn changes_block(shape: &Shape, disks: Option<&Disks>) -> Vec<Value> {
    let (behind, is_forgotten) = match disks {
        None => (json!({"driver": "null-co", "node-name": "changes-file", "size": shape.disk, "read-zeroes": true}), false),
        Some(disks) => (changes_file(disks), disks.is_forgotten),
    };
    let cache = json!({"direct": false, "no-flush": is_forgotten});
    vec![behind, json!({"driver": "raw", "node-name": "changes", "file": "changes-file", "cache": cache})]
}

/// What lies behind the disk for a container's changes.
pub fn changes_file(disks: &Disks) -> Value {
    let cache = json!({"direct": false, "no-flush": disks.is_forgotten});
    json!({"driver": "file", "node-name": "changes-file", "filename": disks.changes, "cache": cache, "discard": "unmap"})
}

fn netdev(networking: &Networking) -> String {
    let mut all = "user,id=net,ipv6=off".to_owned();
    if networking.is_off {
        all.push_str(",restrict=on");
    }
    for forward in &networking.forwards {
        let kind = if forward.is_udp { "udp" } else { "tcp" };
        let address = match forward.host.ip() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        all.push_str(&format!(",hostfwd={kind}:{address}:{}-:{}", forward.host.port(), forward.port));
    }
    all
}

/// A path; QEMU takes these two as they are.
fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
