//! skopeo: copies between OCI layouts and the registry, in both directions.

use std::fs;
use std::path::Path;

use wharf_tests::clients::{Cell, Layout, Output, Traffic, assert_whole, registry};
use wharf_tests::{Server, sha256};

/// A server, a cell for skopeo and a layout to copy from.
struct Stage {
    server: Server,
    cell: Cell,
    layout: Layout,
}

impl Stage {
    #[track_caller]
    fn new() -> Self {
        let (server, cell) = (registry(), Cell::new());
        let layout = Layout::make(cell.folder());
        Self { server, cell, layout }
    }

    fn docker(&self, reference: &str) -> String {
        format!("docker://{}/{reference}", self.server.address())
    }

    #[track_caller]
    fn skopeo(&self, arguments: &[&str]) -> Output {
        self.cell.run("skopeo", arguments)
    }

    #[track_caller]
    fn push(&self, name: &str, reference: &str) -> Traffic {
        let (from, to) = (self.layout.oci(name), self.docker(reference));
        let arguments = ["copy", "--all", "--preserve-digests", "--dest-tls-verify=false", &from, &to];
        let (traffic, copied) = Traffic::during(&self.server, || self.skopeo(&arguments));
        copied.ok();
        traffic.assert_no_complaint();
        traffic
    }

    /// Copies into a new layout and compares: the same entry, and below it the same blobs.
    #[track_caller]
    fn pull_and_compare(&self, reference: &str, name: &str, digest: &str, blobs: usize) {
        let fresh = self.cell.path(&format!("pulled-{name}"));
        let (from, to) = (self.docker(reference), format!("oci:{}:{name}", fresh.display()));
        self.skopeo(&["copy", "--all", "--preserve-digests", "--src-tls-verify=false", &from, &to]).ok();
        let index = fs::read(fresh.join("index.json")).expect("the index of the layout");
        let index: serde_json::Value = serde_json::from_slice(&index).expect("an index in JSON");
        assert_eq!(index["manifests"][0]["digest"], digest);
        assert_eq!(same_blobs(&fresh, &self.layout.folder), blobs);
    }
}

/// How many blobs the first layout has, after asserting that the second has them all and that their names are right.
#[track_caller]
fn same_blobs(pulled: &Path, original: &Path) -> usize {
    let folder = fs::read_dir(pulled.join("blobs/sha256")).expect("a folder of blobs");
    let entries: Vec<_> = folder.map(|e| e.expect("an entry")).collect();
    for entry in &entries {
        let bytes = fs::read(entry.path()).expect("read a blob");
        let name = entry.file_name().into_string().expect("a name in UTF-8");
        assert_eq!(sha256(&bytes), format!("sha256:{name}"));
        assert!(fs::read(original.join("blobs/sha256").join(name)).expect("the blob it was copied from") == bytes);
    }
    entries.len()
}

/// A single image arrives with its digest unchanged, comes back the same, and is not sent twice.
#[test]
fn a_single_image_goes_there_and_back() {
    let stage = Stage::new();
    let traffic = stage.push("amd64", "team/app:1");
    assert!(traffic.uploaded() > 500_000, "{traffic:#?}");
    let repo = stage.server.repo("team/app");
    assert_eq!(assert_whole(&repo, "1"), stage.layout.amd64.digest);
    stage.push("amd64", "team/app:1").assert_no_blob_sent();
    stage.push("amd64", "team/app:2").assert_no_blob_sent();
    stage.pull_and_compare("team/app:2", "amd64", &stage.layout.amd64.digest, 3);
}

/// An index arrives with both images, comes back the same, and is not sent twice.
#[test]
fn an_index_goes_there_and_back() {
    let stage = Stage::new();
    stage.push("multi", "team/multi:1");
    assert_eq!(assert_whole(&stage.server.repo("team/multi"), "1"), stage.layout.index_digest());
    stage.push("multi", "team/multi:1").assert_no_blob_sent();
    stage.pull_and_compare("team/multi:1", "multi", &stage.layout.index_digest(), 7);
    let from = stage.docker("team/multi:1");
    let inspected = stage.skopeo(&["inspect", "--tls-verify=false", "--override-arch=arm64", &from]).json();
    assert_eq!(inspected["Architecture"], "arm64");
    // skopeo 1.9 names the manifest of the index here and the layers of the platform's image.
    assert_eq!(inspected["Layers"][0], sha256(&stage.layout.arm64.layers[0]));
}

/// What another repository of the registry holds is mounted, not sent.
#[test]
fn layers_of_another_repository_are_mounted() {
    let stage = Stage::new();
    stage.push("amd64", "team/base:1");
    let traffic = stage.push("amd64", "other/app:1");
    assert!(traffic.mounted() >= 1, "{traffic:#?}");
    assert!(traffic.uploaded() <= stage.layout.amd64.config.len() as u64, "{traffic:#?}");
    assert_eq!(assert_whole(&stage.server.repo("other/app"), "1"), stage.layout.amd64.digest);
}

/// Tags are listed, and a delete takes the image away; what other names hold stays.
#[test]
fn tags_are_listed_and_images_deleted() {
    let stage = Stage::new();
    stage.push("amd64", "app:1");
    stage.push("arm64", "app:2");
    let list = || stage.skopeo(&["list-tags", "--tls-verify=false", &stage.docker("app")]);
    assert_eq!(list().json()["Tags"], serde_json::json!(["1", "2"]));
    stage.skopeo(&["delete", "--tls-verify=false", &stage.docker("app:1")]).ok();
    assert_eq!(list().json()["Tags"], serde_json::json!(["2"]));
    let gone = stage.skopeo(&["inspect", "--tls-verify=false", &stage.docker("app:1")]).fails();
    assert!(gone.contains("manifest unknown"), "{gone}");
    assert_eq!(assert_whole(&stage.server.repo("app"), "2"), stage.layout.arm64.digest);
}

/// An image as umoci makes it, and converted to Docker's media types on the way.
#[test]
fn an_image_by_umoci_is_converted_to_dockers_types() {
    let stage = Stage::new();
    let layout = stage.cell.path("by-umoci");
    let image = format!("{}:1", layout.display());
    let tree = stage.cell.path("tree-amd64");
    stage.cell.run("umoci", ["init", "--layout", layout.to_str().unwrap()]).ok();
    stage.cell.run("umoci", ["new", "--image", &image]).ok();
    stage.cell.run("umoci", ["insert", "--image", &image, tree.to_str().unwrap(), "/"]).ok();
    let (from, to) = (format!("oci:{image}"), stage.docker("converted:1"));
    stage.skopeo(&["copy", "--format=v2s2", "--dest-tls-verify=false", &from, &to]).ok();
    let repo = stage.server.repo("converted");
    assert_whole(&repo, "1");
    let answer = repo.manifest("1").expect_header("Content-Type", wharf_tests::DOCKER_MANIFEST);
    assert_eq!(answer.json()["mediaType"], wharf_tests::DOCKER_MANIFEST);
    let back = format!("oci:{}:1", stage.cell.path("back").display());
    stage.skopeo(&["copy", "--src-tls-verify=false", &to, &back]).ok();
}
