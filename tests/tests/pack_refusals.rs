//! What `wharf pack` refuses: it is named, and nothing is left of it.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be, in what its cases share as well")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wharf_tests::{Facts, Ran, RootFs, SmallDisk, Stage, random, run_tool};

/// What a layout is to be the same in; the times of its folders change with every attempt.
fn layout(path: &Path) -> Facts {
    Facts::of(path).without(&["", "blobs", "blobs/sha256"])
}

/// What cannot be packed is named, and nothing is left of it; what was there stays.
#[test]
fn what_cannot_be_packed_leaves_nothing_behind() {
    let stage = Stage::new();
    let root = RootFs::new(&stage.path("root"));
    root.file("etc/passwd", b"x", 0o644, (0, 0));
    stage.pack(root.folder(), "old-oci", &[]);
    let before = layout(&stage.path("old-oci"));
    let hidden = RootFs::new(&stage.path("hidden"));
    hidden.file("etc/.wh.passwd", b"", 0o644, (0, 0));
    fs::write(stage.path("broken.tar"), random(4_000)).unwrap();
    let archive = |name: &str, code: &str| {
        let script = format!("import tarfile,io\nt=tarfile.open('{}','w')\n{code}\nt.close()", stage.text(name));
        run_tool("python3", &["-c", &script], None);
    };
    let link = |to: &str| format!("i=tarfile.TarInfo('some/link'); i.type=tarfile.LNKTYPE; i.linkname='{to}'; t.addfile(i)");
    archive("climbing.tar", "t.addfile(tarfile.TarInfo('a/../../b'))");
    archive("linked-above.tar", &link("../outside"));
    archive("linked-nowhere.tar", &link("/etc/hostname"));
    archive("linked-folder.tar", &format!("i=tarfile.TarInfo('f'); i.type=tarfile.DIRTYPE; t.addfile(i)\n{}", link("f")));
    let through =
        "i=tarfile.TarInfo('way'); i.type=tarfile.SYMTYPE; i.linkname='/tmp'; t.addfile(i)\nt.addfile(tarfile.TarInfo('way/x'))";
    archive("through.tar", through);
    archive("hidden.tar", "t.addfile(tarfile.TarInfo('etc/.wh.passwd'))");
    archive("whole.tar", "i=tarfile.TarInfo('a'); i.size=100000; t.addfile(i,io.BytesIO(b'x'*100000))");
    let bytes = fs::read(stage.path("whole.tar")).unwrap();
    fs::write(stage.path("cut.tar"), &bytes[..60_000]).unwrap();
    for (source, says) in [
        ("nowhere", &["nowhere", "No such file"][..]),
        ("hidden", &["etc/.wh.passwd"]),
        ("hidden.tar", &["etc/.wh.passwd"]),
        ("broken.tar", &["damaged"]),
        ("cut.tar", &["damaged"]),
        ("climbing.tar", &["a/../../b", "it holds `..`"]),
        ("linked-above.tar", &["some/link", "`../outside`", "it holds `..`"]),
        ("linked-nowhere.tar", &["some/link", "`/etc/hostname` is not in the archive"]),
        ("linked-folder.tar", &["some/link", "`f` is a directory"]),
        ("through.tar", &["way/x", "symbolic link"]),
    ] {
        for target in ["new-oci", "new.tar", "old-oci"] {
            let mut ran = stage.wharf.fails(&["pack", source, target]).says(&format!("{source} cannot be packed"));
            for says in says {
                ran = ran.says(says);
            }
            assert!(!stage.path("new-oci").exists() && !stage.path("new.tar").exists(), "{ran}");
            before.assert_same(&layout(&stage.path("old-oci")), source);
        }
        if source.ends_with(".tar") {
            let piped = fs::File::open(stage.path(source)).unwrap();
            let output = stage.wharf.command(&["pack", "-", "new-oci"]).stdin(piped).output().unwrap();
            let mut ran = Ran::of(format!("pack - < {source}"), output).expect(1);
            for says in says {
                ran = ran.says(says);
            }
            assert!(!stage.path("new-oci").exists(), "{ran}");
        }
    }
    stage.wharf.fails(&["pack", "root", "hidden"]).says("no image layout");
    for (option, wrong) in [("--port", "http"), ("--env", "A"), ("--level", "99"), ("--layer", "a["), ("--base", "nowhere")] {
        stage.wharf.fails(&["pack", "root", "new-oci", option, wrong]).says(wrong);
        assert!(!stage.path("new-oci").exists(), "{option} {wrong}");
    }
}

/// A file that grows while it is read is not half in the image.
#[test]
fn a_file_that_changes_is_an_error() {
    let stage = Stage::new();
    let root = RootFs::new(&stage.path("root"));
    root.file("large", &random(64 << 20), 0o644, (0, 0));
    let path = root.path("large");
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                fs::File::options().append(true).open(&path).and_then(|mut file| file.write_all(b"x")).unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let ran = stage.wharf.run(&["pack", "root", "new-oci"]);
        ended.store(true, Ordering::Relaxed);
        ran.expect(1).says("changed while it was read").says("large");
    });
    assert!(!stage.path("new-oci").exists());
}

/// What ends early on standard input is no archive, and is not half packed.
#[test]
fn standard_input_that_ends_early_is_an_error() {
    let stage = Stage::new();
    let root = RootFs::new(&stage.path("root"));
    root.file("large", &random(3 << 20), 0o644, (0, 0));
    run_tool("tar", &["-czf", &stage.text("root.tar.gz"), "-C", &stage.text("root"), "."], None);
    let bytes = fs::read(stage.path("root.tar.gz")).unwrap();
    for (kept, says) in [(0, "the tar archive is damaged: it ends at byte 0"), (bytes.len() / 2, "decompress")] {
        let mut command = stage.wharf.command(&["pack", "-", "new-oci"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&bytes[..kept]).unwrap();
        let ran = Ran::of(format!("pack - ({kept} bytes)"), child.wait_with_output().unwrap());
        ran.expect(1).says("standard input").says(says);
        assert!(!stage.path("new-oci").exists());
    }
}

/// On a full disk the reason is said, and what was written is given back; a layout that was there is as it was.
#[test]
fn a_full_disk_holds_nothing_half_packed() {
    let Some(disk) = SmallDisk::mount() else { return };
    let stage = Stage::new();
    let small = RootFs::new(&stage.path("small"));
    small.file("etc/passwd", &random(100_000), 0o644, (0, 0));
    let large = RootFs::new(&stage.path("large"));
    large.file("data", &random(60 << 20), 0o644, (0, 0));
    run_tool("tar", &["-cf", &stage.text("large.tar"), "-C", &stage.text("large"), "."], None);
    let at = |name: &str| disk.point().join(name).to_str().unwrap().to_owned();
    stage.wharf.ok(&["pack", "small", &at("old-oci")]);
    let (before, free) = (Facts::of(&disk.point().join("old-oci")), disk.free());
    let names = || {
        let mut names: Vec<_> = fs::read_dir(disk.point()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.retain(|name| name != "lost+found");
        names
    };
    for source in ["large", "large.tar", "-"] {
        for target in ["new-oci", "new.tar", "deep/er/new-oci", "old-oci"] {
            let mut command = stage.wharf.command(&["pack", source, &at(target)]);
            if source == "-" {
                command.stdin(fs::File::open(stage.path("large.tar")).unwrap());
            }
            if target == "new.tar" && source != "large" {
                // Its folder is beside it, as those of the others are.
                continue;
            }
            let ran = Ran::of(format!("pack {source} {target}"), command.output().unwrap());
            let ran = ran.expect(1).says("No space left on device").says(&at(""));
            assert_eq!(names(), ["old-oci"], "{ran}");
            let now = Facts::of(&disk.point().join("old-oci"));
            before.clone().without(&["", "blobs/sha256"]).assert_same(&now.without(&["", "blobs/sha256"]), target);
            assert!(disk.free() + (64 << 10) > free, "{} bytes of {free} are free: {ran}", disk.free());
        }
    }
    stage.wharf.ok(&["unpack", &at("old-oci"), "out"]);
    Facts::of(small.folder()).assert_same(&Facts::of(&stage.path("out")), "the layout on the full disk");
}
