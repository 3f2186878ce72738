//! Layouts and archives as people name them: PATH, or PATH:NAME or PATH@DIGEST for one of the images in it.

use std::fmt;
use std::path::{Path, PathBuf};

use wharf_oci::{Descriptor, Digest, Found, Layout, NamedImage, look};

use crate::ui::Failure;
use wharf_terminal::printable::printable;

/// How archives are called, those too that must be decompressed first and are told so.
const ARCHIVES: [&str; 5] = [".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.zst"];

/// Which image of a layout is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pick {
    /// That of this name.
    Name(String),
    /// That of this digest, for those that have no name.
    Digest(Digest),
}

impl Pick {
    /// Whether it is this one.
    pub fn is(&self, image: &NamedImage) -> bool {
        match self {
            Self::Name(name) => image.name.as_ref() == Some(name),
            Self::Digest(digest) => image.descriptor.digest == *digest,
        }
    }
}

/// As it stands behind the path.
impl fmt::Display for Pick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, ":{name}"),
            Self::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

/// A path without the `oci:` that other tools want in front of one.
pub fn bare(text: &str) -> &str {
    text.strip_prefix("oci:").unwrap_or(text)
}

/// A layout does not hold what is meant.
pub fn nothing(layout: &Path, pick: Option<&Pick>, images: &[NamedImage]) -> Failure {
    let path = layout.display();
    let failure = match pick {
        Some(Pick::Name(name)) => Failure::new(format!("{path} holds no image called {name}")),
        Some(Pick::Digest(digest)) => Failure::new(format!("{path} lists no image {digest}")),
        None => Failure::new(format!("{path} holds no image")),
    };
    if images.is_empty() { failure } else { failure.hint(format!("it holds {}", listed(images))) }
}

/// What picks one of several images.
pub fn way_to_pick(layout: &Path, images: &[NamedImage]) -> String {
    let path = layout.display();
    let named = images.iter().filter(|image| name_of(image, images).is_some()).count();
    match named {
        0 => format!("{path}@DIGEST"),
        _ if named < images.len() => format!("{path}:NAME or {path}@DIGEST"),
        _ => format!("{path}:NAME"),
    }
}

/// The name of an image, when no other has it.
fn name_of<'a>(image: &'a NamedImage, images: &[NamedImage]) -> Option<&'a str> {
    let is_other = |other: &NamedImage| other.name == image.name && other.descriptor.digest != image.descriptor.digest;
    image.name.as_deref().filter(|_| !images.iter().any(is_other))
}

/// The names of images, and the digests of those that have none of their own.
fn listed(images: &[NamedImage]) -> String {
    let shown = images.iter().map(|image| {
        let (digest, platform) = (&image.descriptor.digest, &image.descriptor.platform);
        match (name_of(image, images), image.name.clone().or_else(|| platform.as_ref().map(ToString::to_string))) {
            (Some(name), _) => printable(name).into_owned(),
            (None, Some(more)) => format!("{digest} ({})", printable(&more)),
            (None, None) => digest.to_string(),
        }
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// An argument as a path that exists, and what of it is meant. A name alone is one only when a layout is called so here, or a folder or
/// file with an ending, as layouts and archives have: some other file may well be called like an image.
pub fn find(argument: &str) -> Option<(PathBuf, Option<Pick>)> {
    let is_one = |text: &str| {
        let path = Path::new(text);
        let Some(found) = look(path).ok().filter(|found| *found != Found::Nothing) else { return false };
        let is_archive = || matches!(found, Found::File(_)) && ARCHIVES.iter().any(|end| text.ends_with(end));
        let is_meant = || found == Found::Folder && is_meant(text);
        text.contains('/') || is_archive() || is_meant() || Layout::open(path).is_ok()
    };
    if is_one(argument) {
        return Some((PathBuf::from(argument), None));
    }
    // A name may hold anything: only what stands right behind a path is a digest.
    let by_digest = argument.rsplit_once('@').and_then(|(path, digest)| Some((path, digest.parse().ok()?)));
    if let Some((path, digest)) = by_digest.filter(|(path, _)| is_one(path)) {
        return Some((PathBuf::from(path), Some(Pick::Digest(digest))));
    }
    let mut colons = argument.match_indices(':').map(|(place, _)| argument.split_at(place));
    let (path, pick) = colons.find(|(path, _)| is_one(path))?;
    Some((PathBuf::from(path), Some(Pick::Name(pick[1..].to_owned()))))
}

/// Whether it can only have been meant as a path.
pub fn is_meant(argument: &str) -> bool {
    argument.starts_with(['/', '.']) || argument.ends_with(".tar") || argument.ends_with("-oci")
}

/// The image of a layout that is meant: the one that is picked, or the only one.
pub fn one_of(layout: &Layout, pick: Option<&Pick>) -> Result<Descriptor, Failure> {
    let meant: Vec<_> = layout.images().iter().filter(|image| pick.is_none_or(|pick| pick.is(image))).collect();
    match meant.as_slice() {
        [] => Err(nothing(layout.path(), pick, layout.images())),
        [one, others @ ..] if others.iter().all(|other| other.descriptor.digest == one.descriptor.digest) => {
            Ok(one.descriptor.clone())
        }
        _ => {
            let failure = Failure::new(format!("{} holds several images", layout.path().display()));
            let way = way_to_pick(layout.path(), layout.images());
            Err(failure.hint(format!("{way} picks one: it holds {}", listed(layout.images()))))
        }
    }
}
