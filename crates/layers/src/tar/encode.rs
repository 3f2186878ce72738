//! Headers as they are written here: ustar wherever it suffices, else a pax header in front.

use std::collections::BTreeMap;

use super::header::{self, BLOCK, Block, Field};
use super::{MAX_EXTENSION, padding, pax};
use crate::{Entry, Kind, LayersError};

/// The name of every pax header, so that the same entry always has the same one.
const PAX_NAME: &[u8] = b"././@PaxHeader";

/// The header blocks of a member. Its content follows them, then [`padding`].
///
/// The same entry always has the same header. Times are whole seconds, names of directories end with a slash, names of owners are empty.
///
/// # Errors
/// [`LayersError::Refused`] for what no archive can hold: a name that is empty or has a zero byte, a file whose name ends with a slash, an
/// extended attribute whose name is empty or has a zero byte or `=`, more than 1 MiB of names and attributes, device numbers
/// of more than 21 bits, more than 8 EiB.
pub fn encode(entry: &Entry) -> Result<Vec<u8>, LayersError> {
    let refused = |why: &str| LayersError::Refused { name: entry.name.clone(), why: why.to_owned() };
    let mut name = entry.name.clone();
    if name.is_empty() || name.contains(&0) {
        return Err(refused("its name is empty or holds a zero byte"));
    }
    match (&entry.kind, name.ends_with(b"/")) {
        (Kind::Directory, false) => name.push(b'/'),
        (Kind::Directory, true) | (_, false) => {}
        (_, true) => return Err(refused("it is no directory, and its name ends with a slash")),
    }
    let mut records = BTreeMap::new();
    let mut block: Block = [0; BLOCK];
    set_name(&mut block, &name, &mut records);
    put_octal(&mut block, header::MODE, u64::from(entry.mode & 0o7777));
    let mut set = |block: &mut Block, field, key: &str, value: i128| {
        let fits = u64::try_from(value).ok().filter(|value| *value <= most(field));
        if fits.is_none() {
            records.insert(key.as_bytes().to_vec(), value.to_string().into_bytes());
        }
        put_octal(block, field, fits.unwrap_or(0));
    };
    let size = if entry.kind == Kind::Regular { entry.size } else { 0 };
    if [size, entry.uid, entry.gid].iter().any(|number| i64::try_from(*number).is_err()) {
        return Err(refused("its size, owner or group is absurd"));
    }
    set(&mut block, header::UID, "uid", entry.uid.into());
    set(&mut block, header::GID, "gid", entry.gid.into());
    set(&mut block, header::SIZE, "size", size.into());
    set(&mut block, header::MTIME, "mtime", entry.mtime.seconds.into());
    let (flag, link, device) = match &entry.kind {
        Kind::Regular => (b'0', None, None),
        Kind::Hardlink(target) => (b'1', Some(target), None),
        Kind::Symlink(target) => (b'2', Some(target), None),
        Kind::Character { major, minor } => (b'3', None, Some((*major, *minor))),
        Kind::Block { major, minor } => (b'4', None, Some((*major, *minor))),
        Kind::Directory => (b'5', None, None),
        Kind::Fifo => (b'6', None, None),
    };
    if let Some(target) = link {
        if target.is_empty() || target.contains(&0) {
            return Err(refused("the name that it links to is empty or holds a zero byte"));
        }
        if target.len() > header::LINK.1 {
            records.insert(b"linkpath".to_vec(), target.clone());
        }
        put(&mut block, header::LINK, target);
    }
    let (major, minor) = device.unwrap_or_default();
    if u64::from(major.max(minor)) > most(header::MAJOR) {
        return Err(refused("its device numbers are absurd"));
    }
    put_octal(&mut block, header::MAJOR, major.into());
    put_octal(&mut block, header::MINOR, minor.into());
    for (name, value) in &entry.xattrs {
        if name.is_empty() || name.contains(&0) || name.contains(&b'=') {
            return Err(refused("the name of an extended attribute is empty or holds `=` or a zero byte"));
        }
        records.insert([pax::XATTR, name].concat(), value.clone());
    }
    let mut encoded = Vec::with_capacity(BLOCK);
    if !records.is_empty() {
        let mut content = Vec::new();
        records.iter().for_each(|(key, value)| pax::append(&mut content, key, value));
        if content.len() > MAX_EXTENSION {
            return Err(refused("its names and extended attributes take more than 1 MiB"));
        }
        encoded.extend_from_slice(&pax_header(content.len() as u64));
        encoded.extend_from_slice(&content);
        encoded.resize(encoded.len() + padding(content.len() as u64), 0);
    }
    encoded.extend_from_slice(&sealed(block, flag));
    Ok(encoded)
}

/// Puts a name into the name field, or splits it at a slash between prefix and name; else all of it goes into a record.
fn set_name(block: &mut Block, name: &[u8], records: &mut BTreeMap<Vec<u8>, Vec<u8>>) {
    if name.len() <= header::NAME.1 {
        return put(block, header::NAME, name);
    }
    // Readers join the two with a slash, some only where there is none yet, and take an empty prefix for none.
    let splits = |at: &usize| {
        name[*at] == b'/'
            && name[at - 1] != b'/'
            && *at <= header::PREFIX.1
            && (1..=header::NAME.1).contains(&(name.len() - at - 1))
    };
    match (1..name.len()).rev().find(splits) {
        Some(at) => {
            put(block, header::PREFIX, &name[..at]);
            put(block, header::NAME, &name[at + 1..]);
        }
        None => {
            records.insert(b"path".to_vec(), name.to_vec());
            // A slash at the end of what is left would make a directory of it.
            let start = &name[..header::NAME.1];
            let end = start.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
            put(block, header::NAME, &start[..end]);
        }
    }
}

/// The header in front of this many bytes of records.
fn pax_header(length: u64) -> Block {
    let mut block = [0; BLOCK];
    put(&mut block, header::NAME, PAX_NAME);
    put_octal(&mut block, header::MODE, 0o644);
    for field in [header::UID, header::GID, header::MTIME, header::MAJOR, header::MINOR] {
        put_octal(&mut block, field, 0);
    }
    put_octal(&mut block, header::SIZE, length);
    sealed(block, b'x')
}

/// The block with kind, magic and checksum.
fn sealed(mut block: Block, flag: u8) -> Block {
    block[header::KIND] = flag;
    put(&mut block, header::MAGIC, b"ustar\x0000");
    put(&mut block, header::CHECKSUM, &[b' '; 8]);
    let sum = block.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    put(&mut block, header::CHECKSUM, format!("{sum:06o}\0 ").as_bytes());
    block
}

/// The largest number that a field holds as octal digits and a zero.
fn most(field: Field) -> u64 {
    (1 << (3 * (field.1 - 1))) - 1
}

fn put_octal(block: &mut Block, field: Field, value: u64) {
    put(block, field, format!("{value:0width$o}", width = field.1 - 1).as_bytes());
}

/// As much of it as the field holds.
fn put(block: &mut Block, field: Field, bytes: &[u8]) {
    let length = bytes.len().min(field.1);
    block[field.0..field.0 + length].copy_from_slice(&bytes[..length]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Time;

    fn entry(name: &[u8], kind: Kind) -> Entry {
        let mtime = Time { seconds: 1, nanoseconds: 999 };
        Entry { name: name.to_vec(), kind, mode: 0o755, uid: 1, gid: 2, mtime, size: 3, xattrs: BTreeMap::new() }
    }

    #[test]
    fn ustar_suffices_for_most() {
        let blocks = encode(&entry(b"etc/passwd", Kind::Regular)).unwrap();
        let block: &Block = blocks.as_slice().try_into().unwrap();
        assert_eq!(header::NAME.text(block), b"etc/passwd");
        let numbers = [header::MODE, header::UID, header::GID, header::SIZE, header::MTIME].map(|field| field.text(block));
        assert_eq!(numbers, [b"0000755".as_slice(), b"0000001", b"0000002", b"00000000003", b"00000000001"]);
        assert_eq!(&blocks[156..157], b"0");
        assert_eq!(&blocks[257..265], b"ustar\x0000");
        assert!(blocks[265..329].iter().all(|byte| *byte == 0));
        let directory = encode(&entry(b"etc", Kind::Directory)).unwrap();
        assert_eq!(
            (&directory[..5], &directory[156..157], &directory[124..135]),
            (b"etc/\0".as_slice(), b"5".as_slice(), b"00000000000".as_slice())
        );
        assert_eq!(directory, encode(&entry(b"etc/", Kind::Directory)).unwrap());
    }

    #[test]
    fn names_are_split_where_every_reader_joins_them() {
        let blocks = |name: &[u8]| encode(&entry(name, Kind::Regular)).unwrap().len() / BLOCK;
        let (p, n) = ([b'p'; 155], [b'n'; 100]);
        assert_eq!(blocks(&n), 1);
        assert_eq!(blocks(&[b'n'; 101]), 3);
        assert_eq!(blocks(&[&p[..], b"/", &n].concat()), 1);
        assert_eq!(blocks(&[&p[..], b"p/", &n].concat()), 3);
        assert_eq!(blocks(&[&p[..], b"/", &n, b"n"].concat()), 3);
        // Neither an empty prefix nor one with a slash at its end.
        assert_eq!(blocks(&[b"/".as_slice(), &n].concat()), 3);
        assert_eq!(blocks(&[b"p//".as_slice(), &n].concat()), 3);
        let directory = [&p[..], b"/"].concat();
        assert_eq!(encode(&entry(&directory, Kind::Directory)).unwrap().len() / BLOCK, 3);
    }

    #[test]
    fn what_does_not_fit_is_in_sorted_records_of_a_fixed_header() {
        let mut entry = entry(&[b'n'; 120], Kind::Symlink(vec![b't'; 110]));
        (entry.uid, entry.mtime.seconds) = (1 << 21, -5);
        entry.xattrs = BTreeMap::from([(b"user.b".to_vec(), b"\n=\0".to_vec()), (b"user.a".to_vec(), Vec::new())]);
        let blocks = encode(&entry).unwrap();
        let (n, t) = ("n".repeat(120), "t".repeat(110));
        let records = format!(
            "24 SCHILY.xattr.user.a=\n27 SCHILY.xattr.user.b=\n=\0\n124 linkpath={t}\n12 mtime=-5\n130 path={n}\n15 uid=2097152\n"
        );
        assert_eq!(&blocks[BLOCK..BLOCK + records.len()], records.as_bytes());
        assert_eq!(&blocks[..15], b"././@PaxHeader\0");
        let own = &blocks[2 * BLOCK..];
        assert_eq!((&own[..100], &own[157..257]), ([b'n'; 100].as_slice(), [b't'; 100].as_slice()));
        assert_eq!((&own[108..115], &own[136..147]), (b"0000000".as_slice(), b"00000000000".as_slice()));
        entry.size = 1 << 33;
        entry.kind = Kind::Regular;
        let blocks = encode(&entry).unwrap();
        assert!(blocks.windows(19).any(|window| window == b"19 size=8589934592\n"));
    }

    #[test]
    fn what_no_archive_can_hold_is_refused() {
        let regular = |name: &[u8]| entry(name, Kind::Regular);
        let attribute =
            |name: &[u8], length| Entry { xattrs: BTreeMap::from([(name.to_vec(), vec![0; length])]), ..regular(b"a") };
        let refused = [
            regular(b""),
            regular(b"a\0b"),
            regular(b"a/"),
            entry(b"", Kind::Directory),
            entry(b"a", Kind::Symlink(Vec::new())),
            entry(b"a", Kind::Hardlink(b"\0".to_vec())),
            entry(b"a", Kind::Character { major: 0, minor: 1 << 21 }),
            Entry { size: u64::MAX, ..regular(b"a") },
            attribute(b"", 1),
            attribute(b"user.a=b", 1),
            attribute(b"user.a\0", 1),
            attribute(b"user.a", 1 << 20),
        ];
        for entry in refused {
            assert!(matches!(encode(&entry), Err(LayersError::Refused { .. })), "{entry:?}");
        }
        assert!(encode(&attribute(b"user.a", (1 << 20) - 50)).is_ok());
    }
}
