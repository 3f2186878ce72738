//! Which image is meant: by name, as it is, then under the registry's prefix, then on Docker Hub, then under any registry; or by ID, which is
//! never transformed.

use wharf_oci::ImageReference;
use wharf_terminal::ui::Failure;

use super::{Image, Store, familiar, full};
use crate::settings::{RegistryPrefix, Settings};

/// Digits of an ID at least. Docker takes fewer; a name of hexadecimal letters is more likely then.
const SHORTEST_ID: usize = 4;
/// Digits of an ID that is told from a name where there is no such image.
const CERTAIN_ID: usize = 12;

/// An image that was found.
#[derive(Clone, Debug)]
pub struct Target {
    /// The image.
    pub image: Image,
    /// The name that led to it, in full; `None` for an ID or a digest.
    pub name: Option<String>,
}

/// Whether a text is an ID whether there is such an image or not: `sha256:…`, or 12 to 64 hexadecimal digits.
fn is_certainly_id(text: &str) -> bool {
    let is_hex = |hash: &str| hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match text.strip_prefix("sha256:") {
        Some(hash) => !hash.is_empty() && hash.len() <= 64 && is_hex(hash),
        None => (CERTAIN_ID..=64).contains(&text.len()) && is_hex(text),
    }
}

/// Whether a name says itself on which registry it is.
pub fn qualified(text: &str) -> bool {
    text.split_once('/').is_some_and(|(host, _)| host == "localhost" || host.contains(['.', ':']))
}

/// The names, in full, that a text may mean in the store, the first that is there counts.
pub fn names(text: &str, registry: Option<&RegistryPrefix>) -> Result<Vec<ImageReference>, Failure> {
    let read = |text: &str| text.parse::<ImageReference>().map_err(|error| Failure::of(&error));
    let plain = read(text)?;
    let under = registry.filter(|_| !qualified(text)).map(|registry| read(&registry.qualify(text))).transpose()?;
    Ok(under.into_iter().chain([plain]).collect())
}

impl Store {
    /// Finds an image by name or ID.
    ///
    /// # Errors
    /// `No such image`, as Docker says it, an ID that several have, and a text that is neither.
    pub fn find(&self, settings: &Settings, text: &str) -> Result<Target, Failure> {
        let images = self.images()?;
        let found = find(&images, settings.registry.as_ref(), text)?;
        found.ok_or_else(|| Failure::new(format!("No such image: {text}")))
    }
}

/// Finds an image among these.
pub fn find(images: &[Image], registry: Option<&RegistryPrefix>, text: &str) -> Result<Option<Target>, Failure> {
    match find_to_run(images, registry, text)? {
        None => under_any_registry(images, text),
        found => Ok(found),
    }
}

/// The image of a name without a registry that is only found with one: that which was set when it was pulled, and is not any more.
fn under_any_registry(images: &[Image], text: &str) -> Result<Option<Target>, Failure> {
    let plain = text.parse::<ImageReference>().ok().filter(|name| name.digest().is_none());
    let Some(plain) = plain.filter(|_| !is_certainly_id(text) && !qualified(text)) else { return Ok(None) };
    let plain = full(&plain);
    let end = format!("/{}", familiar(&plain));
    let fits = |name: &&String| name.ends_with(&end) && familiar(name) == name.as_str();
    let fitting: Vec<_> =
        images.iter().flat_map(|image| image.names.iter().filter(fits).map(move |name| (image, name))).collect();
    match fitting.as_slice() {
        [] => Ok(None),
        [(image, name)] => Ok(Some(Target { image: (*image).clone(), name: Some((*name).clone()) })),
        several => {
            let names: Vec<_> = several.iter().map(|(_, name)| name.as_str()).collect();
            Err(Failure::new(format!("{text} may be {}", names.join(" or "))).hint("give the name in full"))
        }
    }
}

/// Finds an image among these that is what a registry, or Docker Hub, would give for the name.
pub fn find_to_run(images: &[Image], registry: Option<&RegistryPrefix>, text: &str) -> Result<Option<Target>, Failure> {
    if !is_certainly_id(text) {
        for name in names(text, registry)? {
            if let Some(found) = named(images, &name) {
                return Ok(Some(found));
            }
        }
    }
    let hash = text.strip_prefix("sha256:").unwrap_or(text);
    if hash.len() < SHORTEST_ID || !hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(None);
    }
    let starts = |digest: &wharf_oci::Digest| digest.to_string().split_once(':').is_some_and(|(_, own)| own.starts_with(hash));
    let mut fitting = images.iter().filter(|image| starts(&image.id));
    match (fitting.next(), fitting.next()) {
        (Some(_), Some(_)) => {
            Err(Failure::new(format!("several images have IDs that begin with {text}")).hint("give more digits"))
        }
        (Some(image), None) => Ok(Some(Target { image: image.clone(), name: None })),
        (None, _) => {
            // The digest of a manifest, which containerd and podman call an image by.
            let by_manifest = images.iter().find(|image| hash.len() >= CERTAIN_ID && starts(&image.descriptor.digest));
            Ok(by_manifest.map(|image| Target { image: image.clone(), name: None }))
        }
    }
}

fn named(images: &[Image], name: &ImageReference) -> Option<Target> {
    if let Some(digest) = name.digest() {
        let wanted = format!("{}/{}@{digest}", name.host(), name.repository());
        let found = images
            .iter()
            .find(|image| image.repository_digests.contains(&wanted) || (image.has(digest) && has_repository(image, name)))?;
        return Some(Target { image: found.clone(), name: None });
    }
    let wanted = full(name);
    let found = images.iter().find(|image| image.names.contains(&wanted))?;
    Some(Target { image: found.clone(), name: Some(wanted) })
}

fn has_repository(image: &Image, name: &ImageReference) -> bool {
    let prefix = format!("{}/{}:", name.host(), name.repository());
    image.names.iter().any(|own| own.starts_with(&prefix))
}
