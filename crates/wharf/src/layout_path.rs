//! Layouts and archives as people name them: PATH, or PATH:NAME for one of the images in it.

use std::path::{Path, PathBuf};

use wharf_oci::{Descriptor, Found, Layout, NamedImage, look};

use crate::printable::printable;
use crate::ui::Failure;

/// How archives are called, those too that must be decompressed first and are told so.
const ARCHIVES: [&str; 5] = [".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.zst"];

/// A path without the `oci:` that other tools want in front of one.
pub fn bare(text: &str) -> &str {
    text.strip_prefix("oci:").unwrap_or(text)
}

/// The names of the images in a layout, for who asked for another one.
pub fn names(images: &[NamedImage]) -> String {
    let names: Vec<_> = images.iter().filter_map(|image| image.name.as_deref()).map(printable).collect();
    if names.is_empty() { "none of its images has a name".to_owned() } else { format!("it holds {}", names.join(", ")) }
}

/// An argument as a path that exists, and what of it is meant. A name alone is one only when a layout is called so here, or a file with an
/// ending, as archives have: some other file may well be called like an image.
pub fn find(argument: &str) -> Option<(PathBuf, Option<String>)> {
    let is_one = |text: &str| {
        let path = Path::new(text);
        let Some(found) = look(path).ok().filter(|found| *found != Found::Nothing) else { return false };
        let is_archive = || matches!(found, Found::File(_)) && ARCHIVES.iter().any(|end| text.ends_with(end));
        text.contains('/') || is_archive() || Layout::open(path).is_ok()
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

/// The image of a layout that is meant: the one of this name, or the only one.
pub fn one_of(layout: &Layout, name: Option<&str>) -> Result<Descriptor, Failure> {
    let path = layout.path().display();
    let meant = layout.images().iter().filter(|image| name.is_none_or(|name| image.name.as_deref() == Some(name)));
    let mut meant: Vec<_> = meant.map(|image| &image.descriptor).collect();
    meant.dedup_by_key(|descriptor| descriptor.digest);
    let names = || names(layout.images());
    match (meant.as_slice(), name) {
        ([one], _) => Ok((*one).clone()),
        ([], Some(name)) => Err(Failure::new(format!("{path} holds no image called {name}")).hint(names())),
        ([], None) => Err(Failure::new(format!("{path} holds no image"))),
        _ => Err(Failure::new(format!("{path} holds several images")).hint(format!("{path}:NAME picks one: {}", names()))),
    }
}
