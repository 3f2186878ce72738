//! `wharf pack`: a root file system becomes an image, from which the same root file system comes back.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be, in what its cases share as well")]

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};
use wharf_tests::{Facts, Ran, RootFs, Stage, run_tool};

/// A time before that of any file.
const EPOCH: &str = "1600000000";

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
        assert!(unpacked.blocks() * 512 < 1 << 20, "{form}: holes were filled");
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
    let run = |source: &str, layout: &str| wharf.ok(&["pack", source, layout]).packed();
    let first = run("root", "first-oci");
    assert_eq!(run("root", "again-oci"), first);
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let copy = memory.path().join("copy");
    run_tool("cp", &["-a", root.folder().to_str().unwrap(), copy.to_str().unwrap()], None);
    assert_eq!(run(copy.to_str().unwrap(), "copy-oci"), first);
    // GNU's own format has no place for attributes: what comes of it is the same tree without them.
    let plain = stage.path("plain");
    run_tool("cp", &["-a", &stage.text("root"), &stage.text("plain")], None);
    for attribute in ["security.capability", "user.note"] {
        run_tool("setfattr", &["--remove", attribute, plain.join("usr/bin/ping").to_str().unwrap()], None);
    }
    let without = run("plain", "plain-oci");
    assert_ne!(without, first);
    let xattrs = ["--xattrs", "--xattrs-include=*"];
    for (format, sort, xattrs, expected) in [
        ("gnu", "name", &[][..], &without),
        ("posix", "name", &[], &without),
        ("posix", "none", &xattrs, &first),
        ("posix", "inode", &xattrs, &first),
    ] {
        let archive = stage.text("root.tar");
        let (format, sort) = (format!("--format={format}"), format!("--sort={sort}"));
        let how = ["--create", &format, &sort, "--numeric-owner", "--sparse"];
        run_tool("tar", &[&how[..], xattrs, &["--file", &archive, "--directory", &stage.text("root"), "."]].concat(), None);
        assert_eq!(run("root.tar", "tar-oci"), *expected, "{format} {sort}");
        run_tool("gzip", &["--force", &archive], None);
        assert_eq!(run("root.tar.gz", "gz-oci"), *expected, "{format} {sort}, compressed");
        let piped = fs::File::open(stage.path("root.tar.gz")).unwrap();
        let output = wharf.command(&["pack", "-", "piped-oci"]).stdin(piped).output().unwrap();
        assert_eq!(Ran::of("pack - piped-oci".to_owned(), output).expect(0).packed(), *expected, "{format} {sort}, piped");
    }
    assert_eq!(stage.manifest("first-oci")["layers"].as_array().unwrap().len(), 1);
    assert_eq!(stage.config("first-oci")["created"], "2020-09-13T12:26:40Z");
    wharf.ok(&["unpack", "first-oci", "out"]);
    let time = fs::metadata(stage.path("out/large")).unwrap().mtime();
    assert_eq!(time.to_string(), EPOCH);
}

/// An older version spares work, and changes nothing; nor does one that is not what it says.
#[test]
fn an_older_version_changes_nothing() {
    let stage = Stage::new();
    let wharf = stage.wharf.env("SOURCE_DATE_EPOCH", EPOCH);
    let root = RootFs::with_everything(&stage.path("root"));
    for form in ["gzip", "zstd:chunked"] {
        let run = |layout: &str, options: &[&str]| {
            wharf.ok(&[&["pack", "root", layout, "--compression", form], options].concat()).packed()
        };
        let first = run("older-oci", &["--tag", "1"]);
        root.file("etc/added", form.as_bytes(), 0o644, (0, 0));
        let anew = run("anew-oci", &[]);
        assert_ne!(anew, first);
        assert_eq!(run("app-oci", &["--older", "older-oci:1"]), anew, "{form}");
        assert_eq!(run("older-oci", &["--tag", "1"]), anew, "{form}: in its place");
        let blob = stage.blob_path("older-oci", &stage.manifest("older-oci")["layers"][0]);
        let mut bytes = fs::read(&blob).unwrap();
        bytes.iter_mut().skip(20).step_by(50).for_each(|byte| *byte ^= 0x55);
        fs::write(&blob, &bytes).unwrap();
        assert_eq!(run("app-oci", &["--older", "older-oci"]), anew, "{form}: damaged");
        fs::write(&blob, &bytes[..30]).unwrap();
        assert_eq!(run("app-oci", &["--older", "older-oci"]), anew, "{form}: cut off");
        for layout in ["older-oci", "anew-oci", "app-oci"] {
            fs::remove_dir_all(stage.path(layout)).unwrap();
        }
    }
    wharf.run(&["pack", "root", "app-oci", "--older", "no-oci"]).expect(1).says("no-oci not found");
    assert!(!stage.path("app-oci").exists());
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
    assert_eq!(execution["Entrypoint"], json!(["curl", "-H", "a: b"]));
    assert_eq!(execution["Cmd"], json!(["http://localhost"]));
    assert_eq!(execution["Env"], json!(["A=1"]));
    assert_eq!(
        (&execution["User"], &execution["WorkingDir"], &execution["StopSignal"]),
        (&"1000".into(), &"/srv".into(), &"SIGINT".into())
    );
    assert_eq!(execution["ExposedPorts"], json!({"80/tcp": {}}));
    assert_eq!((&config["architecture"], &config["author"]), (&"arm".into(), &"N <n@example.org>".into()));
    assert_eq!(config["variant"], "v7");
    assert_eq!(read(&[])["Labels"], json!({"k": "v w"}));
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
    Facts::of(root.folder()).assert_same(&stage.unpacked("app-oci"), "what was cut into layers");

    let more = RootFs::new(&stage.path("more"));
    more.file("etc/added", b"x", 0o644, (0, 0));
    stage.pack(more.folder(), "over-oci", &["--base", "app-oci", "--label", "a=b", "--tag", "2"]);
    let manifest = stage.manifest("over-oci");
    assert_eq!(manifest["layers"].as_array().unwrap()[..3], stage.manifest("app-oci")["layers"].as_array().unwrap()[..]);
    let config = stage.config("over-oci");
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
    let left: Vec<_> = fs::read_dir(stage.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

/// A file goes to the first layer that names it, and the folders above are there too; all names of a file go together; the rest comes last.
#[test]
fn every_file_is_in_the_layer_that_names_it() {
    let stage = Stage::new();
    let root = RootFs::new(&stage.path("root"));
    for file in ["usr/bin/app", "usr/bin/tool", "usr/lib/a.so", "usr/lib/deep/b.so", "usr/lib/c.txt", "etc/app.conf", "opt/x/y"] {
        root.file(file, file.as_bytes(), 0o644, (0, 0));
    }
    fs::hard_link(root.path("usr/bin/tool"), root.path("etc/tool")).unwrap();
    root.link("usr/bin/link", "app");
    root.settle();
    fs::write(stage.path("list"), "opt/x\n  usr/lib/c.txt\n").unwrap();
    let options = ["--layer", "usr/bin/app usr/**/*.so", "--layer", "usr/bin", "--layer", "@list"];
    stage.pack(root.folder(), "app-oci", &options);
    let files = |layer: &Value| {
        let blob = stage.blob_path("app-oci", layer);
        let listed = run_tool("tar", &["--list", "--gzip", "--file", blob.to_str().unwrap()], None);
        listed.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let layers: Vec<_> = stage.manifest("app-oci")["layers"].as_array().unwrap().iter().map(files).collect();
    let expected: [&[&str]; 4] = [
        &["./", "usr/", "usr/bin/", "usr/bin/app", "usr/lib/", "usr/lib/a.so", "usr/lib/deep/", "usr/lib/deep/b.so"],
        &["./", "etc/", "etc/tool", "usr/", "usr/bin/", "usr/bin/link", "usr/bin/tool"],
        &["./", "opt/", "opt/x/", "opt/x/y", "usr/", "usr/lib/", "usr/lib/c.txt"],
        // Folders are like files: what no list names is here, with its owner and mode.
        &["./", "etc/", "etc/app.conf", "opt/", "usr/", "usr/lib/", "usr/lib/deep/"],
    ];
    assert_eq!(layers, expected);
    Facts::of(root.folder()).assert_same(&stage.unpacked("app-oci"), "what was cut into layers");
}

/// The labels that a build puts on by itself come with `--auto` alone, and give way to those that are given.
#[test]
fn automatic_labels_are_put_on_when_asked_for() {
    let stage = Stage::new();
    let wharf = stage.wharf.env("SOURCE_DATE_EPOCH", EPOCH);
    RootFs::new(&stage.path("root")).file("etc/passwd", b"x", 0o644, (0, 0));
    let git = |arguments: &[&str]| {
        let who = ["-C", stage.folder().to_str().unwrap(), "-c", "user.name=A", "-c", "user.email=a@example.org"];
        run_tool("git", &[&who[..], arguments].concat(), None).trim().to_owned()
    };
    git(&["init", "--quiet", "--initial-branch", "feature/pack"]);
    git(&["commit", "--quiet", "--allow-empty", "--message=one"]);
    let commit = git(&["rev-parse", "--short", "HEAD"]);
    let labels = |options: &[&str]| {
        wharf.ok(&[&["pack", "root", "app-oci"], options].concat());
        stage.config("app-oci")["config"]["Labels"].clone()
    };
    let name = |last: &str| format!("org.opencontainers.image.{last}");
    let (revision, branch, created, version) = (name("revision"), name("ref.name"), name("created"), name("version"));
    let time = "2020-09-13T12:26:40Z";
    assert_eq!(labels(&[]), Value::Null);
    assert_eq!(labels(&["--auto"]), json!({&revision: &commit, &branch: "feature/pack", &created: time}));
    let given = ["--auto", "--image-version", "1.2", "--label", &format!("{branch}=mine"), "--label", "a=b"];
    assert_eq!(labels(&given), json!({&revision: &commit, &branch: "mine", &created: time, &version: "1.2", "a": "b"}));
}
