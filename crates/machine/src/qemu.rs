//! The QEMU that is installed.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::{Architecture, MachineError};

/// The oldest with a processor that runs x86-64-v3 without the host's help.
const OLDEST: (u32, u32) = (7, 2);

/// A program of QEMU.
#[derive(Debug, Clone)]
pub struct Qemu {
    /// Where it is.
    pub program: PathBuf,
    /// What it says of itself, as `7.2.19 (Debian 1:7.2+dfsg-7)`.
    pub version: String,
}

/// What is remembered of a program, so that it need not be started to be asked.
#[derive(Serialize, Deserialize, PartialEq)]
struct Known {
    program: PathBuf,
    size: u64,
    changed: (i64, i64),
    version: String,
}

impl Qemu {
    /// Find QEMU for an architecture: `given`, or in `path` as the shell would. What it says of itself is remembered in a file in `folder`.
    ///
    /// # Errors
    /// [`MachineError::NoQemu`] and [`MachineError::OldQemu`].
    pub fn find(architecture: Architecture, given: Option<&Path>, path: &OsStr, folder: &Path) -> Result<Self, MachineError> {
        let in_path =
            || std::env::split_paths(path).map(|folder| folder.join(architecture.program())).find(|program| program.is_file());
        let program = given.map(Path::to_owned).or_else(in_path).ok_or(MachineError::NoQemu(architecture))?;
        let about = fs::metadata(&program).map_err(|_| MachineError::NoQemu(architecture))?;
        let notes = folder.join(format!("{}.json", architecture.program()));
        let known = fs::read(&notes).ok().and_then(|bytes| serde_json::from_slice::<Known>(&bytes).ok());
        let (size, changed) = (about.size(), (about.mtime(), about.mtime_nsec()));
        if let Some(known) = known.filter(|known| known.program == program && known.size == size && known.changed == changed) {
            return Ok(Self { program, version: known.version });
        }
        let output = Command::new(&program).arg("--version").output();
        let output = output.map_err(MachineError::io(format!("cannot run {}", program.display())))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version =
            text.lines().next().and_then(|line| line.strip_prefix("QEMU emulator version ")).unwrap_or_default().to_owned();
        if numbers(&version).is_none_or(|found| found < OLDEST) {
            return Err(MachineError::OldQemu { program, version });
        }
        let known = Known { program, size, changed, version };
        // Only a note to spare time.
        if let Ok(json) = serde_json::to_vec(&known) {
            let _ = fs::create_dir_all(folder).and_then(|()| fs::write(notes, json));
        }
        Ok(Self { program: known.program, version: known.version })
    }
}

fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(numbers("7.2.19 (Debian 1:7.2+dfsg-7)"), Some((7, 2)));
        assert!(numbers("10.0.0").expect("numbers") > OLDEST);
        assert!(numbers("6.2.0").expect("numbers") < OLDEST);
        assert_eq!(numbers(""), None);
    }
}
