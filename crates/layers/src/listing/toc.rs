//! What a layer changes, read from its table of contents: without the layer.

use std::io::Read;
use std::ops::Range;

use sha2::{Digest as _, Sha256};
use wharf_oci::{Algorithm, Digest};

use super::Changeset;
use crate::packages::{Collector, Content, MAX_FILE};
use crate::toc::{TocKind, TocPlace, for_each};
use crate::{Decoded, EntryPath, LayersError};

/// A file in a layer whose content a collector wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its place.
    pub path: EntryPath,
    /// Digest of the content.
    pub content: Content,
    /// Where in the layer it lies, compressed: a range of no more bytes than the longest file that is read has.
    pub range: Range<u64>,
    size: u64,
}

impl Wanted {
    /// The content, from the bytes of its range; none when they are not what the table says.
    pub fn decode(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        Decoded::new(bytes).ok()?.take(self.size).read_to_end(&mut content).ok()?;
        (<Content>::from(Sha256::digest(&content)) == self.content).then_some(content)
    }
}

impl Changeset {
    /// Reads a table of contents, `bytes` being those of the place's range, and tells what else has to be fetched for a collector.
    ///
    /// # Errors
    ///
    /// [`LayersError::Toc`] for a table that is damaged, or not enough to tell what the layer changes: the layer itself then has to be read.
    pub fn of_toc(place: &TocPlace, bytes: &[u8], collector: &Collector) -> Result<(Self, Vec<Wanted>), LayersError> {
        let mut changes = Self::new();
        let mut wanted = Vec::new();
        for_each(place, bytes, |entry| {
            if entry.kind == TocKind::Chunk {
                return Ok(());
            }
            let range = entry.offset..entry.end_offset;
            let listed = entry.listed().map_err(|error| error.to_string())?;
            let content = match listed.digest {
                Some(digest) => sha256(&digest),
                None if listed.entry.size == 0 => Some(Sha256::digest(b"").into()),
                None => None,
            };
            changes.add(&listed.entry, content).map_err(|error| error.to_string())?;
            let is_read = listed.entry.size <= MAX_FILE && range.end.saturating_sub(range.start) <= MAX_FILE;
            if let (Some(content), Some(_), Ok(path), true) =
                (content, listed.digest, EntryPath::parse(&listed.entry.name), is_read)
                && collector.wants(&path)
                && !collector.has(&path, &content)
            {
                wanted.push(Wanted { path, content, range, size: listed.entry.size });
            }
            Ok(())
        })?;
        Ok((changes, wanted))
    }
}

fn sha256(digest: &Digest) -> Option<Content> {
    (digest.algorithm() == Algorithm::Sha256).then(|| digest.hash().try_into().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::tar::{END, TarReader, encode, padding};
    use crate::{Entry, Form, Kind, LayerWriter, Time};

    fn archive() -> Vec<u8> {
        let entry = |name: &str, kind: Kind, size: usize| Entry {
            name: name.into(),
            kind,
            mode: 0o4755,
            uid: 7,
            gid: 8,
            mtime: Time { seconds: 1_700_000_000, nanoseconds: 0 },
            size: size as u64,
            xattrs: [(b"security.capability".to_vec(), vec![1, 0, 0, 2])].into(),
        };
        let status = b"Package: a\nVersion: 1\n".as_slice();
        let large: Vec<u8> = (0..1_000_000_u32).flat_map(|number| number.wrapping_mul(0x9E37_79B9).to_le_bytes()).collect();
        let members: [(&str, Kind, &[u8]); 8] = [
            ("./", Kind::Directory, b""),
            ("./var/lib/dpkg/status", Kind::Regular, status),
            ("./large", Kind::Regular, &large),
            ("./empty", Kind::Regular, b""),
            ("./.wh.gone", Kind::Regular, b""),
            ("./again", Kind::Hardlink(b"./large".to_vec()), b""),
            ("./link", Kind::Symlink(b"large".to_vec()), b""),
            ("./null", Kind::Character { major: 1, minor: 3 }, b""),
        ];
        let mut archive = Vec::new();
        for (name, kind, content) in members {
            archive.extend(encode(&entry(name, kind, content.len())).unwrap());
            archive.extend_from_slice(content);
            archive.resize(archive.len() + padding(content.len() as u64), 0);
        }
        archive.extend(END);
        archive
    }

    /// The archive as a zstd:chunked layer.
    fn chunked(archive: &[u8]) -> (Vec<u8>, TocPlace) {
        let mut layer = Vec::new();
        let mut writer = LayerWriter::new(&mut layer, Form::ZSTD_CHUNKED, Form::ZSTD_CHUNKED.cut(), 1).unwrap();
        let mut reader = TarReader::new(archive);
        while let Some(member) = reader.next().unwrap() {
            writer.member(&member.raw, &member.entry).unwrap();
            let mut content = Vec::new();
            reader.by_ref().read_to_end(&mut content).unwrap();
            writer.content(&content).unwrap();
        }
        let mut rest = Vec::new();
        reader.trailer().read_to_end(&mut rest).unwrap();
        writer.raw(&rest).unwrap();
        let written = writer.finish().unwrap();
        let place = TocPlace::of(&written.descriptor).unwrap();
        (layer, place)
    }

    fn part(layer: &[u8], range: Range<u64>) -> &[u8] {
        &layer[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
    }

    #[test]
    fn a_table_says_the_same_as_its_layer() {
        let archive = archive();
        let (layer, place) = chunked(&archive);
        let mut collector = Collector::new();
        let scanned = Changeset::scan(archive.as_slice(), &mut collector).unwrap();
        let table = part(&layer, place.range());
        let (listed, wanted) = Changeset::of_toc(&place, table, &Collector::new()).unwrap();
        assert_eq!(listed, scanned);
        let [status] = wanted.as_slice() else { panic!("{wanted:?}") };
        let bytes = part(&layer, status.range.clone());
        assert_eq!(status.decode(bytes).unwrap(), b"Package: a\nVersion: 1\n");
        assert_eq!(status.decode(&bytes[..bytes.len() - 5]), None);
        assert_eq!(Wanted { content: [0; 32], ..status.clone() }.decode(bytes), None);
        let (_, wanted) = Changeset::of_toc(&place, table, &collector).unwrap();
        assert_eq!(wanted, [], "what was taken is not wanted again");
        assert!(matches!(Changeset::of_toc(&place, &table[1..], &collector), Err(LayersError::Toc(_))));
    }

    #[test]
    fn the_digest_of_nothing_is_known() {
        let empty = Entry {
            name: b"x".to_vec(),
            kind: Kind::Regular,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            size: 0,
            xattrs: BTreeMap::new(),
        };
        let archive = [encode(&empty).unwrap(), END.to_vec()].concat();
        let (layer, place) = chunked(&archive);
        let (listed, _) = Changeset::of_toc(&place, part(&layer, place.range()), &Collector::new()).unwrap();
        assert_eq!(listed, Changeset::scan(archive.as_slice(), &mut Collector::new()).unwrap());
    }
}
