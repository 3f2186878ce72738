//! What there is to know of an image.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use wharf_client::{ClientError, Source, Tree, is_about_another};
use wharf_layers::annotation;
use wharf_oci::{Descriptor, Digest, Document, ImageConfig, ImageManifest, Platform};

use super::config::Config;
use crate::picture::Picture;
use crate::remote;
use crate::ui::Failure;

/// Bytes of all configurations at most: they are all in memory.
const MAX_CONFIGS: u64 = 16 << 20;

/// What a name leads to.
pub struct Facts {
    /// What it was called.
    pub shown: String,
    /// Its manifest or index.
    pub root: Descriptor,
    /// Bytes of everything below it and of itself, each once, as it is stored and sent.
    pub size: u64,
    /// Annotations of the index; those of a single image are in its place.
    pub annotations: BTreeMap<String, String>,
    /// Whether it lists images, or is one.
    pub is_index: bool,
    /// The images, in the order of the index.
    pub images: Vec<Image>,
}

/// One image, or one artifact.
pub struct Image {
    /// Its manifest.
    pub descriptor: Descriptor,
    /// The manifest's bytes.
    pub bytes: Bytes,
    /// What it runs on.
    pub platform: Option<Platform>,
    /// The manifest.
    pub manifest: ImageManifest,
    /// The configuration; none of an artifact.
    pub config: Option<Config>,
}

impl Facts {
    /// Looks at an image, and at those of its images that serve `platform`. Layers are not read.
    pub async fn of(picture: &Picture, platform: Option<&Platform>) -> Result<Self, Failure> {
        let source = picture.source();
        let failed = |error: ClientError| remote::failure(&error);
        let tree = Tree::read(&*source, &picture.root).await.map_err(failed)?;
        let mut listed = Vec::new();
        let (is_index, annotations) = match parse(&picture.root, &tree.root.bytes).map_err(failed)? {
            Document::Index(index) => (true, index.annotations.unwrap_or_default()),
            Document::Image(_) => (false, BTreeMap::new()),
        };
        list(&tree, &picture.root, &mut BTreeSet::new(), &mut listed).map_err(failed)?;
        let mut images = Vec::new();
        let mut others = Vec::new();
        let mut length = 0;
        for (descriptor, bytes, manifest) in listed {
            // Of what says itself that it is not meant nothing is read.
            if let (Some(wanted), Some(own)) = (platform, &descriptor.platform)
                && !own.matches(wanted)
            {
                others.push(own.clone());
                continue;
            }
            length += manifest.config.size;
            if length > MAX_CONFIGS {
                return Err(Failure::new(format!("the configurations of {} are too long to be shown at once", picture.shown))
                    .hint("--platform picks one of its images"));
            }
            let image = Image::read(&*source, descriptor, bytes, manifest).await.map_err(failed)?;
            match platform.is_none_or(|wanted| image.platform.as_ref().is_some_and(|platform| platform.matches(wanted))) {
                true => images.push(image),
                false => others.extend(image.platform),
            }
        }
        if let (Some(platform), true) = (platform, images.is_empty()) {
            let failure = Failure::new(format!("{} has no image for {platform}", picture.shown));
            return Err(match others.is_empty() {
                true => failure,
                false => {
                    failure.hint(format!("it has {}", others.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")))
                }
            });
        }
        let (shown, root) = (picture.shown.clone(), picture.root.clone());
        Ok(Self { shown, root, size: tree.size(), annotations, is_index, images })
    }
}

fn parse(descriptor: &Descriptor, bytes: &[u8]) -> Result<Document, ClientError> {
    Document::parse(bytes, &descriptor.media_type).map_err(|source| ClientError::Document { digest: descriptor.digest, source })
}

/// The images below a manifest of a tree, which bounds how many and how deep they are. What is about another manifest is left out. An index that is named again,
/// and `seen` then, has nothing new.
fn list(
    tree: &Tree,
    descriptor: &Descriptor,
    seen: &mut BTreeSet<Digest>,
    found: &mut Vec<(Descriptor, Bytes, ImageManifest)>,
) -> Result<(), ClientError> {
    if seen.contains(&descriptor.digest) {
        return Ok(());
    }
    let known = || found.iter().any(|(known, ..)| known.digest == descriptor.digest && known.platform == descriptor.platform);
    let Some(manifest) = tree.manifest(&descriptor.digest).filter(|_| !is_about_another(descriptor) && !known()) else {
        return Ok(());
    };
    match parse(descriptor, &manifest.bytes)? {
        Document::Image(image) => {
            found.push((descriptor.clone(), manifest.bytes.clone(), image));
            Ok(())
        }
        Document::Index(index) => {
            seen.insert(descriptor.digest);
            index.manifests.iter().try_for_each(|child| list(tree, child, seen, found))
        }
    }
}

impl Image {
    async fn read(
        source: &dyn Source,
        descriptor: Descriptor,
        bytes: Bytes,
        manifest: ImageManifest,
    ) -> Result<Self, ClientError> {
        let mut platform = descriptor.platform.clone();
        let config = match manifest.is_image() {
            false => None,
            true => {
                let bytes = source.document(&manifest.config).await?;
                let wrong = |source| ClientError::Document { digest: manifest.config.digest, source };
                platform = platform.or(ImageConfig::parse(&bytes).map_err(wrong)?.platform);
                Some(Config::parse(&bytes).map_err(wrong)?)
            }
        };
        Ok(Self { descriptor, bytes, platform, manifest, config })
    }

    /// Bytes of the manifest, the configuration and the layers.
    pub fn size(&self) -> u64 {
        let blobs: BTreeMap<&Digest, u64> =
            std::iter::once(&self.manifest.config).chain(&self.manifest.layers).map(|blob| (&blob.digest, blob.size)).collect();
        blobs.values().fold(self.descriptor.size, |sum, size| sum.saturating_add(*size))
    }
}

/// How a layer is compressed, by its media type and annotations.
pub fn compression(layer: &Descriptor) -> Option<&'static str> {
    let name = layer.media_type.rsplit(['+', '.']).next().unwrap_or_default();
    match name {
        "zstd" if is_chunked(layer) => Some("zstd:chunked"),
        "zstd" => Some("zstd"),
        "gzip" => Some("gzip"),
        "tar" => Some("none"),
        _ => None,
    }
}

/// How a layer was cut, where `pack` or `push --recompress` did so.
pub fn cut(layer: &Descriptor) -> Option<&str> {
    layer.annotation(annotation::CUT)
}

fn is_chunked(layer: &Descriptor) -> bool {
    let position = |prefix| layer.annotation(&format!("{prefix}{}", annotation::MANIFEST_POSITION));
    annotation::CHUNKED_PREFIXES.into_iter().any(|prefix| position(prefix).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compression_is_told_by_type_and_annotation() {
        let mut layer = Descriptor::new("", Digest::sha256(b""), 0);
        for (media_type, expected) in [
            (wharf_oci::media_type::OCI_LAYER, Some("none")),
            (wharf_oci::media_type::OCI_LAYER_GZIP, Some("gzip")),
            (wharf_oci::media_type::OCI_LAYER_ZSTD, Some("zstd")),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Some("gzip")),
            ("application/vnd.in-toto+json", None),
            ("", None),
        ] {
            media_type.clone_into(&mut layer.media_type);
            assert_eq!(compression(&layer), expected, "{media_type}");
        }
        wharf_oci::media_type::OCI_LAYER_ZSTD.clone_into(&mut layer.media_type);
        for prefix in annotation::CHUNKED_PREFIXES {
            let position = format!("{prefix}{}", annotation::MANIFEST_POSITION);
            layer.annotations = Some(BTreeMap::from([(position, "1:2:3:1".to_owned())]));
            assert_eq!(compression(&layer), Some("zstd:chunked"));
        }
    }
}
