//! Files carried from one folder to another as an archive, and what a hostile archive cannot do.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use wharf_layers::copy::{Destination, Owners, Place, Receiver, Sender, Skipped, Source};
use wharf_layers::tar::{END, TarReader, encode, padding};
use wharf_layers::{Entry, Kind, LayersError, Time};

fn open(path: &[u8]) -> io::Result<OwnedFd> {
    Ok(fs::File::open(std::ffi::OsStr::from_bytes(path))?.into())
}

fn sent(from: &Path) -> Vec<u8> {
    let place = Place::find(from.as_os_str().as_bytes(), false, open).expect("a place");
    let mut archive = Vec::new();
    let mut sender = Sender::new(&mut archive, |_| true);
    sender.send(&place, b".", from).expect("an archive");
    let length = sender.finish().expect("its end");
    assert_eq!(length, archive.len() as u64);
    archive
}

fn received(archive: &[u8], to: &Path, source: Source<'_>) -> Result<Skipped, LayersError> {
    let destination = Destination::find(to.as_os_str().as_bytes(), source, open).expect("a destination");
    Receiver::new(destination, Owners::Receiver, to.to_owned()).receive(&mut TarReader::new(archive), None)
}

/// Members in this order, each file with this content.
fn archive(members: &[(&str, Kind)]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, kind) in members {
        let content: &[u8] = if *kind == Kind::Regular { b"evil" } else { b"" };
        let mtime = Time { seconds: 1, nanoseconds: 0 };
        let entry = Entry {
            name: name.as_bytes().to_vec(),
            kind: kind.clone(),
            mode: 0o4755,
            uid: 0,
            gid: 0,
            mtime,
            size: content.len() as u64,
            xattrs: Default::default(),
        };
        archive.extend(encode(&entry).expect("a header"));
        archive.extend_from_slice(content);
        archive.resize(archive.len() + padding(content.len() as u64), 0);
    }
    archive.extend(END);
    archive
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    names
}

#[test]
fn a_tree_arrives_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    fs::create_dir_all(from.join("sub/deep")).expect("folders");
    fs::write(from.join("sub/file"), vec![7; 300_000]).expect("a file");
    fs::hard_link(from.join("sub/file"), from.join("z-link")).expect("a link");
    symlink("nowhere", from.join("sub/link")).expect("a link");
    let sparse = fs::File::create(from.join("sparse")).expect("a file");
    sparse.set_len(10 << 20).expect("a length");
    fs::set_permissions(from.join("sub/deep"), fs::Permissions::from_mode(0o500)).expect("permissions");
    received(&sent(&from), &to, Source::Folder(Some(b"from"))).expect("a copy");
    assert_eq!(names(&to), ["sparse", "sub", "z-link"]);
    assert_eq!(names(&to.join("sub")), ["deep", "file", "link"]);
    assert_eq!(fs::read(to.join("sub/file")).expect("a file"), vec![7; 300_000]);
    let about = |path: &str| fs::symlink_metadata(to.join(path)).expect("a file");
    assert_eq!(about("sub/file").ino(), about("z-link").ino());
    assert!(about("sparse").blocks() < 100 && about("sparse").len() == 10 << 20);
    assert_eq!(about("sub/deep").mode() & 0o7777, 0o500);
    assert_eq!(about("sub").mtime(), fs::metadata(from.join("sub")).expect("a folder").mtime());
    // A single file is the root of its archive.
    received(&sent(&from.join("sub/file")), &to, Source::File(b"file")).expect("a copy");
    assert_eq!(names(&to), ["file", "sparse", "sub", "z-link"]);
}

#[test]
fn a_hostile_archive_changes_nothing_elsewhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let (to, outside) = (folder.path().join("to"), folder.path().join("outside"));
    fs::create_dir(&to).expect("a folder");
    fs::create_dir(&outside).expect("a folder");
    fs::write(outside.join("file"), "good").expect("a file");
    let away = || Kind::Symlink(outside.as_os_str().as_bytes().to_vec());
    for members in [
        vec![("a", away()), ("a/file", Kind::Regular)],
        vec![("a", away()), ("a/", Kind::Directory)],
        vec![("a", away()), ("b", Kind::Hardlink(b"a/file".to_vec()))],
        vec![("../outside/file", Kind::Regular)],
        vec![("b", Kind::Hardlink(b"../outside/file".to_vec()))],
        vec![(".", Kind::Regular)],
    ] {
        received(&archive(&members), &to, Source::Archive).expect_err(&format!("{members:?}"));
        let _ = fs::remove_file(to.join("a"));
        assert_eq!(names(&to), [""; 0], "{members:?}");
        assert_eq!(fs::read(outside.join("file")).expect("a file"), b"good");
    }
    // A link in a file's place is replaced, not followed.
    symlink(outside.join("file"), to.join("file")).expect("a link");
    received(&archive(&[("file", Kind::Regular), ("null", Kind::Character { major: 1, minor: 3 })]), &to, Source::Archive)
        .map(|skipped| assert_eq!(skipped.devices, 1))
        .expect("a copy");
    assert_eq!(fs::read(outside.join("file")).expect("a file"), b"good");
    assert_eq!(fs::read(to.join("file")).expect("a file"), b"evil");
    assert_eq!(fs::metadata(to.join("file")).expect("a file").mode() & 0o7777, 0o755, "nothing runs as its new owner");
}

#[test]
fn what_fails_leaves_nothing_unfinished() {
    let folder = tempfile::tempdir().expect("a folder");
    let to = folder.path().join("to");
    let whole = archive(&[("./", Kind::Directory), ("one", Kind::Regular), ("two", Kind::Regular)]);
    let cut = &whole[..whole.len() - END.len() - 510];
    received(cut, &to, Source::Folder(None)).expect_err("it ends early");
    assert_eq!(names(folder.path()), [""; 0], "what was new is gone");
    fs::create_dir(&to).expect("a folder");
    received(cut, &to, Source::Folder(None)).expect_err("it ends early");
    assert_eq!(names(&to), ["one"], "what was complete is there, and nothing else");
}

/// Two copies into the same new folder: the one that fails removes it only when it was the first.
#[test]
fn what_fails_removes_only_what_it_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let to = folder.path().join("to");
    let whole = archive(&[("./", Kind::Directory), ("one", Kind::Regular), ("two", Kind::Regular)]);
    let destination = || Destination::find(to.as_os_str().as_bytes(), Source::Folder(None), open).expect("a destination");
    let receive = |destination, archive: &[u8]| {
        Receiver::new(destination, Owners::Receiver, to.clone()).receive(&mut TarReader::new(archive), None)
    };
    let (first, second) = (destination(), destination());
    receive(first, &whole).expect("a copy");
    receive(second, &whole[..1024]).expect_err("it ends early");
    assert_eq!(names(&to), ["one", "two"]);
}

/// A socket that is all that is to be sent; in a folder it is left out.
#[test]
fn a_socket_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    let place = Place::find(socket.as_os_str().as_bytes(), false, open).expect("a place");
    let error = Sender::new(Vec::new(), |_| true).send(&place, b".", &socket).expect_err("no copy");
    assert!(error.to_string().contains("/socket is refused: a socket"), "{error}");
    let to = folder.path().join("to");
    received(&sent(folder.path()), &to, Source::Folder(None)).expect("a copy");
    assert_eq!(names(&to), [""; 0]);
}

/// Of folders that are told apart only they themselves are sent.
#[test]
fn folders_are_left_empty() {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    fs::create_dir_all(from.join("sub/deep")).expect("folders");
    fs::create_dir(from.join("closed")).expect("a folder");
    fs::write(from.join("closed/file"), "").expect("a file");
    fs::set_permissions(from.join("closed"), fs::Permissions::from_mode(0o711)).expect("permissions");
    let place = Place::find(from.as_os_str().as_bytes(), false, open).expect("a place");
    let mut archive = Vec::new();
    let is_closed =
        |file: std::os::fd::BorrowedFd<'_>| Ok(fs::File::from(file.try_clone_to_owned()?).metadata()?.mode() & 0o777 == 0o711);
    let mut sender = Sender::new(&mut archive, |_| true).leaving_empty(is_closed);
    sender.send(&place, b".", &from).expect("an archive");
    sender.finish().expect("its end");
    received(&archive, &to, Source::Folder(None)).expect("a copy");
    assert_eq!((names(&to), names(&to.join("closed"))), (vec!["closed".to_owned(), "sub".to_owned()], vec![]));
    assert_eq!(names(&to.join("sub")), ["deep"]);
}
