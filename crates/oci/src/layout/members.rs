//! Where the members of a tar archive lie, found by its headers alone.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use tar::{EntryType, Header, PaxExtensions};

use super::LayoutError;

/// Bytes of a block: members begin on one, and a header fills one.
const BLOCK: u64 = 512;
/// Members of an archive at most. An image has a few hundred, a root filesystem that someone took for an image a few hundred thousand.
const MAX_MEMBERS: usize = 65_536;
/// Bytes at most of what comes before a header to say what does not fit into it: a path, a link's target, a size.
const MAX_EXTENSION: u64 = 64 * 1024;
/// Links that lead to a link, at most.
const MAX_HOPS: usize = 8;

/// A stretch of a file, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Span {
    pub(super) offset: u64,
    pub(super) length: u64,
}

enum Member {
    File(Span),
    /// A hard or symbolic link, and where it may lead: names in the archive, the likeliest first.
    Link(Vec<String>),
}

/// The files in an archive, by name.
pub(super) struct Members {
    members: HashMap<String, Member>,
    /// The folder that names are counted from.
    root: String,
}

impl Members {
    /// Reads the headers of an archive. Later members replace earlier ones of the same name, as they do for tar.
    pub(super) fn scan(file: &File, path: &Path) -> Result<Self, LayoutError> {
        let end = file.metadata().map_err(LayoutError::io(path))?.len();
        let mut scan = Scan { file, path, end, offset: 0 };
        let mut members = HashMap::new();
        let mut extended = Extended::default();
        while let Some(header) = scan.header()? {
            let kind = header.entry_type();
            let length = if has_data(kind) { extended.size.or(header.entry_size().ok()) } else { Some(0) };
            let span = scan.data(length.ok_or_else(|| scan.damaged("a member without a size"))?)?;
            match kind {
                EntryType::GNULongName => extended.name = Some(scan.text(span)?),
                EntryType::GNULongLink => extended.link = Some(scan.text(span)?),
                EntryType::XHeader => extended.read(&scan.bytes(span)?),
                EntryType::XGlobalHeader => {}
                _ => {
                    let Extended { name, link, .. } = std::mem::take(&mut extended);
                    let name = name.unwrap_or_else(|| header.path_bytes().into_owned());
                    let link = link.unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned());
                    if let Some((name, member)) = member(kind, &name, &link, span) {
                        members.insert(name, member);
                    }
                    if members.len() > MAX_MEMBERS {
                        return Err(LayoutError::not_a_layout(path, format!("it has more than {MAX_MEMBERS} members")));
                    }
                }
            }
            scan.offset = span.offset + span.length.next_multiple_of(BLOCK);
        }
        Ok(Self { members, root: String::new() })
    }

    /// Counts names from the one folder at the top that holds a file of this name, where there is exactly one.
    pub(super) fn enter_folder_with(&mut self, name: &str) {
        let holds =
            |member: &String| member.split_once('/').filter(|(_, file)| *file == name).map(|(folder, _)| folder.to_owned());
        let mut folders = self.members.keys().filter_map(holds);
        if let (Some(folder), None) = (folders.next(), folders.next()) {
            self.root = folder;
        }
    }

    /// The file of this name, through links.
    pub(super) fn get(&self, name: &str) -> Option<Span> {
        self.follow(&join(&self.root, name)?, MAX_HOPS)
    }

    fn follow(&self, name: &str, hops: usize) -> Option<Span> {
        match self.members.get(name)? {
            Member::File(span) => Some(*span),
            Member::Link(targets) => targets.iter().find_map(|target| self.follow(target, hops.checked_sub(1)?)),
        }
    }

    /// The names of all files and links.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let inside =
            |name| if self.root.is_empty() { Some(name) } else { str::strip_prefix(name, &self.root)?.strip_prefix('/') };
        self.members.keys().map(String::as_str).filter_map(inside)
    }
}

/// What extension headers said about the member that follows them.
#[derive(Default)]
struct Extended {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Extended {
    /// Takes the records of a pax header that matter.
    fn read(&mut self, records: &[u8]) {
        for record in PaxExtensions::new(records).flatten() {
            let value = record.value_bytes();
            match record.key_bytes() {
                b"path" => self.name = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = record.value().ok().and_then(|text| text.parse().ok()),
                _ => {}
            }
        }
    }
}

struct Scan<'a> {
    file: &'a File,
    path: &'a Path,
    /// Length of the file.
    end: u64,
    /// Where the header in question begins.
    offset: u64,
}

impl Scan<'_> {
    /// The header at the place that was reached; `None` at the end.
    fn header(&self) -> Result<Option<Header>, LayoutError> {
        // Some writers leave the two empty blocks out.
        if self.offset == self.end {
            return Ok(None);
        }
        if self.offset + BLOCK > self.end {
            return Err(self.damaged("it ends early"));
        }
        let mut header = Header::new_old();
        self.file.read_exact_at(header.as_mut_bytes(), self.offset).map_err(LayoutError::io(self.path))?;
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let sum: u32 = header.as_bytes().iter().map(|byte| u32::from(*byte)).sum();
        let own: u32 = header.as_old().cksum.iter().map(|byte| u32::from(*byte)).sum();
        let blank = u32::from(b' ') * 8;
        match header.cksum() {
            Ok(stated) if stated == sum - own + blank => Ok(Some(header)),
            _ if self.offset == 0 => Err(LayoutError::not_a_layout(self.path, "it is neither a folder nor a tar archive")),
            _ => Err(self.damaged("a header with a wrong checksum")),
        }
    }

    /// The data of this length after the header.
    fn data(&self, length: u64) -> Result<Span, LayoutError> {
        let offset = self.offset + BLOCK;
        match offset.checked_add(length) {
            Some(end) if end <= self.end => Ok(Span { offset, length }),
            _ => Err(self.damaged("it ends in the member")),
        }
    }

    fn bytes(&self, span: Span) -> Result<Vec<u8>, LayoutError> {
        if span.length > MAX_EXTENSION {
            return Err(self.damaged("a path that is too long"));
        }
        let mut bytes = vec![0; span.length as usize];
        self.file.read_exact_at(&mut bytes, span.offset).map_err(LayoutError::io(self.path))?;
        Ok(bytes)
    }

    /// A text that ends with the first zero.
    fn text(&self, span: Span) -> Result<Vec<u8>, LayoutError> {
        let mut bytes = self.bytes(span)?;
        bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
        Ok(bytes)
    }

    fn damaged(&self, what: &'static str) -> LayoutError {
        LayoutError::Damaged { path: self.path.to_owned(), what, offset: self.offset }
    }
}

/// Whether data follows the header. What the header of a link or folder says of its size means nothing.
fn has_data(kind: EntryType) -> bool {
    !matches!(
        kind,
        EntryType::Link | EntryType::Symlink | EntryType::Char | EntryType::Block | EntryType::Directory | EntryType::Fifo
    )
}

/// A member that can be a blob or lead to one, and its name.
fn member(kind: EntryType, name: &[u8], link: &[u8], span: Span) -> Option<(String, Member)> {
    let (name, link) = (join("", std::str::from_utf8(name).ok()?)?, std::str::from_utf8(link).ok()?);
    let member = match kind {
        EntryType::Regular | EntryType::Continuous => Member::File(span),
        EntryType::Link => Member::Link(vec![join("", link)?]),
        // Some writers give the target from the root of the archive, as Docker reads it.
        EntryType::Symlink => {
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
            Member::Link([join(folder, link), join("", link)].into_iter().flatten().collect())
        }
        _ => return None,
    };
    Some((name, member))
}

/// A path from a folder of the archive as a name from its root; `None` when it leads out of it.
fn join(folder: &str, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn scan(bytes: &[u8]) -> Result<Members, LayoutError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Members::scan(&file, Path::new("x.tar"))
    }

    fn header(kind: EntryType, length: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(length);
        header.set_mode(0o644);
        header
    }

    fn archive(links: &[(EntryType, &str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_data(&mut header(EntryType::Regular, 4), "a/data", &b"data"[..]).unwrap();
        for (kind, name, target) in links {
            builder.append_link(&mut header(*kind, 0), name, target).unwrap();
        }
        let long = format!("{}/long", "x".repeat(300));
        builder.append_data(&mut header(EntryType::Regular, 3), &long, &b"end"[..]).unwrap();
        builder.into_inner().unwrap()
    }

    #[test]
    fn members_are_found_by_any_spelling_and_through_links() {
        let long = format!("{}/long", "x".repeat(300));
        let bytes = archive(&[
            (EntryType::Symlink, "b/near", "../a/data"),
            (EntryType::Symlink, "b/root", "a/data"),
            (EntryType::Link, "b/hard", "./a/data"),
            (EntryType::Symlink, "b/twice", "near"),
            (EntryType::Symlink, "b/long", &format!("../{long}")),
            (EntryType::Symlink, "b/self", "self"),
            (EntryType::Symlink, "b/out", "../../a/data"),
            (EntryType::Symlink, "b/absolute", "/a/data"),
        ]);
        let members = scan(&bytes).unwrap();
        let content = |name: &str| members.get(name).map(|span| bytes[span.offset as usize..][..span.length as usize].to_vec());
        for name in ["a/data", "./a//data", "a/./x/../data", "b/near", "b/root", "b/hard", "b/twice"] {
            assert_eq!(content(name).as_deref(), Some(&b"data"[..]), "{name}");
        }
        for name in [long.as_str(), "b/long"] {
            assert_eq!(content(name).as_deref(), Some(&b"end"[..]), "{name}");
        }
        for name in ["", "a", "/a/data", "../a/data", "b/self", "b/out", "b/absolute", "b/none"] {
            assert_eq!(content(name), None, "{name}");
        }
        assert_eq!(members.names().count(), 10);
    }

    #[test]
    fn pax_headers_are_followed() {
        let mut builder = tar::Builder::new(Vec::new());
        let records: [(&str, &[u8]); 3] = [("path", b"blobs/real"), ("mtime", b"1.5"), ("size", b"4")];
        builder.append_pax_extensions(records).unwrap();
        let mut short = header(EntryType::Regular, 0);
        short.set_path("short").unwrap();
        short.set_cksum();
        builder.append(&short, &b""[..]).unwrap();
        let mut bytes = builder.into_inner().unwrap();
        bytes.truncate(bytes.len() - 1024);
        bytes.extend_from_slice(b"data");
        bytes.resize(bytes.len().next_multiple_of(512) + 1024, 0);
        let members = scan(&bytes).unwrap();
        assert_eq!((members.get("blobs/real").unwrap().length, members.get("short")), (4, None));
    }

    #[test]
    fn a_later_member_replaces_an_earlier_one() {
        let mut builder = tar::Builder::new(Vec::new());
        for content in [&b"1"[..], b"22"] {
            builder.append_data(&mut header(EntryType::Regular, content.len() as u64), "x", content).unwrap();
        }
        assert_eq!(scan(&builder.into_inner().unwrap()).unwrap().get("x").unwrap().length, 2);
    }

    #[test]
    fn damage_is_named_with_its_place() {
        let whole = archive(&[]);
        for (cut, place) in [(100, 0), (513, 0), (600, 1024), (1030, 1024)] {
            let error = scan(&whole[..cut]).err();
            assert!(matches!(error, Some(LayoutError::Damaged { offset, .. }) if offset == place), "{cut}: {error:?}");
        }
        let mut flipped = whole.clone();
        flipped[1024] ^= 1;
        assert!(matches!(scan(&flipped), Err(LayoutError::Damaged { offset: 1024, .. })));
        assert!(matches!(scan(&b"x".repeat(2048)), Err(LayoutError::NotALayout { .. })));
        // The two empty blocks at the end may be missing, and then the rest of what is there counts.
        assert!(scan(&whole[..whole.len() - 1024]).is_ok() && scan(&[]).is_ok());
    }

    #[test]
    fn what_is_read_into_memory_is_bounded() {
        let mut huge = header(EntryType::GNULongName, MAX_EXTENSION + 1);
        huge.set_path("x").unwrap();
        huge.set_cksum();
        let mut bytes = huge.as_bytes().to_vec();
        bytes.resize(512 + MAX_EXTENSION as usize + 1024, b'x');
        assert!(matches!(scan(&bytes), Err(LayoutError::Damaged { .. })));
        let mut endless = header(EntryType::Regular, u64::MAX);
        endless.set_cksum();
        assert!(matches!(scan(endless.as_bytes()), Err(LayoutError::Damaged { .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(flips in proptest::collection::vec((0usize..4096, any::<u8>()), 0..8), cut in 0usize..4096, sum in any::<bool>()) {
            let mut bytes = archive(&[(EntryType::Symlink, "b", "a/data"), (EntryType::Link, "c", "b")]);
            for (place, byte) in flips {
                if let Some(found) = bytes.get_mut(place) {
                    *found = byte;
                }
            }
            // Flipped bytes get past the checksum only when it is made anew.
            for block in bytes.chunks_exact_mut(512).filter(|_| sum) {
                let mut header = Header::new_old();
                header.as_mut_bytes().copy_from_slice(block);
                header.set_cksum();
                block.copy_from_slice(header.as_bytes());
            }
            bytes.truncate(cut);
            if let Ok(members) = scan(&bytes) {
                for name in members.names().map(str::to_owned).collect::<Vec<_>>() {
                    prop_assert!(members.get(&name).is_none_or(|span| span.offset + span.length <= bytes.len() as u64));
                }
            }
        }
    }
}
