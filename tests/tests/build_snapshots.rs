//! Whole commands as people see them: exit code, standard output, standard error. What differs from run to run is replaced by its name.

use serde_json::json;
use wharf_tests::{Background, Build, Image, OCI_MANIFEST, Ran, artifact, image_of, write_layout};

/// An image with sizes that are the same every time.
fn image(architecture: &str) -> Image {
    image_of(
        json!({"architecture": architecture, "os": "linux"}),
        json!({}),
        vec![wharf_tests::random(300_000), wharf_tests::random(700)],
    )
}

/// A build with `app` for one machine and `base` for two.
fn build() -> Build {
    let build = Build::new();
    build.deploy.layout("qemux86-64", "app-qemux86-64.rootfs-oci", &image("amd64"));
    build.deploy.layout("qemux86-64", "base-qemux86-64.rootfs-oci", &image("amd64"));
    build.deploy.layout("qemuarm64", "base-qemuarm64.rootfs-oci", &image("arm64"));
    build
}

/// A word with what differs from run to run replaced.
fn masked(word: &str) -> String {
    let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_time = |text: &str| {
        text.len() == 15 && text.chars().enumerate().all(|(n, c)| if n == 8 { c == '-' } else { c.is_ascii_digit() })
    };
    if let Some((before, hash)) = word.split_once("sha256:").filter(|(_, hash)| hash.len() >= 64 && is_hex(&hash[..64])) {
        return format!("{before}DIGEST{}", &hash[64..]);
    }
    if word.len() == 12 && is_hex(word) {
        return "HASH".to_owned();
    }
    match word.rsplit_once(':') {
        Some((before, time)) if is_time(time) => format!("{before}:TIMESTAMP"),
        _ if is_time(word) => "TIMESTAMP".to_owned(),
        _ => word.to_owned(),
    }
}

/// What a command did, as a text to compare with.
fn shown(ran: &Ran, replaced: &[(&str, &str)]) -> String {
    let mask = |text: &str| {
        let mut text = text.to_owned();
        for (from, to) in replaced {
            text = text.replace(from, to);
        }
        let line = |line: &str| {
            let words: Vec<_> = line.split(' ').map(masked).collect();
            let mut line = words.join(" ");
            for (before, after) in [(", in ", " s"), ("(pid ", ")")] {
                if let Some((start, rest)) = line.split_once(before)
                    && let Some((_, end)) = rest.split_once(after)
                {
                    line = format!("{start}{before}N{after}{end}");
                }
            }
            line
        };
        let mut lines: Vec<_> = text.lines().map(line).collect();
        // Blobs are told in the order in which they are done.
        lines.chunk_by_mut(|a, b| a.starts_with("  HASH") && b.starts_with("  HASH")).for_each(<[String]>::sort);
        lines.iter().map(|line| format!("{line}\n")).collect::<String>()
    };
    format!("exit code: {}\n--- stdout\n{}--- stderr\n{}", ran.code, mask(&ran.stdout), mask(&ran.stderr))
}

#[track_caller]
fn assert_shown(build: &Build, arguments: &[&str], expected: &str) {
    let address = build.server.address().to_string();
    let folder = build.folder().to_str().expect("UTF-8");
    let found = shown(&build.wharf.run(arguments), &[(&address, "ADDRESS"), (folder, "TOPDIR")]);
    assert!(found == expected, "\n=== found\n{found}=== expected\n{expected}");
}

#[test]
fn a_first_push() {
    let build = build();
    assert_shown(
        &build,
        &["push", "app"],
        "\
exit code: 0
--- stdout
ADDRESS/yocto/app:TIMESTAMP DIGEST
ADDRESS/yocto/app:latest DIGEST
--- stderr
Pushing app (qemux86-64), linux/amd64 from TOPDIR/tmp/deploy/images/qemux86-64/app-qemux86-64.rootfs-oci
  HASH        327 B  sent
  HASH        700 B  sent
  HASH    293.0 KiB  sent
Pushed app: 3 blobs sent (294.0 KiB), in N s; 2 tags
Pull with: docker pull ADDRESS/yocto/app:latest
",
    );
}

#[test]
fn a_push_of_what_is_there() {
    let build = build();
    build.wharf.ok(&["push", "app", "--tag", "v1"]);
    assert_shown(
        &build,
        &["push", "app", "--tag", "v1", "--verbose"],
        "\
exit code: 0
--- stdout
ADDRESS/yocto/app:v1 DIGEST
--- stderr
Pushing app (qemux86-64), linux/amd64 from TOPDIR/tmp/deploy/images/qemux86-64/app-qemux86-64.rootfs-oci
  HASH        327 B  already there
  HASH        700 B  already there
  HASH    293.0 KiB  already there
ADDRESS/yocto/app:v1 leads to application/vnd.oci.image.manifest.v1+json, as before
Pushed app: 0 blobs sent (0 B), 3 already there (294.0 KiB), in N s; 1 tag
Pull with: docker pull ADDRESS/yocto/app:v1
",
    );
}

#[test]
fn a_push_of_two_machines_with_a_warning() {
    assert_shown(
        &build(),
        &["push", "base", "--strategy", "sha latest"],
        "\
exit code: 0
--- stdout
ADDRESS/yocto/base:latest DIGEST
--- stderr
warning: no tag for the strategy `sha`: TOPDIR is in no git repository
Pushing base (qemux86-64), linux/amd64 from TOPDIR/tmp/deploy/images/qemux86-64/base-qemux86-64.rootfs-oci
  HASH        327 B  sent
  HASH        700 B  sent
  HASH    293.0 KiB  sent
Pushing base (qemuarm64), linux/arm64 from TOPDIR/tmp/deploy/images/qemuarm64/base-qemuarm64.rootfs-oci
  HASH        327 B  sent
  HASH        700 B  sent
  HASH    293.0 KiB  sent
Pushed base: 6 blobs sent (587.9 KiB), in N s; 1 tag
Pull with: docker pull ADDRESS/yocto/base:latest
",
    );
}

#[test]
fn a_push_over_an_artifact() {
    let build = build();
    let artifact = artifact(None, Some("application/vnd.example"), &[]);
    build.repo("app").push_artifact(&artifact);
    build.repo("app").put("v1", OCI_MANIFEST, &artifact).expect(201);
    assert_shown(
        &build,
        &["push", "app", "--tag", "v1"],
        "\
exit code: 0
--- stdout
ADDRESS/yocto/app:v1 DIGEST
--- stderr
Pushing app (qemux86-64), linux/amd64 from TOPDIR/tmp/deploy/images/qemux86-64/app-qemux86-64.rootfs-oci
  HASH        327 B  sent
  HASH        700 B  sent
  HASH    293.0 KiB  sent
warning: ADDRESS/yocto/app:v1 was replaced: what it led to before names no platform
Pushed app: 3 blobs sent (294.0 KiB), in N s; 1 tag
Pull with: docker pull ADDRESS/yocto/app:v1
",
    );
}

#[test]
fn a_push_of_an_unknown_image_beside_a_known_one() {
    assert_shown(
        &build(),
        &["push", "nope", "app", "--strategy", "latest", "--quiet"],
        "\
exit code: 1
--- stdout
ADDRESS/yocto/app:latest DIGEST
--- stderr
error: nope not found in TOPDIR/tmp/deploy/images
hint: available: app, base
error: 1 of 2 not pushed: nope
",
    );
}

#[test]
fn a_push_of_two_images_for_one_platform() {
    let build = build();
    write_layout(&build.path("two-oci"), &[("v1", &image("amd64")), ("v2", &image("amd64"))]);
    assert_shown(
        &build,
        &["push", "two-oci"],
        "\
exit code: 1
--- stdout
--- stderr
error: two cannot be pushed
  caused by: TOPDIR/two-oci holds several images for linux/amd64: v1, v2
hint: TOPDIR/two-oci:NAME picks one of them
",
    );
}

#[test]
fn a_push_without_a_version() {
    assert_shown(&build(), &["push", "app", "--strategy", "semver latest"], "\
exit code: 1
--- stdout
--- stderr
error: app (qemux86-64) cannot be pushed
  caused by: the tag strategy `semver` needs a version: give --version, set IMAGE_VERSION, or build the image with the label org.opencontainers.image.version
");
}

#[test]
fn an_import() {
    let build = build();
    build.wharf.ok(&["push", "base", "--tag", "v1"]);
    let source = format!("{}/yocto/base:v1", build.server.address());
    assert_shown(
        &build,
        &["import", &source, "copied"],
        "\
exit code: 0
--- stdout
ADDRESS/yocto/copied:v1 DIGEST
--- stderr
Importing ADDRESS/yocto/base:v1 from http://ADDRESS
  HASH        327 B  sent
  HASH        327 B  sent
  HASH        700 B  sent
  HASH        700 B  sent
  HASH    293.0 KiB  mounted from another image
  HASH    293.0 KiB  mounted from another image
Import complete: 4 blobs sent (2.0 KiB), 2 mounted (585.9 KiB), in N s
Pull with: docker pull ADDRESS/yocto/copied:v1
",
    );
}

#[test]
fn listings() {
    let build = build();
    build.wharf.ok(&["push", "app", "--tag", "v1", "--tag", "v2"]);
    build.wharf.ok(&["push", "base", "--tag", "v1"]);
    assert_shown(
        &build,
        &["list"],
        "\
exit code: 0
--- stdout
yocto/app: v1 v2
yocto/base: v1
--- stderr
",
    );
    assert_shown(
        &build,
        &["list", "--long"],
        "\
exit code: 0
--- stdout
IMAGE          SIZE       PLATFORMS                CREATED               DIGEST
yocto/app:v1   294.5 KiB  linux/amd64              2026-01-12T20:32:24Z  DIGEST
yocto/app:v2   294.5 KiB  linux/amd64              2026-01-12T20:32:24Z  DIGEST
yocto/base:v1  589.5 KiB  linux/amd64,linux/arm64  2026-01-12T20:32:24Z  DIGEST
--- stderr
",
    );
    assert_shown(
        &build,
        &["tags", "app", "--json"],
        "\
exit code: 0
--- stdout
{
  \"name\": \"yocto/app\",
  \"tags\": [
    \"v1\",
    \"v2\"
  ]
}
--- stderr
",
    );
    assert_shown(
        &build,
        &["catalog"],
        "\
exit code: 0
--- stdout
{\"repositories\":[\"yocto/app\",\"yocto/base\"]}
--- stderr
",
    );
}

#[test]
fn deletes() {
    let build = build();
    build.wharf.ok(&["push", "app", "--tag", "v1"]);
    assert_shown(
        &build,
        &["delete", "app:v1"],
        "\
exit code: 0
--- stdout
--- stderr
Deleted successfully
",
    );
    assert_shown(
        &build,
        &["delete", "app:v1"],
        "\
exit code: 1
--- stdout
--- stderr
error: Tag not found: app:v1
hint: `wharf tags app` lists them
",
    );
}

#[test]
fn a_registry_of_ones_own() {
    let own = Background::new();
    let address = format!("localhost:{}", own.port);
    let folder = own.path("").to_str().expect("UTF-8").trim_end_matches('/').to_owned();
    let check = |arguments: &[&str], expected: &str| {
        let found = shown(&own.wharf.run(arguments), &[(&address, "ADDRESS"), (&folder, "TOPDIR")]);
        assert!(found == expected, "\n=== {arguments:?} found\n{found}=== expected\n{expected}");
    };
    check(
        &["list"],
        "\
exit code: 1
--- stdout
--- stderr
error: Registry not responding at http://ADDRESS
  caused by: Connection refused (os error 111)
hint: `wharf start` starts it
",
    );
    check(
        &["start"],
        "\
exit code: 0
--- stdout
--- stderr
Registry started (pid N)
  URL:     http://ADDRESS
  Storage: TOPDIR/container-registry/data
  Log:     TOPDIR/container-registry/registry.log
",
    );
    check(
        &["status"],
        "\
exit code: 0
--- stdout
Registry: running (pid N)
  URL:     http://ADDRESS
  Storage: TOPDIR/container-registry/data
  Mode:    insecure (HTTP, no authentication)
  Health:  healthy
--- stderr
",
    );
    check(
        &["gc"],
        "\
exit code: 0
--- stdout
Nothing to free in 0 repositories
--- stderr
",
    );
    check(
        &["stop"],
        "\
exit code: 0
--- stdout
--- stderr
Registry stopped
",
    );
    check(
        &["status"],
        "\
exit code: 1
--- stdout
Registry: not running
--- stderr
",
    );
}
