//! `wharf pack` and `wharf unpack`: a root file system becomes an image, and an image a root file system.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be, in what its cases share as well")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use wharf_tests::{Facts, Ran, RootFs, Wharf, clients, random, run_tool};

/// A time before that of any file.
const EPOCH: &str = "1600000000";

struct Stage {
    folder: TempDir,
    wharf: Wharf,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let wharf = Wharf::new(folder.path());
        Self { folder, wharf }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Packs with these options, and returns the manifest's digest.
    #[track_caller]
    fn pack(&self, rootfs: &Path, layout: &str, options: &[&str]) -> String {
        let arguments = [&["pack", rootfs.to_str().unwrap(), layout], options].concat();
        digest(&self.wharf.ok(&arguments))
    }

    fn manifest(&self, layout: &str) -> Value {
        let index: Value = serde_json::from_slice(&fs::read(self.path(layout).join("index.json")).unwrap()).unwrap();
        self.blob(layout, &index["manifests"][0])
    }

    fn blob(&self, layout: &str, descriptor: &Value) -> Value {
        let hash = &descriptor["digest"].as_str().unwrap()[7..];
        serde_json::from_slice(&fs::read(self.path(layout).join("blobs/sha256").join(hash)).unwrap()).unwrap()
    }
}

fn digest(ran: &Ran) -> String {
    let (_, digest) = ran.stdout.trim().rsplit_once(' ').expect("a digest");
    digest.to_owned()
}

/// Everything that a file system holds survives, in both forms.
#[test]
fn everything_comes_out_as_it_went_in() {
    let stage = Stage::new();
    let root = RootFs::with_everything(&stage.path("root"));
    let facts = Facts::of(root.folder());
    for form in ["gzip", "zstd:chunked"] {
        stage.pack(root.folder(), "app-oci", &["--compression", form]);
        stage.wharf.ok(&["unpack", "app-oci", "out"]);
        facts.assert_same(&Facts::of(&stage.path("out")), form);
        let unpacked = fs::metadata(stage.path("out/sparse")).unwrap();
        assert!(std::os::unix::fs::MetadataExt::blocks(&unpacked) * 512 < 1 << 20, "{form}: holes were filled");
        fs::remove_dir_all(stage.path("out")).unwrap();
    }
    stage.pack(root.folder(), "app-oci", &[]);
    run_tool(
        "umoci",
        &["unpack", "--image", &format!("{}:latest", stage.path("app-oci").display()), stage.path("bundle").to_str().unwrap()],
        None,
    );
    facts.assert_same(&Facts::of(&stage.path("bundle/rootfs")), "what umoci unpacked");
}

/// The same files are the same image, wherever they lie, in whatever order, in a folder or in an archive.
#[test]
fn the_same_input_is_the_same_image() {
    let stage = Stage::new();
    let wharf = stage.wharf.env("SOURCE_DATE_EPOCH", EPOCH);
    let root = RootFs::with_everything(&stage.path("root"));
    let run = |source: &str, layout: &str| digest(&wharf.ok(&["pack", source, layout]));
    let first = run("root", "first-oci");
    assert_eq!(run("root", "again-oci"), first);
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let copy = memory.path().join("copy");
    run_tool("cp", &["-a", root.folder().to_str().unwrap(), copy.to_str().unwrap()], None);
    assert_eq!(run(copy.to_str().unwrap(), "copy-oci"), first);
    for (format, sort) in [("gnu", "name"), ("posix", "none"), ("posix", "inode")] {
        let archive = stage.path("root.tar");
        let options = [
            "--create".to_owned(),
            format!("--format={format}"),
            format!("--sort={sort}"),
            "--numeric-owner".to_owned(),
            "--sparse".to_owned(),
            "--xattrs".to_owned(),
            "--xattrs-include=*".to_owned(),
            format!("--file={}", archive.display()),
            format!("--directory={}", root.folder().display()),
            ".".to_owned(),
        ];
        run_tool("tar", &options.iter().map(String::as_str).collect::<Vec<_>>(), None);
        // GNU's own format has no place for attributes.
        let expected = (format == "posix").then_some(&first);
        let found = run("root.tar", "tar-oci");
        assert!(expected.is_none_or(|expected| *expected == found), "{format} {sort}");
        run_tool("gzip", &["--force", archive.to_str().unwrap()], None);
        assert_eq!(run("root.tar.gz", "gz-oci"), found);
    }
    assert_eq!(stage.manifest("first-oci")["layers"].as_array().unwrap().len(), 1);
    let config = stage.blob("first-oci", &stage.manifest("first-oci")["config"]);
    assert_eq!(config["created"], "2020-09-13T12:26:40Z");
    wharf.ok(&["unpack", "first-oci", "out"]);
    let time = std::os::unix::fs::MetadataExt::mtime(&fs::metadata(stage.path("out/large")).unwrap());
    assert_eq!(time.to_string(), EPOCH);
}

/// What is made and packed by an ordinary user under fakeroot is what root would have made.
#[test]
fn who_only_seems_to_be_root_packs_the_same() {
    let stage = Stage::new();
    let user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    fs::set_permissions(stage.folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let program = stage.path("wharf");
    fs::copy(stage.wharf.program(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let make = "set -e; umask 022; mkdir -p R/etc R/bin R/dev; echo root > R/etc/passwd; echo x > R/etc/shadow; chown 0:42 R/etc/shadow; chmod 640 R/etc/shadow
        echo su > R/bin/su; chown 3:4 R/bin/su; chmod 4755 R/bin/su; ln R/bin/su R/bin/sudo; ln -s su R/bin/sh; mknod R/dev/null c 1 3; chmod 666 R/dev/null
        chmod 755 R R/etc R/bin R/dev; chmod 644 R/etc/passwd; find R -exec touch -h -d @1500000000 {} +
        W pack R L --arch amd64 && stat -c '%n %u:%g %a %t:%T %h' R/etc/* R/bin/* R/dev/*";
    let script = |name: &str| {
        let path = |part: &str| stage.path(&format!("{name}-{part}")).display().to_string();
        let words = make.replace("W ", &format!("{} ", program.display()));
        words
            .replace("R/", &format!("{}/", path("root")))
            .replace(" R ", &format!(" {} ", path("root")))
            .replace(" L ", &format!(" {} ", path("oci")))
    };
    let run = |name: &str, before: &[&str]| {
        let mut words: Vec<_> = before.iter().copied().chain(["sh", "-c"]).collect();
        let script = script(name);
        words.push(&script);
        let mut command = Command::new(clients::require("env"));
        command.args(&words).env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("SOURCE_DATE_EPOCH", EPOCH);
        command.env("HOME", stage.folder.path());
        let output = command.current_dir(stage.folder.path()).output().unwrap();
        let ran = Ran::of(format!("as {name}"), output).expect(0);
        let lines: Vec<_> = ran.stdout.lines().collect();
        let (first, rest) = lines.split_first().expect("a digest");
        let digest = first.rsplit_once(' ').expect("a digest").1.to_owned();
        (digest, rest.iter().map(|line| line.replace(&format!("{name}-root"), "root")).collect::<Vec<_>>())
    };
    let root = run("root", &[]);
    assert!(root.1.iter().any(|line| line.contains("/bin/su 3:4 4755 0:0 2")), "{root:?}");
    assert!(root.1.iter().any(|line| line.contains("/dev/null 0:0 666 1:3 1")), "{root:?}");
    let fakeroot = run("fakeroot", &[&user[..], &["fakeroot"]].concat());
    assert_eq!(fakeroot, root);
}

/// Settings are what other tools read.
#[test]
fn settings_are_in_the_configuration() {
    let stage = Stage::new();
    let root = RootFs::new(&stage.path("root"));
    root.file("etc/passwd", b"x", 0o644, (0, 0));
    let options = [
        "--entrypoint",
        "curl -H 'a: b'",
        "--entrypoint-args",
        "http://localhost",
        "--env",
        "A=1",
        "--label",
        "k=v w",
        "--port",
        "80",
        "--user",
        "1000",
        "--workdir",
        "/srv",
        "--stop-signal",
        "SIGINT",
        "--author",
        "N",
        "--author-email",
        "n@example.org",
        "--arch",
        "arm",
        "--variant",
        "v7",
        "--tag",
        "1.0",
    ];
    stage.pack(root.folder(), "app-oci", &options);
    let read = |options: &[&str]| {
        let image = format!("oci:{}:1.0", stage.path("app-oci").display());
        let arguments = [&["--insecure-policy", "--override-arch=arm", "inspect"], options, &[&image]].concat();
        serde_json::from_str::<Value>(&run_tool("skopeo", &arguments, None)).unwrap()
    };
    let config = read(&["--config"]);
    let execution = &config["config"];
    assert_eq!(execution["Entrypoint"], serde_json::json!(["curl", "-H", "a: b"]));
    assert_eq!(execution["Cmd"], serde_json::json!(["http://localhost"]));
    assert_eq!(execution["Env"], serde_json::json!(["A=1"]));
    assert_eq!(
        (&execution["User"], &execution["WorkingDir"], &execution["StopSignal"]),
        (&"1000".into(), &"/srv".into(), &"SIGINT".into())
    );
    assert_eq!(execution["ExposedPorts"], serde_json::json!({"80/tcp": {}}));
    assert_eq!((&config["architecture"], &config["author"]), (&"arm".into(), &"N <n@example.org>".into()));
    assert_eq!(config["variant"], "v7");
    assert_eq!(read(&[])["Labels"], serde_json::json!({"k": "v w"}));
}

/// Paths get layers of their own, and a base lies below them.
#[test]
fn layers_are_made_of_paths_and_put_on_a_base() {
    let stage = Stage::new();
    let root = RootFs::with_everything(&stage.path("root"));
    let ran =
        stage.wharf.ok(&["pack", "root", "app-oci", "--layer", "usr/bin etc/pass*", "--layer", "home", "--layer", "no/such"]);
    ran.says("no file is called no/such");
    assert_eq!(stage.manifest("app-oci")["layers"].as_array().unwrap().len(), 3);
    stage.wharf.ok(&["unpack", "app-oci", "out"]);
    Facts::of(root.folder()).assert_same(&Facts::of(&stage.path("out")), "what was cut into layers");

    let more = RootFs::new(&stage.path("more"));
    more.file("etc/added", b"x", 0o644, (0, 0));
    stage.pack(more.folder(), "over-oci", &["--base", "app-oci", "--label", "a=b", "--tag", "2"]);
    let manifest = stage.manifest("over-oci");
    assert_eq!(manifest["layers"].as_array().unwrap()[..3], stage.manifest("app-oci")["layers"].as_array().unwrap()[..]);
    let config = stage.blob("over-oci", &manifest["config"]);
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 4);
    assert_eq!(config["history"].as_array().unwrap().len(), 4);
    stage.wharf.ok(&["unpack", "over-oci:2", "over"]);
    assert_eq!(fs::read(stage.path("over/etc/added")).unwrap(), b"x");
    assert_eq!(fs::read(stage.path("over/large")).unwrap(), fs::read(root.path("large")).unwrap());
}

/// A layout comes as one file, too, which others read.
#[test]
fn a_layout_is_one_file_when_that_is_wanted() {
    let stage = Stage::new();
    let root = RootFs::new(&stage.path("root"));
    root.file("etc/passwd", b"x", 0o644, (0, 0));
    let packed = stage.pack(root.folder(), "app-oci.tar", &[]);
    let image = format!("oci-archive:{}", stage.path("app-oci.tar").display());
    let read = run_tool("skopeo", &["--insecure-policy", "inspect", &image], None);
    assert_eq!(serde_json::from_str::<Value>(&read).unwrap()["Digest"], packed.as_str());
    stage.wharf.ok(&["unpack", "app-oci.tar", "out"]);
    let left: Vec<_> = fs::read_dir(stage.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

/// What cannot be packed is named, and nothing is left of it; what was there stays.
#[test]
fn what_cannot_be_packed_leaves_nothing_behind() {
    let stage = Stage::new();
    let root = RootFs::new(&stage.path("root"));
    root.file("etc/passwd", b"x", 0o644, (0, 0));
    stage.pack(root.folder(), "old-oci", &[]);
    let before = Facts::of(&stage.path("old-oci")).without(&["", "blobs", "blobs/sha256"]);
    let hidden = RootFs::new(&stage.path("hidden"));
    hidden.file("etc/.wh.passwd", b"", 0o644, (0, 0));
    fs::write(stage.path("broken.tar"), random(4_000)).unwrap();
    let python = |code: &str| {
        let script = format!("import tarfile,io\nt=tarfile.open('out.tar','w')\n{code}\nt.close()");
        run_tool("env", &["-C", stage.folder.path().to_str().unwrap(), "python3", "-c", &script], None);
        fs::rename(
            stage.path("out.tar"),
            stage.path(&format!("{}.tar", hex::encode(&wharf_tests::sha256(code.as_bytes())[7..15]))),
        )
        .unwrap();
        format!("{}.tar", hex::encode(&wharf_tests::sha256(code.as_bytes())[7..15]))
    };
    let climbing = python("i=tarfile.TarInfo('a/../../b'); t.addfile(i)");
    let linked = python("i=tarfile.TarInfo('a'); i.type=tarfile.LNKTYPE; i.linkname='../b'; t.addfile(i)");
    let whole = python("i=tarfile.TarInfo('a'); i.size=100000; t.addfile(i,io.BytesIO(b'x'*100000))");
    let bytes = fs::read(stage.path(&whole)).unwrap();
    fs::write(stage.path("cut.tar"), &bytes[..60_000]).unwrap();
    for (source, says) in [
        ("nowhere", "nowhere"),
        ("hidden", ".wh.passwd"),
        ("broken.tar", "damaged"),
        ("cut.tar", "damaged"),
        (climbing.as_str(), "`..`"),
        (linked.as_str(), "a"),
    ] {
        for layout in ["new-oci", "old-oci"] {
            stage.wharf.fails(&["pack", source, layout]).says(says);
            assert!(!stage.path("new-oci").exists(), "{source}");
            before.assert_same(&Facts::of(&stage.path("old-oci")).without(&["", "blobs", "blobs/sha256"]), source);
        }
    }
    stage.wharf.fails(&["pack", "root", "hidden"]).says("no image layout");
    for wrong in [["--port", "http"], ["--env", "A"], ["--level", "99"], ["--layer", "a["], ["--base", "nowhere"]] {
        stage.wharf.fails(&[&["pack", "root", "new-oci"][..], &wrong].concat());
        assert!(!stage.path("new-oci").exists(), "{wrong:?}");
    }
}

/// A file that grows while it is read is not half in the image.
#[test]
fn a_file_that_changes_is_an_error() {
    let stage = Stage::new();
    let root = RootFs::new(&stage.path("root"));
    root.file("large", &random(64 << 20), 0o644, (0, 0));
    let path = root.path("large");
    let ended = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                use std::io::Write;
                fs::File::options().append(true).open(&path).and_then(|mut file| file.write_all(b"x")).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        let ran = stage.wharf.run(&["pack", "root", "new-oci"]);
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        ran.expect(1).says("changed while it was read").says("large");
    });
    assert!(!stage.path("new-oci").exists());
}

/// What is to be unpacked is believed nothing.
#[test]
fn what_cannot_be_unpacked_leaves_nothing_behind() {
    let stage = Stage::new();
    let root = RootFs::new(&stage.path("root"));
    root.file("etc/passwd", b"x", 0o644, (0, 0));
    stage.pack(root.folder(), "app-oci", &[]);
    fs::create_dir(stage.path("full")).unwrap();
    fs::write(stage.path("full/mine"), "x").unwrap();
    stage.wharf.fails(&["unpack", "app-oci", "full"]).says("full");
    assert_eq!(fs::read_dir(stage.path("full")).unwrap().count(), 1);
    stage.wharf.fails(&["unpack", "nowhere", "out"]).says("nowhere");

    // The layer is exchanged for another one of the same length in its place.
    let layer = stage.manifest("app-oci")["layers"][0]["digest"].as_str().unwrap()[7..].to_owned();
    let other = RootFs::new(&stage.path("other"));
    other.file("etc/passwd", b"y", 0o644, (0, 0));
    stage.pack(other.folder(), "other-oci", &[]);
    let others = stage.manifest("other-oci")["layers"][0]["digest"].as_str().unwrap()[7..].to_owned();
    let (ours, theirs) = (stage.path("app-oci/blobs/sha256").join(layer), stage.path("other-oci/blobs/sha256").join(others));
    if fs::metadata(&ours).unwrap().len() == fs::metadata(&theirs).unwrap().len() {
        fs::copy(&theirs, &ours).unwrap();
        stage.wharf.fails(&["unpack", "app-oci", "out"]).says("altered");
    } else {
        fs::write(&ours, b"x").unwrap();
        stage.wharf.fails(&["unpack", "app-oci", "out"]).says("bytes");
    }
    assert!(!stage.path("out").exists());
}

/// Links are kept as they are, and nothing is written through one that leads out.
#[test]
fn nothing_is_written_outside_of_the_folder() {
    let stage = Stage::new();
    let below = RootFs::new(&stage.path("below"));
    symlink(stage.folder.path(), below.path("way-out")).unwrap();
    symlink("../../..", below.path("way-up")).unwrap();
    stage.pack(below.folder(), "below-oci", &[]);
    for way in ["way-out", "way-up"] {
        let over = RootFs::new(&stage.path(&format!("over-{way}")));
        over.file(&format!("{way}/victim"), b"x", 0o644, (0, 0));
        // A layer with the file alone, as an attacker would write it.
        let archive = stage.path("over.tar");
        run_tool(
            "tar",
            &["-C", over.folder().to_str().unwrap(), "-cf", archive.to_str().unwrap(), &format!("{way}/victim")],
            None,
        );
        stage.pack(&archive, "over-oci", &["--base", "below-oci"]);
        let ran = stage.wharf.run(&["unpack", "over-oci", "out"]);
        assert!(!stage.path("victim").exists(), "{ran}");
        if ran.code == 0 {
            let _ = fs::remove_dir_all(stage.path("out"));
        } else {
            assert!(!stage.path("out").exists(), "{ran}");
        }
    }
}
