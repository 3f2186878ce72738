//! The images of `vdkr` on this machine: listed, inspected, named, removed, taken in and given out, without any virtual machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use wharf_tests::clients::require;
use wharf_tests::{Image, Ran, RootFs, Server, Wharf, archive, image_of, random, run_tool, sha256, write_layout};

struct Bench {
    folder: TempDir,
    vdkr: Wharf,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let vdkr = Wharf::vdkr(folder.path()).env("VDKR_ARCH", "x86_64");
        Self { folder, vdkr }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("UTF-8").to_owned()
    }

    /// An image of a real root file system, taken in under this name.
    fn rootfs(&self, name: &str) -> String {
        let folder = self.path("root");
        if !folder.exists() {
            let root = RootFs::new(&folder);
            root.file("etc/motd", b"hello\n", 0o644, (0, 0));
            root.file("bin/tool", &random(5_000), 0o755, (0, 0));
            root.settle();
        }
        self.vdkr.ok(&["vimport", &self.text("root"), name]).stdout.trim().to_owned()
    }

    fn inspect(&self, name: &str, format: &str) -> String {
        self.vdkr.ok(&["inspect", "--format", format, name]).stdout.trim_end().to_owned()
    }

    fn names(&self) -> Vec<String> {
        let listed = self.vdkr.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
        listed.stdout.lines().map(str::to_owned).collect()
    }
}

fn image(architecture: &str, labels: Value) -> Image {
    let layer = archive("content", &random(1_000));
    image_of(json!({"os": "linux", "architecture": architecture}), labels, vec![layer])
}

fn blobs(store: &Path) -> usize {
    fs::read_dir(store.join("blobs/sha256")).map_or(0, Iterator::count)
}

/// Names come and go, and the image with the last of them.
#[test]
fn an_image_lives_as_long_as_it_has_a_name() {
    let bench = Bench::new();
    assert!(bench.vdkr.ok(&["images"]).stdout.starts_with("REPOSITORY   TAG   IMAGE ID   CREATED   SIZE\n"));
    let id = bench.rootfs("app:1");
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    bench.vdkr.ok(&["tag", "app:1", "10.0.2.2:5000/yocto/app"]);
    bench.vdkr.ok(&["image", "tag", &id[7..19], "other"]);
    assert_eq!(bench.names(), ["10.0.2.2:5000/yocto/app:latest", "app:1", "other:latest"]);
    assert_eq!(bench.vdkr.ok(&["images", "-q", "--no-trunc"]).stdout.trim(), id);
    assert_eq!(bench.vdkr.ok(&["image", "ls", "app"]).stdout.lines().count(), 2);
    assert_eq!(bench.vdkr.ok(&["images", "--filter", "reference=*/yocto/*"]).stdout.lines().count(), 2);
    // By ID, an image of several names goes only with force.
    bench.vdkr.fails(&["rmi", &id[7..19]]).says("several names");
    assert_eq!(bench.vdkr.ok(&["rmi", "other"]).stdout, "Untagged: other:latest\n");
    let ran = bench.vdkr.ok(&["rmi", "10.0.2.2:5000/yocto/app", "app:1"]);
    assert_eq!(ran.stdout, format!("Untagged: 10.0.2.2:5000/yocto/app:latest\nUntagged: app:1\nDeleted: {id}\n"));
    assert_eq!(blobs(&bench.path(".vdkr/x86_64/images")), 0);
    bench.vdkr.fails(&["rmi", "app:1"]).says("error: No such image: app:1");
    // One that is missing does not keep the others.
    bench.rootfs("x");
    let ran = bench.vdkr.fails(&["rmi", "missing", "x"]);
    assert!(ran.stdout.contains("Untagged: x:latest"), "{ran}");
}

/// What lost its name is dangling, and pruned.
#[test]
fn what_has_no_name_is_pruned() {
    let bench = Bench::new();
    let old = bench.rootfs("app");
    fs::write(bench.path("root/etc/more"), "x").expect("write");
    let new = bench.rootfs("app");
    assert_ne!(old, new);
    assert_eq!(bench.vdkr.ok(&["images", "-q", "--no-trunc", "--filter", "dangling=true"]).stdout.trim(), old);
    assert!(bench.names().contains(&"<none>:<none>".to_owned()));
    bench.vdkr.fails(&["image", "prune"]).says("nobody is there to ask");
    let ran = bench.vdkr.ok(&["image", "prune", "-f"]);
    assert!(ran.stdout.contains(&format!("Deleted: {old}")) && ran.stdout.contains("Total reclaimed space: "), "{ran}");
    assert_eq!(bench.names(), ["app:latest"]);
    bench.vdkr.ok(&["system", "prune", "-af"]);
    assert!(bench.names().is_empty());
    assert_eq!(bench.vdkr.ok(&["image", "prune", "-f"]).stdout, "Total reclaimed space: 0B\n");
}

/// Docker's shape of `inspect`, and templates over it.
#[test]
fn images_are_inspected_as_docker_does() {
    let bench = Bench::new();
    run_tool(
        "tar",
        &[
            "-C",
            &{
                bench.rootfs("seed");
                bench.text("root")
            },
            "-cf",
            &bench.text("root.tar"),
            ".",
        ],
        None,
    );
    let arguments = [
        "import",
        "-c",
        r#"CMD ["sh","-c","x y"]"#,
        "-c",
        "ENV A=b",
        "-c",
        "ENV C=d e",
        "-c",
        "LABEL a.b=c",
        "-m",
        "a note",
        &bench.text("root.tar"),
        "made:1",
    ];
    let id = bench.vdkr.ok(&arguments).stdout.trim().to_owned();
    let shown: Value = bench.vdkr.ok(&["inspect", "made:1"]).json();
    let image = &shown[0];
    assert_eq!((image["Id"].as_str(), &image["RepoTags"]), (Some(id.as_str()), &json!(["made:1"])));
    assert_eq!(image["Config"]["Cmd"], json!(["sh", "-c", "x y"]));
    assert_eq!((&image["Architecture"], &image["Os"], &image["Comment"]), (&json!("amd64"), &json!("linux"), &json!("a note")));
    assert_eq!(image["RootFS"]["Layers"].as_array().map(Vec::len), Some(1));
    for (format, expected) in [
        ("{{.Config.Env}}", "[A=b C=d e]"),
        ("{{json .Config.Cmd}}", r#"["sh","-c","x y"]"#),
        ("{{index .RepoTags 0}}", "made:1"),
        ("{{range .Config.Env}}{{println .}}{{end}}", "A=b\nC=d e\n"),
        (r#"{{index .Config.Labels "a.b"}}"#, "c"),
        ("{{.Os}}/{{.Architecture}}", "linux/amd64"),
    ] {
        assert_eq!(bench.inspect("made:1", format), expected.trim_end(), "{format}");
    }
    bench.vdkr.fails(&["inspect", "--format", "{{.Id", "made:1"]).says("is no template");
    let both = bench.vdkr.fails(&["inspect", "missing", "made:1"]);
    assert_eq!(both.json().as_array().map(Vec::len), Some(1), "{both}");
    let line: Value = bench.vdkr.ok(&["images", "--format", "{{json .}}", "made"]).json();
    assert_eq!((&line["Repository"], &line["Tag"]), (&json!("made"), &json!("1")));
    let history = bench.vdkr.ok(&["history", "--format", "{{.Comment}}", "made:1"]);
    assert_eq!(history.stdout, "a note\n");
}

/// `save`, and what Docker, podman and skopeo make of it; then `load`.
#[test]
fn what_is_saved_loads_everywhere() {
    let bench = Bench::new();
    let id = bench.rootfs("app:1");
    bench.vdkr.ok(&["tag", "app:1", "10.0.2.2:5000/yocto/app:2"]);
    let file = bench.text("saved.tar");
    bench.vdkr.ok(&["save", "-o", &file, "app:1", "10.0.2.2:5000/yocto/app:2"]);
    let piped = bench.vdkr.command(&["save", "app:1", "10.0.2.2:5000/yocto/app:2"]).output().expect("save to a pipe");
    assert!(piped.stdout == fs::read(&file).expect("the archive"), "the same through a pipe");
    let other = Bench::new();
    let ran = other.vdkr.ok(&["load", "-i", &file]);
    assert_eq!(ran.stdout, "Loaded image: app:1\nLoaded image: 10.0.2.2:5000/yocto/app:2\n");
    assert_eq!(other.inspect("app:1", "{{.Id}}"), id);
    run_tool(
        "skopeo",
        &["copy", "--insecure-policy", &format!("docker-archive:{file}:app:1"), &format!("oci:{}", bench.text("copied"))],
        None,
    );
    let shown = run_tool("skopeo", &["inspect", "--raw", "--config", &format!("oci:{}", bench.text("copied"))], None);
    assert_eq!(sha256(shown.trim_end().as_bytes()).len(), id.len());
    let config: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(config["config"]["Cmd"], json!(["/bin/sh"]));
    run_tool(
        "skopeo",
        &["copy", "--insecure-policy", &format!("oci-archive:{file}:1"), &format!("dir:{}", bench.text("dir"))],
        None,
    );
    // The store itself is a layout that others read.
    let store = format!("oci:{}:docker.io/library/app:1", bench.text(".vdkr/x86_64/images"));
    run_tool("skopeo", &["inspect", &store], None);
    // Compressed, through standard input.
    run_tool("gzip", &["-k", &file], None);
    let third = Bench::new();
    let mut load = third.vdkr.command(&["load"]);
    load.stdin(Stdio::from(fs::File::open(format!("{file}.gz")).expect("the archive")));
    assert!(load.status().expect("load").success());
    assert_eq!(third.inspect("app:1", "{{.Id}}"), id);
}

/// podman takes what is saved, and what podman saves is loaded.
#[test]
fn podman_loads_what_is_saved() {
    let bench = Bench::new();
    let id = bench.rootfs("app:1");
    let file = bench.text("saved.tar");
    bench.vdkr.ok(&["save", "-o", &file, "app:1"]);
    let podman = |arguments: &[&str]| {
        let mut command = Command::new(require("podman"));
        command.args(["--root", &bench.text("podman"), "--runroot", &bench.text("podman-run"), "--storage-driver", "vfs"]);
        let output = command.args(arguments).env("CONTAINERS_CONF", "/dev/null").output().expect("run podman");
        assert!(output.status.success(), "podman {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    podman(&["load", "-i", &file]);
    let seen = podman(&["images", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}"]);
    assert!(seen.contains(&id) && seen.contains("app:1"), "{seen}");
    let archive = bench.text("podman.tar");
    podman(&["save", "--format", "docker-archive", "-o", &archive, seen.split_whitespace().nth(1).expect("a name")]);
    let other = Bench::new();
    other.vdkr.ok(&["load", "-i", &archive]);
    assert_eq!(other.vdkr.ok(&["images", "-q", "--no-trunc"]).stdout.trim(), id);
}

/// Layouts, archives and folders of a build.
#[test]
fn what_a_build_made_is_taken_in() {
    let bench = Bench::new();
    let made = image("amd64", json!({"made": "here"}));
    write_layout(&bench.path("container-base-oci"), &[("latest", &made)]);
    let ran = bench.vdkr.ok(&["vimport", &bench.text("container-base-oci")]);
    assert_eq!(ran.stdout, "Loaded image: container-base:latest\n");
    assert_eq!(bench.inspect("container-base", "{{.Id}}"), sha256(&made.config));
    assert_eq!(bench.vdkr.ok(&["images", "-q", "--filter", "label=made=here"]).stdout.lines().count(), 1);
    assert!(bench.vdkr.ok(&["images", "-q", "--filter", "label=made=there"]).stdout.is_empty());
    run_tool("tar", &["-C", &bench.text("container-base-oci"), "-cf", &bench.text("base.tar"), "."], None);
    bench.vdkr.ok(&["vimport", &bench.text("base.tar"), "named:2"]);
    assert_eq!(bench.inspect("named:2", "{{.Id}}"), sha256(&made.config));
    // For another architecture it is refused, with the way out.
    let arm = image("arm64", json!({}));
    write_layout(&bench.path("arm-oci"), &[("latest", &arm)]);
    bench.vdkr.fails(&["vimport", &bench.text("arm-oci")]).says("no image for x86_64").says("--arch aarch64");
    bench.vdkr.ok(&["--arch", "aarch64", "vimport", &bench.text("arm-oci")]);
    assert_eq!(bench.vdkr.ok(&["vstorage", "list"]).stdout.lines().count(), 2);
}

/// A push and a pull bring an image round; another architecture's stays beside it.
#[test]
fn what_is_pushed_is_pulled_again() {
    let bench = Bench::new();
    let server = Server::start();
    let arm = image("arm64", json!({}));
    server.repo("yocto/app").push("latest", &arm).expect(201);
    let id = bench.rootfs("app");
    let prefix = format!("10.0.2.2:{}/yocto", server.address().port());
    let vdkr = bench.vdkr.env("VDKR_REGISTRY", &prefix);
    let ran = vdkr.ok(&["push", "app"]);
    assert!(ran.stdout.starts_with("latest: digest: sha256:"), "{ran}");
    vdkr.ok(&["rmi", "-f", "app"]);
    vdkr.ok(&["pull", "app"]);
    assert_eq!(vdkr.ok(&["inspect", "-f", "{{.Id}}", "app"]).stdout.trim(), id);
    let arm_vdkr = vdkr.env("VDKR_ARCH", "aarch64");
    arm_vdkr.ok(&["pull", "app"]);
    assert_eq!(arm_vdkr.ok(&["inspect", "-f", "{{.Id}}", "app"]).stdout.trim(), sha256(&arm.config));
}

/// Input that is none: a clear error, and nothing changes.
#[test]
fn bad_input_is_refused_and_leaves_nothing() {
    let bench = Bench::new();
    let id = bench.rootfs("app");
    let before = blobs(&bench.path(".vdkr/x86_64/images"));
    fs::write(bench.path("junk.tar"), random(5_000)).expect("write");
    fs::write(bench.path("text"), "x").expect("write");
    let damaged = image("amd64", json!({}));
    write_layout(&bench.path("damaged-oci"), &[("latest", &damaged)]);
    let layer = bench.path("damaged-oci/blobs/sha256").join(&sha256(&damaged.layers[0])[7..]);
    let mut bytes = fs::read(&layer).expect("a layer");
    bytes[0] ^= 1;
    fs::write(&layer, bytes).expect("write");
    let (junk, text, damaged) = (bench.text("junk.tar"), bench.text("text"), bench.text("damaged-oci"));
    for line in [
        vec!["load", "-i", &junk],
        vec!["load", "-i", &text],
        vec!["load", "-i", "/nowhere"],
        vec!["vimport", &damaged],
        vec!["vimport", "/nowhere"],
        vec!["import", &junk, "x"],
        vec!["tag", "app", "UPPER"],
        vec!["tag", "app", "x@sha256:00"],
        vec!["tag", "missing", "x"],
        vec!["inspect", "a b"],
        vec!["save", "missing"],
        vec!["push", "missing"],
        vec!["pull", "http://example.org/x"],
        vec!["images", "--filter", "nonsense=1"],
        vec!["images", "--filter", "dangling=perhaps"],
        vec!["images", "--format", "{{"],
        vec!["--arch", "sparc", "images"],
        vec!["--registry", "nohost", "images"],
        vec!["vconfig", "unknown"],
        vec!["vconfig", "timeout", "soon"],
        vec!["-I", "../x", "images"],
        vec!["nonsense"],
        vec!["load"],
    ] {
        let ran: Ran = bench.vdkr.fails(&line);
        assert!(ran.stderr.contains("error: ") && !ran.stderr.contains("panicked"), "{ran}");
    }
    assert_eq!((bench.inspect("app", "{{.Id}}"), blobs(&bench.path(".vdkr/x86_64/images"))), (id, before));
}

/// Logins are kept as docker keeps them, for nobody else to read.
#[test]
fn a_login_is_checked_kept_and_forgotten() {
    let bench = Bench::new();
    let gate = wharf_tests::Scripted::start(|asked| match asked.header("authorization") {
        Some("Basic dXNlcjpzZWNyZXQ=") => wharf_tests::Reply::new(200),
        _ => wharf_tests::Reply::new(401).header("www-authenticate", "Basic realm=\"x\""),
    });
    let host = gate.address().to_string();
    let login = |password: &str| {
        let mut command = bench.vdkr.command(&["login", "-u", "user", "--password-stdin", &host]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start vdkr");
        use std::io::Write;
        child.stdin.take().expect("standard input").write_all(password.as_bytes()).expect("write");
        Ran::of("login".to_owned(), child.wait_with_output().expect("wait"))
    };
    login("wrong\n").expect(1).is_silent_on("wrong");
    let file = bench.path(".docker/config.json");
    assert!(!file.exists());
    fs::create_dir_all(bench.path(".docker")).expect("a folder");
    fs::write(&file, r#"{"psFormat":"x"}"#).expect("write");
    let ran = login("secret\n").expect(0).is_silent_on("secret");
    assert_eq!(ran.stdout, "Login Succeeded\n");
    let kept: Value = serde_json::from_slice(&fs::read(&file).expect("the file")).expect("JSON");
    assert_eq!((&kept["psFormat"], &kept["auths"][&host]["auth"]), (&json!("x"), &json!("dXNlcjpzZWNyZXQ=")));
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(&file).expect("the file").permissions().mode() & 0o777, 0o600);
    bench.vdkr.ok(&["logout", &host]);
    let kept: Value = serde_json::from_slice(&fs::read(&file).expect("the file")).expect("JSON");
    assert_eq!(kept["auths"], json!({}));
}

/// Instances, states that vanish, and cleaning.
#[test]
fn states_are_apart() {
    let bench = Bench::new();
    bench.rootfs("app");
    assert!(bench.vdkr.ok(&["-I", "other", "images", "-q"]).stdout.is_empty());
    assert!(bench.vdkr.ok(&["--stateless", "images", "-q"]).stdout.is_empty());
    assert_eq!(bench.vdkr.ok(&["vstorage", "path"]).stdout.trim(), bench.text(".vdkr/x86_64"));
    assert!(bench.vdkr.ok(&["system", "df"]).stdout.contains("Images"));
    assert!(bench.vdkr.ok(&["info"]).stdout.contains("Images: 1\n"));
    assert_eq!(bench.vdkr.ok(&["info", "--format", "{{.Images}}"]).stdout, "1\n");
    bench.vdkr.fails(&["clean"]).says("nobody is there to ask");
    assert!(bench.vdkr.ok(&["clean", "-f"]).stdout.starts_with("Total reclaimed space: "));
    assert!(bench.names().is_empty());
}
