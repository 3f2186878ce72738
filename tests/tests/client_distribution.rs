//! The commands against CNCF distribution as Debian has it: no preconditions, no deletes of tags, no SHA-512.

use serde_json::json;
use tempfile::TempDir;
use wharf_tests::clients::assert_whole;
use wharf_tests::{Config, Image, Program, Server, Wharf, image_for, write_layout};

struct Stage {
    server: Server,
    folder: TempDir,
}

impl Stage {
    fn new(config: Config) -> Self {
        Self { server: Server::launch(Program::Distribution, config), folder: tempfile::tempdir().expect("a folder") }
    }

    fn wharf(&self) -> Wharf {
        Wharf::with_server(self.folder.path(), &self.server)
    }

    /// The tags of `app`. It gives them in no order.
    fn tags(&self) -> Vec<String> {
        let mut tags: Vec<_> = self.wharf().ok(&["tags", "app"]).stdout.lines().map(str::to_owned).collect();
        tags.sort();
        tags
    }

    /// Writes a layout `NAME-oci` with an image for an architecture.
    fn build(&self, name: &str, architecture: &str) -> Image {
        let image = image_for(architecture, json!({}));
        write_layout(&self.folder.path().join(format!("{name}-oci")), &[("latest", &image)]);
        image
    }
}

#[test]
fn images_are_pushed_and_joined_under_a_tag() {
    let stage = Stage::new(Config::default());
    let (amd64, arm64) = (stage.build("a", "amd64"), stage.build("b", "arm64"));
    let push = |layout: &str| stage.wharf().ok(&["push", layout, "--name", "app", "--tag", "t"]);
    push("a-oci");
    let repo = stage.server.repo("yocto/app");
    assert_eq!(repo.manifest("t").expect(200).body, amd64.manifest);
    push("b-oci");
    let index = repo.manifest("t").expect(200).json();
    let digests: Vec<_> = index["manifests"].as_array().expect("an index").iter().map(|child| child["digest"].clone()).collect();
    assert_eq!(digests, [json!(amd64.digest), json!(arm64.digest)]);
    assert_whole(&repo, "t");
    // A new build of one replaces that one alone.
    let newer = stage.build("a", "amd64");
    push("a-oci");
    let index = repo.manifest("t").expect(200).json();
    let digests: Vec<_> = index["manifests"].as_array().expect("an index").iter().map(|child| child["digest"].clone()).collect();
    assert_eq!(digests, [json!(newer.digest), json!(arm64.digest)]);
    push("a-oci").says("0 blobs sent");
}

#[test]
fn two_that_push_at_once_lose_nothing() {
    let stage = Stage::new(Config::default());
    let architectures = ["amd64", "arm64", "arm", "riscv64"];
    for architecture in architectures {
        stage.build(architecture, architecture);
    }
    let children: Vec<_> = architectures
        .iter()
        .map(|architecture| {
            let layout = format!("{architecture}-oci");
            stage.wharf().command(&["push", &layout, "--name", "app", "--tag", "t"]).stdout(std::process::Stdio::null()).spawn()
        })
        .collect();
    for child in children {
        assert!(child.expect("start a push").wait().expect("wait for it").success());
    }
    let index = stage.server.repo("yocto/app").manifest("t").expect(200).json();
    let mut found: Vec<_> =
        index["manifests"].as_array().expect("an index").iter().map(|m| m["platform"]["architecture"].clone()).collect();
    found.sort_by_key(ToString::to_string);
    assert_eq!(found, [json!("amd64"), json!("arm"), json!("arm64"), json!("riscv64")]);
}

#[test]
fn listings_work() {
    let stage = Stage::new(Config::default());
    assert_eq!(stage.wharf().ok(&["list"]).stdout, "(none)\n");
    assert_eq!(stage.wharf().ok(&["catalog"]).json(), json!({"repositories": []}));
    let image = stage.build("app", "arm64");
    stage.wharf().ok(&["push", "app-oci", "--tag", "b", "--tag", "a"]);
    assert_eq!(stage.tags(), ["a", "b"]);
    let listed = stage.wharf().ok(&["list"]).stdout;
    assert!(["yocto/app: a b\n", "yocto/app: b a\n"].contains(&listed.as_str()), "{listed}");
    let long = stage.wharf().ok(&["list", "--long"]).stdout;
    assert!(long.contains("linux/arm64") && long.contains(&image.digest) && long.contains("2026-01-12T20:32:24Z"), "{long}");
    stage.wharf().fails(&["tags", "other"]).says("not found");
}

#[test]
fn what_it_cannot_delete_is_told() {
    let stage = Stage::new(Config::default());
    let image = stage.build("app", "amd64");
    stage.wharf().ok(&["push", "app-oci", "--tag", "a", "--tag", "b"]);
    let ran =
        stage.wharf().fails(&["delete", "app:a"]).says("cannot delete a tag alone").says(&format!("delete app@{}", image.digest));
    assert_eq!(ran.stdout, "");
    stage.wharf().fails(&["delete", "app:none"]).says("Tag not found");
    stage.wharf().fails(&["delete", "app"]).says("Tag required");
    assert_eq!(stage.tags(), ["a", "b"]);
    stage.wharf().ok(&["delete", &format!("app@{}", image.digest)]).says("Deleted successfully");
    stage.wharf().fails(&["delete", &format!("app@{}", image.digest)]).says("Manifest not found");
    stage.wharf().fails(&["tags", "app"]).says("not found");
    assert_eq!(stage.wharf().ok(&["list"]).stdout, "(none)\n");
}

#[test]
fn deletes_that_are_switched_off_are_told() {
    let stage = Stage::new(Config::default().set("storage.delete.enabled", false));
    let image = stage.build("app", "amd64");
    stage.wharf().ok(&["push", "app-oci", "--tag", "a"]);
    stage
        .wharf()
        .fails(&["delete", &format!("app@{}", image.digest)])
        .says("does not delete anything")
        .says("storage.delete.enabled");
    assert_eq!(stage.wharf().ok(&["tags", "app"]).stdout, "a\n");
}

#[test]
fn blobs_are_mounted_between_names() {
    let stage = Stage::new(Config::default());
    let layers = vec![wharf_tests::random(600_000)];
    let image = wharf_tests::image_of(json!({"architecture": "amd64", "os": "linux"}), json!({}), layers);
    for name in ["one", "two"] {
        write_layout(&stage.folder.path().join(format!("{name}-oci")), &[("latest", &image)]);
    }
    stage.wharf().ok(&["push", "one-oci", "two-oci", "--tag", "t"]).says("mounted");
    assert_whole(&stage.server.repo("yocto/one"), "t");
    assert_whole(&stage.server.repo("yocto/two"), "t");
}
