//! `vdkr setup`: the kernel and the initramfs that a machine is started from, made once for each architecture.
//!
//! Kernel and modules come from the distribution's packages, fetched as an ordinary user, or from given files, such as those of a BitBake
//! build. The initramfs is two archives, one after the other: modules first, then the guest program, which starts containers by itself. So a
//! newer guest program takes its place without a network.

mod apt;
mod architecture;
mod compressed;
mod cpio;
mod elf;
mod error;
mod guest;
mod installed;
mod kernel;
mod modules;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

pub use error::SetupError;
pub use installed::{Content, Installed, Package, Record};
pub use wharf_machine::Architecture;

use cpio::Cpio;
use installed::FORMAT;

/// Held while a guest is made.
const LOCK: &str = "setup.lock";
/// Folders in which one is being made begin so.
const WORK: &str = "setup-";

/// What to make a guest of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The machine's architecture.
    pub architecture: Architecture,
    /// The folder of that architecture: `~/.vdkr/ARCH`. It is made if need be.
    pub state: PathBuf,
    /// A folder `guest` that another setup has made. Everything below but `force` is then without effect.
    pub from: Option<PathBuf>,
    /// A kernel, and its modules: `lib/modules/VERSION`, a folder above it, or an archive of that.
    pub kernel: Option<(PathBuf, PathBuf)>,
    /// The guest program.
    pub guest: Option<PathBuf>,
    /// Make it anew, even if nothing changed that can be seen from here.
    pub force: bool,
}

/// What became of it.
#[derive(Debug)]
pub struct Made {
    /// The guest.
    pub guest: Installed,
    /// Whether it is another one than before.
    pub changed: bool,
}

/// Modules as an archive, and the kernel that they go with.
struct Parts {
    kernel: Vec<u8>,
    release: String,
    archive: Vec<u8>,
    modules: Vec<String>,
    packages: Vec<Package>,
}

/// Makes the guest, or finds that the one that is there is the same. `say` is told what takes a while: a word, and what it is about.
///
/// Until everything is in place the guest from before is, whatever happens.
///
/// # Errors
/// All that [`SetupError`] lists; [`SetupError::hint`] has the way out.
pub fn run(setup: &Setup, say: &mut dyn FnMut(&str, &str)) -> Result<Made, SetupError> {
    fs::create_dir_all(&setup.state).map_err(|error| SetupError::file("make", &setup.state, error))?;
    let _lock = lock(&setup.state, say)?;
    clear(&setup.state).map_err(|error| SetupError::file("clear", &setup.state, error))?;
    // A guest that cannot be read is no reason to make none.
    let before = Installed::find(&setup.state, setup.architecture).ok().flatten();
    let before = before.and_then(|before| before.read().map(|files| (before, files)));
    if let Some(folder) = &setup.from {
        return copy(setup, folder, before.map(|(before, _)| before));
    }
    let guest = guest::read(setup.guest.as_deref(), setup.architecture)?;
    let from_packages = setup.kernel.is_none();
    let kept = before.as_ref().filter(|_| from_packages && !setup.force).and_then(|(before, files)| keep(before, files));
    let parts = match kept {
        Some(parts) => parts,
        None => {
            let work = work(&setup.state)?;
            collect(setup, work.path(), say)?
        }
    };
    let mut initramfs = parts.archive.clone();
    initramfs.extend_from_slice(&program(&guest));
    let record = Record {
        format: FORMAT,
        architecture: setup.architecture.name().to_owned(),
        from_packages,
        packages: parts.packages,
        kernel_release: parts.release,
        kernel: Content::of(&parts.kernel),
        initramfs: Content::of(&initramfs),
        parts: Content::of(&parts.archive),
        guest: Content::of(&guest),
        modules: parts.modules,
    };
    if let Some((guest, _)) = before.filter(|(before, _)| before.record == record) {
        return Ok(Made { guest, changed: false });
    }
    say("write", &setup.state.join("guest").display().to_string());
    write(setup, &[parts.kernel, initramfs], record)
}

/// What of a guest made of packages can be used again: all but the guest program.
fn keep(before: &Installed, (kernel, initramfs): &(Vec<u8>, Vec<u8>)) -> Option<Parts> {
    let record = &before.record;
    let archive = initramfs.get(..usize::try_from(record.parts.length).ok()?)?;
    (record.from_packages && Content::of(archive) == record.parts).then(|| Parts {
        kernel: kernel.clone(),
        release: record.kernel_release.clone(),
        archive: archive.to_owned(),
        modules: record.modules.clone(),
        packages: record.packages.clone(),
    })
}

fn collect(setup: &Setup, work: &Path, say: &mut dyn FnMut(&str, &str)) -> Result<Parts, SetupError> {
    let mut packages = Vec::new();
    let (kernel_file, modules_folder) = match &setup.kernel {
        Some((kernel, modules)) if modules.is_file() => (kernel.clone(), modules::folder(&unpack(modules, work)?)?),
        Some((kernel, modules)) => (kernel.clone(), modules::folder(modules)?),
        None => {
            say("fetch", &format!("lists of packages for {}", architecture::debian(setup.architecture)));
            let tree = work.join("apt");
            let apt = apt::Apt::update(&tree, setup.architecture)?;
            packages = apt.kernel()?;
            say("fetch", &listed(&packages));
            let root = apt.unpack(&packages)?;
            let modules = modules::folder(&root)?;
            let release = modules.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (root.join("boot").join(format!("vmlinuz-{release}")), modules)
        }
    };
    let kernel = kernel::read(&kernel_file, setup.architecture)?;
    let modules = modules::collect(&modules_folder, &kernel.release, setup.architecture)?;
    Ok(Parts {
        archive: archive(&kernel.release, &modules),
        modules: modules.into_iter().map(|module| module.name).collect(),
        kernel: kernel.image,
        release: kernel.release,
        packages,
    })
}

fn listed(packages: &[Package]) -> String {
    let texts: Vec<_> = packages.iter().map(|package| format!("{} {}", package.name, package.version)).collect();
    texts.join(", ")
}

/// Unpacks an archive of modules, as BitBake deploys them.
fn unpack(archive: &Path, work: &Path) -> Result<PathBuf, SetupError> {
    let failed = |error| SetupError::file("unpack", archive, error);
    let content = fs::read(archive).and_then(compressed::decompressed).map_err(failed)?;
    let folder = work.join("modules");
    let mut archive = tar::Archive::new(content.as_slice());
    archive.set_preserve_permissions(false);
    archive.unpack(&folder).map_err(failed)?;
    Ok(folder)
}

fn archive(release: &str, modules: &[modules::Module]) -> Vec<u8> {
    let mut cpio = Cpio::default();
    for folder in ["dev", "proc", "sys", "run", "tmp"] {
        cpio.folder(folder);
    }
    let mut order = String::new();
    for module in modules {
        let path = format!("{release}/{}.ko", module.name);
        cpio.file(&format!("lib/modules/{path}"), 0o644, &module.content);
        order.extend([path.as_str(), "\n"]);
    }
    cpio.file("lib/modules/order", 0o644, order.as_bytes());
    cpio.end()
}

fn program(guest: &[u8]) -> Vec<u8> {
    let mut cpio = Cpio::default();
    cpio.file("init", 0o755, guest);
    cpio.end()
}

/// Takes a guest that another setup has made.
fn copy(setup: &Setup, folder: &Path, before: Option<Installed>) -> Result<Made, SetupError> {
    let no = |reason: &str| SetupError::NotAGuest {
        path: folder.to_owned(),
        architecture: setup.architecture,
        reason: reason.to_owned(),
    };
    let found = Installed::open(folder, setup.architecture)?.ok_or_else(|| no("there is no setup.json in it"))?;
    if let Some(guest) = before.filter(|before| before.record == found.record) {
        return Ok(Made { guest, changed: false });
    }
    let (kernel, initramfs) = found.read().ok_or_else(|| no("its files are not those of its setup.json"))?;
    write(setup, &[kernel, initramfs], found.record)
}

fn write(setup: &Setup, files: &[Vec<u8>; 2], record: Record) -> Result<Made, SetupError> {
    let work = work(&setup.state)?;
    // Readable for whoever may read the state folder, as all in it; a temporary folder is for its owner alone.
    let folder = work.path().join("guest");
    fs::create_dir(&folder).map_err(|error| SetupError::file("make", &folder, error))?;
    Ok(Made { guest: Installed::write(&setup.state, &folder, files, record)?, changed: true })
}

fn work(state: &Path) -> Result<tempfile::TempDir, SetupError> {
    let made = tempfile::Builder::new().prefix(WORK).tempdir_in(state);
    made.map_err(|error| SetupError::file("make a folder in", state, error))
}

fn lock(state: &Path, say: &mut dyn FnMut(&str, &str)) -> Result<File, SetupError> {
    let path = state.join(LOCK);
    let failed = |error| SetupError::file("lock", &path, error);
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            say("wait", "for another setup to end");
            file.lock().map_err(failed)?;
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    Ok(file)
}

/// Removes what a killed setup has left.
fn clear(state: &Path) -> std::io::Result<()> {
    Installed::recover(state)?;
    for entry in fs::read_dir(state)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(WORK.as_bytes()) && entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
