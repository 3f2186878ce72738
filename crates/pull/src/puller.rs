//! One image on its way into a layout.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};
use wharf_client::{ClientError, Observer, Registry, Source, Tree};
use wharf_layers::piece::ListPlace;
use wharf_oci::{Descriptor, Digest, Document, Layout, LayoutError, LayoutWriter, RepositoryName};

use crate::fetch::{FetchError, Fetcher, Had, partial};
use crate::near::Near;
use crate::older::OlderLayers;

/// Blobs that are fetched at once. More do not make one disk or one line faster.
const AT_ONCE: usize = 4;

/// Brings images of one repository into a layout's staging folder.
pub struct Puller<'a> {
    registry: &'a Registry,
    repository: &'a RepositoryName,
    folder: &'a Path,
    staging: &'a Path,
    source: Near<'a>,
    older: Arc<OlderLayers>,
    observer: Arc<dyn Observer>,
    verify: bool,
    is_shared: bool,
}

impl<'a> Puller<'a> {
    /// From a repository, whose manifests `source` gives out, for the layout in `folder`, which need not be there; what is received lies in
    /// `staging`, a folder on the same file system, until it is taken in. Layers of the image that the layout calls `name` are the first to be
    /// looked at for pieces.
    pub fn new(
        (registry, repository): (&'a Registry, &'a RepositoryName),
        source: Box<dyn Source + 'a>,
        (folder, staging): (&'a Path, &'a Path),
        name: Option<&str>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let layout = Layout::open(folder).ok();
        let older = layout.as_ref().map(|layout| OlderLayers::of(layout, name)).unwrap_or_default();
        let source = Near::new(source, layout, staging.to_owned());
        Self { registry, repository, folder, staging, source, older: Arc::new(older), observer, verify: false, is_shared: false }
    }

    /// The same, reading also large blobs that the layout has already.
    #[must_use]
    pub fn verifying(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }

    /// The same for a staging folder that other processes use at the same time: each blob is fetched by one of them.
    #[must_use]
    pub fn shared(mut self) -> Self {
        self.is_shared = true;
        self.source.keep_nothing();
        self
    }

    /// Reads everything below a manifest but the layers.
    pub async fn tree(&self, root: &Descriptor) -> Result<Tree, ClientError> {
        Tree::read(&self.source, root).await
    }

    /// Manifests and configurations, from the layout where it has them.
    pub fn source(&self) -> &(dyn Source + 'a) {
        &self.source
    }

    /// Fetches all blobs that the layout lacks.
    pub async fn fetch(&self, tree: &Tree) -> Result<Had, FetchError> {
        let fetcher = Fetcher {
            registry: self.registry,
            repository: self.repository,
            folder: self.folder,
            staging: self.staging,
            older: self.older.clone(),
            lists: lists(tree),
            staged: self.source.staged(),
            verify: self.verify,
            is_shared: self.is_shared,
            observer: self.observer.clone(),
            planning: tokio::sync::Mutex::default(),
        };
        let fetched = futures_util::stream::iter(&tree.blobs)
            .map(|blob| fetcher.fetch(blob))
            .buffer_unordered(AT_ONCE)
            .try_fold(Had::default(), |mut sum, had| async move {
                sum.add(had);
                Ok(sum)
            })
            .await?;
        let mut had = Had { received: self.source.received(), ..Had::default() };
        had.add(fetched);
        Ok(had)
    }

    /// Removes what was received of a tree, as on a disk that is full.
    pub fn forget(&self, tree: &Tree) {
        for blob in &tree.blobs {
            // Nothing depends on it.
            let _ = fs::remove_file(self.staging.join(partial(&blob.digest)));
        }
    }
}

/// Where the layers of a tree tell their pieces.
fn lists(tree: &Tree) -> BTreeMap<Digest, ListPlace> {
    let mut lists = BTreeMap::new();
    for manifest in tree.manifests.iter().chain([&tree.root]) {
        // They were read before.
        if let Ok(Document::Image(image)) = Document::parse(&manifest.bytes, &manifest.descriptor.media_type) {
            lists.extend(image.layers.iter().filter_map(|layer| Some((layer.digest, ListPlace::worth_reading(layer)?))));
        }
    }
    lists
}

/// A blob that waits in the staging folder, whole as far as its length says it, once no other process has it in hand: one may look at it
/// still, or have made an empty file to wait for another.
fn staged(blob: &Descriptor, staging: &Path) -> Option<File> {
    let path = staging.join(partial(&blob.digest));
    loop {
        let file = File::open(&path).ok()?;
        file.lock().ok()?;
        let (named, own) = (fs::metadata(&path).ok()?, file.metadata().ok()?);
        if named.ino() == own.ino() {
            return (own.len() == blob.size).then_some(file);
        }
    }
}

/// Adds everything that was [fetched](Puller::fetch) to the layout; listing the root and committing is left to the caller. Says whether all of it is
/// there: with a [shared](Puller::shared) staging folder, or an image removed meanwhile, what was there before may be gone, and is to be fetched again.
pub fn take_in(writer: &mut LayoutWriter, tree: &Tree, staging: &Path) -> Result<bool, LayoutError> {
    for blob in &tree.blobs {
        // It is let go only after it has its place: whoever waits for it sees then that the name is no longer its.
        if let Some(_held) = staged(blob, staging) {
            writer.adopt_file(&staging.join(partial(&blob.digest)), &blob.digest)?;
        } else if !writer.has(&blob.digest, blob.size) {
            return Ok(false);
        }
    }
    for manifest in tree.manifests.iter().chain([&tree.root]) {
        writer.add_as(&manifest.bytes, &manifest.descriptor.digest)?;
    }
    Ok(true)
}
