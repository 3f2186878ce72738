//! Images of layers, read back through QEMU, erofs-utils and a reader of the tests' own.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use support::archive::Archive;
use support::erofs::Erofs;
use support::look::{look, same};
use support::{directory, entry, extract, file, flatten, hardlink, image, merged, symlink, unpack};
use wharf_layers::{Entry, Kind, LayersError, Time};
use wharf_rootfs::{Cache, RootfsError};

/// The paths in the image of these layers.
fn paths(layers: &[Vec<u8>]) -> Vec<String> {
    merged(layers).unwrap().paths().into_iter().map(str::to_owned).collect()
}

#[test]
fn a_folder_may_be_called_anything() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a \"quoted\" folder: it's", "nbd:unix", "json:{}", "new\nline", "100%", "\u{e4}\u{f6}"] {
        let cache = Cache::open(folder.path().join(name)).unwrap();
        let layer = Archive::default().with(&file("a"), b"content").end();
        let image = image(&cache, &[layer]).unwrap();
        let (disk, root) = (folder.path().join("disk"), folder.path().join("root"));
        flatten(&image, &disk);
        extract(&disk, &root);
        assert_eq!(std::fs::read(root.join("a")).unwrap(), b"content");
        std::fs::remove_dir_all(root).unwrap();
    }
}

/// Everything an entry can tell comes out as it went in, as root, who may unpack it, sees it too.
#[test]
fn all_kinds_of_files_and_all_that_is_told_of_them() {
    let with = |entry: Entry, xattrs: &[(&str, &[u8])]| {
        let xattrs = xattrs.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec()));
        Entry { xattrs: xattrs.collect(), uid: 70_000, gid: u64::from(u32::MAX - 1), ..entry }
    };
    let acl: &[u8] = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x07\0\x01\0\0\0\x04\0\x04\0\xff\xff\xff\xff\x10\0\x07\0\xff\xff\xff\xff\x20\0\x04\0\xff\xff\xff\xff";
    let capability: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let long = vec![b'v'; 3000];
    let layer = Archive::of([
        with(Entry { mode: 0o1777, ..directory("./") }, &[("user.root", b"r")]),
        Entry { mtime: Time { seconds: -5, nanoseconds: 0 }, ..directory("old") },
        with(entry("null", Kind::Character { major: 1, minor: 3 }), &[]),
        entry("disk", Kind::Block { major: 259, minor: 0x1_2345 }),
        entry("pipe", Kind::Fifo),
        with(symlink("link", "a/b"), &[("security.l", b"v")]),
        symlink("long", &"x/".repeat(2047)),
        with(directory("d"), &[("system.posix_acl_default", acl), ("user.long", &long), ("trusted.t", b"")]),
        file("empty"),
        file(&format!("{}/{}", "n".repeat(255), "m".repeat(255))),
        file("!before the dots"),
        file("\u{fc}ber"),
    ])
    .with(&with(Entry { mode: 0o6755, ..file("setuid") }, &[("security.capability", capability)]), &[1; 5000])
    .with(&with(Entry { mode: 0o674, ..file("acl") }, &[("system.posix_acl_access", acl), ("user.a", &long)]), b"x")
    .with(&file("zeros"), &[0; 1 << 20])
    .with(&hardlink("d/other", "setuid"), b"")
    .with(&hardlink("link2", "link"), b"")
    .end();
    let folder = tempfile::tempdir().unwrap();
    unpack(std::slice::from_ref(&layer), &folder.path().join("root")).unwrap();
    same(&merged(&[layer]).unwrap(), &look(&folder.path().join("root")));
}

#[test]
fn whiteouts_of_all_kinds() {
    let lower = Archive::of([directory("d"), file("d/a"), file("d/b"), directory("d/sub"), file("d/sub/c"), file("f")]).end();
    let opaque = |name: &str| {
        let xattrs = [(name.as_bytes().to_vec(), b"y".to_vec())];
        Archive::of([file("d/early"), Entry { xattrs: xattrs.into(), ..directory("d") }, file("d/new")]).end()
    };
    let device = |name: &str| entry(name, Kind::Character { major: 0, minor: 0 });
    let cases = [
        (Archive::of([file("d/.wh.a"), file(".wh.f")]).end(), vec!["/d", "/d/b", "/d/sub", "/d/sub/c"]),
        (Archive::of([file("d/.wh..wh..opq"), file("d/new")]).end(), vec!["/d", "/d/new", "/f"]),
        (Archive::of([device("d/a"), device("d/sub"), device("none")]).end(), vec!["/d", "/d/b", "/f"]),
        (Archive::of([device("f"), file("f")]).end(), vec!["/d", "/d/a", "/d/b", "/d/sub", "/d/sub/c", "/f"]),
        (opaque("trusted.overlay.opaque"), vec!["/d", "/d/early", "/d/new", "/f"]),
        (opaque("user.overlay.opaque"), vec!["/d", "/d/early", "/d/new", "/f"]),
        (opaque("user.fuseoverlayfs.opaque"), vec!["/d", "/d/early", "/d/new", "/f"]),
        (
            Archive::of([file(".wh..wh.plnk/1"), file(".wh..wh.aufs")]).end(),
            vec!["/d", "/d/a", "/d/b", "/d/sub", "/d/sub/c", "/f"],
        ),
    ];
    for (upper, expected) in cases {
        let merged = merged(&[lower.clone(), upper]).unwrap();
        assert_eq!(merged.paths(), expected);
        assert!(merged.get("/d").unwrap().xattrs.is_empty());
    }
    assert!(paths(&[Archive::of([device("a"), file(".wh.b")]).end()]).is_empty());
}

#[test]
fn what_lies_in_no_root_is_refused() {
    let refused = |entries: Vec<Entry>| match merged(&[Archive::of(entries).end()]) {
        Err(RootfsError::Layer(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refused(vec![file("../x")]), LayersError::Name { .. }));
    for entries in [
        vec![symlink("l", "../.."), file("l/x")],
        vec![symlink("l", "l"), file("l/x")],
        vec![file("f"), file("f/x")],
        vec![hardlink("h", "none")],
        vec![hardlink("h", "../etc/passwd")],
        vec![directory("d"), hardlink("h", "d")],
        vec![directory("d"), file("d/f"), hardlink("d", "d/f")],
        vec![file(&"n".repeat(256))],
        vec![symlink("l", &"x".repeat(4096))],
        vec![Entry { uid: u64::from(u32::MAX), ..file("f") }],
        vec![entry("dev", Kind::Block { major: 4096, minor: 0 })],
        vec![file("d/".repeat(600).trim_end_matches('/'))],
        vec![entry(".", Kind::Fifo)],
    ] {
        let shown = format!("{:?}", entries.last().unwrap().name.escape_ascii().to_string());
        assert!(matches!(refused(entries), LayersError::Refused { .. }), "{shown}");
    }
    let absolute = Archive::of([symlink("l", "/d"), file("/l/x"), symlink("up", "d/../d"), file("up/y")]).end();
    assert_eq!(paths(&[absolute]), ["/d", "/d/x", "/d/y", "/l", "/up"]);
}

/// A name per file, a directory of 20,000 of them, found in the order that the kernel relies on.
#[test]
fn a_directory_of_20000_names() {
    let name = |number: usize| format!("d/{number}-{}", "x".repeat(number % 200));
    let lower = (0..20_000).fold(Archive::default(), |all, number| all.with(&file(&name(number)), b"")).end();
    let upper = (0..20_000).step_by(2).fold(Archive::default(), |all, number| {
        let name = name(number);
        all.with(&file(&name.replace("d/", "d/.wh.")), b"")
    });
    let all = merged(std::slice::from_ref(&lower)).unwrap();
    assert_eq!(all.paths().len(), 20_001);
    assert_eq!(merged(&[lower, upper.end()]).unwrap().paths().len(), 10_001);
}

/// More names of one file than a smaller number than EROFS's own would count.
#[test]
fn a_file_of_70001_names() {
    let names = (1..70_001).fold(Archive::default().with(&file("0"), b"content"), |all, number| {
        all.with(&hardlink(&format!("d{}/{number}", number % 100), "0"), b"")
    });
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path().join("cache")).unwrap();
    let image = image(&cache, &[names.end()]).unwrap();
    let disk = folder.path().join("disk");
    flatten(&image, &disk);
    let listing = Erofs::open(std::fs::File::open(disk).unwrap()).listing();
    assert_eq!(listing.paths().len(), 70_001 + 100);
    for path in ["/0", "/d1/1", "/d0/70000"] {
        let found = listing.get(path).unwrap();
        assert_eq!((found.links, found.content.as_slice()), (70_001, &b"content"[..]), "{path}");
    }
}

/// Each layer changes a file of the one before and removes another; the image is what unpacking makes.
#[test]
fn images_of_40_and_of_128_layers() {
    for length in [40, 128] {
        let layer = |number: usize| {
            let own = format!("of {number}");
            let mut all = Archive::default()
                .with(&file(&format!("d/own-{number}")), own.as_bytes())
                .with(&file(&format!("d/gone-{number}")), b"x");
            if let Some(before) = number.checked_sub(1) {
                all = all.with(&Entry { uid: number as u64, ..file(&format!("d/own-{before}")) }, b"changed");
                all = all.with(&file(&format!("d/.wh.gone-{before}")), b"");
            }
            all.end()
        };
        let layers: Vec<_> = (0..length).map(layer).collect();
        let merged = merged(&layers).unwrap();
        assert_eq!(merged.paths().len(), length + 2);
        let changed = merged.get("/d/own-7").unwrap();
        assert_eq!((changed.owner, changed.content.as_slice()), ((8, 0), &b"changed"[..]));
        assert!(merged.get("/d/gone-7").is_none());
        assert_eq!(merged.get(&format!("/d/own-{}", length - 1)).unwrap().content, format!("of {}", length - 1).as_bytes());
    }
}
