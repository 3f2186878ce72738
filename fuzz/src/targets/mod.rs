//! One function for each parser, by what it belongs to.

pub(crate) mod access;
pub(crate) mod client;
pub(crate) mod guest;
pub(crate) mod layers;
pub(crate) mod oci;
pub(crate) mod registry;
pub(crate) mod yocto;

use std::path::Path;

use tempfile::TempDir;

/// Seeds that are texts.
fn texts(seeds: &[&str]) -> Vec<Vec<u8>> {
    seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect()
}

/// What is before the first line end, and what is behind it.
fn line(data: &[u8]) -> (&[u8], &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    (&data[..end], data.get(end + 1..).unwrap_or_default())
}

/// A folder for the files of one target, in memory where the system has such a place: thousands are written in a second.
pub(crate) fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("wharf-fuzz-");
    // Who says where temporary files go is the one who tidies up after libFuzzer.
    let folder =
        if memory.is_dir() && std::env::var_os("TMPDIR").is_none() { builder.tempdir_in(memory) } else { builder.tempdir() };
    folder.expect("a temporary folder")
}

/// A target of a function that needs nothing, with seeds that are texts.
macro_rules! target {
    ($name:literal, [$($seed:expr),+ $(,)?], $feed:expr) => {
        crate::Target {
            name: $name,
            seeds: || crate::targets::texts(&[$($seed),+]),
            grow: None,
            longest: crate::LONGEST,
            start: || Box::new($feed),
        }
    };
}
use target;
