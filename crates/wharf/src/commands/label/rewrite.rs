//! Images of a layout with other labels.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Error;
use wharf_client::REFERENCE_DIGEST;
use wharf_oci::{
    Descriptor, Digest, Document, ImageIndex, ImageManifest, Layout, LayoutError, LayoutWriter, MAX_MANIFEST, Platform,
    media_type,
};

use super::members::Members;
use crate::ui::Failure;

/// Indexes inside indexes that are followed.
const MAX_DEPTH: usize = 4;

/// What becomes of labels.
#[derive(Debug, Default)]
pub struct Change {
    /// Labels that are put on.
    pub put: BTreeMap<String, String>,
    /// Keys of labels that are taken off.
    pub removed: BTreeSet<String>,
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

/// Digest and length of content.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Content {
    digest: Digest,
    size: u64,
}

/// Puts a change into the images of a layout, one after the other.
pub struct Rewriter<'a> {
    layout: &'a Layout,
    writer: &'a mut LayoutWriter,
    change: &'a Change,
    /// Manifests and configurations that were looked at, and what is in their place: two images may share either.
    known: BTreeMap<Digest, Content>,
    /// Manifests that have other digests now, each after those that it names.
    pub rewritten: Vec<Rewritten>,
    /// What was left alone.
    pub artifacts: Vec<Artifact>,
}

impl Change {
    /// Whether it changes these labels, which it does.
    fn apply(&self, labels: &mut BTreeMap<String, String>) -> bool {
        let before = labels.clone();
        labels.extend(self.put.clone());
        labels.retain(|key, _| !self.removed.contains(key));
        *labels != before
    }
}

impl Content {
    fn of(descriptor: &Descriptor) -> Self {
        Self { digest: descriptor.digest, size: descriptor.size }
    }

    /// Makes a descriptor one of this content.
    fn describe(self, descriptor: &mut Members) -> Result<(), Error> {
        descriptor.set("digest", &self.digest)?;
        descriptor.set("size", &self.size)?;
        // A copy of the content that was.
        descriptor.remove("data");
        Ok(())
    }
}

impl<'a> Rewriter<'a> {
    /// For a layout that was opened for reading and for writing.
    pub fn new(layout: &'a Layout, writer: &'a mut LayoutWriter, change: &'a Change) -> Self {
        Self { layout, writer, change, known: BTreeMap::new(), rewritten: Vec::new(), artifacts: Vec::new() }
    }

    /// Changes what the `position`th descriptor of the layout leads to. Returns the digest that it has then.
    pub fn image(&mut self, position: usize, shown: &str) -> Result<Digest, Failure> {
        let images = self.writer.images();
        let descriptor = &images[position].descriptor;
        if is_attestation(descriptor) {
            return Ok(descriptor.digest);
        }
        let content = self.manifest(descriptor, shown, 0)?;
        if content.digest != descriptor.digest {
            let mut descriptor = descriptor.clone();
            (descriptor.digest, descriptor.size) = (content.digest, content.size);
            descriptor.rest.remove("data");
            self.writer.replace(position, descriptor);
        }
        Ok(content.digest)
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
            return Ok(*known);
        }
        let old = Content::of(descriptor);
        if !media_type::is_manifest(&descriptor.media_type) {
            self.artifacts.push(Artifact { digest: old.digest, subject: None });
            return Ok(old);
        }
        let bytes = self.layout.read(descriptor).map_err(|error| failure(&error))?;
        let unusable = |error: &dyn std::error::Error| {
            Failure::new(format!("the manifest {} cannot be used", descriptor.digest)).because(error)
        };
        let changed = match Document::parse(&bytes, &descriptor.media_type).map_err(|error| unusable(&error))? {
            Document::Image(image) => self.labelled(&old, &bytes, &image)?,
            Document::Index(_) if depth == MAX_DEPTH => {
                return Err(Failure::new(format!("{shown} holds indexes more than {MAX_DEPTH} deep")));
            }
            Document::Index(index) => self.index(&bytes, &index, shown, depth)?,
        };
        let new = match changed {
            None => old,
            Some(manifest) => {
                let new = self.add(&manifest.to_bytes().map_err(|error| unusable(&error))?)?;
                self.rewritten.push(Rewritten { shown: shown.to_owned(), old: old.digest, new: new.digest });
                new
            }
        };
        self.known.insert(old.digest, new);
        Ok(new)
    }

    /// An image's manifest with the configuration that has the labels; `None` when it has them already.
    fn labelled(&mut self, old: &Content, bytes: &[u8], image: &ImageManifest) -> Result<Option<Members>, Failure> {
        if !image.is_image() {
            self.artifacts.push(Artifact { digest: old.digest, subject: image.subject.as_ref().map(|subject| subject.digest) });
            return Ok(None);
        }
        let config = match self.known.get(&image.config.digest) {
            Some(known) => *known,
            None => {
                let bytes = self.layout.read(&image.config).map_err(|error| failure(&error))?;
                let changed = with_labels(&bytes, self.change).map_err(|error| {
                    Failure::new(format!("the configuration {} cannot be used", image.config.digest)).because(&error)
                })?;
                let new = changed.map(|bytes| self.add(&bytes)).transpose()?.unwrap_or(Content::of(&image.config));
                self.known.insert(image.config.digest, new);
                new
            }
        };
        if config.digest == image.config.digest {
            return Ok(None);
        }
        let named = || -> Result<Members, Error> {
            let mut manifest = Members::parse(bytes)?;
            let mut descriptor: Members = manifest.get("config")?.unwrap_or_default();
            config.describe(&mut descriptor)?;
            manifest.set("config", &descriptor)?;
            Ok(manifest)
        };
        named().map(Some).map_err(|error| Failure::new(format!("the manifest {} cannot be used", old.digest)).because(&error))
    }

    /// An index of what is in the place of its manifests; `None` when that is the same.
    fn index(&mut self, bytes: &[u8], index: &ImageIndex, shown: &str, depth: usize) -> Result<Option<Members>, Failure> {
        let unusable = |error: Error| Failure::new(format!("the index of {shown} cannot be used")).because(&error);
        let mut members = Members::parse(bytes).map_err(unusable)?;
        let mut entries: Vec<Members> = members.get("manifests").map_err(unusable)?.unwrap_or_default();
        let mut is_changed = false;
        for (entry, child) in entries.iter_mut().zip(&index.manifests).filter(|(_, child)| !is_attestation(child)) {
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
        Ok(Some(members))
    }

    fn add(&mut self, bytes: &[u8]) -> Result<Content, Failure> {
        if bytes.len() > MAX_MANIFEST {
            let text = format!("with these labels a configuration has {} bytes, and it may have {MAX_MANIFEST}", bytes.len());
            return Err(Failure::new(text));
        }
        let digest = self.writer.add(bytes).map_err(|error| failure(&error))?;
        Ok(Content { digest, size: bytes.len() as u64 })
    }
}

/// A configuration with other labels; `None` when they are the same.
fn with_labels(bytes: &[u8], change: &Change) -> Result<Option<Vec<u8>>, Error> {
    let mut config = Members::parse(bytes)?;
    let mut execution: Members = config.get("config")?.unwrap_or_default();
    let mut labels = execution.get("Labels")?.unwrap_or_default();
    if !change.apply(&mut labels) {
        return Ok(None);
    }
    match labels.is_empty() {
        true => execution.remove("Labels"),
        false => execution.set("Labels", &labels)?,
    }
    config.set("config", &execution)?;
    config.to_bytes().map(Some)
}

/// Whether a manifest is about another one; such manifests look like images and are none.
fn is_attestation(descriptor: &Descriptor) -> bool {
    descriptor.annotation(REFERENCE_DIGEST).is_some() || descriptor.platform.as_ref().is_some_and(Platform::is_unknown)
}

/// A report of what is wrong with a layout.
pub fn failure(error: &LayoutError) -> Failure {
    let failure = Failure::new(error.to_string());
    match std::error::Error::source(error) {
        Some(source) => failure.because(source),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(put: &[(&str, &str)], removed: &[&str]) -> Change {
        let put = put.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Change { put, removed: removed.iter().map(|key| (*key).to_owned()).collect() }
    }

    fn labelled(config: &str, change: &Change) -> Option<String> {
        with_labels(config.as_bytes(), change).unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn labels_come_and_go_and_all_else_stays() {
        let both = change(&[("b", "2"), ("a", "1")], &["c"]);
        for (before, after) in [
            (r#"{}"#, r#"{"config":{"Labels":{"a":"1","b":"2"}}}"#),
            (r#"{"config":null,"os":"linux"}"#, r#"{"config":{"Labels":{"a":"1","b":"2"}},"os":"linux"}"#),
            (
                r#"{"x":1.0,"config":{"User":"0","Labels":{"c":"3","d":"4","b":"0"},"Env":[ ]},"os":"linux"}"#,
                r#"{"x":1.0,"config":{"User":"0","Labels":{"a":"1","b":"2","d":"4"},"Env":[ ]},"os":"linux"}"#,
            ),
        ] {
            assert_eq!(labelled(before, &both).as_deref(), Some(after));
            assert_eq!(labelled(after, &both), None);
        }
        assert_eq!(labelled(r#"{"config":{"Labels":{"c":"3"}}}"#, &change(&[], &["c"])).as_deref(), Some(r#"{"config":{}}"#));
        assert_eq!(labelled(r#"{"config":{"Labels":{}}}"#, &change(&[], &["c"])), None);
        for wrong in ["[]", r#"{"config":[]}"#, r#"{"config":{"Labels":{"a":1}}}"#] {
            assert!(with_labels(wrong.as_bytes(), &both).is_err(), "{wrong}");
        }
    }
}
