//! What a file system promises, kept across the port.

#![allow(clippy::unwrap_used)]

mod stage;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FallocateFlags, FlockOperation, RenameFlags, SeekFrom, XattrFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use stage::{Stage, sh};
use wharf_volumes::Owner;
use wharf_volumes::relay::Relay;

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> Errno {
    Errno::from_raw_os_error(result.unwrap_err().raw_os_error().unwrap())
}

/// Waits until the guest sees what the host has done; it may take the time for which it believes what it knows, and on a busy machine more.
fn eventually(what: &str, check: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !check() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_file_without_names_stays_until_it_is_closed() {
    let stage = Stage::new();
    let open = || OpenOptions::new().read(true).write(true).create(true).truncate(true).open(stage.guest("f")).unwrap();
    let replace_on_host = || {
        fs::write(stage.host("other"), "other").unwrap();
        fs::rename(stage.host("other"), stage.host("f")).unwrap();
    };
    let ways: [&dyn Fn(); 4] = [
        &|| fs::remove_file(stage.guest("f")).unwrap(),
        &|| fs::remove_file(stage.host("f")).unwrap(),
        &|| stage.sh("echo other >other; mv other f").truncate(0),
        &replace_on_host,
    ];
    for way in ways {
        let mut file = open();
        file.write_all(b"hello").unwrap();
        way();
        file.write_all(b" world").unwrap();
        file.set_len(8).unwrap();
        rustix::fs::fchmod(&file, rustix::fs::Mode::RUSR).unwrap();
        let attributes = file.metadata().unwrap();
        assert_eq!((attributes.len(), attributes.mode() & 0o777, attributes.nlink()), (8, 0o400, 0));
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello wo");
        let _ = fs::remove_file(stage.host("f"));
        // Else the guest still takes the name for the file that the host has removed.
        eventually("gone", || !stage.guest("f").exists());
    }
}

#[test]
fn appending_meets_the_hosts_end() {
    let stage = Stage::new();
    let mut guest = OpenOptions::new().append(true).create(true).open(stage.guest("log")).unwrap();
    let mut host = OpenOptions::new().append(true).open(stage.host("log")).unwrap();
    for turn in 0..20 {
        writeln!(guest, "guest {turn}").unwrap();
        writeln!(host, "host {turn}").unwrap();
    }
    let wanted: String = (0..20).map(|turn| format!("guest {turn}\nhost {turn}\n")).collect();
    assert_eq!(fs::read_to_string(stage.host("log")).unwrap(), wanted);
    drop(guest);
    assert_eq!(fs::read_to_string(stage.guest("log")).unwrap(), wanted);
}

/// Pages of a memory map go to their place, also when the only file open for writing appends.
#[test]
fn memory_maps_write_in_place() {
    let stage = Stage::new();
    fs::write(stage.guest("f"), vec![b'.'; 10000]).unwrap();
    stage.sh("python3 -c '
import mmap, os
f = os.open(\"f\", os.O_RDWR | os.O_APPEND)
m = mmap.mmap(f, 10000)
m[5000:5005] = b\"hello\"
m.flush()
os.write(f, b\"end\")
m[0:2] = b\"hi\"
m.close()
os.fsync(f)
'");
    let wanted = [b"hi", &[b'.'; 4998][..], b"hello", &[b'.'; 4995], b"end"].concat();
    assert!(fs::read(stage.host("f")).unwrap() == wanted);
}

#[test]
fn renames_with_flags() {
    let stage = Stage::new();
    stage.sh("mkdir d; echo a >a; echo b >d/b");
    let rename = |from: &str, to: &str, flags| rustix::fs::renameat_with(CWD, stage.guest(from), CWD, stage.guest(to), flags);
    assert_eq!(rename("a", "d/b", RenameFlags::NOREPLACE), Err(Errno::EXIST));
    rename("a", "d/b", RenameFlags::EXCHANGE).unwrap();
    assert_eq!(stage.sh("cat a d/b"), "b\na\n");
    rename("d", "a", RenameFlags::EXCHANGE).unwrap();
    assert_eq!(stage.sh("cat d a/b"), "b\na\n");
    rename("d", "c", RenameFlags::NOREPLACE).unwrap();
    assert_eq!(stage.sh("cat c a/b; ls"), "b\na\na\nc\n");
    assert_eq!(rename("c", "other", RenameFlags::WHITEOUT), Err(Errno::INVAL));
    assert_eq!(sh(&stage.host, "cat c a/b; ls"), "b\na\na\nc\n");
    assert_eq!(errno(fs::rename(stage.guest("a"), stage.guest("a/below"))), Errno::INVAL);
}

/// A folder keeps being itself when it or one above it is renamed, on either side, while it is somebody's working folder.
#[test]
fn a_folder_in_use_is_renamed() {
    let stage = Stage::new();
    stage.sh("mkdir -p a/b/c; cd a/b/c; mv ../../../a ../../../x; echo 1 >f; cat ../../../x/b/c/f; mv ../../../x/b ../../../y; echo 2 >g; ls");
    assert_eq!(sh(&stage.host, "cat y/c/f y/c/g; ls"), "1\n2\nx\ny\n");
    let folder = File::open(stage.guest("y/c")).unwrap();
    fs::rename(stage.host("y"), stage.host("z")).unwrap();
    eventually("z", || fs::read_to_string(stage.guest("z/c/g")).is_ok());
    assert!(!stage.guest("y").exists());
    assert_eq!(rustix::fs::statat(&folder, "g", rustix::fs::AtFlags::empty()).unwrap().st_size, 2);
}

#[test]
fn hard_links_are_one_file() {
    let stage = Stage::new();
    stage.sh("echo 1 >a; ln a b; mkdir d; ln b d/c; ln -s a s; ln -P s t");
    let numbers: Vec<_> = ["a", "b", "d/c"].map(|name| fs::metadata(stage.guest(name)).unwrap().ino()).into();
    assert!(numbers.iter().all(|number| *number == numbers[0]));
    assert_eq!(fs::metadata(stage.guest("a")).unwrap().nlink(), 3);
    // Each name can go while the others are used.
    assert_eq!(stage.sh("rm a; echo 2 >>b; cat d/c; mv d/c e; rm b; echo 3 >>e; cat e; readlink t"), "1\n2\n1\n2\n3\na\n");
    assert_eq!(fs::read_to_string(stage.host("e")).unwrap(), "1\n2\n3\n");
}

#[test]
fn what_the_host_changes_is_seen() {
    let stage = Stage::new();
    let guest_reads = |name: &str| fs::read_to_string(stage.guest(name)).ok();
    fs::write(stage.host("f"), "one").unwrap();
    assert_eq!(guest_reads("f").unwrap(), "one");
    // At once when it is opened, though the guest has attributes
    fs::metadata(stage.guest("f")).unwrap();
    for text in ["four", "fourfour", ""] {
        fs::write(stage.host("f"), text).unwrap();
        assert_eq!(File::open(stage.guest("f")).unwrap().metadata().unwrap().len(), text.len() as u64);
    }
    // and pages.
    for text in ["something longer", "two", ""] {
        fs::write(stage.host("f"), text).unwrap();
        assert_eq!(guest_reads("f").unwrap(), text);
        assert_eq!(guest_reads("f").unwrap(), text);
    }
    // A name that was not there.
    assert!(guest_reads("new").is_none());
    fs::write(stage.host("new"), "new").unwrap();
    eventually("new", || guest_reads("new").is_some());
    fs::remove_file(stage.host("new")).unwrap();
    eventually("no new", || !stage.guest("new").exists());
    // Another file, another kind.
    fs::remove_file(stage.host("f")).unwrap();
    fs::create_dir(stage.host("f")).unwrap();
    eventually("folder", || stage.guest("f").is_dir());
    fs::write(stage.host("f/below"), "x").unwrap();
    eventually("below", || stage.sh("ls f") == "below\n");
    // Modes and times.
    fs::set_permissions(stage.host("f/below"), fs::Permissions::from_mode(0o604)).unwrap();
    eventually("mode", || fs::metadata(stage.guest("f/below")).unwrap().mode() & 0o777 == 0o604);
    // A file held open grows.
    let mut open = File::open(stage.guest("f/below")).unwrap();
    OpenOptions::new().append(true).open(stage.host("f/below")).unwrap().write_all(b"yz").unwrap();
    eventually("grown", || open.metadata().unwrap().len() == 3);
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "xyz");
}

#[test]
fn pages_of_an_unchanged_file_are_kept_and_of_a_changed_one_are_not() {
    let stage = Stage::new();
    fs::write(stage.host("f"), vec![1; 100_000]).unwrap();
    // Older than a tick of the clock, by which changes are told apart.
    sh(&stage.host, "touch -d '1 hour ago' f");
    std::thread::sleep(Duration::from_millis(1200));
    for _ in 0..3 {
        assert!(fs::read(stage.guest("f")).unwrap() == vec![1; 100_000]);
    }
    // The size stays, and the time is put back: only the time of change tells.
    let file = OpenOptions::new().write(true).open(stage.host("f")).unwrap();
    let before = file.metadata().unwrap().modified().unwrap();
    file.write_all_at(&[2; 100_000], 0).unwrap();
    file.set_modified(before).unwrap();
    assert!(fs::read(stage.guest("f")).unwrap() == vec![2; 100_000]);
}

#[test]
fn what_the_guest_changes_is_there_at_once() {
    let stage = Stage::new();
    fs::write(stage.guest("f"), "one").unwrap();
    assert_eq!(fs::read_to_string(stage.host("f")).unwrap(), "one");
    let file = OpenOptions::new().write(true).open(stage.guest("f")).unwrap();
    file.write_all_at(b"two", 1).unwrap();
    assert_eq!(fs::read_to_string(stage.host("f")).unwrap(), "otwo");
    file.set_len(2).unwrap();
    assert_eq!(fs::read_to_string(stage.host("f")).unwrap(), "ot");
    fs::rename(stage.guest("f"), stage.guest("g")).unwrap();
    assert!(!stage.host("f").exists() && stage.host("g").exists());
}

#[test]
fn extended_attributes_of_users() {
    let stage = Stage::new();
    fs::write(stage.guest("f"), "").unwrap();
    symlink("f", stage.guest("l")).unwrap();
    let path = stage.guest("f");
    rustix::fs::setxattr(&path, "user.a", b"1", XattrFlags::CREATE).unwrap();
    assert_eq!(rustix::fs::setxattr(&path, "user.a", b"1", XattrFlags::CREATE), Err(Errno::EXIST));
    assert_eq!(rustix::fs::setxattr(&path, "user.b", b"1", XattrFlags::REPLACE), Err(Errno::NODATA));
    let large = vec![7; 3000];
    rustix::fs::setxattr(&path, "user.large", &large, XattrFlags::empty()).unwrap();
    let mut value = vec![0; 5000];
    assert_eq!(rustix::fs::getxattr(stage.host("f"), "user.a", &mut value), Ok(1));
    assert_eq!(rustix::fs::getxattr(&path, "user.large", &mut value), Ok(3000));
    assert!(value[..3000] == large);
    assert_eq!(rustix::fs::getxattr(&path, "user.large", &mut value[..10]), Err(Errno::RANGE));
    assert_eq!(stage.sh("getfattr f | grep user"), "user.a\nuser.large\n");
    rustix::fs::removexattr(&path, "user.a").unwrap();
    assert_eq!(rustix::fs::getxattr(&path, "user.a", &mut value), Err(Errno::NODATA));
    // Those of the host's security are not the guest's.
    let foreign = rustix::fs::setxattr(&path, "trusted.a", b"1", XattrFlags::empty());
    assert_eq!(foreign, Err(Errno::OPNOTSUPP));
    assert_eq!(rustix::fs::lsetxattr(stage.guest("l"), "user.a", b"1", XattrFlags::empty()), Err(Errno::PERM));
}

#[test]
fn holes_room_and_copies_on_the_host() {
    let stage = Stage::new();
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(stage.guest("f")).unwrap();
    file.write_all_at(&[1; 8192], 1 << 20).unwrap();
    assert_eq!(rustix::fs::seek(&file, SeekFrom::Data(0)), Ok(1 << 20));
    assert_eq!(rustix::fs::seek(&file, SeekFrom::Hole(1 << 20)), Ok((1 << 20) + 8192));
    rustix::fs::fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 1 << 20, 4096).unwrap();
    assert_eq!(rustix::fs::seek(&file, SeekFrom::Data(0)), Ok((1 << 20) + 4096));
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, 2 << 20).unwrap();
    assert_eq!(fs::metadata(stage.host("f")).unwrap().len(), 2 << 20);
    let copy = OpenOptions::new().write(true).create_new(true).open(stage.guest("g")).unwrap();
    let (mut from, mut to) = (1 << 20, 0);
    let copied = rustix::fs::copy_file_range(&file, Some(&mut from), &copy, Some(&mut to), 8192).unwrap();
    assert_eq!(copied, 8192);
    assert!(fs::read(stage.host("g")).unwrap() == [[0; 4096], [1; 4096]].concat());
    let (here, there) = (rustix::fs::statfs(&stage.host).unwrap(), rustix::fs::statfs(&stage.guest).unwrap());
    assert_eq!((here.f_blocks, here.f_bsize, here.f_namelen), (there.f_blocks, there.f_bsize, there.f_namelen));
}

#[test]
fn locks_hold_between_programs_of_the_guest() {
    let stage = Stage::new();
    let (one, two) = (File::create(stage.guest("f")).unwrap(), File::create(stage.guest("f")).unwrap());
    rustix::fs::flock(&one, FlockOperation::LockExclusive).unwrap();
    assert_eq!(rustix::fs::flock(&two, FlockOperation::NonBlockingLockExclusive), Err(Errno::WOULDBLOCK));
    drop(one);
    rustix::fs::flock(&two, FlockOperation::NonBlockingLockExclusive).unwrap();
}

#[test]
fn times_and_modes() {
    let stage = Stage::new();
    let script = "umask 027; echo 1 >f; mkdir d; stat -c %a f d; chmod 4711 f; stat -c %a f; echo 2 >>f; touch -a -d @1 f; touch -m -d @2.5 f
        touch -h -d @3 nowhere 2>/dev/null || :; ln -s nowhere l; touch -h -d @4 l; stat -c '%X %Y %.1Y' f l; chmod 2775 d; mkdir d/e; stat -c %a d/e
        touch f; test $(stat -c %Y f) -gt 1000000000";
    // Root's own write leaves setuid alone on a disk; here it is another's, who may be anyone.
    assert_eq!(stage.sh(script), "640\n750\n4711\n1 2 2.5\n4 4 4.0\n2750\n");
    assert_eq!(sh(&stage.host, "stat -c '%X %Y %.1Y' l; stat -c %a d/e"), "4 4 4.0\n2750\n");
}

#[test]
fn errors_are_the_hosts() {
    let stage = Stage::new();
    stage.sh("mkdir -p d/e; echo 1 >f; mkfifo p");
    let path = |name: &str| stage.guest(name);
    assert_eq!(errno(fs::remove_dir(path("d"))), Errno::NOTEMPTY);
    assert_eq!(errno(fs::remove_dir(path("f"))), Errno::NOTDIR);
    assert_eq!(errno(fs::remove_file(path("d"))), Errno::ISDIR);
    assert_eq!(errno(fs::create_dir(path("f"))), Errno::EXIST);
    assert_eq!(errno(fs::read(path("f/x"))), Errno::NOTDIR);
    assert_eq!(errno(File::create(path(&"n".repeat(256)))), Errno::NAMETOOLONG);
    assert!(File::create(path(&"n".repeat(255))).is_ok());
    assert_eq!(errno(OpenOptions::new().write(true).create_new(true).open(path("f"))), Errno::EXIST);
    let device = rustix::fs::mknodat(CWD, path("null"), rustix::fs::FileType::CharacterDevice, 0o666.into(), 0x103);
    assert_eq!(device, Err(Errno::PERM));
    assert!(fs::symlink_metadata(stage.host("p")).unwrap().file_type().is_fifo());
    assert_eq!(errno(File::open(path("f")).unwrap().write_at(b"x", 0)), Errno::BADF);
}

/// Programs of the guest talk through a pipe in the folder; one put there by the host stops nobody.
#[test]
fn pipes() {
    let stage = Stage::new();
    assert_eq!(stage.sh("mkfifo p; echo hello >p & cat p"), "hello\n");
    fs::write(stage.host("q"), "").unwrap();
    assert!(stage.guest("q").exists());
    // The guest still takes it for a file and asks the host to open it.
    sh(&stage.host, "rm q; mkfifo q");
    let _ = OpenOptions::new().read(true).write(true).open(stage.guest("q"));
    assert!(stage.guest("p").exists());
}

/// A file system whose server never answers, until it is dropped.
struct Silent {
    target: PathBuf,
    /// Closing it would end the mount.
    _server: UnixStream,
}

impl Silent {
    fn mount(target: PathBuf) -> Self {
        fs::create_dir_all(&target).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        Relay::new(ours.into()).unwrap().mount(1, &target, false, Owner::ROOT).unwrap();
        Self { target, _server: theirs }
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.target, UnmountFlags::FORCE);
        let _ = rustix::mount::unmount(&self.target, UnmountFlags::FORCE | UnmountFlags::DETACH);
    }
}

/// Requests that the host's disk does not answer hold up those who made them, and nobody else.
#[test]
fn a_slow_disk_holds_up_nobody_else() {
    let stage = Stage::new();
    // While a name is looked up, the guest's kernel lets nothing be made in that folder: so each has one of its own.
    stage.sh("mkdir 0 1 2 quick; stat 0 1 2 quick");
    let silent: Vec<_> = (0..3).map(|number| Silent::mount(stage.host(&format!("{number}/slow")))).collect();
    let (tell, told) = mpsc::channel();
    for number in 0..3 {
        let (path, tell) = (stage.guest(&format!("{number}/slow")), tell.clone());
        std::thread::spawn(move || tell.send(path.exists()));
    }
    std::thread::sleep(Duration::from_millis(200));
    let (path, done) = (stage.guest("quick"), tell.clone());
    drop(tell);
    let quick = std::thread::spawn(move || {
        for number in 0..100 {
            let path = path.join(number.to_string());
            fs::write(&path, "x").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "x");
        }
        done.send(true)
    });
    // The first to be done, as the others cannot be. A failure must not wait for them either.
    let first = told.recv_timeout(Duration::from_secs(60));
    assert_eq!(told.try_recv(), Err(mpsc::TryRecvError::Empty));
    drop(silent);
    assert_eq!(first, Ok(true));
    quick.join().unwrap().unwrap();
    assert_eq!(told.iter().count(), 3);
}

/// The end of the port ends the mount: what waits for it fails.
#[test]
fn without_its_server_a_mount_fails() {
    let scratch = tempfile::tempdir().unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let relay = Relay::new(ours.into()).unwrap();
    relay.mount(1, scratch.path(), false, Owner::ROOT).unwrap();
    let path = scratch.path().join("f");
    let waiting = std::thread::spawn(move || fs::metadata(path));
    std::thread::sleep(Duration::from_millis(100));
    drop(theirs);
    assert!(waiting.join().unwrap().is_err());
    let gone = |path: &Path| !fs::read_to_string("/proc/self/mounts").unwrap().contains(path.to_str().unwrap());
    eventually("unmounted", || gone(scratch.path()));
}
