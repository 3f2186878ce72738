//! An image that a command is about, wherever it is: in a layout or archive of this machine, in the configured registry, in another one.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use wharf_client::{Chunks, ClientError, Observer, Registry, RepositorySource, Source};
use wharf_oci::{Descriptor, Digest, Document, ImageReference, Layout, Platform, Reference, RepositoryName, Tag};

use crate::cli::{AuthOptions, SourceOptions};
use crate::image_name::ImageName;
use crate::layout_image;
use crate::layout_path::{self, Pick};
use crate::origin;
use crate::remote;
use crate::settings::Settings;
use crate::ui::Failure;

/// Where an image is, as people say it.
#[derive(Clone, Debug)]
pub enum Whereabouts {
    /// A layout or archive, and which of its images.
    Layout {
        /// The folder or file; it is there.
        path: PathBuf,
        /// Its name or digest.
        pick: Option<Pick>,
    },
    /// The configured registry.
    Here(ImageName),
    /// A registry whose host stands in front.
    Elsewhere(ImageReference),
}

/// An image that can be read.
pub struct Picture {
    /// What it is called in messages.
    pub shown: String,
    /// Descriptor of its manifest, or of an index.
    pub root: Descriptor,
    content: Content,
}

enum Content {
    Layout(Layout),
    Repository {
        registry: Box<Registry>,
        repository: RepositoryName,
        /// What the root is.
        root: Bytes,
    },
}

/// A repository of which one manifest is known.
struct Rooted<'a> {
    repository: RepositorySource<'a>,
    root: (Digest, Bytes),
}

impl Whereabouts {
    /// Reads `PATH`, `PATH:NAME`, `PATH@DIGEST`, `oci:PATH`, `NAME:TAG`, `NAME@DIGEST` or `HOST/NAME:TAG`. A path is one when it is there.
    pub fn parse(settings: &Settings, text: &str) -> Result<Self, Failure> {
        let bare = layout_path::bare(text);
        match layout_path::find(bare) {
            Some((path, pick)) => return Ok(Self::Layout { path, pick }),
            None if bare != text || layout_path::is_meant(text) => {
                return Err(Failure::new(format!("{text} not found")).hint("there is no such file or folder"));
            }
            None => {}
        }
        Self::of_registry(settings, text)
    }

    /// The same for what can only be in a registry.
    pub fn of_registry(settings: &Settings, text: &str) -> Result<Self, Failure> {
        let host = text.split_once('/').map_or("", |(host, _)| host);
        let is_host = host == "localhost" || host.contains(['.', ':']);
        if is_host && host != settings.url.authority() {
            let image = text.parse();
            return image
                .map(Self::Elsewhere)
                .map_err(|error| Failure::new(format!("`{text}` is no image's name")).because(&error));
        }
        ImageName::parse(settings, text).map(Self::Here)
    }

    /// The tag that is meant in a registry; none for a digest, and in a layout.
    pub fn tag(&self) -> Option<Tag> {
        let reference = match self {
            Self::Layout { .. } => return None,
            Self::Here(name) => name.reference_or_latest(),
            Self::Elsewhere(image) => image.tag().cloned().map_or_else(|| image.reference(), Reference::Tag),
        };
        match reference {
            Reference::Tag(tag) => Some(tag),
            Reference::Digest(_) => None,
        }
    }

    /// The image with its registry in front and its tag or digest behind, as every client takes it; in a layout, its path.
    pub fn full(&self, settings: &Settings) -> String {
        match self {
            Self::Layout { path, pick } => {
                pick.as_ref().map_or_else(|| path.display().to_string(), |pick| format!("{}{pick}", path.display()))
            }
            Self::Here(name) => {
                let whole = format!("{}/{}", settings.url.authority(), name.repository);
                ImageName::joined(whole, &name.reference_or_latest())
            }
            Self::Elsewhere(image) => image.to_string(),
        }
    }
}

impl Picture {
    /// Finds an image. Without a tag or digest, `latest` is meant.
    pub async fn open(
        settings: &Settings,
        auth: &AuthOptions,
        source: &SourceOptions,
        whereabouts: &Whereabouts,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, Failure> {
        match whereabouts {
            Whereabouts::Layout { path, pick } => {
                let layout = Layout::open(path).map_err(|error| Failure::of(&error))?;
                let root = layout_path::one_of(&layout, pick.as_ref())?;
                Ok(Self { shown: whereabouts.full(settings), root, content: Content::Layout(layout) })
            }
            Whereabouts::Here(name) => {
                let registry = remote::open(settings, auth, observer).await?;
                let repository = name.repository.clone();
                let reference = name.reference_or_latest();
                let shown = ImageName::joined(settings.short(&repository), &reference);
                let found = registry.manifest(&repository, &reference).await.map_err(|error| remote::failure(&error))?;
                let Some(found) = found else {
                    return Err(Failure::new(format!("{shown} not found at {}", registry.address())));
                };
                let root = Descriptor::new(&found.media_type, found.digest, found.bytes.len() as u64);
                let content = Content::Repository { registry: Box::new(registry), repository, root: found.bytes };
                Ok(Self { shown, root, content })
            }
            Whereabouts::Elsewhere(image) => {
                let wharf_pull::Origin { registry, repository, manifest } =
                    origin::find(settings, source, image, observer).await?;
                let root = Descriptor::new(&manifest.media_type, manifest.digest, manifest.bytes.len() as u64);
                let content = Content::Repository { registry: Box::new(registry), repository, root: manifest.bytes };
                Ok(Self { shown: image.to_string(), root, content })
            }
        }
    }

    /// Where its content comes from. The root was read already, and is not asked for again.
    pub fn source(&self) -> Box<dyn Source + '_> {
        match &self.content {
            Content::Layout(layout) => Box::new(layout),
            Content::Repository { registry, repository, root } => Box::new(Rooted {
                repository: RepositorySource { registry, repository: repository.clone(), is_destination: false },
                root: (self.root.digest, root.clone()),
            }),
        }
    }

    /// The registry and repository that hold it; none for a layout.
    pub fn repository(&self) -> Option<(&Registry, &RepositoryName)> {
        match &self.content {
            Content::Layout(_) => None,
            Content::Repository { registry, repository, .. } => Some((registry, repository)),
        }
    }

    /// The layout that holds it; none for a registry.
    pub fn layout(&self) -> Option<&Layout> {
        match &self.content {
            Content::Layout(layout) => Some(layout),
            Content::Repository { .. } => None,
        }
    }

    /// The manifests of the images below the root that serve `platform`, each with its platform where the index says it; the root itself
    /// where that is an image. Attestations are left out.
    pub async fn images(&self, platform: Option<&Platform>) -> Result<Vec<Descriptor>, Failure> {
        let bytes = self.source().document(&self.root).await.map_err(|error| remote::failure(&error))?;
        let document = Document::parse(&bytes, &self.root.media_type);
        let document = document.map_err(|error| Failure::new(format!("{} cannot be used", self.shown)).because(&error))?;
        let Document::Index(index) = document else { return Ok(vec![self.root.clone()]) };
        let (wanted, others): (Vec<_>, Vec<_>) = layout_image::entries(&index).cloned().partition(|child| {
            platform.is_none_or(|wanted| child.platform.as_ref().is_some_and(|platform| platform.matches(wanted)))
        });
        match platform {
            Some(platform) if wanted.is_empty() => {
                let has: Vec<_> = others.iter().filter_map(|child| child.platform.as_ref()).map(ToString::to_string).collect();
                Err(Failure::new(format!("{} has no image for {platform}", self.shown))
                    .hint(format!("it has {}", has.join(", "))))
            }
            _ => Ok(wanted),
        }
    }
}

#[async_trait]
impl Source for Rooted<'_> {
    async fn document(&self, descriptor: &Descriptor) -> Result<Bytes, ClientError> {
        match &self.root {
            (digest, bytes) if *digest == descriptor.digest => Ok(bytes.clone()),
            _ => self.repository.document(descriptor).await,
        }
    }

    async fn blob(&self, descriptor: &Descriptor, offset: u64) -> Result<Chunks, ClientError> {
        self.repository.blob(descriptor, offset).await
    }

    fn check(&self, descriptor: &Descriptor) -> Result<(), ClientError> {
        self.repository.check(descriptor)
    }

    async fn verify(&self, descriptor: &Descriptor) -> Result<(), ClientError> {
        self.repository.verify(descriptor).await
    }

    fn repository(&self) -> Option<&RepositoryName> {
        self.repository.repository()
    }
}
