//! What setup leaves in the state folder: `guest/` with kernel, initramfs and a record of what went in.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Architecture, SetupError};

/// The folder, below that of the architecture.
const FOLDER: &str = "guest";
const KERNEL: &str = "kernel";
const INITRAMFS: &str = "initramfs.cpio";
const RECORD: &str = "setup.json";
/// Where the older guest waits while the new one takes its place, on file systems that cannot exchange two folders.
const ASIDE: &str = ".guest-before";
/// What goes into the initramfs beside given files; a guest with another number is made anew.
pub const FORMAT: u32 = 1;

/// A package of a distribution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// What a guest was made of; `setup.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// How the initramfs is put together; see [`FORMAT`].
    pub format: u32,
    /// `x86_64` or `aarch64`.
    pub architecture: String,
    /// Whether all of it but the guest program came from the distribution's packages.
    pub from_packages: bool,
    /// Those packages.
    pub packages: Vec<Package>,
    /// The kernel's release, as `uname -r` has it.
    pub kernel_release: String,
    /// The kernel.
    pub kernel: Content,
    /// The whole initramfs.
    pub initramfs: Content,
    /// The modules: the beginning of the initramfs. The guest program follows.
    pub parts: Content,
    /// The guest program.
    pub guest: Content,
    /// Modules, in the order in which they are loaded.
    pub modules: Vec<String>,
}

/// Bytes, by their digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// `sha256:…`
    pub digest: String,
    /// Bytes.
    pub length: u64,
}

impl Content {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self { digest: format!("sha256:{}", hex::encode(Sha256::digest(bytes))), length: bytes.len() as u64 }
    }
}

/// A guest that is ready to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The kernel, for QEMU's `-kernel`.
    pub kernel: PathBuf,
    /// The initramfs, for QEMU's `-initrd`; its first program is `/init`.
    pub initramfs: PathBuf,
    /// What they are.
    pub record: Record,
}

impl Installed {
    /// The guest in the folder of an architecture (`~/.vdkr/ARCH`); `None` before the first setup. The files are not read, only their lengths.
    ///
    /// # Errors
    /// A folder that is damaged, or of another architecture or version.
    pub fn find(state: &Path, architecture: Architecture) -> Result<Option<Self>, SetupError> {
        let folder = state.join(FOLDER);
        Self::open(&folder, architecture)
    }

    pub(super) fn open(folder: &Path, architecture: Architecture) -> Result<Option<Self>, SetupError> {
        let path = folder.join(RECORD);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(SetupError::file("read", &path, error)),
        };
        let no = |reason: String| SetupError::NotAGuest { path: folder.to_owned(), architecture, reason };
        let record: Record = serde_json::from_slice(&text).map_err(|error| no(format!("{RECORD}: {error}")))?;
        if record.format != FORMAT {
            return Err(no(format!("it is of another version of vdkr (format {}, not {FORMAT})", record.format)));
        }
        if record.architecture != architecture.name() {
            return Err(no(format!("it is for {}", record.architecture)));
        }
        let found = Self { kernel: folder.join(KERNEL), initramfs: folder.join(INITRAMFS), record };
        for (path, content) in [(&found.kernel, &found.record.kernel), (&found.initramfs, &found.record.initramfs)] {
            let length = fs::metadata(path).map_err(|error| SetupError::file("read", path, error))?.len();
            if length != content.length {
                return Err(no(format!("{} has {length} bytes, not {}", path.display(), content.length)));
            }
        }
        Ok(Some(found))
    }

    /// Reads both files and compares them with the record.
    pub(super) fn read(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let read = |path: &Path, content: &Content| fs::read(path).ok().filter(|bytes| Content::of(bytes) == *content);
        Some((read(&self.kernel, &self.record.kernel)?, read(&self.initramfs, &self.record.initramfs)?))
    }

    /// Puts a guest in the place of the one before it: all of it, or nothing. `work` is an empty folder beside it.
    pub(super) fn write(state: &Path, work: &Path, files: &[Vec<u8>; 2], record: Record) -> Result<Self, SetupError> {
        let json = serde_json::to_vec_pretty(&record).map_err(|error| SetupError::file("write", work, error.into()))?;
        let [kernel, initramfs] = files;
        for (name, content) in [(KERNEL, kernel), (INITRAMFS, initramfs), (RECORD, &json)] {
            let path = work.join(name);
            let write = || {
                let mut file = File::create_new(&path)?;
                file.write_all(content)?;
                file.sync_all()
            };
            write().map_err(|error| SetupError::file("write", &path, error))?;
        }
        let folder = state.join(FOLDER);
        let synced = |path: &Path| File::open(path)?.sync_all();
        synced(work)
            .and_then(|()| exchange(work, &folder, &state.join(ASIDE)))
            .and_then(|()| synced(state))
            .map_err(|error| SetupError::file("replace", &folder, error))?;
        Ok(Self { kernel: folder.join(KERNEL), initramfs: folder.join(INITRAMFS), record })
    }

    /// Clears away what a setup that was killed has left. The caller holds the lock.
    pub(super) fn recover(state: &Path) -> io::Result<()> {
        let (folder, aside) = (state.join(FOLDER), state.join(ASIDE));
        if aside.exists() {
            if folder.exists() { fs::remove_dir_all(&aside)? } else { fs::rename(&aside, &folder)? }
        }
        Ok(())
    }
}

/// Puts `new` in the place of `old`, if there is one, which is then removed.
fn exchange(new: &Path, old: &Path, aside: &Path) -> io::Result<()> {
    if !old.exists() {
        return fs::rename(new, old);
    }
    match renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE) {
        Ok(()) => fs::remove_dir_all(new),
        Err(_) => by_way_of(new, old, aside),
    }
}

/// The same in two steps; between them a killed setup leaves the older guest aside, where the next one finds it.
fn by_way_of(new: &Path, old: &Path, aside: &Path) -> io::Result<()> {
    fs::rename(old, aside)?;
    fs::rename(new, old)?;
    fs::remove_dir_all(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kernel: &[u8], initramfs: &[u8]) -> Record {
        Record {
            format: FORMAT,
            architecture: "aarch64".to_owned(),
            from_packages: false,
            packages: Vec::new(),
            kernel_release: "6.6".to_owned(),
            kernel: Content::of(kernel),
            initramfs: Content::of(initramfs),
            parts: Content::of(b""),
            guest: Content::of(b""),
            modules: Vec::new(),
        }
    }

    fn write(state: &Path, kernel: &[u8]) -> Installed {
        let work = state.join("work");
        fs::create_dir(&work).unwrap();
        let files = [kernel.to_vec(), b"initramfs".to_vec()];
        let made = Installed::write(state, &work, &files, record(kernel, b"initramfs")).unwrap();
        assert!(!work.exists() && !state.join(ASIDE).exists(), "something is left");
        made
    }

    #[test]
    fn the_newer_guest_takes_the_place_of_the_older() {
        let state = tempfile::tempdir().unwrap();
        let find = || Installed::find(state.path(), Architecture::Aarch64).unwrap();
        assert_eq!(find(), None);
        for kernel in [&b"first"[..], b"second"] {
            let made = write(state.path(), kernel);
            assert_eq!(find().as_ref(), Some(&made));
            assert_eq!(made.read(), Some((kernel.to_vec(), b"initramfs".to_vec())));
        }
    }

    #[test]
    fn damage_is_named() {
        let state = tempfile::tempdir().unwrap();
        let made = write(state.path(), b"kernel");
        let said = |architecture| Installed::find(state.path(), architecture).unwrap_err().to_string();
        assert!(said(Architecture::X86_64).ends_with("holds no guest for x86_64: it is for aarch64"));
        fs::write(&made.kernel, "kerNel").unwrap();
        assert_eq!(made.read(), None, "the digest");
        fs::write(&made.kernel, "kern").unwrap();
        assert!(said(Architecture::Aarch64).ends_with("has 4 bytes, not 6"), "{}", said(Architecture::Aarch64));
        fs::write(state.path().join("guest/setup.json"), "{").unwrap();
        assert!(said(Architecture::Aarch64).contains("setup.json: EOF"), "{}", said(Architecture::Aarch64));
    }

    #[test]
    fn a_setup_that_was_killed_half_way_loses_nothing() {
        let state = tempfile::tempdir().unwrap();
        let made = write(state.path(), b"kernel");
        fs::rename(state.path().join(FOLDER), state.path().join(ASIDE)).unwrap();
        Installed::recover(state.path()).unwrap();
        assert_eq!(Installed::find(state.path(), Architecture::Aarch64).unwrap(), Some(made));
        // The same file systems that cannot exchange folders do it in two steps.
        let new = state.path().join("new");
        fs::create_dir(&new).unwrap();
        by_way_of(&new, &state.path().join(FOLDER), &state.path().join(ASIDE)).unwrap();
        assert_eq!(fs::read_dir(state.path().join(FOLDER)).unwrap().count(), 0);
        assert!(!state.path().join(ASIDE).exists());
    }
}
