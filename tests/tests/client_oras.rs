//! oras and python-dxf, from PyPI: artifacts, images, indexes and referrers.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;
use wharf_tests::clients::{DXF, Layout, ORAS, Traffic, assert_whole, registry, run_python};
use wharf_tests::{OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Server, index, random, sha256};

struct Stage {
    server: Server,
    folder: TempDir,
}

impl Stage {
    #[track_caller]
    fn new() -> Self {
        Self { server: registry(), folder: TempDir::new().expect("a temporary folder") }
    }

    #[track_caller]
    fn oras(&self, step: &str, given: &Value) -> Value {
        let host = self.server.address().to_string();
        run_python(self.folder.path(), ORAS, [step, &host, &given.to_string()])
    }

    #[track_caller]
    fn push(&self, given: &Value) -> (Traffic, String) {
        let (traffic, answer) = Traffic::during(&self.server, || self.oras("push", given));
        traffic.assert_no_complaint();
        assert_eq!(answer["status"], 201);
        (traffic, answer["digest"].as_str().expect("a string").to_owned())
    }

    fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.folder.path().join(name), content).expect("write a file");
    }

    /// Pulls into a new folder and compares one file.
    #[track_caller]
    fn assert_pulled(&self, reference: &str, name: &str, content: &[u8]) {
        let fresh = tempfile::tempdir_in(self.folder.path()).expect("a temporary folder");
        self.oras("pull", &json!({"reference": reference, "folder": fresh.path()}));
        let pulled = fs::read(fresh.path().join(name)).expect("a pulled file");
        assert!(pulled == content, "{name} of {reference}");
    }
}

/// An artifact of two files goes there and back; a second push sends nothing; tags are listed and deleted.
#[test]
fn an_artifact_goes_there_and_back() {
    let stage = Stage::new();
    let (one, two) = (random(300_000), random(1_000));
    stage.write("one.bin", &one);
    stage.write("two.txt", &two);
    let given = |tag: &str| {
        let files = ["one.bin:application/x-one", "two.txt:text/x-two"];
        json!({"reference": format!("art/thing:{tag}"), "folder": stage.folder.path(), "files": files})
    };
    let (traffic, digest) = stage.push(&given("1"));
    assert!(traffic.uploaded() >= 301_000, "{traffic:#?}");
    let repo = stage.server.repo("art/thing");
    assert_eq!(assert_whole(&repo, "1"), digest);
    let manifest = repo.manifest("1").json();
    let of = |n: usize| (manifest["layers"][n]["digest"].clone(), manifest["layers"][n]["mediaType"].clone());
    assert_eq!(of(0), (sha256(&one).into(), "application/x-one".into()));
    assert_eq!(of(1), (sha256(&two).into(), "text/x-two".into()));
    let (traffic, again) = stage.push(&given("2"));
    traffic.assert_no_blob_sent();
    assert_eq!(again, digest);
    stage.assert_pulled("art/thing:2", "one.bin", &one);
    stage.assert_pulled("art/thing:2", "two.txt", &two);

    assert_eq!(stage.oras("tags", &json!({"repository": "art/thing"})), json!(["1", "2"]));
    // It deletes the manifest that the tag names, and with it every tag of that manifest.
    assert_eq!(stage.oras("delete", &json!({"repository": "art/thing", "tag": "1"})), json!(["1"]));
    repo.manifest("2").expect(404);
}

/// A file in chunks: each has its place, and the registry takes them in order.
#[test]
fn a_file_is_pushed_in_chunks() {
    let stage = Stage::new();
    let content = random(350_000);
    stage.write("big.bin", &content);
    let given = json!({"reference": "art/big:1", "folder": stage.folder.path(), "files": ["big.bin"], "chunk": 100_000});
    let (traffic, _) = stage.push(&given);
    assert_eq!(traffic.count("PATCH", "/blobs/uploads/"), 4, "{traffic:#?}");
    assert_whole(&stage.server.repo("art/big"), "1");
    stage.assert_pulled("art/big:1", "big.bin", &content);
}

/// Images for two architectures and an index of them.
#[test]
fn an_index_goes_there_and_back() {
    let stage = Stage::new();
    let layout = Layout::make(stage.folder.path());
    let repo = stage.server.repo("art/multi");
    let mut children = Vec::new();
    for (architecture, image) in [("amd64", &layout.amd64), ("arm64", &layout.arm64)] {
        stage.write("layer.tar.gz", &image.layers[0]);
        stage.write("config.json", &image.config);
        let files = [format!("layer.tar.gz:{OCI_LAYER}")];
        let reference = format!("art/multi:{architecture}");
        let config = format!("config.json:{OCI_CONFIG}");
        let given = json!({"reference": reference, "folder": stage.folder.path(), "files": files, "config": config});
        let (_, digest) = stage.push(&given);
        assert_eq!(assert_whole(&repo, architecture), digest);
        let size = repo.manifest(architecture).body.len();
        let platform = json!({"os": "linux", "architecture": architecture});
        children.push(json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": size, "platform": platform}));
    }
    let index = index(&children);
    let text = String::from_utf8(index.clone()).unwrap();
    let pushed = stage.oras("push_index", &json!({"repository": "art/multi", "tag": "multi", "index": text}));
    assert_eq!(pushed, json!({"status": 201, "digest": sha256(&index)}));
    assert_eq!(assert_whole(&repo, "multi"), sha256(&index));
    let pulled = stage.oras("manifest", &json!({"reference": "art/multi:multi", "types": [OCI_INDEX]}));
    assert_eq!(pulled["manifests"], json!(children));
    let tree = |architecture: &str| stage.folder.path().join(format!("tree-{architecture}"));
    for (child, architecture) in children.iter().zip(["amd64", "arm64"]) {
        let reference = format!("art/multi@{}", child["digest"].as_str().unwrap());
        // oras unpacks what has the media type of a layer.
        stage.assert_pulled(&reference, "etc/nonce", &fs::read(tree(architecture).join("etc/nonce")).unwrap());
        stage.assert_pulled(&reference, "bin/busybox", &fs::read(tree(architecture).join("bin/busybox")).unwrap());
    }
}

/// Something attached to an image is discovered by the image's digest.
#[test]
fn what_is_attached_is_discovered() {
    let stage = Stage::new();
    let repo = stage.server.repo("art/app");
    let image = repo.push_random("1");
    stage.write("report.json", b"{\"fine\": true}");
    let subject = json!({"mediaType": OCI_MANIFEST, "digest": image.digest, "size": image.manifest.len()});
    let files = ["report.json:application/x-report"];
    let given = json!({"reference": "art/app:report", "folder": stage.folder.path(), "files": files, "subject": subject});
    let (_, attached) = stage.push(&given);
    let found = stage.oras("discover", &json!({"repository": "art/app", "digest": image.digest}));
    assert_eq!(found["mediaType"], OCI_INDEX);
    let digests: Vec<_> = found["manifests"].as_array().unwrap().iter().map(|m| &m["digest"]).collect();
    assert_eq!(digests, [&Value::from(attached.clone())]);
    stage.assert_pulled(&format!("art/app@{attached}"), "report.json", b"{\"fine\": true}");
}

/// python-dxf pushes blobs, images and an index, pulls each back, mounts a blob and lists tags.
#[test]
fn python_dxf_pushes_pulls_and_mounts() {
    let stage = Stage::new();
    let layout = Layout::make(stage.folder.path());
    let host = stage.server.address().to_string();
    let arguments = [host.as_str(), "team/dxf", layout.folder.to_str().unwrap()];
    let (traffic, found) = Traffic::during(&stage.server, || run_python(stage.folder.path(), DXF, arguments));
    traffic.assert_no_complaint();
    assert_eq!(found, json!({"tags": ["amd64", "arm64", "multi"], "blobs": 4}));
    assert_eq!(traffic.mounted(), 1, "{traffic:#?}");
    assert_eq!(assert_whole(&stage.server.repo("team/dxf"), "multi"), layout.index_digest());
    // Again: nothing is sent but the manifests.
    let (traffic, _) = Traffic::during(&stage.server, || run_python(stage.folder.path(), DXF, arguments));
    assert_eq!(traffic.uploaded(), 0, "{traffic:#?}");
}
