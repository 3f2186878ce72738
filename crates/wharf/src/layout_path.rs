//! Layouts and archives as people name them: PATH, or PATH:NAME for one of the images in it.

use std::path::{Path, PathBuf};

use wharf_oci::Layout;

/// How archives are called, those too that must be decompressed first and are told so.
const ARCHIVES: [&str; 5] = [".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.zst"];

/// An argument as a path that exists, and what of it is meant. A name alone is one only when a layout is called so here, or a file with an
/// ending, as archives have: some other file may well be called like an image.
pub fn find(argument: &str) -> Option<(PathBuf, Option<String>)> {
    let is_one = |text: &str| {
        let path = Path::new(text);
        let is_archive = || path.is_file() && ARCHIVES.iter().any(|end| text.ends_with(end));
        path.exists() && (text.contains('/') || is_archive() || Layout::open(path).is_ok())
    };
    if is_one(argument) {
        return Some((PathBuf::from(argument), None));
    }
    let mut colons = argument.match_indices(':').map(|(place, _)| argument.split_at(place));
    let (path, pick) = colons.find(|(path, _)| is_one(path))?;
    Some((PathBuf::from(path), Some(pick[1..].to_owned())))
}

/// Whether it can only have been meant as a path.
pub fn is_meant(argument: &str) -> bool {
    argument.starts_with(['/', '.']) || argument.ends_with(".tar") || argument.ends_with("-oci")
}
