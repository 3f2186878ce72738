//! Where root file systems are packed and images unpacked.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::{Facts, Ran, Wharf};

/// An empty folder, and `wharf` run in it.
#[derive(Debug)]
pub struct Stage {
    /// The command, run in the folder.
    pub wharf: Wharf,
    folder: TempDir,
}

impl Stage {
    /// A fresh one.
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("wharf-stage-").tempdir().expect("a temporary folder");
        Self { wharf: Wharf::new(folder.path()), folder }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A path in the folder as text.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("a path in UTF-8").to_owned()
    }

    /// Packs with these options, and returns the manifest's digest.
    #[track_caller]
    pub fn pack(&self, rootfs: &Path, layout: &str, options: &[&str]) -> String {
        let arguments = [&["pack", rootfs.to_str().expect("a path in UTF-8"), layout], options].concat();
        self.wharf.ok(&arguments).packed()
    }

    /// Unpacks to a folder, reads its facts, and removes it again.
    #[track_caller]
    pub fn unpacked(&self, layout: &str) -> Facts {
        self.wharf.ok(&["unpack", layout, "unpacked"]);
        let facts = Facts::of(&self.path("unpacked"));
        fs::remove_dir_all(self.path("unpacked")).expect("remove what was unpacked");
        facts
    }

    /// The manifest of the first image of a layout.
    pub fn manifest(&self, layout: &str) -> Value {
        let bytes = fs::read(self.path(layout).join("index.json")).expect("an index");
        let index: Value = serde_json::from_slice(&bytes).expect("JSON");
        self.blob(layout, &index["manifests"][0])
    }

    /// The configuration of the first image of a layout.
    pub fn config(&self, layout: &str) -> Value {
        self.blob(layout, &self.manifest(layout)["config"])
    }

    /// A blob that is JSON.
    pub fn blob(&self, layout: &str, descriptor: &Value) -> Value {
        serde_json::from_slice(&fs::read(self.blob_path(layout, descriptor)).expect("a blob")).expect("JSON")
    }

    /// Where a blob is.
    pub fn blob_path(&self, layout: &str, descriptor: &Value) -> PathBuf {
        let digest = descriptor["digest"].as_str().expect("a digest");
        self.path(layout).join("blobs/sha256").join(digest.strip_prefix("sha256:").expect("a digest"))
    }
}

impl Ran {
    /// The digest of the image that `wharf pack` printed.
    #[track_caller]
    pub fn packed(&self) -> String {
        let digest = self.stdout.trim().rsplit_once(' ').map(|(_, digest)| digest).filter(|digest| digest.starts_with("sha256:"));
        digest.unwrap_or_else(|| panic!("no digest: {self}")).to_owned()
    }
}
