//! All that there is to see of files, in a form that can be compared.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub mode: u32,
    pub owner: (u32, u32),
    pub mtime: (i64, u32),
    /// Of a directory, 0.
    pub links: u64,
    pub rdev: u64,
    /// What is in a file, or what a link says.
    pub content: Vec<u8>,
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// Files by path.
#[derive(Debug, Default)]
pub struct Listing {
    files: BTreeMap<String, (u64, Found)>,
}

impl Listing {
    pub fn add(&mut self, path: &str, inode: u64, found: Found) {
        self.files.insert(path.to_owned(), (inode, found));
    }

    pub fn get(&self, path: &str) -> Option<&Found> {
        self.files.get(path).map(|(_, found)| found)
    }

    /// A user who unpacks owns the directories that no layer names, which are of 1970; in an image they are root's.
    pub fn give_implied_directories_to_root(&mut self) {
        for (_, found) in self.files.values_mut().filter(|(_, found)| found.mtime == (0, 0) && found.mode == 0o040_755) {
            found.owner = (0, 0);
        }
    }

    pub fn paths(&self) -> Vec<&str> {
        self.files.keys().map(String::as_str).filter(|path| !path.is_empty()).collect()
    }

    /// All of it, a line per file: with the first name of each file that has several, in the place of the inode.
    pub fn lines(&self) -> Vec<String> {
        let mut first = BTreeMap::new();
        let line = |(path, (inode, found)): (&String, &(u64, Found))| {
            let mut line =
                format!("{path}/ {:o} {:?} {:?} {} {:#x}", found.mode, found.owner, found.mtime, found.links, found.rdev);
            if found.links > 1 {
                let _ = write!(line, " ={}", first.entry(*inode).or_insert_with(|| path.clone()));
            }
            let sum = found.content.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte) + 1));
            let start = &found.content[..found.content.len().min(40)];
            let _ = write!(line, " {} {sum:x} {}", found.content.len(), start.escape_ascii());
            for (name, value) in &found.xattrs {
                let _ = write!(line, " {name}={}", value.escape_ascii());
            }
            line
        };
        self.files.iter().map(line).collect()
    }
}

/// Fails with the lines in which two listings differ.
pub fn same(one: &Listing, other: &Listing) {
    let (one, other) = (one.lines(), other.lines());
    let without = |lines: &[String], of: &[String]| lines.iter().filter(|line| !of.contains(line)).cloned().collect::<Vec<_>>();
    if one != other {
        panic!("{:#?}\n{:#?}", without(&one, &other), without(&other, &one));
    }
}

/// What is in a directory of this machine.
pub fn look(root: &Path) -> Listing {
    let mut listing = Listing::default();
    let mut waiting = vec![(String::new(), root.to_path_buf())];
    while let Some((name, path)) = waiting.pop() {
        let status = path.symlink_metadata().unwrap();
        let content = match status.mode() & 0o170_000 {
            0o100_000 => std::fs::read(&path).unwrap(),
            0o120_000 => path.read_link().unwrap().as_os_str().as_bytes().to_vec(),
            _ => Vec::new(),
        };
        if status.is_dir() {
            for entry in path.read_dir().unwrap() {
                let entry = entry.unwrap();
                waiting.push((format!("{name}/{}", entry.file_name().to_string_lossy()), entry.path()));
            }
        }
        let found = Found {
            mode: status.mode(),
            owner: (status.uid(), status.gid()),
            mtime: (status.mtime(), status.mtime_nsec() as u32),
            links: if status.is_dir() { 0 } else { status.nlink() },
            rdev: status.rdev(),
            content,
            xattrs: xattrs(&path),
        };
        listing.add(&name, status.ino(), found);
    }
    listing
}

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0_u8; 1 << 16];
    let length = rustix::fs::llistxattr(path, &mut names).unwrap();
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0_u8; 1 << 16];
        let length = rustix::fs::lgetxattr(path, name, &mut value).unwrap();
        value.truncate(length);
        (String::from_utf8_lossy(name).into_owned(), value)
    };
    names.map(value).collect()
}
