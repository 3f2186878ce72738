//! What a Yocto build leaves in its deploy directory.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{Image, OCI_MANIFEST, descriptor, random, sha256};

/// An image of a platform, with labels, unlike any other.
pub fn image_for(architecture: &str, labels: Value) -> Image {
    image_of(json!({"architecture": architecture, "os": "linux"}), labels, vec![random(2000), random(700)])
}

/// An image whose configuration says this of its platform (`architecture`, `os`, `variant`, …), with these layers.
pub fn image_of(platform: Value, labels: Value, layers: Vec<Vec<u8>>) -> Image {
    let mut config = json!({
        "created": "2026-01-12T20:32:24Z",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|layer| sha256(layer)).collect::<Vec<_>>()},
        "history": [{"created_by": hex::encode(random(8))}],
    });
    config["config"]["Labels"] = labels;
    let Value::Object(platform) = platform else { panic!("no platform: {platform}") };
    for (name, value) in platform {
        config[name] = value;
    }
    Image::of_config(config.to_string().into_bytes(), layers)
}

/// Writes an OCI layout with these images, each under a ref.name unless that is empty.
pub fn write_layout(folder: &Path, images: &[(&str, &Image)]) {
    let entries: Vec<_> = images
        .iter()
        .map(|(name, image)| {
            for blob in image.blobs() {
                write_blob(folder, blob);
            }
            write_blob(folder, &image.manifest);
            let mut entry = descriptor(OCI_MANIFEST, &image.manifest);
            if !name.is_empty() {
                entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
            }
            entry
        })
        .collect();
    write_index(folder, &entries);
}

/// Writes a blob into a layout.
pub fn write_blob(folder: &Path, bytes: &[u8]) {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("a folder for blobs");
    fs::write(blobs.join(&sha256(bytes)[7..]), bytes).expect("write a blob");
}

/// Writes `oci-layout` and `index.json`.
pub fn write_index(folder: &Path, entries: &[Value]) {
    fs::create_dir_all(folder).expect("a folder for a layout");
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("write the layout");
    let index = json!({"schemaVersion": 2, "manifests": entries});
    fs::write(folder.join("index.json"), index.to_string()).expect("write the layout");
}

/// A deploy directory: `tmp/deploy/images` of a build directory.
#[derive(Debug)]
pub struct Deploy {
    images: PathBuf,
}

impl Deploy {
    /// That of a build directory.
    pub fn new(topdir: &Path) -> Self {
        let images = topdir.join("tmp/deploy/images");
        fs::create_dir_all(&images).expect("a deploy directory");
        Self { images }
    }

    /// The folder of all machines.
    pub fn images(&self) -> &Path {
        &self.images
    }

    /// A path in a machine's folder.
    pub fn path(&self, machine: &str, name: &str) -> PathBuf {
        self.images.join(machine).join(name)
    }

    /// Writes a layout with one image, as `ref.name` latest.
    pub fn layout(&self, machine: &str, name: &str, image: &Image) -> PathBuf {
        let folder = self.path(machine, name);
        write_layout(&folder, &[("latest", image)]);
        folder
    }

    /// Makes a link in a machine's folder.
    pub fn link(&self, machine: &str, name: &str, target: &str) {
        symlink(target, self.path(machine, name)).expect("make a link");
    }
}
