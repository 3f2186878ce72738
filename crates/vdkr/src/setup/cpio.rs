//! The archive that a kernel unpacks into its first root file system: "newc" (the kernel's documentation, "initramfs buffer format").
//!
//! It is not compressed. Under software emulation the guest spends more on decompressing than the host on copying.

/// Every number in a header is eight hexadecimal digits.
const MAGIC: &str = "070701";
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
/// Each part begins at a multiple of this many bytes.
const ALIGN: usize = 4;

/// An archive in the making. All in it belongs to root and is of the year 1970, so that the same content makes the same archive.
#[derive(Debug, Default)]
pub struct Cpio {
    bytes: Vec<u8>,
    inodes: u32,
    folders: std::collections::BTreeSet<String>,
}

impl Cpio {
    /// Adds a folder with those above it. What is there already is left as it is.
    pub fn folder(&mut self, path: &str) {
        let path = path.trim_matches('/');
        if path.is_empty() || self.folders.contains(path) {
            return;
        }
        self.above(path);
        self.folders.insert(path.to_owned());
        self.entry(path, FOLDER | 0o755, &[]);
    }

    /// Adds a file, with the folders above it.
    pub fn file(&mut self, path: &str, permissions: u32, content: &[u8]) {
        let path = path.trim_matches('/');
        self.above(path);
        self.entry(path, FILE | permissions, content);
    }

    /// The archive with its end. Another may follow it right away: the kernel unpacks one after the other.
    pub fn end(mut self) -> Vec<u8> {
        self.inodes = 0;
        self.header("TRAILER!!!", 0, 0);
        self.bytes
    }

    fn above(&mut self, path: &str) {
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folder(above);
        }
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.inodes += 1;
        self.header(name, mode, content.len());
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn header(&mut self, name: &str, mode: u32, length: usize) {
        let links = if mode & FOLDER == FOLDER { 2 } else { 1 };
        // Inode, mode, owner, group, links, time, length, device (twice two numbers), length of the name with its zero, checksum.
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let name_length = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        let numbers = [self.inodes, mode, 0, 0, links, 0, length, 0, 0, 0, 0, name_length, 0];
        self.bytes.extend_from_slice(MAGIC.as_bytes());
        for number in numbers {
            self.bytes.extend_from_slice(format!("{number:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGN), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    fn sample() -> Vec<u8> {
        let mut cpio = Cpio::default();
        cpio.folder("/proc");
        cpio.file("/init", 0o755, b"program");
        cpio.file("/usr/lib/a/libc.so.6", 0o644, b"12345678");
        cpio.file("usr/lib/a/empty", 0o644, b"");
        cpio.end()
    }

    #[test]
    fn another_reader_finds_what_was_put_in() {
        let mut tar = Command::new("bsdtar").args(["-tvf", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        tar.stdin.take().unwrap().write_all(&sample()).unwrap();
        let listed = String::from_utf8(tar.wait_with_output().unwrap().stdout).unwrap();
        let lines: Vec<String> = listed
            .lines()
            .map(|line| {
                let words: Vec<_> = line.split_whitespace().collect();
                format!("{} {} {} {} {}", words[0], words[2], words[3], words[4], words[8..].join(" "))
            })
            .collect();
        assert_eq!(
            lines,
            [
                "drwxr-xr-x 0 0 0 proc",
                "-rwxr-xr-x 0 0 7 init",
                "drwxr-xr-x 0 0 0 usr",
                "drwxr-xr-x 0 0 0 usr/lib",
                "drwxr-xr-x 0 0 0 usr/lib/a",
                "-rw-r--r-- 0 0 8 usr/lib/a/libc.so.6",
                "-rw-r--r-- 0 0 0 usr/lib/a/empty",
            ]
        );
    }

    #[test]
    fn an_archive_ends_where_the_next_may_begin() {
        let archive = sample();
        assert_eq!(archive.len() % ALIGN, 0);
        assert!(archive.ends_with(b"TRAILER!!!\0\0\0\0"), "the end");
    }
}
