//! A reader of EROFS, written from the description of the format alone, that tells all there is about each file.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use super::look::{Found, Listing};

const BLOCK: u64 = 4096;

pub struct Erofs {
    disk: File,
    root: u64,
    pub blocks: u64,
    pub inodes: u64,
    has_contents: bool,
}

struct Inode {
    nid: u64,
    mode: u16,
    size: u64,
    /// Where the content is, and where the last part of it is that lies behind the inode.
    address: u64,
    inline: Option<u64>,
    links: u32,
    rdev: u32,
    owner: (u32, u32),
    mtime: (i64, u32),
    xattrs: BTreeMap<String, Vec<u8>>,
}

impl Erofs {
    pub fn open(disk: File) -> Self {
        let mut this = Self { disk, root: 0, blocks: 0, inodes: 0, has_contents: true };
        let block = this.bytes(1024, 128);
        assert_eq!(number(&block, 0, 4), 0xe0f5_e1e2);
        assert_eq!(
            (block[12], number(&block, 0x28, 4), number(&block, 0x50, 4)),
            (12, 0, 0),
            "4096, metadata from 0, nothing new"
        );
        this.root = number(&block, 14, 2);
        this.inodes = number(&block, 16, 8);
        this.blocks = number(&block, 36, 4);
        this
    }

    /// The metadata alone is there.
    pub fn without_contents(self) -> Self {
        Self { has_contents: false, ..self }
    }

    /// All files. A directory's links are counted here, and names are looked for in the order that the kernel relies on.
    pub fn listing(&self) -> Listing {
        let mut listing = Listing::default();
        let mut waiting = vec![(String::new(), self.root, self.root)];
        let mut seen = std::collections::BTreeSet::from([self.root]);
        while let Some((path, nid, parent)) = waiting.pop() {
            let inode = self.inode(nid);
            listing.add(&path, inode.nid, self.found(&inode));
            if inode.mode & 0o170_000 != 0o040_000 {
                continue;
            }
            let names = self.names(&inode);
            assert!(names.is_sorted_by(|one, other| one.0 < other.0), "{path}: ascending");
            assert!(names.contains(&(".".to_owned(), nid, 2)) && names.contains(&("..".to_owned(), parent, 2)), "{path}");
            let mut directories = 2;
            for (name, child, kind) in names.into_iter().filter(|(name, ..)| !matches!(name.as_str(), "." | "..")) {
                let mode = self.inode(child).mode;
                assert_eq!(kind, [0, 5, 3, 0, 2, 0, 4, 0, 1, 0, 7][usize::from(mode >> 12)], "{path}/{name}");
                directories += u32::from(kind == 2);
                seen.insert(child);
                waiting.push((format!("{path}/{name}"), child, nid));
            }
            assert_eq!(inode.links, directories, "{path}");
        }
        assert_eq!(seen.len() as u64, self.inodes);
        listing
    }

    fn found(&self, inode: &Inode) -> Found {
        let is = |kind: u16| inode.mode & 0o170_000 == kind;
        Found {
            mode: inode.mode.into(),
            owner: inode.owner,
            mtime: inode.mtime,
            links: if is(0o040_000) { 0 } else { inode.links.into() },
            rdev: inode.rdev.into(),
            content: if (is(0o100_000) && self.has_contents) || is(0o120_000) { self.content(inode) } else { Vec::new() },
            xattrs: inode.xattrs.clone(),
        }
    }

    fn inode(&self, nid: u64) -> Inode {
        let at = nid * 32;
        let bytes = self.bytes(at, 64);
        let format = number(&bytes, 0, 2);
        assert_eq!(format & 1, 1, "an extended inode");
        let mode = number(&bytes, 4, 2) as u16;
        let count = number(&bytes, 2, 2);
        let xattrs = if count == 0 { 0 } else { 12 + 4 * (count - 1) };
        let size = number(&bytes, 8, 8);
        let behind = at + 64 + xattrs;
        let inline = match format >> 1 {
            0 => None,
            2 => {
                assert!(behind % BLOCK + size % BLOCK <= BLOCK, "inline content crosses a block");
                // Linux 6.1 reads a link from the block in which the inode ends.
                assert!(mode >> 12 != 10 || (at + 63) / BLOCK == (behind + size - 1) / BLOCK);
                Some(behind)
            }
            other => panic!("layout {other}"),
        };
        let (address, device) = (number(&bytes, 16, 4), matches!(mode >> 12, 2 | 6));
        let rdev = if device { address as u32 } else { 0 };
        Inode {
            nid,
            mode,
            size,
            address: address * BLOCK,
            inline,
            links: number(&bytes, 44, 4) as u32,
            // As the C library has it in 64 bits, which is the same below twelve and twenty bits.
            rdev,
            owner: (number(&bytes, 24, 4) as u32, number(&bytes, 28, 4) as u32),
            mtime: (number(&bytes, 32, 8) as i64, number(&bytes, 40, 4) as u32),
            xattrs: self.xattrs(at + 64, xattrs),
        }
    }

    fn xattrs(&self, at: u64, length: u64) -> BTreeMap<String, Vec<u8>> {
        let bytes = self.bytes(at, length as usize);
        let mut rest = bytes.get(12..).unwrap_or_default();
        let mut xattrs = BTreeMap::new();
        while !rest.is_empty() {
            let (name, value) = (usize::from(rest[0]), number(rest, 2, 2) as usize);
            let prefix = match rest[1] {
                1 => "user.",
                2 => "system.posix_acl_access",
                3 => "system.posix_acl_default",
                4 => "trusted.",
                6 => "security.",
                other => panic!("prefix {other}"),
            };
            let full = format!("{prefix}{}", String::from_utf8_lossy(&rest[4..4 + name]));
            xattrs.insert(full, rest[4 + name..4 + name + value].to_vec());
            rest = &rest[(4 + name + value).next_multiple_of(4)..];
        }
        xattrs
    }

    fn names(&self, inode: &Inode) -> Vec<(String, u64, u8)> {
        let content = self.content(inode);
        let mut names = Vec::new();
        for block in content.chunks(BLOCK as usize) {
            let count = number(block, 8, 2) as usize / 12;
            for index in 0..count {
                let entry = &block[index * 12..];
                let start = number(entry, 8, 2) as usize;
                let end = if index + 1 < count { number(entry, 20, 2) as usize } else { block.len() };
                let name = block[start..end].split(|byte| *byte == 0).next().unwrap();
                names.push((String::from_utf8_lossy(name).into_owned(), number(entry, 0, 8), entry[10]));
            }
        }
        names
    }

    fn content(&self, inode: &Inode) -> Vec<u8> {
        self.bytes(inode.inline.unwrap_or(inode.address), inode.size as usize)
    }

    fn bytes(&self, at: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.disk.read_exact_at(&mut bytes, at).unwrap();
        bytes
    }
}

fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes[at..at + length].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
