//! Layers that tests are made of, and images read by programs of others.
#![allow(dead_code, reason = "not every test program uses all of it")]

#[path = "../../../layers/tests/support/archive.rs"]
pub mod archive;
pub mod erofs;
pub mod look;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::Command;

use wharf_layers::unpack::{UnpackOptions, Unpacker};
use wharf_layers::{Entry, Kind, LayersError, Time};
use wharf_oci::Digest;
use wharf_rootfs::{Cache, Image, RootfsError};

use erofs::Erofs;
use look::Listing;

pub fn entry(name: &str, kind: Kind) -> Entry {
    let mode = if kind == Kind::Directory { 0o755 } else { 0o644 };
    let mtime = Time { seconds: 1_000_000_000, nanoseconds: 123_456_789 };
    Entry { name: name.into(), kind, mode, uid: 0, gid: 0, mtime, size: 0, xattrs: BTreeMap::new() }
}

pub fn file(name: &str) -> Entry {
    entry(name, Kind::Regular)
}

pub fn directory(name: &str) -> Entry {
    entry(name, Kind::Directory)
}

pub fn symlink(name: &str, target: &str) -> Entry {
    Entry { mode: 0o777, ..entry(name, Kind::Symlink(target.into())) }
}

pub fn hardlink(name: &str, target: &str) -> Entry {
    entry(name, Kind::Hardlink(target.into()))
}

/// Keeps these layers, which are not compressed, and makes their image.
pub fn image(cache: &Cache, layers: &[Vec<u8>]) -> Result<Image, RootfsError> {
    let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::sha256(layer)).collect();
    for (diff_id, layer) in diff_ids.iter().zip(layers) {
        cache.add(diff_id, layer.as_slice())?;
    }
    cache.image(&diff_ids)
}

/// Lays out the same layers as files.
pub fn unpack(layers: &[Vec<u8>], path: &Path) -> Result<(), LayersError> {
    let mut unpacker = Unpacker::new(path, UnpackOptions::default())?;
    for layer in layers {
        unpacker.layer(layer.as_slice())?;
    }
    unpacker.finish().map(drop)
}

/// What is used of the image's disk as one file, made by QEMU.
pub fn flatten(image: &Image, path: &Path) {
    let blocks = (image.metadata() + image.contents()) / 4096;
    let dd = ["dd", "-f", "vmdk", "-O", "raw", "bs=4096", &format!("count={blocks}")];
    let (from, to) = (format!("if={}", image.path().display()), format!("of={}", path.display()));
    run(Command::new("qemu-img").args(dd).args([from, to]));
}

/// Extracts a flat disk with the program of erofs-utils, which checks it first.
pub fn extract(disk: &Path, to: &Path) {
    run(Command::new("fsck.erofs").arg(format!("--extract={}", to.display())).arg(disk));
}

/// What is in the image of these layers: read from the disk that QEMU makes of it, and seen by the program of erofs-utils in the same way.
pub fn merged(layers: &[Vec<u8>]) -> Result<Listing, RootfsError> {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path().join("cache")).unwrap();
    let image = image(&cache, layers)?;
    let disk = folder.path().join("disk");
    flatten(&image, &disk);
    let root = folder.path().join("root");
    extract(&disk, &root);
    let listing = Erofs::open(File::open(&disk).unwrap()).listing();
    let extracted = look::look(&root);
    assert_eq!(listing.paths(), extracted.paths());
    for path in listing.paths() {
        let (one, other) = (listing.get(path).unwrap(), extracted.get(path).unwrap());
        assert_eq!((one.mode & 0o170_000, &one.content), (other.mode & 0o170_000, &other.content), "{path}");
    }
    Ok(listing)
}

pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {out}{err}");
    out.into_owned()
}

/// Waits for something that happens soon.
pub fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !is_so() {
        assert!(std::time::Instant::now() < end, "{what}");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}
