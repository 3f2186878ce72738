use std::collections::BTreeMap;
use std::io::Read;

use proptest::collection::{btree_map, vec};
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::header::{self, BLOCK, Field};
use super::{END, Extent, Member, TarReader, encode, padding, pax};
use crate::{Decoded, Entry, Kind, LayersError, Time};

/// What there is in an archive: its members with their content as it is stored, and what the trailer has.
type Archive = (Vec<(Member, Vec<u8>)>, Vec<u8>);

fn read(mut archive: impl Read) -> Result<Archive, LayersError> {
    let mut tar = TarReader::new(&mut archive);
    let mut members = Vec::new();
    while let Some(member) = tar.next()? {
        let mut content = Vec::new();
        tar.read_to_end(&mut content).map_err(LayersError::stream("reading the layer"))?;
        members.push((member, content));
    }
    let mut trailer = Vec::new();
    tar.trailer().read_to_end(&mut trailer).unwrap();
    Ok((members, trailer))
}

/// Reads an archive, and sees that no byte of it is lost and that offsets are right.
fn read_all(archive: &[u8]) -> Vec<(Member, Vec<u8>)> {
    let (members, trailer) = read(archive).unwrap();
    let mut again = Vec::new();
    for (member, content) in &members {
        assert_eq!(member.offset, again.len() as u64);
        assert_eq!(member.stored, content.len() as u64);
        again.extend_from_slice(&member.raw);
        again.extend_from_slice(content);
    }
    again.extend_from_slice(&trailer);
    assert!(again == archive);
    members
}

/// The message and the place of what is wrong.
fn damage(archive: &[u8]) -> (String, u64) {
    match read(archive).unwrap_err() {
        LayersError::Tar { what, offset } => (what, offset),
        other => panic!("{other}"),
    }
}

fn entry(name: &str, kind: Kind) -> Entry {
    let mtime = Time { seconds: 1_580_608_922, nanoseconds: 0 };
    Entry { name: name.into(), kind, mode: 0o644, uid: 0, gid: 0, mtime, size: 0, xattrs: BTreeMap::new() }
}

fn with_content(entry: &Entry, content: &[u8]) -> Vec<u8> {
    let mut member = encode(&Entry { size: content.len() as u64, ..entry.clone() }).unwrap();
    member.extend_from_slice(content);
    member.resize(member.len() + padding(content.len() as u64), 0);
    member
}

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    with_content(&entry(name, Kind::Regular), content)
}

/// A member, with its header changed and sealed again.
fn changed(mut member: Vec<u8>, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    change(&mut member[..BLOCK]);
    member[148..156].fill(b' ');
    let sum: u32 = member[..BLOCK].iter().map(|byte| u32::from(*byte)).sum();
    member[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    member
}

fn extended(kind: u8, content: &[u8]) -> Vec<u8> {
    changed(file("extended", content), |header| header[header::KIND] = kind)
}

fn records(records: &[(&str, &str)]) -> Vec<u8> {
    let mut content = Vec::new();
    records.iter().for_each(|(key, value)| pax::append(&mut content, key.as_bytes(), value.as_bytes()));
    content
}

fn set(field: Field, text: &[u8]) -> impl FnOnce(&mut [u8]) {
    move |header| {
        header[field.0..field.0 + field.1].fill(0);
        header[field.0..field.0 + text.len()].copy_from_slice(text);
    }
}

#[test]
fn what_real_tools_write_is_read() {
    let fixtures: [(&str, &[u8], bool); 5] = [
        ("gnu", include_bytes!("../../fixtures/gnu.tar.gz"), false),
        ("pax-0.0", include_bytes!("../../fixtures/pax-0.0.tar.gz"), true),
        ("pax-0.1", include_bytes!("../../fixtures/pax-0.1.tar.gz"), true),
        ("pax-1.0", include_bytes!("../../fixtures/pax-1.0.tar.gz"), true),
        ("bsdtar", include_bytes!("../../fixtures/bsdtar.tar.gz"), true),
    ];
    let long = format!("./{}", "p".repeat(90));
    let xattrs = BTreeMap::from([(b"user.x".to_vec(), b"a\n=b\0c".to_vec())]);
    let owned = |entry: Entry| Entry { mode: 0o4755, uid: 3_000_000, gid: 1000, ..entry };
    let expected = [
        Entry { mode: 0o1777, ..entry("./dir/", Kind::Directory) },
        Entry { size: 6, xattrs: xattrs.clone(), ..owned(entry("./dir/file", Kind::Regular)) },
        owned(entry("./hard", Kind::Hardlink(b"./dir/file".to_vec()))),
        Entry { mode: 0o777, ..entry("./link", Kind::Symlink(vec![b't'; 150])) },
        entry("./chr", Kind::Character { major: 5, minor: 1 }),
        entry("./pipe", Kind::Fifo),
        Entry { mode: 0o755, ..entry(&format!("{long}/"), Kind::Directory) },
        Entry { size: 4, ..entry(&format!("{long}/{}", "q".repeat(90)), Kind::Regular) },
        Entry { size: 30 * 65536, ..entry("./sparse", Kind::Regular) },
    ];
    for (name, compressed, has_xattrs) in fixtures {
        let mut archive = Vec::new();
        Decoded::new(compressed).unwrap().read_to_end(&mut archive).unwrap();
        let members = read_all(&archive);
        for ((member, _), expected) in members.iter().zip(&expected) {
            let mut expected = expected.clone();
            // libarchive repeats the attributes at the hard link.
            if name == "bsdtar" && matches!(expected.kind, Kind::Hardlink(_)) {
                expected.xattrs.clone_from(&xattrs);
            }
            if !has_xattrs {
                expected.xattrs.clear();
            }
            assert_eq!(member.entry, expected, "{name}");
        }
        assert_eq!(members.len(), expected.len(), "{name}");
        assert_eq!(members[1].1, b"hello\n");
        let (sparse, content) = &members[8];
        let extents = (0..30).map(|at| Extent { offset: at * 65536 + 4096, length: 4096 }).collect::<Vec<_>>();
        assert_eq!(sparse.sparse.as_ref(), Some(&extents), "{name}");
        assert_eq!(*content, (0..30).flat_map(|at| [b'A' + at; 4096]).collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn archives_end_in_many_ways() {
    let member = file("a", b"content");
    let unpadded = &member[..BLOCK + 7];
    let ends = [&[] as &[u8], &[0; 512], &END, &[0; 10240], &[0; 700], &[0; 100], &[&END[..], b"garbage".as_slice()].concat()];
    for end in ends {
        let members = read_all(&[&member, end].concat());
        assert_eq!((members.len(), members[0].1.as_slice()), (1, b"content".as_slice()), "{}", end.len());
    }
    assert_eq!(read_all(unpadded).len(), 1);
    assert_eq!(read_all(&member[..BLOCK + 100]).len(), 1);
    assert_eq!(read_all(&[]), []);
    assert_eq!(read_all(&END), []);
}

#[test]
fn content_may_be_skipped_and_the_end_stays_the_end() {
    let archive = [file("a", &[1; 70_000]), file("b", b"b"), END.to_vec(), file("c", b"")].concat();
    let mut tar = TarReader::new(archive.as_slice());
    assert_eq!(tar.next().unwrap().unwrap().entry.name, b"a");
    tar.read_exact(&mut [0; 10]).unwrap();
    let member = tar.next().unwrap().unwrap();
    assert_eq!((member.entry.name.as_slice(), member.offset), (b"b".as_slice(), 512 + 70_000));
    assert!(tar.next().unwrap().is_none() && tar.next().unwrap().is_none());
    let mut rest = Vec::new();
    tar.trailer().read_to_end(&mut rest).unwrap();
    assert_eq!(rest.len(), 511 + 1024 + 512);
    assert!(tar.next().unwrap().is_none());
}

#[test]
fn damaged_archives_are_told_where() {
    let whole = [file("a", &[1; 600]), file("b", b"content")].concat();
    assert_eq!(damage(&whole[..300]), ("the archive ends in a header".into(), 0));
    assert_eq!(damage(&whole[..1000]), ("the archive ends in the content of a file".into(), 0));
    assert_eq!(damage(&whole[..whole.len() - 510]), ("the archive ends in the content of a file".into(), 1536));
    assert_eq!(damage(&whole[..1600]), ("the archive ends in a header".into(), 1536));
    let mut flipped = whole.clone();
    flipped[1540] ^= 1;
    assert_eq!(damage(&flipped), ("a header with a wrong checksum".into(), 1536));
    assert_eq!(damage(&[&[0; 512], whole.as_slice()].concat()), ("a single block of zeros between members".into(), 0));
    for extension in [extended(b'x', b"9 path=a\n"), extended(b'L', b"name\0")] {
        assert_eq!(damage(&[extension.as_slice(), &END].concat()).0, "the archive ends after an extended header");
        assert_eq!(damage(&extension[..600]).0, "the archive ends in an extended header");
    }
    let huge = changed(file("a", b""), |header| header[124..136].copy_from_slice(b"00100000001\0"));
    assert_eq!(damage(&huge).0, "the archive ends in the content of a file");
    let huge = changed(huge, |header| header[header::KIND] = b'x');
    assert_eq!(damage(&huge).0, "an extended header of more than 1 MiB");
    for (field, text) in
        [(header::SIZE, b"9".as_slice()), (header::UID, b"x"), (header::MTIME, b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff")]
    {
        assert!(damage(&changed(file("a", b""), set(field, text))).0.contains("malformed"));
    }
    let negative = changed(file("a", b""), |header| header[124..136].fill(0xff));
    assert_eq!(damage(&negative).0, "a header with a negative size");
}

#[test]
fn headers_of_one_member_are_bounded() {
    let label = changed(file("label", b""), |header| header[header::KIND] = b'V');
    let labels = label.repeat((32 << 20) / BLOCK);
    assert_eq!(damage(&[labels, file("a", b"")].concat()), ("a member with more than 32 MiB of headers".into(), 32 << 20));
    let attribute = |name: &str| extended(b'x', &records(&[(&format!("SCHILY.xattr.{name}"), &"v".repeat(600_000))]));
    assert_eq!(damage(&[attribute("a"), attribute("b"), file("a", b"")].concat()).0, "pax records of more than 1 MiB");
    assert_eq!(read_all(&[attribute("a"), attribute("a"), file("a", b"")].concat())[0].0.entry.xattrs.len(), 1);
}

#[test]
fn members_that_are_no_files_are_refused_by_name() {
    for kind in [b'M', b'D', b'N', b'A', 0xff] {
        let archive = changed(file("odd", b""), |header| header[header::KIND] = kind);
        assert!(read(archive.as_slice()).unwrap_err().to_string().starts_with("odd is refused"), "{kind}");
    }
}

#[test]
fn only_files_have_content() {
    let sized = |kind| {
        changed(file("dir/name", b""), |header| {
            header[header::KIND] = kind;
            header[124..136].copy_from_slice(b"00000001750\0");
            header[157..160].copy_from_slice(b"aim");
        })
    };
    for kind in b'1'..=b'6' {
        let members = read_all(&[sized(kind), file("next", b"content")].concat());
        assert_eq!((members[0].0.stored, members[0].0.entry.size, members.len()), (0, 0, 2));
    }
    assert_eq!(read_all(&sized(b'1'))[0].0.entry.kind, Kind::Hardlink(b"aim".to_vec()));
    let contiguous = changed(file("a", b"content"), |header| header[header::KIND] = b'7');
    assert_eq!(read_all(&contiguous)[0].0.entry.kind, Kind::Regular);
    for kind in [0, b'0'] {
        let old = |size: &'static [u8]| {
            changed(file("dir", b""), move |header| {
                header[..5].copy_from_slice(b"dir/\0");
                header[header::KIND] = kind;
                header[124..124 + size.len()].copy_from_slice(size);
            })
        };
        assert_eq!(read_all(&old(b""))[0].0.entry.kind, Kind::Directory);
        assert_eq!(damage(&old(b"00000001")).0, "a directory with content");
    }
}

#[test]
fn what_stands_in_front_of_a_header_counts_for_it() {
    let own = extended(b'x', &records(&[("path", "real"), ("uid", "7"), ("mtime", "-1.25"), ("size", "3"), ("gid", "")]));
    let global = extended(b'g', &records(&[("uid", "5"), ("gid", "6"), ("path", "nowhere"), ("comment", "x")]));
    let member = changed(file("a", b"abc"), |header| header[124..136].fill(0));
    let members = read_all(&[global.clone(), own, member, file("b", b"")].concat());
    let first = &members[0].0.entry;
    assert_eq!((first.name.as_slice(), first.uid, first.gid, first.size), (b"real".as_slice(), 7, 0, 3));
    assert_eq!(first.mtime, Time { seconds: -2, nanoseconds: 750_000_000 });
    assert_eq!(members[0].1, b"abc");
    let second = &members[1].0.entry;
    assert_eq!((second.name.as_slice(), second.uid, second.gid), (b"b".as_slice(), 5, 6));

    let solaris = extended(b'X', &records(&[("path", "sun")]));
    let long = [
        extended(b'L', b"long name\0"),
        extended(b'K', b"long link\0"),
        encode(&entry("l", Kind::Symlink(b"t".to_vec()))).unwrap(),
    ];
    let members = read_all(&[solaris, file("a", b""), long.concat(), file("c", b"")].concat());
    assert_eq!(members[0].0.entry.name, b"sun");
    assert_eq!(members[1].0.entry, entry("long name", Kind::Symlink(b"long link".to_vec())));
    assert_eq!(members[2].0.entry.name, b"c");
    // A global header may be all that is left.
    assert_eq!(read_all(&[global, END.to_vec()].concat()), []);
}

#[test]
fn attributes_in_both_forms() {
    let own =
        records(&[("LIBARCHIVE.xattr.user.a%3db%2", "aGk"), ("LIBARCHIVE.xattr.user.c", "eA=="), ("SCHILY.xattr.user.c", "")]);
    let member = &read_all(&[extended(b'x', &own), file("a", b"")].concat())[0].0;
    let expected = [(b"user.a=b%2".to_vec(), b"hi".to_vec()), (b"user.c".to_vec(), Vec::new())];
    assert_eq!(member.entry.xattrs, BTreeMap::from(expected));
    for (key, value) in
        [("LIBARCHIVE.xattr.a", "?"), ("SCHILY.xattr.", "x"), ("SCHILY.xattr.a\0", "x"), ("LIBARCHIVE.xattr.%00", "")]
    {
        damage(&[extended(b'x', &records(&[(key, value)])), file("a", b"")].concat());
    }
}

#[test]
fn sparse_files_that_contradict_themselves_are_damaged() {
    let sparse = |list: &[(&str, &str)], content: &[u8]| [extended(b'x', &records(list)), file("a", content)].concat();
    let map = |map: &'static str| [("GNU.sparse.size", "100"), ("GNU.sparse.map", map)];
    let member = &read_all(&sparse(&map("10,3,50,0,90,2"), b"abcde"))[0].0;
    assert_eq!(member.sparse, Some(vec![Extent { offset: 10, length: 3 }, Extent { offset: 90, length: 2 }]));
    assert_eq!((member.entry.size, member.stored), (100, 5));
    for wrong in
        ["10,3", "10,3,11,2", "90,2,10,3", "99,5", "10,3,90", "10,3,90,-2", "10,3,90,2,101,0", ",", "10,9223372036854775807"]
    {
        damage(&sparse(&map(wrong), b"abcde"));
    }
    damage(&sparse(&[("GNU.sparse.map", "10,5")], b"abcde"));
    damage(&sparse(&[("GNU.sparse.major", "2"), ("GNU.sparse.minor", "0"), ("GNU.sparse.size", "100")], b"abcde"));
    damage(&sparse(
        &[("GNU.sparse.size", "9"), ("GNU.sparse.numblocks", "2"), ("GNU.sparse.offset", "1"), ("GNU.sparse.numbytes", "5")],
        b"abcde",
    ));
    damage(&sparse(&[("GNU.sparse.offset", "1"), ("GNU.sparse.offset", "1")], b"abcde"));
    damage(&sparse(&[("GNU.sparse.numbytes", "5")], b"abcde"));
    damage(&[extended(b'x', &records(&map("0,0"))), encode(&entry("a", Kind::Fifo)).unwrap()].concat());

    let in_front =
        [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "100"), ("GNU.sparse.name", "real")];
    let content = |map: &str, rest: &[u8]| [map.as_bytes(), &vec![0; padding(map.len() as u64)], rest].concat();
    let members = read_all(&sparse(&in_front, &content("1\n10\n5\n", b"abcde")));
    assert_eq!((members[0].0.entry.name.as_slice(), members[0].1.as_slice()), (b"real".as_slice(), b"abcde".as_slice()));
    for wrong in ["2\n10\n5\n", "1\n10\n6\n", "x\n", "1\n\n5\n", "", "1048577\n1\n"] {
        damage(&sparse(&in_front, &content(wrong, b"abcde")));
    }
    let old = changed(file("a", b"abcde"), |header| {
        header[header::KIND] = b'S';
        header[257..265].copy_from_slice(b"ustar  \0");
        header[345..500].fill(0);
        header[386..392].copy_from_slice(b"000012");
        header[398..404].copy_from_slice(b"000005");
        header[483..489].copy_from_slice(b"000144");
    });
    assert_eq!(read_all(&old)[0].0.sparse, Some(vec![Extent { offset: 10, length: 5 }]));
    damage(&changed(old.clone(), |header| header[483] = b'9'));
    damage(&changed(old.clone(), |header| header[482] = 1));
    damage(&changed(old, |header| header[257..265].copy_from_slice(b"ustar\x0000")));
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let name = || {
        let long = vec(prop_oneof![Just(b'/'), 1..=255_u8], 1..400);
        prop_oneof!["[a-z]{1,8}(/[a-z]{1,60}){0,6}".prop_map(String::into_bytes), long]
    };
    let kind = prop_oneof![
        Just(Kind::Regular),
        Just(Kind::Directory),
        name().prop_map(Kind::Symlink),
        name().prop_map(Kind::Hardlink),
        (0..1_u32 << 21, 0..1_u32 << 21).prop_map(|(major, minor)| Kind::Character { major, minor }),
        (0..4096_u32, 0..1_u32 << 20).prop_map(|(major, minor)| Kind::Block { major, minor }),
        Just(Kind::Fifo),
    ];
    let id = || prop_oneof![0..70_000_u64, 0..1_u64 << 63];
    let seconds = prop_oneof![-9_000_000_000..90_000_000_000_i64, -i64::MAX..i64::MAX];
    let attribute = vec(1..255_u8, 1..40).prop_map(|name| name.into_iter().filter(|byte| *byte != b'=').chain([b'x']).collect());
    let xattrs = btree_map(attribute, vec(any::<u8>(), 0..120), 0..4);
    (name(), kind, 0..0o10000_u32, id(), id(), seconds, xattrs).prop_map(|(mut name, kind, mode, uid, gid, seconds, xattrs)| {
        if kind == Kind::Directory {
            name.push(b'/');
        } else {
            name.push(b'x');
        }
        Entry { name, kind, mode, uid, gid, mtime: Time { seconds, nanoseconds: 0 }, size: 0, xattrs }
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(entries in vec((any_entry(), vec(any::<u8>(), 0..1500)), 0..5)) {
        let mut archive = Vec::new();
        let mut expected = Vec::new();
        for (mut entry, mut content) in entries {
            if entry.kind != Kind::Regular {
                content.clear();
            }
            archive.extend(with_content(&entry, &content));
            entry.size = content.len() as u64;
            expected.push((entry, content));
        }
        archive.extend_from_slice(&END);
        let found = read_all(&archive).into_iter().map(|(member, content)| (member.entry, content)).collect::<Vec<_>>();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn what_others_change_is_read_or_refused(
        entries in vec(any_entry(), 1..4),
        changes in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut archive = entries.iter().flat_map(|entry| encode(entry).unwrap()).collect::<Vec<_>>();
        for (at, byte) in changes {
            let at = at.index(archive.len());
            archive[at] = byte;
            // Sealed again, so that what is behind the checksum is reached.
            let block = at / BLOCK * BLOCK;
            let sealed = changed(archive[block..block + BLOCK].to_vec(), |_| {});
            archive[block..block + BLOCK].copy_from_slice(&sealed);
        }
        archive.truncate(cut.index(4 * archive.len()));
        if let Ok((members, trailer)) = read(archive.as_slice()) {
            let raw = members.iter().map(|(member, content)| member.raw.len() + content.len()).sum::<usize>();
            prop_assert_eq!(raw + trailer.len(), archive.len());
        }
    }

    #[test]
    fn maps_and_records_of_others_are_read_or_refused(kind in prop_oneof![Just(b'x'), Just(b'S')], text in "[0-9]{1,3} [a-zG.]{0,9}=[0-9,-]{0,9}\n|[0-9\n]{0,90}", version in 0..2_u8, noise in vec(any::<u8>(), 512)) {
        let form = records(&[("GNU.sparse.major", &version.to_string()), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "999"), ("GNU.sparse.map", &text)]);
        let member = if kind == b'x' {
            file("a", &[text.as_bytes(), &noise].concat())
        } else {
            changed(file("a", &noise), |header| {
                header[386..482].copy_from_slice(&noise[..96]);
                header[257..265].copy_from_slice(b"ustar  \0");
                header[header::KIND] = b'S';
            })
        };
        for archive in [[extended(b'x', &form), member.clone()].concat(), [extended(b'x', text.as_bytes()), member].concat()] {
            if let Ok((members, _)) = read(archive.as_slice()) {
                let held = members.iter().flat_map(|(member, _)| member.sparse.iter().flatten()).map(|extent| extent.length).sum::<u64>();
                prop_assert!(held <= archive.len() as u64);
            }
        }
    }

    #[test]
    fn noise_is_no_archive(noise in vec(any::<u8>(), 512..2000)) {
        prop_assert!(read(noise.as_slice()).is_err());
    }
}
