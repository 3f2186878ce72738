//! The kernel's modules: those that the machine needs, uncompressed, each after those that it needs itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::architecture::machine;
use super::compressed::decompressed;
use super::{Architecture, SetupError, elf};

/// What the machine needs, with the options of the kernel's configuration that give it.
const NEEDED: [(&str, &str); 9] = [
    ("virtio_mmio", "VIRTIO_MMIO"),
    ("virtio_blk", "VIRTIO_BLK"),
    ("virtio_console", "VIRTIO_CONSOLE"),
    ("virtio_net", "VIRTIO_NET"),
    ("virtio_rng", "HW_RANDOM_VIRTIO"),
    ("erofs", "EROFS_FS"),
    ("ext4", "EXT4_FS"),
    ("overlay", "OVERLAY_FS"),
    ("fuse", "FUSE_FS"),
];
/// What programs in containers may use, where the kernel has it.
const WELCOME: [&str; 2] = ["af_packet", "ipv6"];

/// A module as it goes into the initramfs.
#[derive(Debug)]
pub struct Module {
    /// Its name, with underscores.
    pub name: String,
    /// The content, uncompressed.
    pub content: Vec<u8>,
}

/// Finds the folder `lib/modules/VERSION` that is meant by a folder above it or by itself.
///
/// # Errors
/// There is none, or there are several.
pub fn folder(given: &Path) -> Result<PathBuf, SetupError> {
    // Not by its folder `kernel`: there are others of that name.
    let is_one = |path: &Path| ["modules.builtin", "modules.order", "modules.dep"].iter().any(|name| path.join(name).is_file());
    if is_one(given) {
        return Ok(given.to_owned());
    }
    for above in [given.to_owned(), given.join("lib/modules"), given.join("usr/lib/modules")] {
        let Ok(entries) = fs::read_dir(&above) else { continue };
        let mut found: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(|path| is_one(path)).collect();
        if let (Some(one), true) = (found.pop(), found.is_empty()) {
            return Ok(one);
        }
    }
    Err(SetupError::NoModules(given.to_owned()))
}

/// Reads the modules that the machine needs from `lib/modules/VERSION`, in the order in which they are loaded. What is built in is left out.
///
/// What a module needs it says itself, so `modules.dep`, which only an installed kernel has, is not asked.
///
/// # Errors
/// Missing modules (all of them are named), modules of another kernel or architecture, files that cannot be read.
pub fn collect(folder: &Path, release: &str, architecture: Architecture) -> Result<Vec<Module>, SetupError> {
    let builtin = folder.join("modules.builtin");
    let builtin = match fs::read_to_string(&builtin) {
        Ok(text) => text.lines().filter_map(name_of).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
        Err(error) => return Err(SetupError::file("read", &builtin, error)),
    };
    let mut files = BTreeMap::new();
    find(folder, false, &mut files)?;
    if files.is_empty() && builtin.is_empty() {
        return Err(SetupError::NoModules(folder.to_owned()));
    }
    let mut order =
        Order { builtin, files, release, architecture, seen: BTreeSet::new(), modules: Vec::new(), missing: Vec::new() };
    for (name, option) in NEEDED {
        order.need(name, option)?;
    }
    for name in WELCOME {
        order.want(name)?;
    }
    if !order.missing.is_empty() {
        return Err(SetupError::MissingModules { kernel: release.to_owned(), missing: order.missing });
    }
    Ok(order.modules)
}

/// `kernel/fs/fuse/fuse.ko.xz` is the module fuse; `virtio-rng.ko` is virtio_rng, for both spellings name one module.
fn name_of(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let (name, rest) = file.split_once(".ko")?;
    ["", ".gz", ".xz", ".zst"].contains(&rest).then(|| name.replace('-', "_"))
}

fn find(folder: &Path, is_update: bool, files: &mut BTreeMap<String, PathBuf>) -> Result<(), SetupError> {
    let failed = |error| SetupError::file("read", folder, error);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
        // `build` and `source` are links into the kernel's sources.
        if kind.is_dir() {
            find(&path, is_update || entry.file_name() == "updates", files)?;
        } else if let Some(name) = entry.file_name().to_str().and_then(name_of) {
            // What lies in `updates` takes the place of what the kernel came with (depmod.d).
            if is_update || !files.contains_key(&name) {
                files.insert(name, path);
            }
        }
    }
    Ok(())
}

struct Order<'a> {
    builtin: BTreeSet<String>,
    files: BTreeMap<String, PathBuf>,
    release: &'a str,
    architecture: Architecture,
    seen: BTreeSet<String>,
    modules: Vec<Module>,
    missing: Vec<(String, &'static str)>,
}

impl Order<'_> {
    /// Takes a module, and first those that it needs. `option` is what gives it, or what gives the one that asks for it.
    fn need(&mut self, name: &str, option: &'static str) -> Result<(), SetupError> {
        if self.builtin.contains(name) || !self.seen.insert(name.to_owned()) {
            return Ok(());
        }
        let Some(path) = self.files.get(name).cloned() else {
            self.missing.push((name.to_owned(), option));
            return Ok(());
        };
        let content = fs::read(&path).and_then(decompressed).map_err(|error| SetupError::file("read", &path, error))?;
        let info = elf::module_info(&content).filter(|_| elf::machine(&content) == Some(machine(self.architecture)));
        let info = info.ok_or(SetupError::NotFor { path, what: "kernel module", architecture: self.architecture })?;
        for (key, value) in &info {
            match key.as_str() {
                "vermagic" => {
                    let release = value.split(' ').next().unwrap_or_default();
                    if release != self.release {
                        return Err(SetupError::OtherModules { kernel: self.release.to_owned(), modules: release.to_owned() });
                    }
                }
                "depends" => {
                    for name in value.split(',').filter(|name| !name.is_empty()) {
                        self.need(&name.replace('-', "_"), option)?;
                    }
                }
                // `pre: a b post: c`: what the kernel would ask modprobe for, which the machine does not have.
                "softdep" => {
                    let before = value.split("post:").next().unwrap_or_default();
                    for name in before.split_whitespace().filter(|name| *name != "pre:") {
                        self.want(name)?;
                    }
                }
                _ => {}
            }
        }
        self.modules.push(Module { name: name.to_owned(), content });
        Ok(())
    }

    /// Takes a module that may be missing; algorithms are asked for by names without `_generic`.
    fn want(&mut self, name: &str) -> Result<(), SetupError> {
        let name = name.replace('-', "_");
        for name in [format!("{name}_generic"), name] {
            if self.files.contains_key(&name) {
                self.need(&name, "MODULES")?;
            }
        }
        Ok(())
    }
}
