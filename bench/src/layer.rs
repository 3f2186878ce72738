//! Images that `wharf pack` makes, and the one layer that each has.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use wharf_layers::piece::{ListPlace, PieceMap};
use wharf_oci::Descriptor;

use crate::bench::Bench;
use crate::failure::{Context, Failure, Result};
use crate::program::{self, Took};

/// The form of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Members of gzip.
    Gzip,
    /// zstd:chunked.
    Chunked,
}

impl Form {
    /// What `--compression` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Chunked => "zstd:chunked",
        }
    }
}

/// Packs a root file system as the image `1` of a layout, where an older one may be at hand.
pub fn pack(bench: &Bench, root: &Path, layout: &Path, form: Form, older: Option<&Path>) -> Result<Took> {
    let mut command = program::wharf(bench)?;
    command.arg("pack").args([root, layout]).args(["--quiet", "--arch", "amd64", "--tag", "1", "--compression", form.name()]);
    if let Some(older) = older {
        command.arg("--older").arg(older);
    }
    program::run(&mut command)
}

/// Pushes the image of a layout to a wharf, as `yocto/NAME:TAG`.
pub fn push(bench: &Bench, layout: &Path, address: SocketAddr, name: &str, tag: &str) -> Result<Took> {
    let mut command = program::wharf(bench)?;
    command.arg("push").arg(layout).args(["--quiet", "--name", name, "--tag", tag]);
    command.env("CONTAINER_REGISTRY_URL", address.to_string());
    program::run(&mut command)
}

/// What engines call the only image of a layout: the digest of its configuration, without the algorithm.
pub fn id(layout: &Path) -> Result<String> {
    let config = descriptor(&manifest(layout)?["config"])?.digest.to_string();
    Ok(config.split_once(':').map_or(config.as_str(), |(_, hash)| hash).to_owned())
}

fn manifest(layout: &Path) -> Result<serde_json::Value> {
    let read = |path: &Path| -> Result<serde_json::Value> {
        serde_json::from_slice(&fs::read(path).context(path.display())?).context(path.display())
    };
    let index = read(&layout.join("index.json"))?;
    read(&blob(layout, &descriptor(&index["manifests"][0])?))
}

fn descriptor(value: &serde_json::Value) -> Result<Descriptor> {
    Descriptor::deserialize(value).context("a descriptor")
}

fn blob(layout: &Path, descriptor: &Descriptor) -> PathBuf {
    layout.join("blobs").join(descriptor.digest.to_string().replace(':', "/"))
}

/// A piece of a layer.
pub struct Piece {
    /// SHA-256 of the bytes that are stored for it.
    pub hash: [u8; 32],
    /// Their number.
    pub length: u64,
}

/// The layer of the only image of a layout.
pub struct Layer {
    /// Where its bytes are.
    path: PathBuf,
    descriptor: Descriptor,
}

impl Layer {
    /// Finds it.
    pub fn of(layout: &Path) -> Result<Self> {
        let descriptor = descriptor(&manifest(layout)?["layers"][0])?;
        Ok(Self { path: blob(layout, &descriptor), descriptor })
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.descriptor.size
    }

    /// Its pieces, and the bytes that belong to none.
    pub fn pieces(&self) -> Result<(Vec<Piece>, u64)> {
        let file = File::open(&self.path)?;
        let read = |offset: u64, length: u64| -> Result<Vec<u8>> {
            let mut bytes = vec![0; usize::try_from(length).context("a length")?];
            file.read_exact_at(&mut bytes, offset)?;
            Ok(bytes)
        };
        let place = ListPlace::of(&self.descriptor).ok_or_else(|| Failure::new("a layer without a list of its pieces"))?;
        let range = place.range();
        let map = PieceMap::parse(&place, &read(range.start, range.end - range.start)?, self.size()).context("the list")?;
        let mut rest = self.size();
        let mut pieces = Vec::new();
        for piece in map.pieces() {
            rest -= piece.length;
            let hash = Sha256::digest(read(piece.offset, piece.length)?).into();
            pieces.push(Piece { hash, length: piece.length });
        }
        Ok((pieces, rest))
    }
}
