//! The contract's table of commands, line by line: exit codes, messages, and `--json` of what lists.

use serde_json::{Value, json};
use wharf_tests::{
    Background, Build, Config, Image, OCI_INDEX, OCI_MANIFEST, Program, Server, Wharf, artifact, empty_index, image_for, sha256,
    write_layout,
};

/// A registry with `app:1` and `app:2` (the same image), `base:1` for two platforms, and an artifact.
struct Shelf {
    build: Build,
    app: Image,
    base: [Image; 2],
    artifact: Vec<u8>,
}

fn shelf() -> Shelf {
    let build = Build::new();
    let app = image_for("amd64", json!({}));
    let base = ["amd64", "arm64"].map(|architecture| image_for(architecture, json!({})));
    write_layout(&build.path("app-oci"), &[("latest", &app)]);
    write_layout(&build.path("base-oci"), &[("a", &base[0]), ("b", &base[1])]);
    build.wharf.ok(&["push", "app-oci", "-t", "1", "-t", "2"]);
    build.wharf.ok(&["push", "base-oci", "-t", "1"]);
    let artifact = artifact(None, Some("application/vnd.example"), &[]);
    let repo = build.repo("sbom");
    repo.push_artifact(&artifact);
    repo.put("1", OCI_MANIFEST, &artifact).expect(201);
    Shelf { build, app, base, artifact }
}

/// `list`: every image with its tags, or "(none)".
#[test]
fn list_shows_every_image_with_its_tags() {
    let empty = Build::new();
    assert_eq!(empty.wharf.ok(&["list"]).stdout, "(none)\n");
    assert_eq!(empty.wharf.ok(&["list", "--long"]).stdout, "(none)\n");
    assert_eq!(empty.wharf.ok(&["list", "--json"]).json(), json!([]));
    let Shelf { build, .. } = shelf();
    // What has no tag is no line for people.
    build.server.repo("loose").put(&sha256(b"{}"), OCI_INDEX, b"{}");
    let loose = empty_index();
    build.server.repo("loose").put(&sha256(&loose), OCI_INDEX, &loose).expect(201);
    let ran = build.wharf.ok(&["list"]);
    assert_eq!(ran.stdout, "yocto/app: 1 2\nyocto/base: 1\nyocto/sbom: 1\n");
    assert_eq!(ran.stderr, "");
    let listed = build.wharf.ok(&["list", "--json"]).json();
    let tagged: Vec<_> = listed.as_array().expect("a list").iter().filter(|image| image["tags"] != json!([])).collect();
    let image = |name: &str, tags: Value| json!({"name": format!("yocto/{name}"), "tags": tags});
    assert_eq!(json!(tagged), json!([image("app", json!(["1", "2"])), image("base", json!(["1"])), image("sbom", json!(["1"]))]));
}

/// `list --long`: size, platforms, created, digest; also as JSON.
#[test]
fn list_long_shows_what_is_behind_each_tag() {
    let Shelf { build, app, base, artifact } = shelf();
    let size = |image: &Image| image.blobs().map(Vec::len).sum::<usize>() + image.manifest.len();
    let index = build.repo("base").manifest("1").expect(200);
    let index_digest = index.header("Docker-Content-Digest").to_owned();
    let listed = build.wharf.ok(&["list", "--long", "--json"]).json();
    let created = "2026-01-12T20:32:24Z";
    let tag = |tag: &str, digest: &str, media_type: &str, size: Value, platforms: Value, created: Value| json!({"tag": tag, "digest": digest, "media_type": media_type, "size": size, "platforms": platforms, "created": created, "origin": null});
    let one = |name: &str| tag(name, &app.digest, OCI_MANIFEST, json!(size(&app)), json!(["linux/amd64"]), json!(created));
    assert_eq!(listed[0], json!({"name": "yocto/app", "tags": [one("1"), one("2")]}));
    let whole = size(&base[0]) + size(&base[1]) + index.body.len();
    let both = json!(["linux/amd64", "linux/arm64"]);
    assert_eq!(listed[1]["tags"][0], tag("1", &index_digest, OCI_INDEX, json!(whole), both, json!(created)));
    assert_eq!(listed[2]["tags"][0]["digest"], json!(sha256(&artifact)));
    assert_eq!(listed[2]["tags"][0]["created"], Value::Null);

    let text = build.wharf.ok(&["list", "--long"]).stdout;
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["IMAGE", "SIZE", "PLATFORMS", "CREATED", "DIGEST"]);
    let names: Vec<_> = lines[1..].iter().map(|line| line[0]).collect();
    assert_eq!(names, ["yocto/app:1", "yocto/app:2", "yocto/base:1", "yocto/sbom:1"]);
    assert!(
        lines[1].contains(&"linux/amd64") && lines[1].contains(&created) && lines[1].contains(&app.digest.as_str()),
        "{text}"
    );
    assert!(lines[3].contains(&"linux/amd64,linux/arm64") && lines[3].contains(&index_digest.as_str()), "{text}");
}

/// `tags IMAGE`: its tags; unknown: "not found"; no argument: usage.
#[test]
fn tags_lists_those_of_one_image() {
    let Shelf { build, .. } = shelf();
    let own = format!("{}/yocto/app", build.server.address());
    for name in ["app", "yocto/app", own.as_str()] {
        assert_eq!(build.wharf.ok(&["tags", name]).stdout, "1\n2\n");
    }
    assert_eq!(build.wharf.ok(&["tags", "app", "--json"]).json(), json!({"name": "yocto/app", "tags": ["1", "2"]}));
    let ran = build.wharf.fails(&["tags", "nope"]);
    assert_eq!(ran.stdout, "");
    ran.says("not found: yocto/nope");
    build.wharf.fails(&["tags", "other/app"]).says("not found: other/app");
    build.wharf.fails(&["tags"]).says("Usage: wharf tags").says("Example: wharf tags");
    build.wharf.fails(&["tags", "App"]).says("`App` is no image's name");
    build.wharf.fails(&["tags", "app:1"]).says("give the image without 1: app");
}

/// `catalog`: the JSON of the API. Every page is followed, also where the registry makes them small.
#[test]
fn catalog_follows_every_page() {
    for (program, count) in [(Program::Wharf, 250), (Program::Distribution, 30)] {
        let server = Server::launch(program, Config::default().set("catalog.maxentries", count / 6));
        let names: Vec<_> = (0..count).map(|number| format!("team/image-{number:03}")).collect();
        for name in &names {
            server.repo(name).push_random("v1");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let wharf = Wharf::with_server(folder.path(), &server);
        for arguments in [&["catalog"][..], &["catalog", "--json"], &["--verbose", "catalog"]] {
            let ran = wharf.ok(arguments);
            assert_eq!(ran.json(), json!({"repositories": names}));
            assert_eq!(ran.stderr, "");
        }
        let listed = wharf.ok(&["list"]).stdout;
        assert_eq!(listed.lines().count(), count, "{listed}");
    }
}

/// `delete IMAGE:TAG`: that tag only.
#[test]
fn delete_removes_that_tag_only() {
    let Shelf { build, app, .. } = shelf();
    build.wharf.ok(&["delete", "app:1"]).says("Deleted successfully");
    assert_eq!(build.tags("app"), ["2"]);
    assert!(build.repo("app").manifest("2").expect(200).body == app.manifest);
    // An index is deleted as well as a manifest; the seed's own fault was not to see it.
    build.wharf.ok(&["delete", "base:1"]).says("Deleted successfully");
    assert!(build.tags("base").is_empty());
    build.wharf.ok(&["delete", "yocto/sbom:1"]).says("Deleted successfully");
    build.wharf.fails(&["delete", "app:1"]).says("Tag not found: app:1");
    build.wharf.fails(&["delete", "nope:1"]).says("Tag not found: nope:1");
    build.wharf.fails(&["delete", "app"]).says("Tag required");
    build.wharf.fails(&["delete"]).says("Usage: wharf delete").says("Example: wharf delete");
    build.wharf.fails(&["delete", "app:a#b"]).says("`app:a#b` is no image's name");
    assert_eq!(build.tags("app"), ["2"]);
}

/// `delete IMAGE@DIGEST`: the manifest and its tags.
#[test]
fn delete_removes_a_manifest_with_its_tags() {
    let Shelf { build, app, base, .. } = shelf();
    let name = format!("app@{}", app.digest);
    build.wharf.ok(&["delete", &name]).says("Deleted successfully");
    assert!(build.tags("app").is_empty());
    build.repo("app").manifest(&app.digest).expect(404);
    build.wharf.fails(&["delete", &name]).says("Manifest not found");
    build.wharf.fails(&["delete", "app@sha256:123"]).says("is no image's name");
    // What an index names can be deleted only with it.
    assert_eq!(build.platforms("base", "1").len(), base.len());
}

/// `gc`: what a deleted image held is freed while the registry serves; `--dry-run` only tells.
#[test]
fn gc_frees_what_was_deleted() {
    let own = Background::new();
    let wharf = own.wharf.clone();
    write_layout(&wharf.folder().join("app-oci"), &[("latest", &image_for("amd64", json!({})))]);
    let wharf = wharf.env("REGISTRY_WHARF_COLLECTION_LEASE", "1ms").env("REGISTRY_WHARF_COLLECTION_INTERVAL", "never");
    wharf.ok(&["start"]);
    wharf.ok(&["push", "app-oci", "-t", "1"]);
    let none = wharf.ok(&["gc", "--now"]).stdout;
    assert!(none.contains("Nothing to free"), "{none}");
    wharf.ok(&["delete", "app:1"]);
    let told = wharf.ok(&["gc", "--dry-run", "--now"]).stdout;
    assert!(told.starts_with("Would free"), "{told}");
    let report = wharf.ok(&["gc", "--dry-run", "--now", "--json"]).json();
    assert_eq!((&report["manifests"], &report["blobs"]), (&json!(1), &json!(3)), "{report}");
    let freed = wharf.ok(&["gc", "--now"]).stdout;
    assert!(freed.starts_with("Freed"), "{freed}");
    wharf.ok(&["status"]);
    wharf.ok(&["stop"]);
    // A stopped one is collected too, and is not started by that.
    wharf.ok(&["gc"]);
    wharf.fails(&["status"]);
}

/// `start`, `status`, `info` and `stop`, each also when there is nothing to do.
#[test]
fn a_registry_is_started_looked_at_and_stopped() {
    let own = Background::new();
    let (wharf, port) = (own.wharf.clone(), own.port);
    let storage = own.path("container-registry");
    let url = format!("http://localhost:{port}");
    let ran = wharf.fails(&["status"]);
    assert_eq!(ran.stdout, "Registry: not running\n");
    assert_eq!(wharf.fails(&["status", "--json"]).json()["running"], json!(false));
    wharf.ok(&["stop"]).says("not running");
    let ran = wharf.ok(&["start"]).says("Registry started").says(&url);
    ran.says(storage.to_str().expect("UTF-8")).says("registry.log");
    wharf.ok(&["start"]).says("already running").says(&url);
    let said = wharf.ok(&["status"]).stdout;
    for part in ["running (pid ", &url, "container-registry/data", "insecure (HTTP, no authentication)", "healthy"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let status = wharf.ok(&["status", "--json"]).json();
    assert_eq!((&status["running"], &status["healthy"], &status["url"]), (&json!(true), &json!(true), &json!(url)));
    let said = wharf.ok(&["info"]).stdout;
    for part in
        ["Storage: ", &format!("URL:     {url}\n"), "Mode:    insecure", "PKI:     none", "Index:   SQLite", "Version: wharf "]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let info = wharf.ok(&["info", "--json"]).json();
    assert_eq!((&info["url"], &info["index"]["kind"]), (&json!(url), &json!("sqlite")));
    // Its port is taken for anybody else.
    let other = tempfile::tempdir().expect("a folder");
    let taken = wharf.env("TOPDIR", other.path().to_str().expect("UTF-8")).fails(&["start"]);
    assert!(taken.stderr.contains(&port.to_string()), "{taken}");
    wharf.ok(&["stop"]).says("Registry stopped");
    wharf.ok(&["stop"]).says("not running");
    wharf.fails(&["status"]);
}

/// Port, log and pid file follow the URL and the storage: several registries live on one machine.
#[test]
fn registries_live_side_by_side() {
    let registries = [Background::new(), Background::new()];
    for own in &registries {
        write_layout(&own.path("app-oci"), &[("latest", &image_for("amd64", json!({})))]);
        own.wharf.ok(&["start"]);
    }
    registries[0].wharf.ok(&["push", "app-oci", "-t", "1"]);
    assert_eq!(registries[1].wharf.ok(&["list"]).stdout, "(none)\n");
    registries[0].wharf.ok(&["stop"]);
    registries[1].wharf.ok(&["status"]);
    assert_eq!(registries[1].wharf.ok(&["push", "app-oci", "-t", "2"]).tags(), ["2"]);
    registries[0].wharf.fails(&["status"]);
    registries[0].wharf.ok(&["start"]);
    assert_eq!(registries[0].wharf.ok(&["list"]).stdout, "yocto/app: 1\n");
}

/// A process that holds the storage but does not answer is "not responding".
#[test]
fn a_registry_that_hangs_is_running_and_not_responding() {
    let own = Background::new();
    let wharf = own.wharf.clone();
    wharf.ok(&["start"]);
    let pid = wharf.ok(&["status", "--json"]).json()["pid"].to_string();
    let signal = |name: &str| wharf_tests::run_tool("/bin/sh", &["-c", &format!("kill -{name} {pid}")], None);
    signal("STOP");
    let ran = wharf.run(&["status"]);
    signal("CONT");
    let said = ran.expect(0).stdout;
    assert!(said.contains("running (pid ") && said.contains("not responding"), "{said}");
    wharf.ok(&["stop"]);
}

/// Every command that needs the registry says where it should be and how to start it.
#[test]
fn a_registry_that_is_not_there_is_named() {
    let own = Background::new();
    let (wharf, port) = (own.wharf.clone(), own.port);
    write_layout(&wharf.folder().join("app-oci"), &[("latest", &image_for("amd64", json!({})))]);
    for arguments in [
        &["list"][..],
        &["list", "--long", "--json"],
        &["tags", "app"],
        &["tags", "app", "--json"],
        &["catalog"],
        &["delete", "app:1"],
        &["push", "app-oci"],
        &["import", "docker.io/library/alpine:latest"],
        &["--quiet", "list"],
    ] {
        let ran = wharf.fails(arguments).says(&format!("error: Registry not responding at http://localhost:{port}"));
        assert_eq!(ran.stdout, "", "{ran}");
        ran.says("hint: `wharf start` starts it");
    }
    let elsewhere = wharf.env("CONTAINER_REGISTRY_URL", &format!("http://127.0.0.2:{port}"));
    elsewhere.fails(&["list"]).says(&format!("Registry not responding at http://127.0.0.2:{port}"));
}

/// `help` shows all commands and options; an unknown command is told as such, with usage; so is a wrong option.
#[test]
fn help_and_usage() {
    let own = Background::new();
    let wharf = own.wharf.clone();
    let said = wharf.ok(&["help"]).stdout;
    for word in [
        "start",
        "stop",
        "status",
        "push",
        "import",
        "delete",
        "gc",
        "list",
        "tags",
        "catalog",
        "info",
        "help",
        "--tag",
        "--strategy",
        "--version",
        "--auth-mode",
        "--use-home-auth",
        "--authfile",
        "--credsfile",
        "--creds",
        "--token",
        "--src-authfile",
        "--src-credsfile",
        "--src-creds",
        "--src-token",
        "--dry-run",
        "--json",
        "--long",
        "CONTAINER_REGISTRY_TAG_STRATEGY",
    ] {
        assert!(said.contains(word), "no {word}: {said}");
    }
    assert!(wharf.ok(&["help", "push"]).stdout.contains("--strategy"));
    let ran = wharf.fails(&["frobnicate"]).says("Unknown command `frobnicate`").says("Usage: wharf");
    assert_eq!(ran.stdout, "");
    wharf.fails(&["psuh"]).says("`push`");
    wharf.fails(&["help", "frobnicate"]).says("Unknown command `frobnicate`");
    wharf.fails(&[] as &[&str]).says("Usage: wharf");
    wharf.fails(&["push", "--frobnicate"]).says("--frobnicate").says("Usage: wharf push");
    wharf.fails(&["push", "app", "--tag"]).says("--tag");
    wharf.fails(&["push", "--auth-mode", "nope"]).says("none, home, authfile, credsfile, env");
    wharf.fails(&["import"]).says("Usage: wharf import").says("docker.io/library/alpine:latest");
}

/// `--quiet` leaves results and errors, `--verbose` adds to them.
#[test]
fn quiet_and_verbose() {
    let Shelf { build, app, .. } = shelf();
    let quiet = build.wharf.ok(&["push", "app-oci", "-t", "1", "--quiet"]);
    let reference = format!("{}/yocto/app:1", build.server.address());
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), (format!("{reference} {}\n", app.digest).as_str(), ""));
    let usual = build.wharf.ok(&["push", "app-oci", "-t", "1"]);
    let verbose = build.wharf.ok(&["push", "app-oci", "-t", "1", "--verbose"]).says("already there").says("as before");
    assert!(verbose.stderr.lines().count() > usual.stderr.lines().count(), "{usual}{verbose}");
    assert_eq!(verbose.stdout, quiet.stdout);
    assert_eq!(build.wharf.ok(&["-q", "delete", "app:1"]).stderr, "");
    build.wharf.fails(&["-q", "delete", "app:1"]).says("Tag not found");
    build.wharf.fails(&["list", "--quiet", "--verbose"]).says("cannot be used with");
}
