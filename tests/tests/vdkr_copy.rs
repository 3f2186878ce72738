//! `vdkr cp` and `vdkr commit` in real virtual machines, as an ordinary user: Docker's rules for names, and neither side is led out of its folder.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use wharf_tests::{SmallDisk, Vm, random, run_tool, within};

/// A container `box` that runs, after a script.
fn running(vm: &Vm, script: &str, options: &[&str]) {
    let script = format!("{script}; touch /ready; exec sleep 600");
    let line = [&["run", "-d", "--name", "one"], options, &["box", "sh", "-c", &script]].concat();
    vm.ok(&line);
    within(60, "the container's files", || vm.run(&["exec", "one", "test", "-e", "/ready"]).code == 0);
}

/// What a program of the container prints.
fn inside(vm: &Vm, script: &str) -> String {
    vm.ok(&["exec", "one", "sh", "-c", script]).stdout
}

/// All names below a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let listed = run_tool("find", &[folder.to_str().expect("UTF-8"), "-mindepth", "1", "-printf", "%P\\n"], None);
    let mut names: Vec<_> = listed.lines().map(str::to_owned).collect();
    names.sort();
    names
}

/// Give a tree to the user who runs vdkr.
fn given(path: &Path) {
    run_tool("chown", &["-R", "-h", "65534:65534", path.to_str().expect("UTF-8")], None);
}

fn own_file(vm: &Vm, name: &str, content: &[u8]) -> PathBuf {
    let path = vm.own().join(name);
    fs::write(&path, content).expect("a file");
    given(&path);
    path
}

/// Docker's table (docker docs, "docker container cp"), from a container.
#[test]
fn out_of_a_container_names_are_as_docker_has_them() {
    let vm = Vm::new("x86_64");
    running(
        &vm,
        "mkdir -p /d/sub; echo one > /d/one; echo two > /d/sub/two; echo file > /file; ln -s d /link; ln -s /file /abs",
        &[],
    );
    let own = vm.own();
    let content = |name: &str| fs::read_to_string(own.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    vm.ok(&["cp", "one:/file", "new"]).says("Successfully copied");
    assert_eq!(content("new"), "file\n");
    vm.ok(&["cp", "-q", "one:file", "new"]).is_silent_on("Successfully");
    vm.run(&["cp", "one:/file", "missing/"]).expect(1).says("missing").says("make the folder first");
    vm.run(&["cp", "one:/file", "no/where"]).expect(1).says("no/where").says("make the folder first");
    vm.ok(&["cp", "one:/d", "dir"]);
    assert_eq!(names(&own.join("dir")), ["one", "sub", "sub/two"]);
    vm.ok(&["cp", "one:/file", "dir"]);
    assert_eq!(content("dir/file"), "file\n");
    vm.ok(&["cp", "one:/d/", "dir"]);
    assert_eq!(content("dir/d/sub/two"), "two\n");
    vm.ok(&["cp", "one:/d/.", "dir/"]);
    assert_eq!(names(&own.join("dir")), ["d", "d/one", "d/sub", "d/sub/two", "file", "one", "sub", "sub/two"]);
    vm.run(&["cp", "one:/d", "new"]).expect(1).says("over a file").says("new");
    assert_eq!(content("new"), "file\n");
    vm.run(&["cp", "one:/file/", "x"]).expect(1).says("/file/");
    vm.run(&["cp", "one:/none", "x"]).expect(1).says("there is no /none in the container");
    vm.run(&["cp", "two:/file", "x"]).expect(1).says("No such container: two").says("vdkr ps -a");
    vm.run(&["cp", "one:/a", "one:/b"]).expect(1).says("between containers is not supported");
    vm.run(&["cp", "a", "b"]).expect(1).says("neither side is a container");
    // A link is copied as one, unless that is not wanted; one that is asserted to be a folder is followed.
    vm.ok(&["cp", "one:/abs", "abs"]);
    assert_eq!(fs::read_link(own.join("abs")).expect("a link"), Path::new("/file"));
    vm.ok(&["cp", "-L", "one:/abs", "followed"]);
    assert_eq!(content("followed"), "file\n");
    vm.ok(&["cp", "one:/link/", "linked"]);
    assert_eq!(names(&own.join("linked")), ["one", "sub", "sub/two"]);
    // Files belong to the caller.
    assert_eq!(fs::metadata(own.join("new")).expect("a file").uid(), 65534);
    let archive = vm.command(&["cp", "one:/d", "-"]).output().expect("run vdkr").stdout;
    let listed = run_tool("tar", &["--list"], Some(&archive));
    assert_eq!(listed, "d/\nd/one\nd/sub/\nd/sub/two\n");
    // Nothing unfinished lies about.
    assert!(names(&own).iter().all(|name| !name.contains(".vdkr-")), "{:?}", names(&own));
}

/// The same table into a container, and `-`.
#[test]
fn into_a_container_names_are_as_docker_has_them() {
    let vm = Vm::new("x86_64");
    running(&vm, "mkdir -p /dir /other; echo old > /old; ln -s /other /link; ln -s /later /dangling", &[]);
    own_file(&vm, "file", b"file\n");
    fs::create_dir_all(vm.own().join("d/sub")).expect("folders");
    fs::write(vm.own().join("d/sub/two"), "two\n").expect("a file");
    given(&vm.own().join("d"));
    vm.ok(&["cp", "file", "one:/new"]);
    vm.ok(&["cp", "file", "one:old"]);
    assert_eq!(inside(&vm, "cat /new /old; stat -c '%u:%g' /new"), "file\nfile\n0:0\n");
    vm.run(&["cp", "file", "one:/missing/"]).expect(1).says("/missing/").says("make the folder first");
    vm.run(&["cp", "file", "one:/old/x"]).expect(1).says("/old/x");
    vm.ok(&["cp", "file", "one:/dir"]);
    vm.ok(&["cp", "file", "one:/link/"]);
    vm.ok(&["cp", "file", "one:/dangling"]);
    vm.ok(&["cp", "d", "one:/made"]);
    vm.ok(&["cp", "d", "one:/dir"]);
    vm.ok(&["cp", "d/.", "one:/dir"]);
    assert_eq!(
        inside(&vm, "find /made /dir /other /later | sort"),
        "/dir\n/dir/d\n/dir/d/sub\n/dir/d/sub/two\n/dir/file\n/dir/sub\n/dir/sub/two\n/later\n/made\n/made/sub\n/made/sub/two\n/other\n/other/file\n"
    );
    vm.run(&["cp", "d", "one:/old"]).expect(1).says("over a file").says("/old");
    vm.run(&["cp", "nothing", "one:/x"]).expect(1).says("nothing").says("No such file");
    let archive =
        run_tool("tar", &["--create", "--directory", vm.own().to_str().expect("UTF-8"), "--file", "/dev/stdout", "d"], None);
    let fed = vm.feed(&["cp", "-", "one:/other"], archive.as_bytes());
    assert!(fed.status.success(), "{fed:?}");
    assert_eq!(inside(&vm, "cat /other/d/sub/two"), "two\n");
    let fed = vm.feed(&["cp", "-", "one:/old"], archive.as_bytes());
    assert_eq!(fed.status.code(), Some(1), "{fed:?}");
    let fed = vm.feed(&["cp", "-", "one:/other"], &archive.as_bytes()[..1000]);
    assert_eq!(fed.status.code(), Some(1), "{fed:?}");
    assert!(String::from_utf8_lossy(&fed.stderr).contains("damaged"), "{fed:?}");
    assert_eq!(inside(&vm, "find / -xdev -name '.vdkr-*'"), "");
}

/// Any name, kinds of files, modes, times, second names, attributes; there and back.
#[test]
fn what_files_are_comes_along() {
    let vm = Vm::new("x86_64");
    running(
        &vm,
        "mkdir -p /t; mknod /t/null c 1 3; echo x > /t/x; ln /t/x /t/y; chown 33:34 /t/x; chmod 6750 /t/x; touch -d '2001-02-03 04:05:06' /t/x; mkdir /t/closed; chmod 500 /t/closed",
        &["--privileged"],
    );
    let archive = vm.command(&["cp", "one:/t", "-"]).output().expect("run vdkr").stdout;
    let listed = run_tool("tar", &["--list", "--verbose", "--numeric-owner", "--utc"], Some(&archive));
    for part in ["crw-", "1,3", "33/34", "2001-02-03 04:05", "rwsr-s---", "t/y link to t/x", "dr-x------"] {
        assert!(listed.contains(part), "{part} is not in:\n{listed}");
    }
    // Here: no device, nothing that runs as its owner, and said so.
    vm.ok(&["cp", "one:/t", "t"]).says("devices are left out");
    let about = fs::metadata(vm.own().join("t/x")).expect("a file");
    assert_eq!((about.mode() & 0o7777, about.mtime(), about.nlink(), about.uid()), (0o750, 981_173_106, 2, 65534));
    assert!(!vm.own().join("t/null").exists());
    assert_eq!(fs::metadata(vm.own().join("t/closed")).expect("a folder").mode() & 0o7777, 0o500);
    vm.ok(&["cp", "-a", "one:/t/x", "kept"]).says("only root may give them");
    // Back, with owners of this machine and without.
    own_file(&vm, "mine", b"mine");
    vm.ok(&["cp", "-a", "mine", "one:/mine"]);
    vm.ok(&["cp", "t", "one:/back"]);
    assert_eq!(inside(&vm, "stat -c '%u:%g %a %h %Y' /back/x; stat -c '%u:%g' /mine"), "0:0 750 2 981173106\n65534:65534\n");
    // Names are bytes.
    let odd = OsString::from_vec(b"a\xff\n\"'$(id) \x01".to_vec());
    let name = vm.own().join(&odd);
    fs::write(&name, "odd").expect("a file");
    let to = OsString::from_vec(b"one:/\xfe\xff".to_vec());
    vm.ok(&[OsStr::new("cp"), odd.as_os_str(), to.as_os_str()]);
    vm.ok(&[OsStr::new("cp"), to.as_os_str(), OsStr::new("odd")]);
    assert_eq!(fs::read(vm.own().join("odd")).expect("a file"), b"odd");
}

/// Neither made, nor stopped: no program of the container has a part in it, and the disk is in order for the next start.
#[test]
fn files_of_containers_that_do_not_run() {
    let vm = Vm::new("x86_64");
    let folder = vm.own().join("volume");
    fs::create_dir(&folder).expect("a folder");
    given(&folder);
    let volume = format!("{}:/shared/volume", folder.display());
    own_file(&vm, "file", b"from here\n");
    vm.ok(&[
        "create",
        "--name",
        "one",
        "-v",
        &volume,
        "box",
        "sh",
        "-c",
        "echo ran >> /runs; cat /file /shared/volume/file; echo there > /shared/volume/there; dd if=/dev/zero of=/large bs=1M seek=299 count=1 2>/dev/null",
    ]);
    vm.ok(&["cp", "file", "one:/file"]);
    vm.ok(&["cp", "file", "one:/shared/volume"]);
    assert_eq!(fs::read_to_string(folder.join("file")).expect("a file of the volume"), "from here\n");
    assert!(vm.machines().is_empty());
    assert_eq!(vm.ok(&["inspect", "--format", "{{.State.Status}}", "one"]).stdout.trim(), "created");
    vm.run(&["cp", "one:/runs", "x"]).expect(1).says("there is no /runs");
    assert_eq!(vm.ok(&["start", "-a", "one"]).stdout, "from here\nfrom here\n");
    vm.ok(&["cp", "one:/runs", "runs"]);
    vm.ok(&["cp", "one:/shared/volume/there", "there"]);
    assert_eq!(fs::read_to_string(vm.own().join("runs")).expect("a file"), "ran\n");
    // Started at once: whoever looks at the files is waited for.
    vm.ok(&["cp", "file", "one:/next"]);
    let mut copying = vm.start(&["cp", "one:/large", "large"]);
    within(60, "the beginning of a copy", || names(&vm.own()).iter().any(|name| name.starts_with(".vdkr-")));
    let starting = vm.start(&["start", "-a", "one"]);
    assert!(copying.try_wait().expect("a state").is_none(), "the copy was over too early");
    let started = starting.wait_with_output().expect("an end");
    assert!(started.status.success(), "{started:?}");
    assert!(copying.wait().expect("an end").success());
    vm.run(&["rm", "one"]).expect(0);
    assert_eq!(vm.ok(&["ps", "-aq"]).stdout, "");
}

/// One that is to vanish when it ends has not ended before it was started.
#[test]
fn a_container_that_vanishes_keeps_what_is_copied_before_its_start() {
    let vm = Vm::new("x86_64");
    own_file(&vm, "file", b"kept\n");
    vm.ok(&["create", "--rm", "--name", "one", "box", "cat", "/file"]);
    vm.ok(&["cp", "file", "one:/file"]);
    assert_eq!(vm.ok(&["start", "-a", "one"]).stdout, "kept\n");
}

#[test]
fn a_volume_of_a_running_container_is_seen() {
    let vm = Vm::new("x86_64");
    let folder = vm.own().join("volume");
    fs::create_dir(&folder).expect("a folder");
    fs::write(folder.join("here"), "here\n").expect("a file");
    given(&folder);
    running(&vm, "mkdir -p /mem/x; echo mem > /mem/x/y", &["-v", &format!("{}:/shared", folder.display()), "--tmpfs", "/mem"]);
    vm.ok(&["cp", "one:/shared/here", "out"]);
    vm.ok(&["cp", "out", "one:/shared/back"]);
    assert_eq!(fs::read_to_string(folder.join("back")).expect("a file"), "here\n");
    assert_eq!(fs::metadata(folder.join("back")).expect("a file").uid(), 65534);
    vm.ok(&["cp", "one:/mem/x", "mem"]);
    assert_eq!(fs::read_to_string(vm.own().join("mem/y")).expect("a file"), "mem\n");
}

/// Links of a hostile container lead to its own files only: on the way to a path, at its end, and below it.
#[test]
fn a_container_leads_nobody_out_of_its_root() {
    let vm = Vm::new("x86_64");
    running(
        &vm,
        "ln -s / /up; ln -s ../../../../../.. /climb; ln -s /proc/1/root/run /magic; ln -s /run/vdkr/disk /guest; mkdir /d; ln -s /etc /d/etc; echo mine > /etc/marker",
        &[],
    );
    // The guest has its own files in these places.
    for path in ["one:/guest/upper", "one:/climb/run/vdkr/bundle", "one:/run/vdkr", "one:/up/run/vdkr", "one:/climb/lib/modules"]
    {
        vm.run(&["cp", path, "x"]).expect(1).says("there is no");
    }
    vm.run(&["cp", "one:/magic/", "x"]).expect(1);
    vm.ok(&["cp", "one:/climb/climb/up/etc/marker", "marker"]);
    assert_eq!(fs::read_to_string(vm.own().join("marker")).expect("a file"), "mine\n");
    own_file(&vm, "evil", b"evil\n");
    vm.run(&["cp", "evil", "one:/guest/upper/x"]).expect(1);
    vm.ok(&["cp", "evil", "one:/climb/etc/written"]);
    assert_eq!(inside(&vm, "cat /etc/written"), "evil\n");
    // An archive goes through no link, and climbs nowhere.
    for (archive, word) in [
        (tar(&[("d", None), ("d/etc/passwd", Some("x"))]), "a link or a file in the place of a folder"),
        (tar(&[("../../escaped", Some("x"))]), ".."),
    ] {
        let fed = vm.feed(&["cp", "-", "one:/"], &archive);
        assert_eq!(fed.status.code(), Some(1), "{fed:?}");
        assert!(String::from_utf8_lossy(&fed.stderr).contains(word), "{fed:?}");
    }
    assert!(inside(&vm, "cat /etc/passwd").starts_with("root:"));
}

/// In a folder that all may write to, links of other users lead nobody who works for root, as a copy does.
#[test]
fn links_of_others_are_guarded_against() {
    let vm = Vm::new("x86_64");
    running(&vm, "true", &[]);
    for name in ["hardlinks", "symlinks", "fifos"] {
        assert_eq!(inside(&vm, &format!("cat /proc/sys/fs/protected_{name}")), "1\n");
    }
    assert_eq!(inside(&vm, "cat /proc/sys/fs/protected_regular"), "2\n");
}

/// What the kernel makes up has no end, and no content that a copy would keep: such folders come along empty.
#[test]
fn a_whole_root_is_copied_without_what_the_kernel_makes_up() {
    let vm = Vm::new("x86_64");
    running(&vm, "mkdir /d; echo file > /d/file; ln -s /proc/version /link", &["--tmpfs", "/mem"]);
    inside(&vm, "echo mem > /mem/file");
    vm.ok(&["cp", "one:/", "root"]);
    let root = vm.own().join("root");
    for (path, content) in [("d/file", "file\n"), ("mem/file", "mem\n")] {
        assert_eq!(fs::read_to_string(root.join(path)).expect("a file"), content);
    }
    for folder in ["proc", "sys", "dev/pts"] {
        assert!(root.join(folder).is_dir() && names(&root.join(folder)).is_empty(), "{folder}");
    }
    for path in ["one:/proc/version", "one:/proc", "one:/proc/", "one:/sys/kernel", "one:/proc/self"] {
        vm.run(&["cp", path, "x"]).expect(1).says("what the kernel says").says("vdkr exec");
    }
    vm.run(&["cp", "-L", "one:/link", "x"]).expect(1).says("what the kernel says");
}

/// Folders that their owner may not enter, received by one who is bound by that.
#[test]
fn closed_folders_are_received() {
    let vm = Vm::new("x86_64");
    let script = "mkdir -p /d/none /d/half; touch /d/none/file /d/half/file; chmod 0 /d/none; chmod 600 /d/half; chmod 500 /d; touch -d '2001-02-03 04:05:06' /d/none";
    running(&vm, script, &[]);
    vm.ok(&["cp", "one:/d", "d"]);
    let folder = vm.own().join("d");
    assert_eq!(fs::metadata(folder.join("none")).expect("a folder").mtime(), 981_173_106);
    for (path, mode) in [("none", 0), ("half", 0o600), (".", 0o500)] {
        assert_eq!(fs::metadata(folder.join(path)).expect("a folder").mode() & 0o7777, mode, "{path}");
    }
    assert!(folder.join("none/file").exists() && folder.join("half/file").exists());
}

/// A socket is no file: neither side says that it was copied.
#[test]
fn a_socket_is_not_copied() {
    let vm = Vm::new("x86_64");
    running(&vm, "true", &[]);
    let socket = vm.own().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    given(&socket);
    vm.run(&["cp", "socket", "one:/socket"]).expect(1).says("socket is refused").is_silent_on("Successfully");
    assert_eq!(inside(&vm, "ls -A / | grep -e socket -e vdkr; true"), "");
}

/// An archive with these members: folders, and files with their content.
fn tar(members: &[(&str, Option<&str>)]) -> Vec<u8> {
    let mut builder = Vec::new();
    for (name, content) in members {
        let mut header = [0_u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000755");
        let size = format!("{:011o}", content.map_or(0, str::len));
        header[124..135].copy_from_slice(size.as_bytes());
        header[156] = if content.is_some() { b'0' } else { b'5' };
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        builder.extend(header);
        if let Some(content) = content {
            builder.extend(content.as_bytes());
            builder.resize(builder.len().next_multiple_of(512), 0);
        }
    }
    builder.resize(builder.len() + 1024, 0);
    builder
}

/// Links that lie here are the caller's; a copy does not go through them.
#[test]
fn a_copy_stays_in_its_destination() {
    let vm = Vm::new("x86_64");
    running(&vm, "mkdir -p /d/sub; echo evil > /d/sub/file; echo evil > /d/plain; ln -s ../../outside /d/link", &[]);
    let (to, outside) = (vm.own().join("to/d"), vm.own().join("outside"));
    fs::create_dir_all(&to).expect("a folder");
    fs::create_dir_all(&outside).expect("a folder");
    symlink(&outside, to.join("sub")).expect("a link");
    symlink(outside.join("plain"), to.join("plain")).expect("a link");
    given(&vm.own().join("to"));
    given(&outside);
    vm.run(&["cp", "one:/d", "to"]).expect(1).says("sub");
    assert!(names(&outside).is_empty());
    fs::remove_file(to.join("sub")).expect("no link");
    vm.ok(&["cp", "one:/d", "to"]);
    // A link in a file's place gives way; what it led to stays as it was.
    assert!(names(&outside).is_empty());
    assert_eq!(fs::read_to_string(to.join("plain")).expect("a file"), "evil\n");
    assert!(fs::symlink_metadata(to.join("plain")).expect("a file").file_type().is_file());
}

/// Many small files, and a large one, there and back.
#[test]
fn many_files_and_a_large_one() {
    let vm = Vm::new("x86_64");
    running(&vm, "true", &[]);
    let many = vm.own().join("many");
    for folder in 0..100 {
        let folder = many.join(format!("folder-{folder}"));
        fs::create_dir_all(&folder).expect("a folder");
        for file in 0..100 {
            fs::write(folder.join(format!("file-{file}")), format!("{file}\n")).expect("a file");
        }
    }
    let large = vm.own().join("large");
    let piece = random(1 << 20);
    let mut content = Vec::with_capacity(300 << 20);
    (0..300_u32).for_each(|at| {
        content.extend_from_slice(&at.to_le_bytes());
        content.extend_from_slice(&piece[4..]);
    });
    fs::write(&large, &content).expect("a large file");
    given(&vm.own());
    vm.ok(&["cp", "many", "one:/many"]);
    assert_eq!(inside(&vm, "find /many -type f | wc -l"), "10000\n");
    vm.ok(&["cp", "one:/many", "back"]);
    run_tool("diff", &["-r", many.to_str().expect("UTF-8"), vm.own().join("back").to_str().expect("UTF-8")], None);
    vm.ok(&["cp", "large", "one:/large"]);
    vm.ok(&["cp", "one:/large", "large-back"]);
    assert!(fs::read(vm.own().join("large-back")).expect("a file") == content);
}

/// A full disk, here and there: said, and nothing is left of it.
#[test]
fn a_full_disk_leaves_nothing_behind() {
    let vm = Vm::new("x86_64");
    running(
        &vm,
        "mkdir /d; echo small > /d/a; dd if=/dev/zero bs=1M count=64 2>/dev/null | tr '\\0' x > /d/full",
        &["--tmpfs", "/small:size=1m"],
    );
    own_file(&vm, "big", &vec![7; 3 << 20]);
    vm.run(&["cp", "big", "one:/small/big"]).expect(1).says("No space left").says("/small/big").says("free space");
    assert_eq!(inside(&vm, "ls -A /small"), "");
    let Some(disk) = SmallDisk::mount() else { return };
    given(&disk.point());
    let to = disk.point().join("copy");
    run_tool("chmod", &["-R", "a+rx", disk.point().parent().expect("a folder").to_str().expect("UTF-8")], None);
    let before = names(&disk.point());
    vm.run(&["cp", "one:/d", to.to_str().expect("UTF-8")]).expect(1).says("No space left").says("free space");
    assert_eq!(names(&disk.point()), before);
}

/// A copy that is interrupted leaves nothing unfinished, and the container goes on.
#[test]
fn an_interrupted_copy_leaves_nothing_behind() {
    let vm = Vm::new("x86_64");
    running(&vm, "dd if=/dev/zero of=/large bs=1M count=400 2>/dev/null", &[]);
    let child = vm.start(&["cp", "one:/large", "large"]);
    within(60, "the beginning of a copy", || names(&vm.own()).iter().any(|name| name.starts_with(".vdkr-")));
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("interrupted"), "{output:?}");
    assert!(names(&vm.own()).iter().all(|name| !name.contains("large") && !name.contains(".vdkr-")), "{:?}", names(&vm.own()));
    assert_eq!(inside(&vm, "echo on"), "on\n");
}

/// A container that ends under a copy, and a copy that is killed: neither is taken for a whole one, on neither side.
#[test]
fn what_ends_early_is_no_copy() {
    let vm = Vm::new("x86_64");
    running(&vm, "dd if=/dev/zero of=/large bs=1M count=400 2>/dev/null", &[]);
    let child = vm.start(&["cp", "one:/large", "large"]);
    within(60, "the beginning of a copy", || names(&vm.own()).iter().any(|name| name.starts_with(".vdkr-")));
    vm.ok(&["kill", "one"]);
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(names(&vm.own()).iter().all(|name| !name.contains("large") && !name.contains(".vdkr-")), "{:?}", names(&vm.own()));
    // Of a container that does not run nobody can see the files: its disk grows with the beginning of this one, and the rest takes no room there.
    let large = own_file(&vm, "big", &random(100 << 20));
    fs::File::options().write(true).open(large).and_then(|file| file.set_len(8 << 30)).expect("a large file");
    let state = vm.state();
    let used = || {
        let used = run_tool("du", &["-sk", state.to_str().expect("UTF-8")], None);
        used.split_whitespace().next().and_then(|used| used.parse::<u64>().ok()).expect("a number")
    };
    let before = used();
    let mut child = vm.start(&["cp", "big", "one:/big"]);
    within(60, "content on the container's disk", || used() > before + (8 << 10));
    assert!(child.try_wait().expect("a state").is_none(), "the copy was over too early");
    child.kill().expect("kill");
    child.wait().expect("an end");
    within(60, "the end of the machine", || vm.machines().is_empty());
    vm.ok(&["start", "one"]);
    assert_eq!(inside(&vm, "ls -A / | grep -e big -e vdkr; true"), "");
}

#[test]
fn a_container_for_another_architecture_is_told() {
    let vm = Vm::new("x86_64");
    vm.ok(&["create", "--name", "one", "box", "true"]);
    let state = vm.state();
    let folders: Vec<_> = state.ancestors().take(4).collect();
    let instance = folders[1].file_name().and_then(OsStr::to_str).expect("a name");
    let ran = Vm::new("aarch64").elsewhere(folders[3], &["-I", instance, "cp", "one:/etc/passwd", "x"]);
    ran.expect(1).says("No such container: one").says("--arch x86_64");
}

#[test]
fn copies_of_an_aarch64_container() {
    let vm = Vm::new("aarch64");
    running(&vm, "mkdir /d; echo there > /d/file; chmod 640 /d/file", &[]);
    vm.ok(&["cp", "one:/d", "d"]);
    assert_eq!(fs::metadata(vm.own().join("d/file")).expect("a file").permissions().mode() & 0o7777, 0o640);
    vm.ok(&["cp", "d", "one:/back"]);
    assert_eq!(inside(&vm, "cat /back/file"), "there\n");
    vm.ok(&["stop", "-t", "0", "one"]);
    vm.ok(&["cp", "d/file", "one:/back/more"]);
    vm.ok(&["commit", "one", "image"]);
    assert_eq!(vm.ok(&["run", "--rm", "image", "cat", "/back/more"]).stdout, "there\n");
}

/// Every kind of change is in the image, those of volumes are not, and it runs as the container did.
#[test]
fn a_commit_is_an_image_of_what_was_changed() {
    let vm = Vm::new("x86_64");
    let folder = vm.own().join("volume");
    fs::create_dir(&folder).expect("a folder");
    given(&folder);
    let script = "cd /; rm /etc/group; rm -r /srv/old; mkdir /srv/old; echo new > /srv/old/new; echo changed > /etc/passwd.new; ln /etc/passwd.new /second; \
        echo volume > /shared/file; chmod 750 /srv; echo more >> /etc/passwd; (while true; do echo tick >> /ticks; sleep 0.01; done) & true";
    let root = vm.image_folder();
    fs::create_dir_all(root.join("srv/old/below")).expect("folders");
    fs::write(root.join("srv/old/file"), "").expect("a file");
    vm.ok(&["vimport", root.to_str().expect("UTF-8"), "box"]);
    running(&vm, script, &["-e", "A=1", "-w", "/srv", "-p", "80", "-v", &format!("{}:/shared", folder.display())]);
    let id = vm
        .ok(&[
            "commit",
            "-m",
            "a message",
            "-a",
            "an author",
            "-c",
            "CMD [\"cat\", \"/etc/passwd.new\"]",
            "-c",
            "LABEL k=v",
            "one",
            "made:1",
        ])
        .stdout;
    assert!(id.starts_with("sha256:") && id.trim().len() == 71, "{id}");
    // It goes on.
    let ticks = || inside(&vm, "wc -l < /ticks");
    let before = ticks();
    within(30, "more ticks", || ticks() != before);
    let about = vm.ok(&["inspect", "made:1"]).json();
    assert_eq!(about[0]["Id"].as_str(), Some(id.trim()));
    assert_eq!((about[0]["Author"].as_str(), about[0]["Comment"].as_str()), (Some("an author"), Some("a message")));
    let config = &about[0]["Config"];
    assert_eq!(config["Env"].as_array().and_then(|env| env.last()?.as_str()), Some("A=1"));
    assert_eq!((config["WorkingDir"].as_str(), config["Labels"]["k"].as_str()), (Some("/srv"), Some("v")));
    assert!(config["ExposedPorts"]["80/tcp"].is_object(), "{config}");
    assert_eq!(about[0]["RootFS"]["Layers"].as_array().map(Vec::len), Some(2));
    assert!(vm.ok(&["history", "made:1"]).stdout.contains("a message"));
    assert_eq!(vm.ok(&["run", "--rm", "made:1"]).stdout, "changed\n");
    let look = "test -e /etc/group; echo $?; ls -A /srv/old; stat -c '%a' /srv; stat -c '%h' /second; tail -1 /etc/passwd; ls -A /shared 2>/dev/null; true";
    assert_eq!(vm.ok(&["run", "--rm", "made:1", "sh", "-c", look]).stdout, "1\nnew\n750\n2\nmore\n");
    // The layer, as everyone else reads it.
    let archive = vm.own().join("made.tar");
    vm.ok(&["save", "-o", "made.tar", "made:1"]);
    let listed = layer_names(&archive);
    for name in ["etc/.wh.group", "srv/old/.wh..wh..opq", "srv/old/new", "second"] {
        assert!(listed.iter().any(|found| found == name), "{name} is not in {listed:?}");
    }
    for absent in ["shared", "etc/hosts", "proc", "dev", "sys"] {
        assert!(listed.iter().all(|found| found.trim_end_matches('/') != absent), "{absent} is in {listed:?}");
    }
    // Of one that does not run: the same changes, the same layer; and without a name.
    vm.ok(&["stop", "-t", "0", "one"]);
    let layer = |id: &str| vm.ok(&["inspect", "--format", "{{json .RootFS.Layers}}", id]).stdout;
    let first = vm.ok(&["commit", "one"]).stdout;
    let second = vm.ok(&["commit", "--pause=false", "one"]).stdout;
    assert_eq!(layer(first.trim()), layer(second.trim()));
    vm.run(&["commit", "-c", "RUN x", "one"]).expect(1).says("RUN x").says("CMD, ENTRYPOINT");
    vm.run(&["commit", "nobody"]).expect(1).says("No such container: nobody");
    vm.run(&["commit", "one", "NOT A NAME"]).expect(1);
}

/// overlayfs marks all that was removed with names of one device: the second and every further mark counts as the first does.
#[test]
fn a_commit_removes_all_that_was_removed() {
    let vm = Vm::new("x86_64");
    running(&vm, "rm /etc/group /etc/passwd; mkdir /made; touch /made/file; rm -r /made; rm /bin/sort /bin/tail", &[]);
    vm.ok(&["commit", "one", "made"]);
    let look = "ls -A /etc | grep -e group -e passwd; ls /bin | grep -e sort -e tail; test -e /made || echo gone";
    assert_eq!(vm.ok(&["run", "--rm", "made", "sh", "-c", look]).stdout, "gone\n");
}

/// The names in the last layer of a saved image.
fn layer_names(archive: &Path) -> Vec<String> {
    let folder = archive.with_extension("folder");
    fs::create_dir(&folder).expect("a folder");
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    run_tool("tar", &["--extract", "--file", &text(archive), "--directory", &text(&folder)], None);
    let manifest = fs::read(folder.join("manifest.json")).expect("a manifest");
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
    let layer = manifest[0]["Layers"].as_array().and_then(|layers| layers.last()?.as_str()).expect("a layer").to_owned();
    run_tool("tar", &["--list", "--file", &text(&folder.join(layer))], None).lines().map(str::to_owned).collect()
}

/// Under everything there is no program of the image: an empty one has files, too.
#[test]
fn an_image_without_programs_has_files() {
    let vm = Vm::new("x86_64");
    let root = vm.own().join("bare");
    fs::create_dir_all(root.join("data")).expect("folders");
    fs::write(root.join("data/file"), "bare\n").expect("a file");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.join("data/pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .expect("a pipe");
    given(&root);
    vm.ok(&["vimport", root.to_str().expect("UTF-8"), "bare"]);
    vm.ok(&["create", "--name", "one", "bare", "/none"]);
    vm.ok(&["cp", "one:/data", "data"]);
    assert_eq!(fs::read_to_string(vm.own().join("data/file")).expect("a file"), "bare\n");
    assert!(fs::metadata(vm.own().join("data/pipe")).expect("a pipe").file_type().is_fifo());
    let id = vm.ok(&["commit", "one"]).stdout;
    assert_eq!(vm.ok(&["inspect", "--format", "{{len .RootFS.Layers}}", id.trim()]).stdout, "1\n", "nothing was changed");
}
