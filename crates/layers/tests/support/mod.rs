//! Archives and root file systems that tests are made of.
#![allow(dead_code, reason = "not every test program uses all of it")]

pub mod archive;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use wharf_layers::tree::{Tree, TreeOptions};
use wharf_layers::unpack::{UnpackOptions, Unpacker};
use wharf_layers::{Entry, Kind, LayersError, Time};

pub use archive::Archive;

/// Whether the tests run as root, or seem to: who may make devices and give files away.
pub fn is_root() -> bool {
    owner().0 == 0
}

/// The owner and group that new files get. Asked of a program, for it is the C library that `pseudo` and `fakeroot` answer for.
pub fn owner() -> (u64, u64) {
    static OWNER: LazyLock<(u64, u64)> = LazyLock::new(|| {
        let id = |what| Command::new("id").arg(what).output().unwrap().stdout;
        let number = |what| String::from_utf8(id(what)).unwrap().trim().parse().unwrap();
        (number("-u"), number("-g"))
    });
    *OWNER
}

pub fn entry(name: &str, kind: Kind) -> Entry {
    let (uid, gid) = owner();
    let mode = if kind == Kind::Directory { 0o755 } else { 0o644 };
    let mtime = Time { seconds: 1_000_000_000, nanoseconds: 0 };
    Entry { name: name.into(), kind, mode, uid, gid, mtime, size: 0, xattrs: BTreeMap::new() }
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

/// The archive of a tree.
pub fn archive_of(tree: &Tree) -> Vec<u8> {
    let archive =
        tree.nodes().iter().fold(Archive::default(), |archive, node| archive.with(node.entry(), &content(tree, node).unwrap()));
    archive.end()
}

/// The content of a node.
pub fn content(tree: &Tree, node: &wharf_layers::tree::Node) -> Result<Vec<u8>, LayersError> {
    let mut content = tree.content(node)?;
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 70_000]);
    loop {
        match content.read(&mut buffer)? {
            0 => return Ok(bytes),
            read => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}

/// Lays out these layers.
pub fn unpack(layers: &[Vec<u8>], path: &Path) -> Result<(), LayersError> {
    let mut unpacker = Unpacker::new(path, UnpackOptions::default())?;
    for layer in layers {
        unpacker.layer(layer.as_slice())?;
    }
    unpacker.finish().map(drop)
}

pub fn tree(path: &Path) -> Tree {
    Tree::of_directory(path, TreeOptions::default()).unwrap()
}

/// Path, kind and content of all that is below a directory, a line each.
pub fn listing(path: &Path) -> Vec<String> {
    let tree = tree(path);
    let line = |node| {
        let content = String::from_utf8_lossy(&content(&tree, node).unwrap()).into_owned();
        let name = String::from_utf8_lossy(&node.entry().name).into_owned();
        match &node.entry().kind {
            Kind::Symlink(target) => format!("{name} -> {}", String::from_utf8_lossy(target)),
            Kind::Hardlink(target) => format!("{name} = {}", String::from_utf8_lossy(target)),
            Kind::Regular => format!("{name}: {content}"),
            _ => name,
        }
    };
    tree.nodes().iter().skip(1).map(line).collect()
}
