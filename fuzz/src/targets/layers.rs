//! Layers: archives, what compresses them, what they list, and where they are laid out.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use wharf_layers::annotation::{CHUNKED_PREFIXES, MANIFEST_CHECKSUM, MANIFEST_POSITION, PIECES as PIECES_AT};
use wharf_layers::listing::{Changeset, Listing};
use wharf_layers::packages::Collector;
use wharf_layers::piece::{ListPlace, PieceMap};
use wharf_layers::tar::{TarReader, encode, padding};
use wharf_layers::toc::{self, TocPlace};
use wharf_layers::unpack::{UnpackOptions, Unpacker};
use wharf_layers::{Decoded, Entry, EntryPath, Kind, Time};
use wharf_oci::{Descriptor, Digest, media_type};
use wharf_rootfs::Cache;

use super::{line, scratch, texts};
use crate::{Feed, LONGEST, Target};

/// Bytes that are decompressed of one input; what comes after them is like them.
const DECOMPRESSED: u64 = 4 << 20;

/// Makes the checksums of all headers of an archive right: a random change would hardly ever get past one. An odd number of bytes is left as it is.
pub(super) fn with_checksums(data: &[u8]) -> Vec<u8> {
    let mut archive = data.to_vec();
    if data.len().is_multiple_of(2) {
        for block in archive.as_chunks_mut::<512>().0.iter_mut().filter(|block| &block[257..262] == b"ustar") {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    archive
}

fn member(name: &str, kind: Kind, content: &[u8]) -> Vec<u8> {
    let xattrs = if content.len() > 8 { BTreeMap::from([(b"user.a".to_vec(), b"b".to_vec())]) } else { BTreeMap::new() };
    let (size, mtime) = (content.len() as u64, Time { seconds: 1, nanoseconds: 5 });
    let entry = Entry { name: name.into(), kind, mode: 0o644, uid: 0, gid: 0, mtime, size, xattrs };
    [encode(&entry).expect("a header"), content.to_vec(), vec![0; padding(size)]].concat()
}

/// Layers with some of everything.
fn archives() -> Vec<Vec<u8>> {
    let file = |name: &str| member(name, Kind::Regular, b"content");
    let link = |name: &str, to: &str| member(name, Kind::Symlink(to.into()), b"");
    let hard = |name: &str, to: &str| member(name, Kind::Hardlink(to.into()), b"");
    let folder = |name: &str| member(name, Kind::Directory, b"");
    vec![
        [folder("etc/"), file("etc/passwd"), link("etc/up", "../.."), hard("etc/hard", "etc/passwd"), file("etc/up/victim")]
            .concat(),
        [file("etc/.wh.passwd"), file("etc/.wh..wh..opq"), member("with", Kind::Regular, b"attributes"), vec![0; 1024]].concat(),
        [
            member("null", Kind::Character { major: 1, minor: 3 }, b""),
            member("pipe", Kind::Fifo, b""),
            file(&format!("{}x", "long/".repeat(60))),
        ]
        .concat(),
        [link("out", "/tmp"), file("out/victim"), hard("h", "out"), folder("out/"), file("out/later")].concat(),
    ]
}

/// Headers, content and what is left are the archive, byte for byte.
pub(crate) const TAR: Target = Target {
    name: "tar",
    seeds: archives,
    grow: None,
    longest: 4 * LONGEST,
    start: || {
        Box::new(|data| {
            let data = with_checksums(data);
            let mut reader = TarReader::new(data.as_slice());
            let mut read = Vec::new();
            let mut all = || {
                while let Some(member) = reader.next().ok()? {
                    assert_eq!(member.offset, read.len() as u64);
                    read.extend_from_slice(&member.raw);
                    let before = read.len() as u64;
                    reader.read_to_end(&mut read).ok()?;
                    assert_eq!(read.len() as u64 - before, member.stored);
                    let extents = member.sparse.iter().flatten();
                    let end = extents.fold(0, |end, extent| {
                        assert!(extent.offset >= end);
                        extent.offset + extent.length
                    });
                    assert!(end <= member.entry.size);
                }
                reader.trailer().read_to_end(&mut read).ok()
            };
            if all().is_some() {
                assert!(read == data, "it was read as something else");
            }
        })
    },
};

/// Compressed content: gzip in members, zstd in frames, and what is neither.
pub(crate) const COMPRESSED: Target = Target {
    name: "compressed",
    seeds: || {
        let content = b"some content, some content, some more".repeat(20);
        let zstd = |bytes: &[u8]| zstd::bulk::compress(bytes, 3).expect("compressed");
        vec![zstd(&content), [zstd(b"a"), b"\x50\x2a\x4d\x18\x02\0\0\0ab".to_vec(), zstd(b"b")].concat(), content]
    },
    grow: None,
    longest: LONGEST,
    start: || {
        Box::new(|data| {
            if let Ok(decoded) = Decoded::new(data) {
                let _ = std::io::copy(&mut decoded.take(DECOMPRESSED), &mut std::io::sink());
            }
        })
    },
};

/// Whatever a layer says, nothing outside of the folder changes, and nothing is left in it when it is refused.
pub(crate) const UNPACK: Target = Target { name: "unpack", seeds: archives, grow: None, longest: 4 * LONGEST, start: unpacking };

fn unpacking() -> Feed {
    let stage = scratch();
    let place = stage.path().join("some/where");
    fs::create_dir_all(&place).expect("a folder");
    fs::write(place.join("canary"), "canary").expect("a file");
    let out = place.join("out");
    Box::new(move |data| {
        let archive = with_checksums(data);
        let unpacked = Unpacker::new(&out, UnpackOptions { rootless: true }).and_then(|mut unpacker| {
            unpacker.layer(archive.as_slice())?;
            unpacker.finish()
        });
        assert_eq!(fs::read(place.join("canary")).expect("the canary"), b"canary");
        match unpacked {
            Ok(_) => fs::remove_dir_all(&out).expect("what was laid out can be removed"),
            Err(error) => assert!(!out.exists(), "left behind by {error}"),
        }
        assert_eq!(names(&place), ["canary"]);
        assert_eq!(names(stage.path()), ["some"]);
    })
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// What is listed of a layer over another.
pub(crate) const LISTING: Target = Target {
    name: "listing",
    seeds: archives,
    grow: None,
    longest: 4 * LONGEST,
    start: || {
        let lower = archives().concat();
        Box::new(move |data| {
            let archive = with_checksums(data);
            let mut collector = Collector::new();
            let mut listing = Listing::new();
            if let Ok(lower) = Changeset::scan(lower.as_slice(), &mut collector) {
                let _ = listing.apply(&lower);
            }
            if let Ok(upper) = Changeset::scan(archive.as_slice(), &mut collector) {
                let _ = listing.apply(&upper);
            }
            for (path, _) in listing.files() {
                assert!(!path.as_bytes().split(|byte| *byte == b'/').any(|name| name == b".."), "{path}");
            }
            let _ = collector.packages(listing.contents());
        })
    },
};

/// The descriptor of a layer of so many bytes with these annotations.
fn layer(size: u64, annotations: &[(&str, &str)]) -> Descriptor {
    let mut descriptor = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::sha256(b""), size);
    descriptor.annotations = Some(annotations.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect());
    descriptor
}

/// Whatever a list says, its pieces are in the layer, in order, without overlap.
fn check(map: &PieceMap, size: u64) {
    let mut end = 0;
    for piece in map.pieces() {
        assert!(piece.offset >= end && piece.length > 0);
        end = piece.offset.checked_add(piece.length).expect("an end");
    }
    assert!(end <= size);
}

/// A list of pieces, behind a line that says where in the layer it is.
pub(crate) const PIECES: Target = Target {
    name: "pieces",
    seeds: || {
        let list = [&b"wharfpl\x01"[..], b"\x80\x0112345678\x0587654321"].concat();
        let frame = [&0x184D_2A57_u32.to_le_bytes()[..], &(list.len() as u32).to_le_bytes(), &list].concat();
        let length = list.len() as u16;
        let member = [
            &[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255][..],
            &(length + 4).to_le_bytes(),
            b"WH",
            &length.to_le_bytes(),
            &list,
            &[3, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ];
        let at = |bytes: &[u8]| [format!("500:{}\n", bytes.len()).as_bytes(), bytes].concat();
        vec![at(&frame), at(&member.concat())]
    },
    grow: None,
    longest: LONGEST,
    start: || {
        Box::new(|data| {
            let (place, bytes) = line(data);
            let Ok(place) = std::str::from_utf8(place) else { return };
            let size = 10_000;
            let Some(place) = ListPlace::of(&layer(size, &[(PIECES_AT, place)])) else { return };
            let range = place.range();
            assert!(!range.is_empty() && range.end <= size);
            if let Ok(map) = PieceMap::parse(&place, bytes, size) {
                check(&map, size);
            }
        })
    },
};

/// A table of contents of zstd:chunked, before it is compressed.
pub(crate) const TOC: Target = Target {
    name: "toc",
    seeds: || {
        texts(&[concat!(
            r#"{"version":1,"entries":[{"type":"dir","name":"etc/","mode":493,"uid":0,"gid":0,"modtime":"2026-01-12T14:30:22Z","#,
            r#""xattrs":{"user.a":"YQ=="}},{"type":"reg","name":"etc/a","size":7,"#,
            r#""digest":"sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881","offset":10,"endOffset":40,"chunkSize":4,"#,
            r#""chunkDigest":"sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"},"#,
            r#"{"type":"chunk","name":"etc/a","offset":20,"chunkOffset":4,"chunkSize":3,"chunkType":"zeros"},"#,
            r#"{"type":"symlink","name":"l","linkName":"etc/a"},{"type":"hardlink","name":"h","linkName":"etc/a"},"#,
            r#"{"type":"char","name":"null","devMajor":1,"devMinor":3}]}"#,
        )])
    },
    grow: None,
    longest: LONGEST,
    start: || {
        Box::new(|data| {
            let size = 1 << 20;
            let table = zstd::bulk::compress(data, 1).expect("compressed");
            let position = format!("100:{}:{}:1", table.len(), data.len());
            let checksum = Digest::sha256(&table).to_string();
            let prefix = CHUNKED_PREFIXES[1];
            let (at, sum) = (format!("{prefix}{MANIFEST_POSITION}"), format!("{prefix}{MANIFEST_CHECKSUM}"));
            let descriptor = layer(size, &[(&at, &position), (&sum, &checksum)]);
            let Some(place) = TocPlace::of(&descriptor).filter(|_| !data.is_empty()) else {
                assert!(data.is_empty(), "the place is one that counts");
                return;
            };
            let _ = toc::entries(&place, &table);
            if let Ok((changes, wanted)) = Changeset::of_toc(&place, &table, &Collector::new()) {
                let _ = Listing::new().apply(&changes);
                wanted.iter().for_each(|wanted| drop(wanted.decode(data)));
            }
            let place = ListPlace::of(&descriptor).expect("the same place");
            if let Ok(map) = PieceMap::parse(&place, &table, size) {
                check(&map, size);
            }
        })
    },
};

/// A list of packages, behind a line that says which file it is.
pub(crate) const PACKAGES: Target = Target {
    name: "packages",
    seeds: || {
        texts(&[
            "var/lib/dpkg/status\nPackage: a\nStatus: install ok installed\nArchitecture: all\nVersion: 1:2-3\nDescription: x\n y\n\nPackage: b\nVersion: 2\n",
            "var/lib/dpkg/status.d/tzdata\nPackage: tzdata\nVersion: 2026a\n",
            "var/lib/opkg/status\nPackage: base\nVersion: 1\nStatus: install user installed\nArchitecture: core2_64\n",
            "usr/lib/opkg/info/a.control\nPackage: a\nVersion: 1\n",
            "x.spdx.json\n{\"spdxVersion\":\"SPDX-2.2\",\"packages\":[{\"SPDXID\":\"SPDXRef-Package-a\",\"name\":\"a\",\"versionInfo\":\"1\"}]}",
            "x.spdx.json\n{\"@context\":\"x\",\"@graph\":[{\"type\":\"software_Package\",\"name\":\"a\",\"software_packageVersion\":\"1\",\"software_primaryPurpose\":\"install\"}]}",
            "var/lib/rpm/rpmdb.sqlite\nSQLite format 3\0",
        ])
    },
    grow: None,
    longest: 4 * LONGEST,
    start: || {
        Box::new(|data| {
            let (name, bytes) = line(data);
            let Ok(path) = EntryPath::parse(name) else { return };
            let mut collector = Collector::new();
            if !collector.wants(&path) {
                return;
            }
            let content = [7; 32];
            collector.take(&path, content, bytes).expect("a temporary file");
            let found = collector.packages([(&path, &content)].into_iter());
            assert!(found.packages.len() <= 100_000);
        })
    },
};

/// A layer as a part of an image's disk: refused, or kept and put together.
pub(crate) const ROOTFS: Target = Target {
    name: "rootfs",
    seeds: archives,
    grow: None,
    longest: 4 * LONGEST,
    start: || {
        let folder = scratch();
        let cache = Cache::open(folder.path()).expect("a cache");
        Box::new(move |data| {
            let _folder = &folder;
            let archive = with_checksums(data);
            let diff_id = Digest::sha256(&archive);
            if cache.add(&diff_id, archive.as_slice()).is_ok() {
                let image = cache.image(&[diff_id]);
                assert!(!matches!(image, Err(wharf_rootfs::RootfsError::Damaged { .. })), "what was just kept is damaged");
            }
            cache.remove(&Default::default()).expect("all of it can be removed");
        })
    },
};
