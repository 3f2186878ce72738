//! Images that run: Debian's static busybox for two architectures, in an OCI layout.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::tools::{require, target_folder};
use crate::{Image, OCI_INDEX, OCI_MANIFEST, Repo, descriptor, index, random, sha256};

/// Files to be packed into a layer.
#[derive(Debug)]
pub struct Tree {
    folder: PathBuf,
}

impl Tree {
    /// An empty tree in this folder, which must not exist.
    pub fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("a folder for a tree");
        Self { folder: folder.to_owned() }
    }

    /// Writes a file, with the folders above it.
    #[must_use]
    pub fn file(self, name: &str, content: &[u8]) -> Self {
        let path = self.folder.join(name);
        fs::create_dir_all(path.parent().expect("a file's folder")).expect("a folder in a tree");
        fs::write(path, content).expect("a file in a tree");
        self
    }

    /// With busybox in /bin, and a file that no other tree has, so that no client takes it for one it knows.
    #[must_use]
    pub fn busybox(self, architecture: &str) -> Self {
        let program = busybox(architecture);
        let tree = self.file("bin/busybox", &program).file("etc/nonce", hex::encode(random(16)).as_bytes());
        set_executable(&tree.folder.join("bin/busybox"));
        tree
    }

    /// The uncompressed layer, beside the folder. It ends in exactly two empty blocks: with more or less than those
    /// podman 4.3 never ends the compression to zstd:chunked.
    pub fn pack(&self) -> PathBuf {
        let tar = self.folder.with_extension("tar");
        let packed = Command::new(require("tar"))
            .args(["--create", "--blocking-factor=1", "--sort=name", "--numeric-owner", "--owner=0", "--group=0"])
            .args(["--mtime=@1700000000", "--format=gnu"])
            .arg("--file")
            .arg(&tar)
            .arg("--directory")
            .arg(&self.folder)
            .arg(".")
            .status()
            .expect("run tar");
        assert!(packed.success(), "tar: {packed}");
        tar
    }
}

fn set_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("make a file executable");
}

/// For arm64 what scripts/install-test-tools fetched; on a distribution that offers none, a program of the same format
/// that only says it is one, which no client looks into.
pub(crate) fn busybox(architecture: &str) -> Vec<u8> {
    let own = || fs::read(require("busybox")).expect("read busybox");
    if architecture == "amd64" {
        return own();
    }
    fetched_busybox(architecture).unwrap_or_else(|| {
        let mut program = own();
        program[18..20].copy_from_slice(&183_u16.to_le_bytes());
        program
    })
}

/// What scripts/install-test-tools fetched for an architecture; `None` on a distribution that offers none.
pub fn fetched_busybox(architecture: &str) -> Option<Vec<u8>> {
    fs::read(target_folder().join(format!("test-{architecture}/busybox"))).ok()
}

/// An OCI layout with an image for amd64, one for arm64 and an index of both, under the names `amd64`, `arm64` and `multi`.
#[derive(Debug)]
pub struct Layout {
    /// The layout's folder.
    pub folder: PathBuf,
    /// For amd64.
    pub amd64: Image,
    /// For arm64.
    pub arm64: Image,
    /// The uncompressed layers, amd64 first.
    pub tars: [PathBuf; 2],
    /// The index of both.
    pub index: Vec<u8>,
}

impl Layout {
    /// Makes one in a new folder `layout` here.
    pub fn make(here: &Path) -> Self {
        let trees = ["amd64", "arm64"].map(|a| Tree::new(&here.join(format!("tree-{a}"))).busybox(a));
        Self::of(here, &trees)
    }

    /// Makes one of the packed trees, amd64 first, in a new folder `layout` here.
    pub fn of(here: &Path, trees: &[Tree; 2]) -> Self {
        let tars = [trees[0].pack(), trees[1].pack()];
        let amd64 = image("amd64", &tars[0]);
        let arm64 = image("arm64", &tars[1]);
        let index = index(&[amd64.descriptor("amd64"), arm64.descriptor("arm64")]);
        let layout = Self { folder: here.join("layout"), amd64, arm64, tars, index };
        layout.write();
        layout
    }

    /// The digest of the index.
    pub fn index_digest(&self) -> String {
        sha256(&self.index)
    }

    /// `oci:FOLDER:NAME`, as the tools around containers/image name it.
    pub fn oci(&self, name: &str) -> String {
        format!("oci:{}:{name}", self.folder.display())
    }

    /// The layout as one file beside the folder, as `ctr` imports it.
    pub fn archive(&self) -> PathBuf {
        let tar = self.folder.with_extension("oci.tar");
        let packed = Command::new(require("tar")).arg("-cf").arg(&tar).arg("-C").arg(&self.folder).arg(".").status();
        assert!(packed.expect("run tar").success());
        tar
    }

    fn write(&self) {
        let blobs = self.folder.join("blobs/sha256");
        fs::create_dir_all(&blobs).expect("a folder for blobs");
        let put = |bytes: &[u8]| fs::write(blobs.join(&sha256(bytes)[7..]), bytes).expect("write a blob");
        for image in [&self.amd64, &self.arm64] {
            image.blobs().for_each(|blob| put(blob));
            put(&image.manifest);
        }
        put(&self.index);
        let entry = |media_type: &str, bytes: &[u8], name: &str| {
            let mut entry = descriptor(media_type, bytes);
            entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
            entry
        };
        let entries = [
            entry(OCI_MANIFEST, &self.amd64.manifest, "amd64"),
            entry(OCI_MANIFEST, &self.arm64.manifest, "arm64"),
            entry(OCI_INDEX, &self.index, "multi"),
        ];
        let write = |name: &str, text: Vec<u8>| fs::write(self.folder.join(name), text).expect("write the layout");
        write("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
        write("index.json", index(&entries));
    }
}

fn image(architecture: &str, tar: &Path) -> Image {
    let packed = Command::new(require("gzip")).args(["-n", "-1", "-c"]).arg(tar).output().expect("run gzip");
    assert!(packed.status.success(), "gzip: {}", packed.status);
    let layer = packed.stdout;
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "created": "2024-01-01T00:00:00Z",
        "config": {"Cmd": ["/bin/busybox", "sh"]},
        "rootfs": {"type": "layers", "diff_ids": [sha256(&fs::read(tar).expect("read a layer"))]},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "test"}],
    })
    .to_string()
    .into_bytes();
    Image::of_config(config, vec![layer])
}

/// Asserts that what a reference names is there with all below it, byte for byte as its digests say; returns the
/// manifest's digest.
#[track_caller]
pub fn assert_whole(repo: &Repo<'_>, reference: &str) -> String {
    let mut blobs = BTreeSet::new();
    let digest = visit(repo, reference, &mut blobs);
    assert!(!blobs.is_empty(), "no blob below {reference}");
    for (blob, size) in blobs {
        let bytes = repo.blob(&blob).expect(200).body;
        assert_eq!((sha256(&bytes), bytes.len() as u64), (blob, size));
    }
    digest
}

#[track_caller]
fn visit(repo: &Repo<'_>, reference: &str, blobs: &mut BTreeSet<(String, u64)>) -> String {
    let answer = repo.manifest(reference).expect(200);
    let digest = sha256(&answer.body);
    assert_eq!(answer.header("Docker-Content-Digest"), digest);
    let manifest = answer.json();
    let list = |key: &str| manifest[key].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().expect("a digest").to_owned();
    for child in list("manifests") {
        assert_eq!(visit(repo, &text(&child["digest"]), blobs), text(&child["digest"]));
    }
    for blob in list("layers").iter().chain(manifest.get("config")) {
        blobs.insert((text(&blob["digest"]), blob["size"].as_u64().expect("a size")));
    }
    digest
}
