//! `push --dry-run`: names and tags as the push has them, without the registry.

use serde_json::json;
use wharf_tests::{Build, image_for, sha256};

/// It tells the references that the push then sets, and says nothing to the registry; as JSON also where each image lies.
#[test]
fn it_tells_what_the_push_does() {
    let build = Build::new();
    let image = image_for("amd64", json!({"org.opencontainers.image.version": "1.2.3"}));
    let path = build.deploy.layout("qemux86-64", "app-qemux86-64.rootfs-oci", &image);
    build.deploy.layout("qemuarm64", "app-qemuarm64.rootfs-oci", &image_for("arm64", json!({})));
    let arguments = ["push", "--strategy", "latest arch", "--dry-run"];
    let ran = build.wharf.ok(&arguments).says("Would push app (qemux86-64), linux/amd64");
    assert!(build.nothing_was_sent(), "{ran}");
    let authority = build.server.address();
    assert!(ran.stdout.contains(&format!("{authority}/yocto/app:latest {}\n", path.display())), "{ran}");

    let machine = build.wharf.env("DEPLOY_DIR_IMAGE", path.parent().and_then(|folder| folder.to_str()).expect("a folder"));
    let semver = ["push", "--strategy", "semver arch"];
    let ran = machine.ok(&[&semver[..], &["--dry-run", "--json"]].concat());
    let listed = ran.json();
    let mut tags: Vec<_> =
        listed[0]["tags"].as_array().expect("tags").iter().map(|tag| tag.as_str().expect("a tag").to_owned()).collect();
    let mut expected = listed[0].clone();
    expected["tags"] = json!([]);
    assert_eq!(
        json!([{"name": "app", "machine": "qemux86-64", "repository": "yocto/app", "path": path,
                "digest": sha256(&image.manifest), "tags": []}]),
        json!([expected]),
        "{ran}"
    );
    assert!(build.nothing_was_sent(), "{ran}");
    let mut pushed = machine.ok(&semver).tags();
    pushed.sort();
    tags.sort();
    assert_eq!(tags, pushed);
    assert_eq!(tags.len(), 6, "{tags:?}");
}

/// What a push would refuse is refused; only that there is nothing is no failure of a question.
#[test]
fn it_refuses_what_the_push_refuses() {
    let build = Build::new();
    let ran = build.wharf.ok(&["push", "--dry-run", "--json"]).says("warning: no images found");
    assert_eq!(ran.json(), json!([]));
    build.wharf.fails(&["push", "--dry-run", "app"]).says("app not found");
    build.deploy.layout("qemux86-64", "app-qemux86-64.rootfs-oci", &image_for("amd64", json!({})));
    build.wharf.fails(&["push", "--dry-run", "--strategy", "semver"]).says("needs a version");
}

/// An image that gives way to a later one for the same platform is left out, with the words of the push.
#[test]
fn it_leaves_out_what_gives_way() {
    let build = Build::new();
    for machine in ["first", "second"] {
        build.deploy.layout(machine, "app-oci", &image_for("amd64", json!({})));
    }
    let ran = build.wharf.ok(&["push", "--strategy", "latest", "--dry-run"]);
    assert_eq!(ran.stdout.lines().count(), 1, "{ran}");
    assert!(build.nothing_was_sent(), "{ran}");
    ran.says("is for the same platform and was built later");
}
