//! Nothing outside the folder is reached, and nothing changed where nothing may be.

#![allow(clippy::unwrap_used)]

mod stage;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, chown, symlink};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use stage::{Options, Stage, USER, listing, sh};

#[test]
fn read_only_is_enforced_on_the_host() {
    // Even if the guest mounts it for writing.
    let options = Options { read_only: true, mount_writable: true, ..Options::default() };
    let stage = Stage::with(&options, |host| {
        sh(host, "echo text >f; mkdir d; ln -s f l; mkfifo p; touch -d '1 hour ago' f d");
        sh(host, &format!("chown -Rh {USER}:{USER} ."));
    });
    let before = listing(&stage.host);
    assert_eq!(stage.sh("cat f; ls; readlink l; test -r f"), "text\nd\nf\nl\np\nf\n");
    for change in [
        "echo >f",
        "echo >>f",
        ": <>f",
        "truncate -s 0 f",
        "touch f",
        "touch new",
        "mkdir new",
        "rmdir d",
        "rm f",
        "mv f g",
        "ln f g",
        "ln -s f g",
        "mkfifo g",
        "chmod 600 f",
        "chown 5 f",
        "setfattr -n user.a -v 1 f",
        "cp -f f d/f",
        "mv l d",
        "fallocate -l 5 f",
    ] {
        let output = stage.sh(&format!("! {{ {change}; }} 2>&1"));
        assert!(output.contains("Read-only file system"), "{change}: {output}");
    }
    assert_eq!(listing(&stage.host), before);
    drop(stage);
    // As is usual, the guest's own kernel refuses too.
    let stage = Stage::with(&Options { read_only: true, ..Options::default() }, |host| sh(host, "echo 1 >f").truncate(0));
    assert!(stage.sh("cat f; ! touch f 2>&1").contains("Read-only"));
}

/// Links are the guest's to follow, in its own tree, whoever made them.
#[test]
fn links_are_text() {
    let stage = Stage::new();
    fs::write(stage.scratch.path().join("secret"), "secret").unwrap();
    symlink("../secret", stage.host("up")).unwrap();
    symlink("/etc", stage.host("etc")).unwrap();
    assert_eq!(stage.sh("readlink up etc"), "../secret\n/etc\n");
    // Here the guest's tree is the host's, so what tells is the server's own view: it opened nothing.
    assert!(stage.sh("ls -d . ..").contains(".."));
    let (folder, link) = (stage.guest("d"), stage.host("d"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("secret"), "mine").unwrap();
    let open = File::open(&folder).unwrap();
    // A folder that the guest uses is put aside, and a link takes its place.
    fs::rename(&link, stage.host("aside")).unwrap();
    symlink(stage.scratch.path(), &link).unwrap();
    let read = rustix::fs::openat(&open, "secret", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty());
    if let Ok(file) = read {
        let mut text = [0; 6];
        let count = File::from(file).read_at(&mut text, 0).unwrap();
        assert_eq!(&text[..count], b"mine");
    }
    assert!(rustix::fs::mkdirat(&open, "new", rustix::fs::Mode::RWXU).is_err());
    assert!(!stage.scratch.path().join("new").exists());
}

/// A folder becomes a link out, and back, again and again, while the guest reads and writes below it.
#[test]
fn a_race_of_folders_and_links() {
    let stage = Stage::new();
    let outside = stage.scratch.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("f"), "outside").unwrap();
    sh(&outside, "chmod 777 .; chmod 666 f");
    stage.sh("mkdir d; echo inside >d/f");
    symlink(&outside, stage.host("link")).unwrap();
    let folder = File::open(stage.guest("d")).unwrap();
    let (end, done) = (Instant::now() + Duration::from_secs(4), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while Instant::now() < end {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(rustix::fs::CWD, stage.host("d"), rustix::fs::CWD, stage.host("link"), exchange)
                    .unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        let mut seen = 0;
        while !done.load(Ordering::Relaxed) {
            // Through the folder that is open, so that this machine's kernel follows no link by itself.
            let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CREATE;
            if let Ok(file) = rustix::fs::openat(&folder, "f", flags, 0o666.into()) {
                let file = File::from(file);
                let mut text = [0; 7];
                let count = file.read_at(&mut text, 0).unwrap();
                assert_eq!(&text[..count], b"inside\n");
                file.write_all_at(b"inside\n", 0).unwrap();
                seen += 1;
            }
            let _ = rustix::fs::mkdirat(&folder, "made", 0o777.into());
            let _ = rustix::fs::unlinkat(&folder, "made", rustix::fs::AtFlags::REMOVEDIR);
        }
        assert!(seen > 0);
    });
    assert_eq!(fs::read_to_string(outside.join("f")).unwrap(), "outside");
    assert_eq!(sh(&outside, "ls"), "f\n");
}

/// What the host moves out of the folder is gone for the guest, even if it is there already.
#[test]
fn a_folder_moved_out_is_out() {
    let stage = Stage::new();
    stage.sh("mkdir -p d/e; echo 1 >d/e/f");
    let folder = File::open(stage.guest("d/e")).unwrap();
    fs::rename(stage.host("d"), stage.scratch.path().join("d")).unwrap();
    let open = |flags| rustix::fs::openat(&folder, "f", flags, 0o666.into());
    std::thread::sleep(Duration::from_millis(1100));
    assert!(open(rustix::fs::OFlags::RDONLY).is_err());
    assert!(rustix::fs::mkdirat(&folder, "new", 0o777.into()).is_err());
    assert!(!stage.scratch.path().join("d/e/new").exists());
}

/// A volume that is one file: whichever file has that name, and never another's.
#[test]
fn a_single_file() {
    let stage = Stage::with(&Options { file: true, ..Options::default() }, |host| {
        sh(host, &format!("echo one >file; echo secret >other; chown {USER}:{USER} file other"));
    });
    assert_eq!(fs::read_to_string(&stage.guest).unwrap(), "one\n");
    OpenOptions::new().append(true).open(&stage.guest).unwrap().write_all(b"two\n").unwrap();
    assert_eq!(fs::read_to_string(stage.host("file")).unwrap(), "one\ntwo\n");
    // As editors save.
    sh(&stage.host, &format!("echo three >new; chown {USER}:{USER} new; mv new file"));
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(fs::read_to_string(&stage.guest).unwrap(), "three\n");
    fs::write(&stage.guest, "four\n").unwrap();
    assert_eq!(fs::read_to_string(stage.host("file")).unwrap(), "four\n");
    // Not what a link there leads to.
    sh(&stage.host, "ln -sf other file");
    std::thread::sleep(Duration::from_millis(1100));
    assert!(fs::read_to_string(&stage.guest).is_err());
    assert!(fs::write(&stage.guest, "x").is_err());
    assert_eq!(fs::read_to_string(stage.host("other")).unwrap(), "secret\n");
}

/// What is neither file nor folder, and what is not there, is refused with its reason; a link is followed once, when it is given.
#[test]
fn what_can_be_shared() {
    use wharf_volumes::server::{Error, Kind, Server, Volume};
    let scratch = tempfile::tempdir().unwrap();
    sh(scratch.path(), "mkfifo pipe; mkdir d; ln -s d link; echo >f");
    chown(scratch.path().join("f"), None, None).unwrap();
    let server = Server::new();
    let add = |id, name: &str| server.add(&Volume { id, path: scratch.path().join(name), read_only: false });
    assert!(matches!(add(1, "pipe"), Err(Error::Open { .. })));
    assert!(matches!(add(1, "missing"), Err(Error::Open { source, .. }) if source.kind() == std::io::ErrorKind::NotFound));
    assert_eq!(add(1, "link").unwrap(), Kind::Folder);
    assert_eq!(add(2, "f").unwrap(), Kind::File);
    assert!(matches!(add(2, "d"), Err(Error::Taken(2))));
}
