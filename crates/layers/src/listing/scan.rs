//! What a layer changes, read from its archive.

use std::io::Read;

use sha2::{Digest, Sha256};

use super::Changeset;
use crate::packages::{Collector, Content, MAX_FILE};
use crate::tar::{Extent, Member, TarReader};
use crate::{EntryPath, Kind, LayersError};

/// Bytes of content that are read at once.
const BUFFER: usize = 128 << 10;
/// Bytes of holes in all files of a layer that are hashed as the zeros they are. A header of a few bytes may claim more of them than could ever be hashed, and
/// there may be thousands of such headers.
const MAX_HOLES: u64 = 8 << 30;
/// What stands before the map and the stored bytes of a file with more holes than are left of that, so that its digest is no other file's.
const SPARSE: &[u8] = b"a sparse file\0";

impl Changeset {
    /// Reads an archive that is not compressed, to the end of the stream, and gives a collector what it wants.
    ///
    /// A sparse file is what it reads as, so that it equals the same file written in full; only one with which the layer has
    /// more than 8 GiB of holes equals none but those with the same holes.
    ///
    /// # Errors
    ///
    /// Those of [`TarReader`], of [`Changeset::add`] and of [`Collector::take`].
    pub fn scan(archive: impl Read, collector: &mut Collector) -> Result<Self, LayersError> {
        let failed = || LayersError::stream("reading the layer");
        let mut layer = Self::new();
        let mut reader = TarReader::new(archive);
        let mut buffer = vec![0; BUFFER];
        let mut holes = 0;
        while let Some(member) = reader.next()? {
            if member.entry.kind != Kind::Regular {
                layer.add(&member.entry, None)?;
                continue;
            }
            let path = EntryPath::parse(&member.entry.name);
            let wanted = path.ok().filter(|path| member.entry.size <= MAX_FILE && collector.wants(path));
            let mut sink = Sink { hash: Sha256::new(), kept: wanted.is_some().then(Vec::new) };
            read(&mut reader, &member, &mut buffer, &mut sink, &mut holes).map_err(failed())?;
            let content: Content = sink.hash.finalize().into();
            if let (Some(path), Some(bytes)) = (wanted, sink.kept) {
                collector.take(&path, content, &bytes)?;
            }
            layer.add(&member.entry, Some(content))?;
        }
        std::io::copy(&mut reader.trailer(), &mut std::io::sink()).map_err(failed())?;
        Ok(layer)
    }
}

/// Where content goes.
struct Sink {
    hash: Sha256,
    kept: Option<Vec<u8>>,
}

impl Sink {
    fn put(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(bytes);
        }
    }

    fn zeros(&mut self, mut count: u64, buffer: &mut [u8]) {
        buffer.fill(0);
        while count > 0 {
            let length = buffer.len().min(usize::try_from(count).unwrap_or(usize::MAX));
            self.put(&buffer[..length]);
            count -= length as u64;
        }
    }
}

/// `holes` are the bytes of holes that were hashed of this layer.
fn read(reader: &mut impl Read, member: &Member, buffer: &mut [u8], sink: &mut Sink, holes: &mut u64) -> std::io::Result<()> {
    let size = member.entry.size;
    let Some(extents) = &member.sparse else { return stored(reader, member.stored, buffer, sink) };
    let own = size.saturating_sub(member.stored);
    *holes = holes.saturating_add(own);
    if *holes > MAX_HOLES {
        sink.put(SPARSE);
        for number in extents.iter().flat_map(|Extent { offset, length }| [*offset, *length]).chain([u64::MAX, size]) {
            sink.put(&number.to_be_bytes());
        }
        return stored(reader, member.stored, buffer, sink);
    }
    let mut at = 0;
    for Extent { offset, length } in extents {
        sink.zeros(offset.saturating_sub(at), buffer);
        stored(reader, *length, buffer, sink)?;
        at = offset.saturating_add(*length);
    }
    sink.zeros(size.saturating_sub(at), buffer);
    Ok(())
}

fn stored(reader: &mut impl Read, mut count: u64, buffer: &mut [u8], sink: &mut Sink) -> std::io::Result<()> {
    while count > 0 {
        let length = buffer.len().min(usize::try_from(count).unwrap_or(usize::MAX));
        reader.read_exact(&mut buffer[..length])?;
        sink.put(&buffer[..length]);
        count -= length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::listing::{FileKind, Listing};
    use crate::tar::{END, encode, padding};
    use crate::{Entry, Time};

    fn member(name: &str, content: &[u8]) -> Vec<u8> {
        let entry = Entry {
            name: name.into(),
            kind: Kind::Regular,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            size: content.len() as u64,
            xattrs: BTreeMap::new(),
        };
        [encode(&entry).unwrap(), content.to_vec(), vec![0; padding(entry.size)]].concat()
    }

    fn listing(archive: &[u8], collector: &mut Collector) -> Result<Listing, LayersError> {
        let mut listing = Listing::new();
        listing.apply(&Changeset::scan(archive, collector)?)?;
        Ok(listing)
    }

    #[test]
    fn archives_are_listed_with_digests_and_packages() {
        let status = b"Package: a\nVersion: 1\n";
        let archive = [member("./var/lib/dpkg/status", status), member("x", b"abc"), END.to_vec()].concat();
        let mut collector = Collector::new();
        let listing = listing(&archive, &mut collector).unwrap();
        let (path, content) = (EntryPath::parse(b"x").unwrap(), Sha256::digest(b"abc").into());
        assert_eq!(listing.get(&path).unwrap().kind, FileKind::Regular { size: 3, content });
        assert_eq!(collector.packages(listing.contents()).packages.len(), 1);
    }

    #[test]
    fn an_archive_that_ends_early_is_an_error() {
        let archive = [member("x", &[1; 3000]), END.to_vec()].concat();
        for length in [100, 600, 2000] {
            assert!(matches!(listing(&archive[..length], &mut Collector::new()), Err(LayersError::Tar { .. })), "{length}");
        }
    }

    /// A sparse file in the form 1.0 of GNU tar.
    fn sparse(size: u64, offset: u64, content: &[u8]) -> Vec<u8> {
        let record = |text: String| {
            let length = (text.len() + 4).to_string().len() + text.len() + 2;
            format!("{length} {text}\n")
        };
        let records = ["GNU.sparse.major=1".to_owned(), "GNU.sparse.minor=0".to_owned(), format!("GNU.sparse.realsize={size}")];
        let records: String = records.into_iter().map(record).collect();
        let mut header = member("pax", records.as_bytes());
        header[156] = b'x';
        let sum: u32 =
            header[..512].iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) }).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let mut map = format!("1\n{offset}\n{}\n", content.len()).into_bytes();
        map.resize(512, 0);
        [header, member("f", &[map, content.to_vec()].concat()), END.to_vec()].concat()
    }

    #[test]
    fn a_sparse_file_is_what_it_reads_as() {
        let path = EntryPath::parse(b"f").unwrap();
        let of = |archive: &[u8]| listing(archive, &mut Collector::new()).unwrap().get(&path).unwrap().clone();
        let full = [vec![0; 300_000], b"abc".to_vec(), vec![0; 700]].concat();
        let full = of(&[member("f", &full), END.to_vec()].concat());
        assert_eq!(of(&sparse(300_703, 300_000, b"abc")), full);
        assert_ne!(of(&sparse(300_703, 300_001, b"abc")).kind, full.kind);
        let (huge, other) = (of(&sparse(1 << 60, 1 << 50, b"abc")), of(&sparse(1 << 60, 1 << 51, b"abc")));
        assert_eq!(huge.size(), 1 << 60);
        assert_ne!(huge.kind, other.kind);
    }
}
