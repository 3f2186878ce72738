//! Inputs that are kept in the repository: handwritten ones, what reaches far, and what once broke something.

use std::fs;
use std::path::PathBuf;

use crate::Target;

/// The folder of a target's files; it need not exist.
fn folder(target: &Target) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus")).join(target.name)
}

/// All that a target begins with: its own seeds, and the files of its folder in the order of their names.
///
/// # Panics
/// When a file cannot be read.
pub fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let mut seeds = (target.seeds)();
    let Ok(entries) = fs::read_dir(folder(target)) else { return seeds };
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    seeds.extend(files.iter().map(|file| fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))));
    seeds
}
