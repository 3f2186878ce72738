//! The images of either side, and which of one belongs to which of the other.

use serde_json::Value;
use wharf_client::ClientError;
use wharf_oci::{Descriptor, Digest, Document, ImageConfig, ImageManifest, Platform};

use crate::picture::Picture;
use crate::remote;
use crate::ui::Failure;

/// One of the two that are compared.
pub struct Side<'a> {
    /// Where it is.
    pub picture: &'a Picture,
    /// Its images, one for each platform.
    pub images: Vec<Image>,
}

/// An image of one platform.
pub struct Image {
    /// Digest of its manifest.
    pub digest: Digest,
    /// What it runs on: what its configuration says, else what the index says.
    pub platform: Option<Platform>,
    /// Its manifest.
    pub manifest: ImageManifest,
    /// Its configuration as it is.
    pub config: Value,
    /// What each layer changes is told by these, however it is compressed; as many as there are layers.
    pub contents: Vec<Digest>,
}

impl Image {
    /// Bytes of the layers as they are stored.
    pub fn size(&self) -> u64 {
        self.manifest.layers.iter().fold(0, |sum: u64, layer| sum.saturating_add(layer.size))
    }

    /// What it runs on, for people.
    pub fn platform_text(&self) -> String {
        self.platform.as_ref().map_or_else(|| "unknown platform".to_owned(), ToString::to_string)
    }
}

impl<'a> Side<'a> {
    /// Reads what describes the images that serve a platform.
    pub async fn read(picture: &'a Picture, platform: Option<&Platform>) -> Result<Self, Failure> {
        let mut images = Vec::new();
        for descriptor in picture.images(platform).await? {
            images.push(read(picture, &descriptor).await?);
        }
        if let Some(wanted) = platform {
            images.retain(|image: &Image| image.platform.as_ref().is_none_or(|platform| platform.matches(wanted)));
            if images.is_empty() {
                return Err(Failure::new(format!("{} has no image for {wanted}", picture.shown)));
            }
        }
        if images.is_empty() {
            return Err(Failure::new(format!("{} holds no image", picture.shown)));
        }
        Ok(Self { picture, images })
    }
}

async fn read(picture: &Picture, descriptor: &Descriptor) -> Result<Image, Failure> {
    let source = picture.source();
    let failed = |error: ClientError| remote::failure(&error);
    let wrong = |error: &dyn std::error::Error| Failure::new(format!("{} cannot be used", picture.shown)).because(error);
    let bytes = source.document(descriptor).await.map_err(failed)?;
    let document = Document::parse(&bytes, &descriptor.media_type).map_err(|error| wrong(&error))?;
    let manifest = match document {
        Document::Image(manifest) if manifest.is_image() => manifest,
        Document::Image(manifest) => {
            let what = manifest.artifact_type.as_deref().unwrap_or(&manifest.config.media_type);
            return Err(Failure::new(format!("{} is no image but an artifact ({what})", picture.shown)));
        }
        Document::Index(_) => {
            return Err(Failure::new(format!("{} holds an index inside its index, which cannot be compared", picture.shown)));
        }
    };
    let bytes = source.document(&manifest.config).await.map_err(failed)?;
    let config = ImageConfig::parse(&bytes).map_err(|error| wrong(&error))?;
    let digests = || manifest.layers.iter().map(|layer| layer.digest).collect();
    let contents = if config.diff_ids.len() == manifest.layers.len() { config.diff_ids } else { digests() };
    Ok(Image {
        digest: descriptor.digest,
        platform: config.platform.or_else(|| descriptor.platform.clone()),
        config: serde_json::from_slice(&bytes).map_err(|error| wrong(&error))?,
        contents,
        manifest,
    })
}

/// Which images are compared with each other.
pub struct Pairs<'a> {
    /// Those of the same platform; or the only ones, whatever they run on.
    pub both: Vec<(&'a Image, &'a Image)>,
    /// Those that only the first has.
    pub removed: Vec<&'a Image>,
    /// Those that only the second has.
    pub added: Vec<&'a Image>,
}

impl<'a> Pairs<'a> {
    /// Pairs the images of both sides.
    pub fn of(before: &'a Side<'_>, after: &'a Side<'_>) -> Result<Self, Failure> {
        if let ([old], [new]) = (before.images.as_slice(), after.images.as_slice()) {
            return Ok(Self { both: vec![(old, new)], removed: Vec::new(), added: Vec::new() });
        }
        let is_same = |old: &Image, new: &Image| match (&old.platform, &new.platform) {
            (Some(old), Some(new)) => old.same_as(new),
            (None, None) => true,
            _ => false,
        };
        let mut added: Vec<_> = after.images.iter().collect();
        let (mut both, mut removed) = (Vec::new(), Vec::new());
        for old in &before.images {
            match added.iter().position(|new| is_same(old, new)) {
                Some(place) => both.push((old, added.remove(place))),
                None => removed.push(old),
            }
        }
        if both.is_empty() {
            let listed = |side: &Side<'_>| {
                let platforms: Vec<_> = side.images.iter().map(Image::platform_text).collect();
                format!("{} is for {}", side.picture.shown, platforms.join(", "))
            };
            let message = format!("{} and {} have no platform in common", before.picture.shown, after.picture.shown);
            return Err(Failure::new(message).hint(format!("{}; {}", listed(before), listed(after))));
        }
        Ok(Self { both, removed, added })
    }

    /// Whether both have the same platforms.
    pub fn is_complete(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty()
    }
}
