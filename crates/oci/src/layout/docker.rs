//! Docker's own archives (`docker save`), seen as a layout: an OCI manifest is made for each image in them.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::Deserialize;

use super::members::{Members, Span};
use super::{Archived, LayoutError, NamedImage, content};
use crate::document::short;
use crate::{Algorithm, Descriptor, Digest, DocumentError, ImageConfig, ImageManifest, MAX_MANIFEST, media_type};

/// Images and names of images in an archive at most.
const MAX_IMAGES: usize = 4_096;
/// What data compressed with gzip begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// An entry of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

/// Reads an archive with a `manifest.json`, which lies at `manifest`.
pub(super) fn read(
    file: &File,
    path: &Path,
    members: &Members,
    manifest: Span,
) -> Result<(Vec<NamedImage>, Archived), LayoutError> {
    let bytes = content::read(file, manifest, "manifest.json", path)?;
    let entries: Vec<Entry> =
        serde_json::from_slice(&bytes).map_err(DocumentError::from).map_err(LayoutError::json("manifest.json", path))?;
    let mut reader = Reader {
        file,
        path,
        members,
        zipped: HashMap::new(),
        archived: Archived { spans: HashMap::new(), made: HashMap::new() },
    };
    let mut images = Vec::new();
    for entry in entries {
        let descriptor = reader.image(&entry)?;
        let tags = entry.repo_tags.unwrap_or_default();
        if tags.is_empty() {
            images.push(NamedImage { name: None, descriptor: descriptor.clone() });
        }
        if images.len() + tags.len() > MAX_IMAGES {
            return Err(reader.inconsistent(format!("it names more than {MAX_IMAGES} images")));
        }
        images.extend(tags.into_iter().map(|tag| NamedImage { name: Some(tag), descriptor: descriptor.clone() }));
    }
    Ok((images, reader.archived))
}

struct Reader<'a> {
    file: &'a File,
    path: &'a Path,
    members: &'a Members,
    /// Compressed layers that were hashed: images share them.
    zipped: HashMap<Span, Digest>,
    archived: Archived,
}

impl Reader<'_> {
    /// Makes the manifest of an image.
    fn image(&mut self, entry: &Entry) -> Result<Descriptor, LayoutError> {
        let span = self.member(&entry.config)?;
        let bytes = content::read(self.file, span, &short(&entry.config), self.path)?;
        let config = ImageConfig::parse(&bytes).map_err(LayoutError::json(short(&entry.config), self.path))?;
        let digest = Digest::sha256(&bytes);
        self.archived.spans.insert(digest, span);

        let names = entry.layers.as_deref().unwrap_or_default();
        if names.len() != config.diff_ids.len() {
            let (config, known) = (short(&entry.config), config.diff_ids.len());
            return Err(self.inconsistent(format!("it lists {} layers for `{config}`, which knows {known}", names.len())));
        }
        let layers = names.iter().zip(&config.diff_ids).map(|(name, diff_id)| self.layer(name, diff_id));
        let manifest = ImageManifest {
            media_type: media_type::OCI_MANIFEST.to_owned(),
            artifact_type: None,
            config: Descriptor::new(media_type::OCI_CONFIG, digest, span.length),
            layers: layers.collect::<Result<_, _>>()?,
            subject: None,
            annotations: None,
        };
        let made = manifest.to_bytes();
        if made.len() > MAX_MANIFEST {
            return Err(self.inconsistent(format!("`{}` has more layers than a manifest can hold", short(&entry.config))));
        }
        let mut descriptor = Descriptor::new(media_type::OCI_MANIFEST, Digest::sha256(&made), made.len() as u64);
        descriptor.platform = config.platform;
        self.archived.made.insert(descriptor.digest, made);
        Ok(descriptor)
    }

    /// The descriptor of a layer: a plain one is what the configuration says, of a compressed one nobody knows the digest.
    fn layer(&mut self, name: &str, diff_id: &Digest) -> Result<Descriptor, LayoutError> {
        let span = self.member(name)?;
        let mut magic = GZIP.map(|_| 0);
        let start = magic.len().min(usize::try_from(span.length).unwrap_or(usize::MAX));
        self.file.read_exact_at(&mut magic[..start], span.offset).map_err(LayoutError::io(self.path))?;
        let (media_type, digest) = match self.zipped.get(&span) {
            Some(digest) => (media_type::OCI_LAYER_GZIP, *digest),
            None if magic == GZIP => {
                let digest = content::digest(self.file, span, Algorithm::Sha256, self.path)?;
                self.zipped.insert(span, digest);
                (media_type::OCI_LAYER_GZIP, digest)
            }
            None => (media_type::OCI_LAYER, *diff_id),
        };
        self.archived.spans.insert(digest, span);
        Ok(Descriptor::new(media_type, digest, span.length))
    }

    fn member(&self, name: &str) -> Result<Span, LayoutError> {
        self.members.get(name).ok_or_else(|| self.inconsistent(format!("it names `{}`, which is not there", short(name))))
    }

    fn inconsistent(&self, what: String) -> LayoutError {
        LayoutError::Inconsistent { path: self.path.to_owned(), what }
    }
}
