//! Layers laid out as root file systems.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use support::{Archive, directory, entry, file, hardlink, is_root, listing, symlink, unpack};
use wharf_layers::unpack::{Skipped, UnpackOptions, Unpacker};
use wharf_layers::{Entry, Kind, LayersError, Time};

/// What is there once these layers are laid out.
fn laid_out(layers: &[Vec<u8>]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    unpack(layers, &root).unwrap();
    listing(&root)
}

#[test]
fn a_layer_changes_what_lower_layers_made() {
    let lower = || {
        Archive::of([directory("d/"), directory("d/sub/")])
            .with(&file("d/a"), b"1")
            .with(&file("d/sub/b"), b"2")
            .with(&file("f"), b"3")
            .with(&symlink("l", "d"), b"")
            .end()
    };
    let cases: Vec<(&str, Archive, &[&str])> = vec![
        ("nothing", Archive::default(), &["d/", "d/a: 1", "d/sub/", "d/sub/b: 2", "f: 3", "l -> d"]),
        (
            "a file for a file",
            Archive::default().with(&file("./f"), b"new"),
            &["d/", "d/a: 1", "d/sub/", "d/sub/b: 2", "f: new", "l -> d"],
        ),
        ("a file for a directory", Archive::default().with(&file("d"), b"new"), &["d: new", "f: 3", "l -> d"]),
        ("a directory for a file", Archive::of([directory("f/")]), &["d/", "d/a: 1", "d/sub/", "d/sub/b: 2", "f/", "l -> d"]),
        ("a link for a directory", Archive::of([symlink("d", "x")]), &["d -> x", "f: 3", "l -> d"]),
        (
            "a directory for a link",
            Archive::of([directory("l/"), file("l/x")]),
            &["d/", "d/a: 1", "d/sub/", "d/sub/b: 2", "f: 3", "l/", "l/x: "],
        ),
        ("a directory again", Archive::of([directory("d/")]), &["d/", "d/a: 1", "d/sub/", "d/sub/b: 2", "f: 3", "l -> d"]),
        (
            "a file through a link",
            Archive::of([file("l/n")]),
            &["d/", "d/a: 1", "d/n: ", "d/sub/", "d/sub/b: 2", "f: 3", "l -> d"],
        ),
        (
            "a whiteout",
            Archive::of([file("d/.wh.sub"), file(".wh.f"), file(".wh.none"), file("none/.wh.x")]),
            &["d/", "d/a: 1", "l -> d"],
        ),
        ("a whiteout of a directory", Archive::of([file(".wh.d")]), &["f: 3", "l -> d"]),
        ("a whiteout below a file", Archive::of([file("f/.wh.x")]), &["d/", "d/a: 1", "d/sub/", "d/sub/b: 2", "f: 3", "l -> d"]),
        ("a whiteout through a link", Archive::of([file("l/.wh.a")]), &["d/", "d/sub/", "d/sub/b: 2", "f: 3", "l -> d"]),
        (
            "a whiteout before its name",
            Archive::of([file(".wh.f")]).with(&file("f"), b"new"),
            &["d/", "d/a: 1", "d/sub/", "d/sub/b: 2", "f: new", "l -> d"],
        ),
        (
            "a whiteout after its name",
            Archive::default().with(&file("f"), b"new").with(&file(".wh.f"), b""),
            &["d/", "d/a: 1", "d/sub/", "d/sub/b: 2", "f: new", "l -> d"],
        ),
        (
            "a whiteout after what is below",
            Archive::of([file("d/sub/new"), file(".wh.d")]),
            &["d/", "d/sub/", "d/sub/new: ", "f: 3", "l -> d"],
        ),
        ("opaque first", Archive::of([file("d/.wh..wh..opq"), file("d/new")]), &["d/", "d/new: ", "f: 3", "l -> d"]),
        (
            "opaque last",
            Archive::of([directory("d/"), file("d/sub/new"), file("d/.wh..wh..opq")]),
            &["d/", "d/sub/", "d/sub/new: ", "f: 3", "l -> d"],
        ),
        ("opaque root", Archive::of([file("new"), file(".wh..wh..opq")]), &["new: "]),
        (
            "leftovers of AUFS",
            Archive::of([file(".wh..wh.aufs"), directory(".wh..wh.plnk/"), file(".wh..wh.plnk/1.2")]),
            &["d/", "d/a: 1", "d/sub/", "d/sub/b: 2", "f: 3", "l -> d"],
        ),
        (
            "a link to a lower file",
            Archive::of([hardlink("g", "/f")]),
            &["d/", "d/a: 1", "d/sub/", "d/sub/b: 2", "f: 3", "g = f", "l -> d"],
        ),
        (
            "a link in place of a file",
            Archive::of([hardlink("d/a", "./f")]),
            &["d/", "d/a: 3", "d/sub/", "d/sub/b: 2", "f = d/a", "l -> d"],
        ),
        ("a link to itself", Archive::of([hardlink("f", "f")]), &["d/", "d/a: 1", "d/sub/", "d/sub/b: 2", "f: 3", "l -> d"]),
        (
            "a link to a symbolic link",
            Archive::of([hardlink("m", "l")]),
            &["d/", "d/a: 1", "d/sub/", "d/sub/b: 2", "f: 3", "l -> d", "m = l"],
        ),
        (
            "a link through a link",
            Archive::of([hardlink("m", "l/a")]),
            &["d/", "d/a: 1", "d/sub/", "d/sub/b: 2", "f: 3", "l -> d", "m = d/a"],
        ),
        (
            "one of two names replaced",
            Archive::of([hardlink("g", "f")]).with(&file("f"), b"new"),
            &["d/", "d/a: 1", "d/sub/", "d/sub/b: 2", "f: new", "g: 3", "l -> d"],
        ),
        (
            "parents that nobody speaks of",
            Archive::of([file("x/y/z")]),
            &["d/", "d/a: 1", "d/sub/", "d/sub/b: 2", "f: 3", "l -> d", "x/", "x/y/", "x/y/z: "],
        ),
    ];
    for (case, upper, expected) in cases {
        assert_eq!(laid_out(&[lower(), upper.end()]), expected, "{case}");
    }
}

#[test]
fn a_whiteout_after_many_in_its_directory_removes_the_lower_file_once() {
    // The place of the previous entry is remembered, and must not outlive the directory.
    let lower = Archive::of([directory("d/"), file("d/a")]).end();
    let upper = Archive::of([file("d/b"), symlink("d", "e"), directory("e/"), file("d/c")]).end();
    assert_eq!(laid_out(&[lower, upper]), ["d -> e", "e/", "e/c: "]);
}

#[test]
fn links_are_followed_as_if_the_directory_were_the_root() {
    let archive = Archive::of([
        directory("usr/"),
        directory("usr/lib/"),
        symlink("lib", "/usr/lib"),
        symlink("usr/lib/up", "../lib/./deep"),
        symlink("usr/etc", "../etc"),
        symlink("missing", "/run//new"),
        file("lib/a"),
        file("lib/up/b"),
        file("usr/etc/c"),
        file("missing/d"),
    ]);
    let expected = [
        "etc/",
        "etc/c: ",
        "lib -> /usr/lib",
        "missing -> /run//new",
        "run/",
        "run/new/",
        "run/new/d: ",
        "usr/",
        "usr/etc -> ../etc",
        "usr/lib/",
        "usr/lib/a: ",
        "usr/lib/deep/",
        "usr/lib/deep/b: ",
        "usr/lib/up -> ../lib/./deep",
    ];
    assert_eq!(laid_out(&[archive.end()]), expected);
}

#[test]
fn hostile_archives_are_refused_and_leave_nothing() {
    let outside = "../outside";
    let many: Vec<Entry> = (0..50).map(|n| symlink(&format!("l{n}"), &format!("l{}", n + 1))).collect();
    let deep = format!("{}x", "d/".repeat(6000));
    let cases: Vec<(Archive, &str, &str)> = vec![
        (Archive::of([file("../x")]), "../x", "`..`"),
        (Archive::of([file("a/../../x")]), "a/../../x", "`..`"),
        (Archive::of([file("../.wh.outside")]), "../.wh.outside", "`..`"),
        (Archive::of([symlink("l", ".."), file("l/outside/x")]), "l/outside/x", "out of the root"),
        (Archive::of([symlink("l", outside), file("l/x")]), "l/x", "out of the root"),
        (Archive::of([symlink("l", outside), file("l/.wh.secret")]), "l/.wh.secret", "out of the root"),
        (Archive::of([symlink("l", outside), file("l/.wh..wh..opq")]), "l/.wh..wh..opq", "out of the root"),
        (Archive::of([symlink("l", outside), hardlink("x", "l/secret")]), "x", "out of the root"),
        (Archive::of([symlink("a", "b/../../../outside"), directory("b/"), file("a/x")]), "a/x", "out of the root"),
        (Archive::of([hardlink("x", "../outside/secret")]), "x", "`..`"),
        (Archive::of([hardlink("x", "/proc/self/exe")]), "x", "not there"),
        (Archive::of([hardlink("x", "none")]), "x", "not there"),
        (Archive::of([hardlink("x", "/")]), "x", "not there"),
        (Archive::of([directory("d/"), hardlink("x", "d")]), "x", "a directory"),
        (Archive::of([directory("d/"), file("d/f"), hardlink("d", "d/f")]), "d", "below it"),
        (Archive::of([symlink("l", "l"), file("l/x")]), "l/x", "circles"),
        (Archive::of([symlink("a", "b"), symlink("b", "a"), file("a/x")]), "a/x", "circles"),
        (Archive::of(many.into_iter().chain([file("l0/x")])), "l0/x", "circles"),
        (Archive::of([file("f"), file("f/x")]), "f/x", "/f is no directory"),
        (Archive::of([entry("p", Kind::Fifo), file("p/x")]), "p/x", "/p is no directory"),
        (Archive::of([symlink("l", "f"), file("f"), file("l/x")]), "l/x", "/f is no directory"),
        (Archive::of([file(".")]), ".", "the root is a directory"),
        (Archive::of([symlink("", "x").named("./.")]), "./.", "the root is a directory"),
        (Archive::of([file(".wh.")]), ".wh.", "no file"),
        (Archive::of([file(".wh...")]), ".wh...", "no file"),
        (Archive::of([file(".wh.a/b")]), ".wh.a/b", "nothing in it"),
        (Archive::of([Entry { uid: 1 << 32, ..file("f") }]), "f", "owner"),
        (Archive::of([Entry { gid: u32::MAX.into(), ..file("f") }]), "f", "group"),
        (Archive::of([file(&deep)]), &deep, "too deep"),
    ];
    for (archive, name, why) in cases {
        let folder = tempfile::tempdir().unwrap();
        let (root, outside) = (folder.path().join("root"), folder.path().join("outside"));
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("secret"), "kept").unwrap();
        let archive = archive.end();
        for existed in [false, true] {
            if existed {
                std::fs::create_dir(&root).unwrap();
            }
            let error = unpack(std::slice::from_ref(&archive), &root).unwrap_err();
            assert!(matches!(error, LayersError::Refused { .. } | LayersError::Name { .. }), "{name}: {error:?}");
            let text = error.to_string();
            assert!(text.starts_with(&format!("{name} is refused: ")) && text.contains(why), "{text}");
            assert_eq!(root.exists(), existed, "{name}");
            assert!(!existed || std::fs::read_dir(&root).unwrap().next().is_none(), "{name}");
            assert_eq!(listing(&outside), ["secret: kept"], "{name}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "{name}");
    }
}

trait Named {
    fn named(self, name: &str) -> Self;
}

impl Named for Entry {
    fn named(self, name: &str) -> Self {
        Self { name: name.into(), ..self }
    }
}

#[test]
fn an_archive_that_ends_early_or_is_none_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let whole = Archive::of([directory("d/")]).with(&file("d/f"), &[7; 5000]).end();
    for damaged in [&whole[..3000], &[7; 600], &whole[..1300]] {
        assert!(unpack(&[damaged.to_vec()], &root).is_err());
        assert!(!root.exists());
    }
}

#[test]
fn a_directory_with_something_in_it_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine"), "").unwrap();
    let error = unpack(&[], folder.path()).unwrap_err();
    assert!(error.to_string().starts_with("cannot unpack to /"), "{error}");
    assert!(folder.path().join("mine").exists());
}

#[test]
fn directories_have_the_mode_and_time_of_their_last_entry_whatever_happened_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let at = |seconds| Time { seconds, nanoseconds: 5 };
    let closed = Entry { mode: 0o2555, mtime: at(77), ..directory("d/") };
    let lower = Archive::of([Entry { mode: 0o711, mtime: at(99), ..directory("./") }, closed, directory("d/e/")]).end();
    let upper = Archive::of([file("d/e/new"), file("implied/f"), file("d/.wh.none")]).end();
    unpack(&[lower, upper], &root).unwrap();
    let status = |path: &str| std::fs::metadata(root.join(path)).unwrap();
    for (path, mode, seconds) in [("", 0o711, 99), ("d", 0o2555, 77), ("d/e", 0o755, 1_000_000_000), ("implied", 0o755, 0)] {
        let status = status(path);
        assert_eq!((status.mode() & 0o7777, status.mtime()), (mode, seconds), "{path}");
    }
}

#[test]
fn runs_of_zeros_become_holes() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let mut content = vec![0; 4 << 20];
    content[1 << 20] = 1;
    unpack(&[Archive::default().with(&file("f"), &content).end()], &root).unwrap();
    assert!(std::fs::read(root.join("f")).unwrap() == content);
    assert!(std::fs::metadata(root.join("f")).unwrap().blocks() <= 64);
}

#[test]
fn sparse_members_are_sparse_files() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    let sparse = std::fs::File::create(&source).unwrap();
    sparse.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"middle", 32 << 20).unwrap();
    for format in ["gnu", "pax"] {
        let archive = folder.path().join("a.tar");
        let mut tar = std::process::Command::new("tar");
        tar.args(["--sparse", "--numeric-owner", "--format", format, "-C"])
            .arg(folder.path())
            .arg("-cf")
            .arg(&archive)
            .arg("source");
        assert!(tar.status().unwrap().success());
        let archive = std::fs::read(&archive).unwrap();
        assert!(archive.len() < 1 << 20);
        let root = folder.path().join(format);
        unpack(&[archive], &root).unwrap();
        assert!(std::fs::read(root.join("source")).unwrap() == std::fs::read(&source).unwrap());
        assert!(std::fs::metadata(root.join("source")).unwrap().blocks() <= 64);
    }
}

#[test]
fn as_root_everything_is_as_the_layer_says() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    let setuid = Entry { mode: 0o6755, uid: 12, gid: 34, ..file("su") };
    let capable = Entry { uid: 5, xattrs: [(b"security.capability".to_vec(), capability.clone())].into(), ..file("ping") };
    let foreign = [(b"trusted.overlay.opaque".to_vec(), b"y".to_vec()), (b"user.kept".to_vec(), b"1".to_vec())];
    let archive = Archive::of([
        setuid,
        capable,
        Entry { xattrs: foreign.into(), uid: 3, mode: 0o1777, ..directory("tmp/") },
        Entry { mode: 0o600, ..entry("console", Kind::Character { major: 5, minor: 1 }) },
        entry("disk", Kind::Block { major: 259, minor: 70_000 }),
        Entry { uid: 9, ..entry("pipe", Kind::Fifo) },
        Entry { uid: 8, ..symlink("link", "anything") },
    ]);
    unpack(&[archive.end()], &root).unwrap();
    let status = |path: &str| std::fs::symlink_metadata(root.join(path)).unwrap();
    assert_eq!((status("su").mode() & 0o7777, status("su").uid(), status("su").gid()), (0o6755, 12, 34));
    assert_eq!((status("tmp").mode() & 0o7777, status("tmp").uid()), (0o1777, 3));
    assert!(status("console").file_type().is_char_device());
    assert_eq!((libc::major(status("console").rdev()), libc::minor(status("console").rdev())), (5, 1));
    assert_eq!((libc::major(status("disk").rdev()), libc::minor(status("disk").rdev())), (259, 70_000));
    assert!(status("pipe").file_type().is_fifo() && status("pipe").uid() == 9);
    assert_eq!((status("link").uid(), status("link").mtime()), (8, 1_000_000_000));
    let tree = support::tree(&root);
    let xattrs =
        |name: &str| tree.nodes().iter().find(|node| node.entry().name == name.as_bytes()).unwrap().entry().xattrs.clone();
    assert_eq!(xattrs("ping"), [(b"security.capability".to_vec(), capability)].into());
    assert_eq!(xattrs("tmp/"), [(b"user.kept".to_vec(), b"1".to_vec())].into());
}

#[test]
fn an_ordinary_user_is_told_what_only_root_may_do() {
    if is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let privileged: [Entry; 3] = [
        Entry { uid: 12, ..file("a") },
        entry("b", Kind::Character { major: 1, minor: 3 }),
        Entry { xattrs: [(b"trusted.x".to_vec(), b"1".to_vec())].into(), ..file("c") },
    ];
    for entry in &privileged {
        let archive = Archive::of([support::directory("./"), entry.clone()]).end();
        let error = unpack(&[archive], &folder.path().join("root")).unwrap_err();
        assert!(matches!(error, LayersError::Privileged { .. }), "{error}");
        assert!(!folder.path().join("root").exists());
    }
    let closed = Entry { mode: 0, ..directory("closed/") };
    let archive = Archive::of([support::directory("./"), closed, file("closed/f")].into_iter().chain(privileged)).end();
    let root = folder.path().join("rootless");
    let mut unpacker = Unpacker::new(&root, UnpackOptions { rootless: true }).unwrap();
    unpacker.layer(archive.as_slice()).unwrap();
    assert_eq!(unpacker.finish().unwrap(), Skipped { owners: 1, devices: 1, attributes: 1 });
    assert!(std::fs::symlink_metadata(root.join("b")).unwrap().is_file());
    assert_eq!(std::fs::metadata(root.join("closed")).unwrap().mode() & 0o7777, 0);
    open(&root.join("closed"));
}

/// Lets a temporary directory be removed.
fn open(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
}
