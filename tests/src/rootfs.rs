//! Root file systems to be packed, and what is to be the same of them after they were unpacked.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, Timespec, Timestamps, XattrFlags, makedev, mknodat, utimensat};

use crate::{random, run_tool, sha256};

/// A time that every file of a built tree has.
const TIME: i64 = 1_700_000_000;
/// `cap_net_raw=ep` as the kernel stores it (version 2).
pub const CAP_NET_RAW: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A folder that is a root file system.
#[derive(Debug)]
pub struct RootFs {
    folder: PathBuf,
}

/// What is to be the same of two root file systems: for each path everything that an image keeps of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts(pub BTreeMap<String, String>);

impl RootFs {
    /// An empty one in this folder, which must not exist.
    pub fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("a folder for a root file system");
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("its permissions");
        Self { folder: folder.to_owned() }
    }

    /// With something of everything that a file system holds: owners, setuid, capabilities, devices, hard links, links that lead nowhere, long
    /// names, names that are not ASCII, holes, empty files. Needs root, or what stands in for it.
    pub fn with_everything(folder: &Path) -> Self {
        let root = Self::new(folder);
        root.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n", 0o644, (0, 0));
        root.file("etc/shadow", b"root:*::\n", 0o640, (0, 42));
        root.file("usr/bin/su", b"\x7fELF, or so", 0o4755, (0, 0));
        root.file("usr/bin/wall", b"\x7fELF, or so", 0o2755, (0, 5));
        root.file("usr/bin/ping", b"\x7fELF, or so", 0o755, (0, 0));
        root.attribute("usr/bin/ping", c"security.capability", &CAP_NET_RAW);
        root.attribute("usr/bin/ping", c"user.note", b"a=b\nc");
        root.file("home/app/data", &random(70_000), 0o600, (1000, 1000));
        root.file("home/app/far", b"x", 0o600, (3_000_000, 4_000_000));
        root.file("var/empty", b"", 0o444, (65_534, 65_534));
        root.file("large", &random(3_000_000), 0o644, (0, 0));
        root.directory("tmp", 0o1777, (0, 0));
        root.directory("home/app", 0o750, (1000, 1000));
        root.directory("nothing in here", 0o700, (7, 7));
        root.link("bin", "usr/bin");
        root.link("etc/mtab", "../proc/self/mounts");
        root.link("dangling", "/nowhere/at/all");
        root.link("long link", &"d/".repeat(150));
        root.link("home/app/own", "data");
        lchown(root.path("home/app/own"), Some(1000), Some(1001)).expect("the owner of a link");
        root.device("dev/null", FileType::CharacterDevice, 0o666, (1, 3));
        root.device("dev/sda1", FileType::BlockDevice, 0o660, (8, 1));
        root.device("dev/wide", FileType::CharacterDevice, 0o600, (300, 70_000));
        root.device("run/pipe", FileType::Fifo, 0o622, (0, 0));
        fs::hard_link(root.path("etc/passwd"), root.path("etc/passwd-")).expect("a hard link");
        fs::hard_link(root.path("usr/bin/su"), root.path("a-name-that-sorts-before")).expect("a hard link");
        root.file("ünïcödé/文件", b"text", 0o644, (0, 0));
        root.file(&format!("{}/{}", "a-long-folder-name".repeat(8), "and-a-long-file-name".repeat(6)), b"x", 0o644, (0, 0));
        root.file(&format!("{}file", "deep/".repeat(60)), b"x", 0o644, (0, 0));
        root.hole("sparse", 8 << 20, &[(0, 5_000), (4 << 20, 70_000)]);
        root.settle();
        root
    }

    /// A copy in another folder, which must not exist: the same in everything.
    pub fn copy(&self, folder: &Path) -> Self {
        let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
        run_tool("cp", &["--archive", &text(&self.folder), &text(folder)], None);
        Self { folder: folder.to_owned() }
    }

    /// Makes a layout of it with umoci: an image `latest` of one layer, which is one stream of gzip.
    pub fn by_umoci(&self, layout: &Path) {
        let layout = layout.to_str().expect("a path in UTF-8");
        let image = format!("{layout}:latest");
        run_tool("umoci", &["init", "--layout", layout], None);
        run_tool("umoci", &["new", "--image", &image], None);
        run_tool("umoci", &["insert", "--image", &image, self.folder.to_str().expect("a path in UTF-8"), "/"], None);
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a file of it is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file with its permissions and owner, and the folders above it.
    pub fn file(&self, name: &str, content: &[u8], mode: u32, owner: (u32, u32)) {
        let path = self.ready(name);
        fs::write(&path, content).expect("a file in a root file system");
        own(&path, mode, owner);
    }

    /// Makes a folder with its permissions and owner, or changes those of one that is there.
    pub fn directory(&self, name: &str, mode: u32, owner: (u32, u32)) {
        let path = self.ready(name);
        fs::create_dir_all(&path).expect("a folder in a root file system");
        own(&path, mode, owner);
    }

    /// Makes a symbolic link.
    pub fn link(&self, name: &str, target: &str) {
        symlink(target, self.ready(name)).expect("a link in a root file system");
    }

    /// Makes a device or a pipe.
    pub fn device(&self, name: &str, kind: FileType, mode: u32, number: (u32, u32)) {
        let path = self.ready(name);
        let device = makedev(number.0, number.1);
        mknodat(rustix::fs::CWD, &path, kind, Mode::from_raw_mode(mode), device).expect("a device in a root file system");
        own(&path, mode, (0, 0));
    }

    /// Sets an extended attribute.
    pub fn attribute(&self, name: &str, attribute: &CStr, value: &[u8]) {
        rustix::fs::lsetxattr(self.path(name), attribute, value, XattrFlags::empty()).expect("an extended attribute");
    }

    /// Writes a file of this length that holds random bytes at these places (offset, length) and is empty elsewhere.
    pub fn hole(&self, name: &str, length: u64, data: &[(u64, usize)]) {
        let mut file = fs::File::create(self.ready(name)).expect("a file in a root file system");
        file.set_len(length).expect("its length");
        for (offset, length) in data {
            file.seek(SeekFrom::Start(*offset)).and_then(|_| file.write_all(&random(*length))).expect("write into a file");
        }
    }

    /// Gives everything the same time, the folders last.
    pub fn settle(&self) {
        let time = Timespec { tv_sec: TIME, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        for path in walk(&self.folder).iter().rev() {
            utimensat(rustix::fs::CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("the time of a file");
        }
    }

    fn ready(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a file's folder")).expect("folders in a root file system");
        path
    }
}

fn own(path: &Path, mode: u32, (user, group): (u32, u32)) {
    chown(path, Some(user), Some(group)).expect("the owner of a file");
    // After the owner, for a change of that takes setuid away.
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the permissions of a file");
}

/// Everything below a folder, parents first, and the folder itself.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    let mut next = 0;
    while let Some(path) = found.get(next).cloned() {
        next += 1;
        if path.symlink_metadata().expect("what a file is").is_dir() {
            let mut names: Vec<_> = fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
            names.sort();
            found.append(&mut names);
        }
    }
    found
}

impl Facts {
    /// Of a folder.
    pub fn of(folder: &Path) -> Self {
        let mut first = BTreeMap::new();
        let mut facts = BTreeMap::new();
        for path in walk(folder) {
            let name = path.strip_prefix(folder).expect("below the folder").to_string_lossy().into_owned();
            let metadata = path.symlink_metadata().expect("what a file is");
            let kind = metadata.file_type();
            let what = if kind.is_dir() {
                "directory".to_owned()
            } else if kind.is_symlink() {
                format!("link to {}", fs::read_link(&path).expect("a link").display())
            } else if kind.is_char_device() || kind.is_block_device() {
                format!("device {kind:?} {:#x}", metadata.rdev())
            } else if kind.is_fifo() {
                "pipe".to_owned()
            } else {
                format!("{} bytes {}", metadata.len(), sha256(&fs::read(&path).expect("read a file")))
            };
            let same = match metadata.nlink() {
                links if links > 1 && !kind.is_dir() => {
                    let name = first.entry((metadata.dev(), metadata.ino())).or_insert_with(|| name.clone());
                    format!(" same as {name}")
                }
                _ => String::new(),
            };
            let mode = if kind.is_symlink() { 0 } else { metadata.mode() & 0o7777 };
            let fact = format!(
                "{what} {mode:04o} {}:{} at {}{same} {}",
                metadata.uid(),
                metadata.gid(),
                metadata.mtime(),
                attributes(&path).join(" ")
            );
            facts.insert(name, fact.trim_end().to_owned());
        }
        Self(facts)
    }

    /// The same without paths that a tool makes of its own (`etc/resolv.conf`, say).
    #[must_use]
    pub fn without(mut self, names: &[&str]) -> Self {
        self.0.retain(|name, _| !names.contains(&name.as_str()));
        self
    }

    /// The same with every fact as `change` has it.
    #[must_use]
    pub fn map(&self, change: impl Fn(&str) -> String) -> Self {
        Self(self.0.iter().map(|(name, fact)| (name.clone(), change(fact))).collect())
    }

    /// Asserts that another root file system is the same; tells what is not.
    #[track_caller]
    pub fn assert_same(&self, other: &Self, what: &str) {
        let names: std::collections::BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        let differing: Vec<_> = names
            .into_iter()
            .filter(|name| self.0.get(*name) != other.0.get(*name))
            .map(|name| format!("{name:?}:\n  was {:?}\n  is  {:?}", self.0.get(name), other.0.get(name)))
            .collect();
        assert!(differing.is_empty(), "{what} differs:\n{}", differing.join("\n"));
    }
}

/// The extended attributes of a file, but those that the machine's own security puts on every file.
fn attributes(path: &Path) -> Vec<String> {
    let mut names = vec![0; 4096];
    let length = match rustix::fs::llistxattr(path, &mut names) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => 0,
        Err(error) => panic!("attributes of {}: {error}", path.display()),
    };
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let mut found: Vec<_> = names
        .filter(|name| *name != b"security.selinux")
        .map(|name| {
            let mut value = vec![0; 65_536];
            let length = rustix::fs::lgetxattr(path, std::ffi::OsStr::from_bytes(name), &mut value).expect("an attribute");
            format!("{}={}", String::from_utf8_lossy(name), hex::encode(&value[..length]))
        })
        .collect();
    found.sort();
    found
}
