//! container-registry.sh, as `wharf script` writes it: found, moved, configured and read as existing scripts do.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::json;
use wharf_tests::{Background, Build, Deploy, Ran, Wharf, image_for};

const NAME: &str = "container-registry.sh";

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// The environment of somebody who only knows the script: HOME and PATH.
fn through(script: &Path, wharf: &Wharf) -> Wharf {
    let bare = wharf.through(script).without("TOPDIR").without("CONTAINER_REGISTRY_URL");
    bare.without("CONTAINER_REGISTRIES_CONF").env("PATH", "/usr/bin:/bin").env("WHARF", text(wharf.program()))
}

/// A build with one image, and the script in its storage folder.
fn scripted() -> (Build, PathBuf) {
    let build = Build::new();
    build.deploy.layout("qemux86-64", "app-qemux86-64.rootfs-oci", &image_for("amd64", json!({})));
    let ran = build.wharf.ok(&["script"]);
    let script = build.path("container-registry").join(NAME);
    assert_eq!(ran.stdout, format!("{}\n", script.display()));
    (build, script)
}

/// Nothing was said where nobody looks.
#[track_caller]
fn on_stdout(ran: Ran, code: i32, text: &str) {
    let ran = ran.expect(code);
    assert!(ran.stdout.contains(text), "nothing of {text:?}: {ran}");
    assert_eq!(ran.stderr, "", "{ran}");
}

/// It is written executable into the storage folder, or where it is told, or to standard output.
#[test]
fn it_is_written_where_it_is_wanted() {
    let (build, script) = scripted();
    assert_eq!(fs::metadata(&script).expect("the script").permissions().mode() & 0o777, 0o755);
    let written = fs::read_to_string(&script).expect("the script");
    assert!(written.lines().count() < 60, "a few lines: {written}");
    build.wharf.ok(&["script", "--output", "scripts/registry.sh"]);
    on_stdout(through(&build.path("scripts/registry.sh"), &build.wharf).run(&["list"]), 0, "(none)");
    let printed = build.wharf.ok(&["script", "-o", "-"]).stdout;
    assert!(printed.starts_with("#!/bin/sh\n"), "{printed}");
    let other = build.wharf.env("CONTAINER_REGISTRY_STORAGE", "elsewhere/registry");
    other.ok(&["script"]);
    assert!(build.path("elsewhere/registry").join(NAME).is_file());
    // Once more over the one that is there.
    build.wharf.ok(&["script"]);
    assert_eq!(fs::read_to_string(&script).expect("the script"), written);
}

/// Beside it lies what vdkr takes over: the registry by the name that a guest has for this machine.
#[test]
fn vdkr_is_told_of_the_registry() {
    let build = Build::new();
    let conf = build.path("container-registry/vdkr.conf");
    let written = |wharf: &Wharf| {
        wharf.ok(&["script"]);
        let text = fs::read_to_string(&conf).expect("vdkr.conf");
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    let local = build.wharf.env("CONTAINER_REGISTRY_URL", "localhost:5000");
    assert_eq!(written(&local), ["registry=10.0.2.2:5000/yocto", "secure=0", "insecure-registries=10.0.2.2:5000"]);
    let others =
        local.env("DOCKER_REGISTRY_INSECURE", "127.0.0.1:5000 build.example:80").env("CONTAINER_REGISTRY_NAMESPACE", "a/b");
    let lines = written(&others);
    assert_eq!(lines, ["registry=10.0.2.2:5000/a/b", "secure=0", "insecure-registries=10.0.2.2:5000 build.example:80"]);
    let secure = build.wharf.env("CONTAINER_REGISTRY_URL", "build.example").env("CONTAINER_REGISTRY_SECURE", "1");
    let ca = format!("ca-cert=\"{}\"", build.path("pki/ca.crt").display());
    assert_eq!(
        written(&secure.env("CONTAINER_REGISTRY_CA_CERT", "pki/ca.crt")),
        ["registry=build.example/yocto", "secure=1", &ca]
    );
    // A script that lies elsewhere says nothing of the storage folder.
    fs::remove_file(&conf).expect("vdkr.conf");
    build.wharf.ok(&["script", "-o", "registry.sh"]);
    assert!(!conf.exists());
}

/// From any folder, without the build's environment, it pushes what the build made to the build's registry.
#[test]
fn it_needs_no_environment_of_the_build() {
    let (build, script) = scripted();
    let elsewhere = tempfile::tempdir().expect("a folder");
    let wharf = through(&script, &Wharf::new(elsewhere.path()));
    let ran = wharf.run(&["push"]).expect(0);
    assert_eq!((ran.tags().len(), ran.stderr.as_str()), (2, ""), "{ran}");
    assert!(ran.stdout.contains("Pushed app: ") && ran.stdout.contains("Pull with: "), "{ran}");
    assert_eq!(build.tags("app").len(), 2);
    let listed = wharf.run(&["list"]).expect(0).stdout;
    assert!(listed.starts_with("yocto/app: "), "{listed}");
}

/// It works after the storage folder moved, after tmp/ was cleaned, and through a symbolic link.
#[test]
fn it_stays_right_when_things_move() {
    let (build, _) = scripted();
    fs::remove_dir_all(build.path("tmp")).expect("clean tmp");
    let moved = build.path("moved here");
    fs::rename(build.path("container-registry"), &moved).expect("move the storage");
    let script = moved.join(NAME);
    let storage = |program: &Path| {
        let info = through(program, &build.wharf).run(&["info", "--json"]).expect(0).json();
        info["storage"].as_str().expect("a path").to_owned()
    };
    assert_eq!(storage(&script), text(&moved.join("data")));
    let links = build.path("links");
    fs::create_dir(&links).expect("a folder");
    symlink(&script, links.join("absolute")).expect("a link");
    symlink("absolute", links.join("relative")).expect("a link to a link");
    assert_eq!(storage(&links.join("relative")), text(&moved.join("data")));
    on_stdout(through(&script, &build.wharf).run(&["push"]), 1, "tmp/deploy/images");
    on_stdout(through(&script, &build.wharf).run(&["list"]), 0, "(none)");
}

/// It finds `wharf` by WHARF, then in the storage's bin/, then in PATH; else it says how to get one.
#[test]
fn it_finds_wharf() {
    let (build, script) = scripted();
    let program = |path: PathBuf, name: &str| {
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, format!("#!/bin/sh\necho {name} \"$@\"\n")).expect("a program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("an executable");
        path
    };
    let bare = through(&script, &build.wharf).without("WHARF");
    let ran = bare.fails(&["list"]);
    for way in ["no such program", "container-registry/bin/wharf", "PATH", "WHARF"] {
        assert!(ran.stdout.contains(way) && ran.stderr.is_empty(), "{ran}");
    }
    program(build.path("path/wharf"), "of-path");
    let with_path = bare.env("PATH", &format!("{}:/usr/bin:/bin", text(&build.path("path"))));
    assert_eq!(with_path.ok(&["list", "a b"]).stdout, "of-path list a b\n");
    program(build.path("container-registry/bin/wharf"), "of-storage");
    assert_eq!(with_path.ok(&["list"]).stdout, "of-storage list\n");
    let named = program(build.path("named"), "of-variable");
    assert_eq!(with_path.env("WHARF", text(&named)).ok(&["list"]).stdout, "of-variable list\n");
    on_stdout(with_path.env("WHARF", "/nowhere/wharf").run(&["list"]), 1, "/nowhere/wharf: no such program");
}

/// Values hold whatever the build has: spaces, quotes, what a shell would take apart.
#[test]
fn values_are_baked_as_they_are() {
    let build = Build::new();
    let odd = build.path("it's a \"build\" $HOME `id` \\");
    fs::create_dir(&odd).expect("a folder");
    let deploy = Deploy::new(&odd);
    deploy.layout("m", "app-m.rootfs-oci", &image_for("amd64", json!({})));
    let strategy = "latest\tversion";
    let wharf = build.wharf.env("TOPDIR", text(&odd)).env("CONTAINER_REGISTRY_TAG_STRATEGY", strategy);
    wharf.env("IMAGE_VERSION", "5").env("CONTAINER_REGISTRY_NAMESPACE", "team/x").ok(&["script"]);
    let script = odd.join("container-registry").join(NAME);
    let ran = through(&script, &build.wharf).run(&["push"]).expect(0);
    assert_eq!(ran.tags(), ["latest", "5"], "{ran}");
    assert_eq!(build.catalog(), ["team/x/app"]);
}

/// The environment wins over what is baked.
#[test]
fn the_environment_wins() {
    let (build, script) = scripted();
    let wharf = through(&script, &build.wharf);
    let ran = wharf.env("CONTAINER_REGISTRY_TAG_STRATEGY", "version").env("IMAGE_VERSION", "7").run(&["push"]).expect(0);
    assert_eq!(ran.tags(), ["7"]);
    wharf.env("CONTAINER_REGISTRY_NAMESPACE", "other").run(&["push", "--tag", "1", "app"]).expect(0);
    assert_eq!(build.catalog(), ["other/app", "yocto/app"]);
    let gone = wharf.env("CONTAINER_REGISTRY_URL", "localhost:1").run(&["list"]);
    on_stdout(gone, 1, "Registry not responding at http://localhost:1");
    let elsewhere = build.path("another storage");
    let info = wharf.env("CONTAINER_REGISTRY_STORAGE", text(&elsewhere)).run(&["info", "--json"]).expect(0).json();
    assert_eq!(info["storage"], json!(elsewhere.join("data")));
}

/// Messages, usage and errors are on standard output; a successful `catalog` or `--json` is the data alone.
#[test]
fn messages_are_on_standard_output() {
    let (build, script) = scripted();
    let wharf = through(&script, &build.wharf);
    on_stdout(wharf.run(&["frobnicate"]), 1, "Unknown command `frobnicate`");
    on_stdout(wharf.run(&["frobnicate"]), 1, "Usage: ");
    on_stdout(wharf.run(&[] as &[&str]), 1, "Usage: ");
    on_stdout(wharf.run(&["help"]), 0, "--strategy");
    on_stdout(wharf.run(&["import"]), 1, "docker.io/library/alpine:latest");
    on_stdout(wharf.run(&["tags"]), 1, "container-registry.sh tags");
    on_stdout(wharf.run(&["tags", "nope"]), 1, "not found");
    on_stdout(wharf.run(&["push", "nope"]), 1, "available: app");
    on_stdout(wharf.run(&["push", "--tag", "x"]), 1, "--tag requires an image name");
    on_stdout(wharf.run(&["push", "-s", "sha latest"]), 0, "warning: no tag for the strategy `sha`");
    on_stdout(wharf.run(&["delete", "app"]), 1, "Tag required");
    on_stdout(wharf.run(&["delete", "app:nope"]), 1, "Tag not found");
    let catalog = wharf.run(&["catalog"]).expect(0);
    assert_eq!((catalog.json(), catalog.stderr.as_str()), (json!({"repositories": ["yocto/app"]}), ""));
    for arguments in [["list", "--json"], ["info", "--json"]] {
        wharf.run(&arguments).expect(0).json();
    }
    assert_eq!(wharf.run(&["tags", "app", "--json"]).expect(0).json()["tags"], json!(["latest"]));
    on_stdout(wharf.run(&["delete", "app:latest"]), 0, "Deleted successfully");
    // The errors of those are where scripts look as well.
    let gone = wharf.env("CONTAINER_REGISTRY_URL", "localhost:1");
    on_stdout(gone.run(&["catalog"]), 1, "Registry not responding");
    on_stdout(gone.run(&["list", "--json"]), 1, "container-registry.sh start");
}

/// No secret is ever baked.
#[test]
fn secrets_are_not_baked() {
    let (build, script) = scripted();
    let wharf = build.wharf.env("CONTAINER_REGISTRY_PASSWORD", "s3cret-1").env("CONTAINER_REGISTRY_TOKEN", "s3cret-2");
    wharf.env("CONTAINER_REGISTRY_USERNAME", "somebody").env("CONTAINER_REGISTRY_AUTH_MODE", "env").ok(&["script"]);
    let written = fs::read_to_string(script).expect("the script");
    assert!(!written.contains("s3cret"), "{written}");
    assert!(written.contains("somebody"), "{written}");
}

/// start, push, list and stop, all through the script.
#[test]
fn the_loop_through_the_script() {
    let own = Background::new();
    let (wharf, port) = (own.wharf.clone(), own.port);
    let deploy = Deploy::new(wharf.folder());
    deploy.layout("qemux86-64", "app-qemux86-64.rootfs-oci", &image_for("amd64", json!({})));
    wharf.ok(&["script"]);
    let script = through(&own.path("container-registry").join(NAME), &wharf);
    on_stdout(script.run(&["status"]), 1, "not running");
    on_stdout(script.run(&["start"]), 0, "Registry started");
    on_stdout(script.run(&["start"]), 0, "already running");
    on_stdout(script.run(&["status"]), 0, "healthy");
    on_stdout(script.run(&["push", "-s", "latest"]), 0, &format!("localhost:{port}/yocto/app:latest sha256:"));
    on_stdout(script.run(&["list"]), 0, "yocto/app: latest");
    on_stdout(script.run(&["tags", "app"]), 0, "latest");
    on_stdout(script.run(&["gc"]), 0, "free");
    on_stdout(script.run(&["info"]), 0, "Storage: ");
    on_stdout(script.run(&["stop"]), 0, "Registry stopped");
    on_stdout(script.run(&["stop"]), 0, "not running");
    on_stdout(script.run(&["list"]), 1, "`container-registry.sh start` starts it");
}
