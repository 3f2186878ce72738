//! Images of a layout, written anew in part: who changes something in an image decides what, and all that leads to it follows.

mod members;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Error;
use wharf_client::{REFERENCE_DIGEST, is_about_another};
use wharf_oci::{Descriptor, Digest, Document, ImageIndex, ImageManifest, Layout, LayoutWriter, MAX_MANIFEST, media_type};

pub use members::Members;

use crate::ui::Failure;

/// Indexes inside indexes that are followed.
const MAX_DEPTH: usize = 4;

/// What becomes of an image.
pub trait Edit {
    /// The manifest of an image as it is to be; `None` when nothing of it changes. `bytes` is the manifest as it is, and `writer` takes what it
    /// is to name.
    fn image(
        &mut self,
        layout: &Layout,
        writer: &mut LayoutWriter,
        bytes: &[u8],
        image: &ImageManifest,
    ) -> Result<Option<Members>, Failure>;
}

/// A manifest, and what stands in its place.
#[derive(Debug)]
pub struct Rewritten {
    /// What people know it by.
    pub shown: String,
    /// Before.
    pub old: Digest,
    /// Now.
    pub new: Digest,
}

/// What is no image, and was left as it is.
#[derive(Debug)]
pub struct Artifact {
    /// Its manifest.
    pub digest: Digest,
    /// The manifest that it is about.
    pub subject: Option<Digest>,
}

/// Type, digest and length of a manifest.
#[derive(Clone, PartialEq, Eq)]
struct Content {
    media_type: String,
    digest: Digest,
    size: u64,
}

/// Edits the images of a layout, one after the other.
pub struct Rewriter<'a> {
    layout: &'a Layout,
    writer: &'a mut LayoutWriter,
    edit: &'a mut dyn Edit,
    /// Manifests that were looked at, and what is in their place.
    known: BTreeMap<Digest, Content>,
    /// Manifests that have other digests now, each after those that it names.
    pub rewritten: Vec<Rewritten>,
    /// What was left alone.
    pub artifacts: Vec<Artifact>,
}

impl Content {
    fn of(descriptor: &Descriptor) -> Self {
        Self { media_type: descriptor.media_type.clone(), digest: descriptor.digest, size: descriptor.size }
    }

    /// Makes a descriptor one of this content.
    fn describe(&self, descriptor: &mut Members) -> Result<(), Error> {
        descriptor.set("mediaType", &self.media_type)?;
        descriptor.set("digest", &self.digest)?;
        descriptor.set("size", &self.size)?;
        // A copy of the content that was.
        descriptor.remove("data");
        Ok(())
    }
}

impl<'a> Rewriter<'a> {
    /// For a layout that is read, and one that is written: the same, or another.
    pub fn new(layout: &'a Layout, writer: &'a mut LayoutWriter, edit: &'a mut dyn Edit) -> Self {
        Self { layout, writer, edit, known: BTreeMap::new(), rewritten: Vec::new(), artifacts: Vec::new() }
    }

    /// Edits what the `position`th descriptor of the layout that is written leads to. Returns the digest that it has then.
    pub fn image(&mut self, position: usize, shown: &str) -> Result<Digest, Failure> {
        let images = self.writer.images();
        let descriptor = &images[position].descriptor;
        let edited = self.descriptor(descriptor, shown)?;
        if edited.digest != descriptor.digest {
            self.writer.replace(position, edited.clone());
        }
        Ok(edited.digest)
    }

    /// Edits what a descriptor leads to, and returns the descriptor of that.
    pub fn descriptor(&mut self, descriptor: &Descriptor, shown: &str) -> Result<Descriptor, Failure> {
        let mut edited = descriptor.clone();
        if !is_about_another(descriptor) {
            let content = self.manifest(descriptor, shown, 0)?;
            if content.digest != descriptor.digest {
                (edited.media_type, edited.digest, edited.size) = (content.media_type, content.digest, content.size);
                edited.rest.remove("data");
            }
        }
        Ok(edited)
    }

    /// Has attestations that the layout lists follow the images that they are about.
    pub fn lead_attestations(&mut self) {
        let images = self.writer.images();
        let listed: BTreeSet<_> = images.iter().map(|image| image.descriptor.digest.to_string()).collect();
        for (position, image) in images.into_iter().enumerate() {
            let mut descriptor = image.descriptor;
            let about = descriptor.annotation(REFERENCE_DIGEST).filter(|about| !listed.contains(*about)).map(str::to_owned);
            let moved = about.and_then(|about| self.now(&about));
            if let (Some(moved), Some(annotations)) = (moved, &mut descriptor.annotations) {
                annotations.insert(REFERENCE_DIGEST.to_owned(), moved.to_string());
                self.writer.replace(position, descriptor);
            }
        }
    }

    /// The digest of what is in the place of a manifest that was rewritten.
    pub fn now(&self, digest: &str) -> Option<Digest> {
        let digest: Digest = digest.parse().ok()?;
        self.known.get(&digest).map(|content| content.digest).filter(|now| *now != digest)
    }

    fn manifest(&mut self, descriptor: &Descriptor, shown: &str, depth: usize) -> Result<Content, Failure> {
        if let Some(known) = self.known.get(&descriptor.digest) {
            return Ok(known.clone());
        }
        let old = Content::of(descriptor);
        if !media_type::is_manifest(&descriptor.media_type) {
            self.artifacts.push(Artifact { digest: old.digest, subject: None });
            return Ok(old);
        }
        let bytes = self.layout.read(descriptor).map_err(|error| Failure::of(&error))?;
        let unusable = |error: &dyn std::error::Error| {
            Failure::new(format!("the manifest {} cannot be used", descriptor.digest)).because(error)
        };
        let changed = match Document::parse(&bytes, &descriptor.media_type).map_err(|error| unusable(&error))? {
            Document::Image(image) if !image.is_image() => {
                let subject = image.subject.as_ref().map(|subject| subject.digest);
                self.artifacts.push(Artifact { digest: old.digest, subject });
                None
            }
            Document::Image(image) => self.edit.image(self.layout, self.writer, &bytes, &image)?,
            Document::Index(_) if depth == MAX_DEPTH => {
                return Err(Failure::new(format!("{shown} holds indexes more than {MAX_DEPTH} deep")));
            }
            Document::Index(index) => self.index(&bytes, &index, shown, depth)?,
        };
        let new = match changed {
            None => old.clone(),
            Some(manifest) => {
                let media_type = manifest.get("mediaType").map_err(|error| unusable(&error))?;
                let bytes = manifest.to_bytes().map_err(|error| unusable(&error))?;
                let digest = add(self.writer, &bytes)?;
                let media_type = media_type.unwrap_or_else(|| old.media_type.clone());
                let new = Content { media_type, digest, size: bytes.len() as u64 };
                self.rewritten.push(Rewritten { shown: shown.to_owned(), old: old.digest, new: new.digest });
                new
            }
        };
        self.known.insert(old.digest, new.clone());
        Ok(new)
    }

    /// An index of what is in the place of its manifests; `None` when that is the same.
    fn index(&mut self, bytes: &[u8], index: &ImageIndex, shown: &str, depth: usize) -> Result<Option<Members>, Failure> {
        let unusable = |error: Error| Failure::new(format!("the index of {shown} cannot be used")).because(&error);
        let mut members = Members::parse(bytes).map_err(unusable)?;
        let mut entries: Vec<Members> = members.get("manifests").map_err(unusable)?.unwrap_or_default();
        let mut is_changed = false;
        for (entry, child) in entries.iter_mut().zip(&index.manifests).filter(|(_, child)| !is_about_another(child)) {
            let what = child.platform.as_ref().map_or_else(|| child.digest.to_string(), ToString::to_string);
            let content = self.manifest(child, &format!("{shown} ({what})"), depth + 1)?;
            if content.digest != child.digest {
                content.describe(entry).map_err(unusable)?;
                is_changed = true;
            }
        }
        if !is_changed {
            return Ok(None);
        }
        for (entry, child) in entries.iter_mut().zip(&index.manifests) {
            if let Some(moved) = child.annotation(REFERENCE_DIGEST).and_then(|about| self.now(about)) {
                let mut annotations: Members = entry.get("annotations").map_err(unusable)?.unwrap_or_default();
                annotations.set(REFERENCE_DIGEST, &moved).map_err(unusable)?;
                entry.set("annotations", &annotations).map_err(unusable)?;
            }
        }
        members.set("manifests", &entries).map_err(unusable)?;
        let is_other = |entry: &Members| {
            entry.get::<String>("mediaType").is_ok_and(|kind| kind.is_some_and(|kind| kind == media_type::OCI_MANIFEST))
        };
        if index.media_type == media_type::DOCKER_LIST && entries.iter().all(is_other) {
            // A list of Docker's names manifests of Docker's.
            members.set("mediaType", &media_type::OCI_INDEX).map_err(unusable)?;
        }
        Ok(Some(members))
    }
}

/// Adds a manifest or a configuration to a layout.
pub fn add(writer: &mut LayoutWriter, bytes: &[u8]) -> Result<Digest, Failure> {
    if bytes.len() > MAX_MANIFEST {
        let text = format!("written anew it has {} bytes, and a manifest or configuration may have {MAX_MANIFEST}", bytes.len());
        return Err(Failure::new(text));
    }
    writer.add(bytes).map_err(|error| Failure::of(&error))
}
