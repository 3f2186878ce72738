//! The images of this machine for one architecture: an OCI layout (image-spec, "OCI Image Layout Specification") whose images are named by full
//! references, such as `docker.io/library/alpine:latest`, so that other programs read it, too.
//!
//! Readers take no lock: they see the images of before a change or those of after it, and an image that is removed meanwhile is left out. Changes
//! are made one at a time, by whichever process, and last once they are told.

mod image;
mod lookup;
mod platform;
pub mod ready;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use wharf_oci::{Descriptor, Digest, Found, ImageReference, Layout, LayoutError, LayoutWriter, Tag, look};
use wharf_terminal::ui::Failure;

use crate::settings::Settings;
pub use image::Image;
pub use lookup::{Target, find, find_to_run, qualified};
pub use platform::{choose, runs};

/// The annotation of an entry that holds what registries know the image by: `NAME@DIGEST`, separated by spaces.
const REPOSITORY_DIGESTS: &str = "dev.wharf.vdkr.repo-digests";
/// The name of an image in a layout (image-spec, "Annotations").
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The image store of one architecture.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// Something to be kept.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The names that it gets, in full.
    pub names: Vec<String>,
    /// What a registry knows it by, `NAME@DIGEST`.
    pub repository_digest: Option<String>,
}

impl Store {
    /// The store that settings lead to. It need not be there.
    pub fn of(settings: &Settings) -> Self {
        Self { folder: settings.images() }
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where content waits to become part of it; other processes use it, too.
    pub fn downloads(&self) -> Result<PathBuf, Failure> {
        let folder = self.folder.with_file_name("downloads");
        fs::create_dir_all(&folder).map_err(|error| Failure::new(format!("cannot make {}", folder.display())).because(&error))?;
        Ok(folder)
    }

    /// The layout; `None` where nothing was ever kept.
    pub fn layout(&self) -> Result<Option<Layout>, Failure> {
        let is_there = look(&self.folder.join("index.json")).is_ok_and(|found| found != Found::Nothing);
        if !is_there {
            return Ok(None);
        }
        Layout::open(&self.folder).map(Some).map_err(|error| Failure::of(&error).about("the image store cannot be read"))
    }

    /// All images, the newest first, each once whatever the number of its names.
    pub fn images(&self) -> Result<Vec<Image>, Failure> {
        let Some(layout) = self.layout()? else { return Ok(Vec::new()) };
        let mut found: BTreeMap<Digest, Image> = BTreeMap::new();
        for entry in layout.images() {
            match found.get_mut(&entry.descriptor.digest) {
                Some(image) => image.add(entry),
                None => match Image::read(&layout, entry) {
                    Ok(image) => drop(found.insert(entry.descriptor.digest, image)),
                    // Another process removed it after the list was read.
                    Err(LayoutError::MissingBlob { .. }) => {}
                    Err(error) => {
                        let name = entry.name.clone().unwrap_or_else(|| entry.descriptor.digest.to_string());
                        wharf_terminal::ui::warn(&format!("{name} cannot be read and is left out: {error}"));
                    }
                },
            }
        }
        // What only differs in how its layers are compressed is one image.
        let mut images: Vec<Image> = Vec::new();
        for image in found.into_values() {
            match images.iter_mut().find(|known| known.id == image.id) {
                Some(known) => known.join(image),
                None => images.push(image),
            }
        }
        images.sort_by(|one, other| other.created.cmp(&one.created).then_with(|| one.id.cmp(&other.id)));
        Ok(images)
    }

    /// The store, for changing it. Waits until no other process does.
    pub fn writer(&self) -> Result<LayoutWriter, Failure> {
        let writer =
            LayoutWriter::open(&self.folder).map_err(|error| Failure::of(&error).about("the image store cannot be changed"))?;
        Ok(writer.durable())
    }

    /// Lists a manifest whose content the writer has. What had one of the names keeps its place without it.
    pub fn list(writer: &mut LayoutWriter, descriptor: &Descriptor, listing: &Listing) {
        let mut descriptor = descriptor.clone();
        let known = writer.images().into_iter().filter(|entry| entry.descriptor.digest == descriptor.digest);
        let mut digests: Vec<String> =
            known.filter_map(|entry| Some(entry.descriptor.annotation(REPOSITORY_DIGESTS)?.to_owned())).collect();
        digests =
            digests.iter().flat_map(|list| list.split(' ')).map(str::to_owned).chain(listing.repository_digest.clone()).collect();
        digests.sort();
        digests.dedup();
        let annotations = descriptor.annotations.get_or_insert_default();
        if !digests.is_empty() {
            annotations.insert(REPOSITORY_DIGESTS.to_owned(), digests.join(" "));
        }
        for name in &listing.names {
            let images = writer.images();
            let old =
                images.iter().find(|entry| entry.name.as_ref() == Some(name) && entry.descriptor.digest != descriptor.digest);
            if let Some(old) = old
                && images.iter().filter(|entry| entry.descriptor.digest == old.descriptor.digest).count() == 1
            {
                writer.list(old.descriptor.clone(), None);
            }
            writer.list(descriptor.clone(), Some(name));
        }
        let images = writer.images();
        let is_same = |entry: &wharf_oci::NamedImage| entry.descriptor.digest == descriptor.digest;
        let nameless = images.iter().position(|entry| is_same(entry) && entry.name.is_none());
        match nameless {
            // With a name it is no longer there without one.
            Some(position) if images.iter().any(|entry| is_same(entry) && entry.name.is_some()) => writer.remove(position),
            None if listing.names.is_empty() && !images.iter().any(is_same) => writer.list(descriptor, None),
            _ => {}
        }
    }

    /// Makes what a writer was told part of the store.
    pub fn commit(writer: LayoutWriter) -> Result<(), Failure> {
        writer.commit().map_err(|error| Failure::of(&error).about("the image store was not changed"))
    }
}

/// A name in full, with the tag `latest` when it has neither tag nor digest.
pub fn full(reference: &ImageReference) -> String {
    match (reference.tag(), reference.digest()) {
        (None, None) => format!("{reference}:{}", Tag::latest()),
        _ => reference.to_string(),
    }
}

/// A name as Docker shows it: without `docker.io/`, and without `library/` there.
pub fn familiar(full: &str) -> &str {
    let Some(rest) = full.strip_prefix("docker.io/") else { return full };
    rest.strip_prefix("library/").unwrap_or(rest)
}

/// A name of the store in its two parts: repository, as Docker shows it, and tag.
pub fn parts(full: &str) -> (&str, &str) {
    let shown = familiar(full);
    match shown.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (shown, "<none>"),
    }
}

#[cfg(test)]
mod tests;
