//! Trees of directories and archives.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use support::{Archive, archive_of, content, directory, entry, file, hardlink, is_root, listing, tree, unpack};
use wharf_layers::tree::{Pattern, Tree, TreeOptions};
use wharf_layers::{Entry, Kind, LayersError, Time};

fn names(tree: &Tree) -> Vec<&str> {
    tree.nodes().iter().map(|node| std::str::from_utf8(&node.entry().name).unwrap()).collect()
}

/// The tree of an archive.
fn archived(archive: &[u8]) -> Result<Tree, LayersError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tar");
    std::fs::write(&path, archive).unwrap();
    Tree::of_archive(&path, folder.path(), TreeOptions::default())
}

#[test]
fn directories_come_before_what_is_in_them_and_slashes_before_all() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["b", "a-b", "a/z", "a/b/c", "a.d/x", "A"] {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, name).unwrap();
    }
    let expected = ["./", "A", "a/", "a/b/", "a/b/c", "a/z", "a-b", "a.d/", "a.d/x", "b"];
    assert_eq!(names(&tree(folder.path())), expected);
    let mut reversed: Vec<Entry> =
        expected.iter().map(|name| if name.ends_with('/') { directory(name) } else { file(name) }).collect();
    reversed.reverse();
    assert_eq!(names(&archived(&Archive::of(reversed).end()).unwrap()), expected);
}

#[test]
fn of_several_names_the_first_has_the_content() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("z"), "content").unwrap();
    for name in ["m", "a"] {
        std::fs::hard_link(folder.path().join("z"), folder.path().join(name)).unwrap();
    }
    assert_eq!(listing(folder.path()), ["a: content", "m = a", "z = a"]);
    // The link to a link, and one whose first name another file took over.
    let archive = Archive::default().with(&file("z"), b"1").with(&hardlink("m", "./z"), b"").with(&hardlink("a", "m"), b"");
    let tree = archived(&archive.with(&file("a"), b"2").end()).unwrap();
    let kinds: Vec<&Kind> = tree.nodes().iter().map(|node| &node.entry().kind).collect();
    assert_eq!(kinds, [&Kind::Regular, &Kind::Regular, &Kind::Hardlink(b"m".to_vec())]);
    assert_eq!(content(&tree, &tree.nodes()[0]).unwrap(), b"2");
    assert_eq!(content(&tree, &tree.nodes()[1]).unwrap(), b"1");
    assert!(content(&tree, &tree.nodes()[2]).unwrap().is_empty());
}

#[test]
fn archives_that_are_no_file_systems_are_refused() {
    for (entries, name, why) in [
        (vec![file("../a")], "../a", "`..`"),
        (vec![file("a/.wh.b")], "/a/.wh.b", "removes a file"),
        (vec![hardlink("a", "b"), file("b")], "a", "not in the archive before it"),
        (vec![directory("d/"), hardlink("a", "d/")], "a", "a directory"),
        (vec![hardlink("a", "../b")], "a", "`..`"),
        (vec![support::symlink("l", "d"), file("l/a")], "l/a", "/l, above it, is a symbolic link"),
        (vec![file("d/a"), file("d")], "d/a", "/d, above it, is no directory"),
        (vec![entry(".", Kind::Fifo)], ".", "the root is a directory"),
    ] {
        let error = archived(&Archive::of(entries).end()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{name} is refused")) && error.contains(why), "{error}");
    }
}

#[test]
fn archives_are_read_whatever_they_are_compressed_with_and_leave_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let content_of_f: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let plain = Archive::of([directory("d/")]).with(&file("d/f"), &content_of_f).end();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &plain).unwrap();
    for archive in [plain.clone(), gzip.finish().unwrap(), zstd::encode_all(plain.as_slice(), 1).unwrap()] {
        let path = folder.path().join("archive");
        std::fs::write(&path, &archive).unwrap();
        let tree = Tree::of_archive(&path, folder.path(), TreeOptions::default()).unwrap();
        assert_eq!(names(&tree), ["d/", "d/f"]);
        assert!(content(&tree, &tree.nodes()[1]).unwrap() == content_of_f);
        let stream = Tree::of_stream(archive.as_slice(), Path::new("-"), folder.path(), TreeOptions::default()).unwrap();
        assert!(content(&stream, &stream.nodes()[1]).unwrap() == content_of_f);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

#[test]
fn sockets_are_told_and_whiteouts_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _socket = UnixListener::bind(folder.path().join("socket")).unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let tree = tree(folder.path());
    assert_eq!(names(&tree), ["./", "file"]);
    assert_eq!(tree.sockets().iter().map(ToString::to_string).collect::<Vec<_>>(), ["/socket"]);
    std::fs::create_dir(folder.path().join(".wh.x")).unwrap();
    let error = Tree::of_directory(folder.path(), TreeOptions::default()).unwrap_err();
    assert!(matches!(error, LayersError::Refused { .. }), "{error}");
}

#[test]
fn no_time_is_after_the_latest_allowed() {
    let folder = tempfile::tempdir().unwrap();
    for (name, seconds) in [("old", 1000), ("new", 3000)] {
        let file = std::fs::File::create(folder.path().join(name)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::new(seconds, 7)).unwrap();
    }
    let tree = Tree::of_directory(folder.path(), TreeOptions { mtime_max: Some(2000) }).unwrap();
    let times: Vec<_> = tree.nodes().iter().map(|node| (node.entry().mtime.seconds, node.entry().mtime.nanoseconds)).collect();
    assert_eq!(times, [(2000, 0), (2000, 0), (1000, 0)]);
    assert_eq!(content(&tree, &tree.nodes()[1]).unwrap(), b"");
}

#[test]
fn holes_are_zeros_that_cost_no_time() {
    let folder = tempfile::tempdir().unwrap();
    let sparse = std::fs::File::create(folder.path().join("f")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    sparse.write_all_at(b"middle", 1 << 30).unwrap();
    sparse.write_all_at(b"end", (1 << 40) - 3).unwrap();
    let tree = tree(folder.path());
    let node = &tree.nodes()[1];
    assert_eq!(node.entry().size, 1 << 40);
    let mut content = tree.content(node).unwrap();
    let mut buffer = vec![1; 1 << 20];
    let mut position = 0_u64;
    // A terabyte is not read to its end; what matters is that the first gigabytes are right.
    while position < (1 << 30) + (9 << 20) {
        let read = content.read(&mut buffer).unwrap();
        if position <= 1 << 30 && position + read as u64 > 1 << 30 {
            let at = ((1 << 30) - position) as usize;
            assert_eq!(&buffer[at..at + 6], b"middle");
        } else {
            assert!(buffer[..read].iter().all(|byte| *byte == 0));
        }
        position += read as u64;
    }
}

#[test]
fn a_file_that_changes_is_an_error_before_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let append = |bytes: &[u8]| {
        let mut file = std::fs::File::options().append(true).open(&path).unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
    };
    let changes: [(&str, &dyn Fn()); 5] = [
        ("grows", &|| append(b"more")),
        ("shrinks", &|| std::fs::File::options().write(true).open(&path).unwrap().set_len(70_001).unwrap()),
        ("is emptied", &|| std::fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap()),
        ("is written to", &|| {
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }),
        ("is another", &|| {
            std::fs::write(folder.path().join("g"), vec![7; 200_000]).unwrap();
            let time = std::fs::metadata(&path).unwrap().modified().unwrap();
            std::fs::File::options().write(true).open(folder.path().join("g")).unwrap().set_modified(time).unwrap();
            std::fs::rename(folder.path().join("g"), &path).unwrap();
        }),
    ];
    for (case, change) in changes {
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, vec![7; 200_000]).unwrap();
        let tree = tree(folder.path());
        let node = &tree.nodes()[1];
        assert!(content(&tree, node).is_ok());
        let mut started = tree.content(node).unwrap();
        assert!(started.read(&mut [0; 70_000]).unwrap() > 0);
        change();
        // Whoever has it open still reads the file that it was; all others are told.
        if case != "is another" {
            let mut buffer = [0; 70_000];
            let end = std::iter::repeat_with(|| started.read(&mut buffer)).find(|read| !matches!(read, Ok(1..)));
            assert!(matches!(end, Some(Err(LayersError::Changed { .. }))), "{case}: {end:?}");
        }
        let error = tree.content(node).unwrap_err();
        assert!(matches!(error, LayersError::Changed { .. }), "{case}: {error}");
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = Tree::of_directory(&folder.path().join("none"), TreeOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot read {}/none", folder.path().display()));
    std::fs::write(folder.path().join("file"), "").unwrap();
    let error = Tree::of_directory(&folder.path().join("file"), TreeOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot read {}/file", folder.path().display()));
    std::fs::write(folder.path().join("gone"), "x").unwrap();
    let tree = tree(folder.path());
    std::fs::remove_file(folder.path().join("gone")).unwrap();
    let error = content(&tree, &tree.nodes()[2]).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot read {}/gone", folder.path().display()));
}

#[test]
fn what_an_ordinary_user_may_not_read_is_named() {
    if is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let close = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    let (directory, file) = (folder.path().join("directory"), folder.path().join("file"));
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(&file, "").unwrap();
    close(&directory, 0);
    let error = Tree::of_directory(folder.path(), TreeOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot read {}", directory.display()));
    close(&directory, 0o700);
    close(&file, 0);
    let tree = tree(folder.path());
    let error = content(&tree, &tree.nodes()[2]).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot read {}", file.display()));
}

#[test]
fn paths_longer_than_the_system_takes_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let name = format!("{}file", format!("{}/", "d".repeat(250)).repeat(25));
    let root = folder.path().join("root");
    unpack(&[Archive::default().with(&file(&name), b"deep").end()], &root).unwrap();
    let tree = tree(&root);
    let last = tree.nodes().last().unwrap();
    assert_eq!(last.entry().name, name.as_bytes());
    assert_eq!(content(&tree, last).unwrap(), b"deep");
    // A whiteout and a failing layer remove it again.
    let whiteout = Archive::of([file(&format!(".wh.{}", "d".repeat(250)))]).end();
    unpack(&[archive_of(&tree), whiteout], &folder.path().join("again")).unwrap();
    assert!(listing(&folder.path().join("again")).is_empty());
    assert!(unpack(&[archive_of(&tree), vec![1; 512]], &folder.path().join("fails")).is_err());
    assert!(!folder.path().join("fails").exists());
    // Nor would the standard library remove it.
    std::process::Command::new("rm").arg("-rf").arg(&root).status().unwrap();
}

fn patterns(list: &[&str]) -> Vec<Pattern> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn nodes_go_to_the_first_list_that_names_them() {
    let archive = Archive::of([
        directory("./"),
        directory("etc/"),
        file("etc/conf"),
        directory("usr/"),
        directory("usr/bin/"),
        file("usr/bin/sh"),
        directory("usr/lib/"),
        file("usr/lib/a.so"),
        file("usr/lib/b.so"),
        hardlink("etc/link", "usr/bin/sh"),
    ]);
    let tree = archived(&archive.end()).unwrap();
    let split = tree.split(&[patterns(&["**/*.so", "none"]), patterns(&["usr/bin", "/usr/lib/a*", "x/**"])]);
    let layers: Vec<Vec<&str>> =
        split.layers.iter().map(|layer| layer.iter().map(|index| names(&tree)[*index]).collect()).collect();
    assert_eq!(layers[0], ["./", "usr/", "usr/lib/", "usr/lib/a.so", "usr/lib/b.so"]);
    // All names of one file together: `etc/link` comes first, and holds the content.
    assert_eq!(layers[1], ["./", "etc/", "etc/link", "usr/", "usr/bin/", "usr/bin/sh"]);
    assert_eq!(layers[2], ["./", "etc/", "etc/conf", "usr/", "usr/lib/"]);
    assert_eq!(split.unmatched.iter().map(ToString::to_string).collect::<Vec<_>>(), ["none", "x/**"]);
    assert_eq!(tree.split(&[]).layers, [(0..tree.nodes().len()).collect::<Vec<_>>()]);
}

/// Trees of up to a few dozen files: what is at a path is decided by its last part, so that any two draws agree on directories.
fn root_file_systems() -> impl Strategy<Value = Vec<(Entry, Vec<u8>)>> {
    let own = support::owner();
    let id = move |own: u64| {
        if is_root() { prop_oneof![Just(0_u64), 0..70_000_u64, Just(4_000_000_000)].boxed() } else { Just(own).boxed() }
    };
    let path = proptest::collection::vec("[a-c.\u{e9}-]{1,3}d|long{50,60}d", 0..4)
        .prop_map(|parts| parts.iter().map(|part| format!("{part}/")).collect::<String>());
    let content = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..2000),
        (0..30_000_usize, any::<u8>(), 0..30_000_usize)
            .prop_map(|(before, byte, after)| { [vec![0; before], vec![byte], vec![0; after]].concat() })
    ];
    let device = (0..4000_u32, 0..200_000_u32);
    let kind = prop_oneof![
        4 => Just(Kind::Regular),
        2 => Just(Kind::Directory),
        1 => "[a-z/.]{1,120}".prop_map(|target| Kind::Symlink(target.into_bytes())),
        1 => Just(Kind::Fifo),
        1 => device.prop_map(|(major, minor)| if is_root() { Kind::Character { major, minor } } else { Kind::Fifo }),
    ];
    let xattr = ("user\\.[a-z]{1,9}", proptest::collection::vec(any::<u8>(), 0..50));
    let node = (path, "[a-z]{1,3}x", kind, 0..0o10000_u32, id(own.0), id(own.1), -1000..4_000_000_000_i64, content)
        .prop_flat_map(move |(path, name, kind, mode, uid, gid, seconds, content)| {
            let takes_xattrs = matches!(kind, Kind::Regular | Kind::Directory);
            let xattrs = proptest::collection::btree_map(xattr.0, xattr.1.clone(), if takes_xattrs { 0..3 } else { 0..1 });
            (Just((path, name, kind, mode, uid, gid, seconds, content)), xattrs)
        })
        .prop_map(|((path, name, kind, mode, uid, gid, seconds, content), xattrs): (_, BTreeMap<String, Vec<u8>>)| {
            let (name, mode) = match &kind {
                Kind::Directory => (path, mode | 0o700),
                Kind::Symlink(_) => (format!("{path}{name}"), 0o777),
                _ => (format!("{path}{name}"), mode | 0o600),
            };
            let name = if name.is_empty() { "./".into() } else { name };
            let content = if kind == Kind::Regular { content } else { Vec::new() };
            let xattrs = xattrs.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect();
            let mtime = Time { seconds, nanoseconds: 0 };
            (Entry { name: name.into_bytes(), kind, mode, uid, gid, mtime, size: content.len() as u64, xattrs }, content)
        });
    proptest::collection::vec(node, 0..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Laid out and read again, a tree is the same, with directories for parents that it did not have.
    #[test]
    fn what_is_laid_out_is_what_was_packed(files in root_file_systems(), links in proptest::collection::vec(any::<(prop::sample::Index, bool)>(), 0..4)) {
        let mut archive = files.iter().fold(Archive::default(), |archive, (entry, content)| archive.with(entry, content));
        let linkable: Vec<&Entry> = files.iter().map(|(entry, _)| entry).filter(|entry| entry.kind != Kind::Directory).collect();
        for (number, (index, first)) in links.iter().enumerate().filter(|_| !linkable.is_empty()) {
            let target = String::from_utf8_lossy(&linkable[index.index(linkable.len())].name).into_owned();
            archive = archive.with(&hardlink(&format!("{}{number}", if *first { "!" } else { "~" }), &target), b"");
        }
        let before = archived(&archive.end()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        unpack(&[archive_of(&before)], &root).unwrap();
        let after = tree(&root);
        let described = |tree: &Tree| -> BTreeMap<Vec<u8>, (Entry, Vec<u8>)> {
            tree.nodes().iter().map(|node| (node.entry().name.clone(), (node.entry().clone(), content(tree, node).unwrap()))).collect()
        };
        let (before, mut after) = (described(&before), described(&after));
        let implied = |entry: &Entry| entry.kind == Kind::Directory && entry.mode == 0o755 && entry.mtime.seconds == 0;
        after.retain(|name, (entry, _)| before.contains_key(name) || !implied(entry));
        prop_assert_eq!(before, after);
    }
}

#[test]
fn symbolic_links_in_a_directory_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    symlink("/etc", folder.path().join("l")).unwrap();
    symlink("nowhere", folder.path().join("m")).unwrap();
    assert_eq!(listing(folder.path()), ["l -> /etc", "m -> nowhere"]);
}
