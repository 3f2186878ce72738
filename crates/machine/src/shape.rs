//! All that a snapshot depends on.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use crate::{Architecture, MachineError, Qemu};

/// Changes when a snapshot made by an earlier version of this crate cannot be restored by it any more.
const FORM: u32 = 2;

/// A machine as it is before it has a container.
#[derive(Debug, Clone)]
pub struct Shape {
    /// The QEMU that runs it.
    pub qemu: Qemu,
    /// Its architecture.
    pub architecture: Architecture,
    /// Its memory, in MiB.
    pub memory: u64,
    /// Its processors.
    pub cpus: u32,
    /// Its kernel.
    pub kernel: PathBuf,
    /// Its initial file system, with the guest program.
    pub initramfs: PathBuf,
    /// The size of the disk that takes a container's changes, in bytes.
    pub disk: u64,
    /// The version of the program that asks.
    pub program: String,
}

impl Shape {
    /// A name for the snapshot, which another shape does not have: 32 hexadecimal digits. Kernel and initial file system are told apart by
    /// size and time, which `vdkr setup` never leaves as they were.
    ///
    /// # Errors
    /// [`MachineError::NoGuest`].
    pub fn key(&self) -> Result<String, MachineError> {
        let mut hash = Sha256::new();
        let mut add = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        add(&format!("{FORM} {} {} {} {}", self.architecture, self.memory, self.cpus, self.disk));
        add(&self.qemu.version);
        add(&self.program);
        for (what, path) in [("kernel", &self.kernel), ("initial file system", &self.initramfs)] {
            let missing = |_| MachineError::NoGuest { what, architecture: self.architecture, path: path.clone() };
            let about = fs::metadata(path).map_err(missing)?;
            add(&format!("{} {} {} {}", about.ino(), about.size(), about.mtime(), about.mtime_nsec()));
        }
        Ok(hex::encode(&hash.finalize()[..16]))
    }
}
