//! `pull`: fetches an image into a layout, and takes from the registry only what the layout lacks.

mod build;
mod fetch;
mod near;
mod older;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{StreamExt, TryStreamExt};
use wharf_client::Tree;
use wharf_layers::piece::ListPlace;
use wharf_oci::{Descriptor, Digest, Document, Layout, LayoutWriter, Platform, is_there};

use super::usage_of;
use crate::cli::Pull;
use crate::picture::{Picture, Whereabouts};
use crate::remote;
use crate::settings::Settings;
use crate::ui::{self, Failure, Output};
use fetch::{Fetcher, Had, partial};
use near::Near;
use older::OlderLayers;
use wharf_terminal::progress::Progress;

/// Blobs that are fetched at once. More do not make one disk or one line faster.
const AT_ONCE: usize = 4;

/// Pulls an image.
pub fn run(settings: &Settings, options: &Pull) -> Result<ExitCode, Failure> {
    let (Some(image), Some(folder)) = (&options.image, &options.folder) else {
        return usage_of("pull", "wharf pull app:latest app-oci");
    };
    if options.name.as_ref().is_some_and(|name| name.is_empty() || name.contains(char::is_control)) {
        return Err(Failure::new("--name is empty, or no name"));
    }
    let whereabouts = Whereabouts::of_registry(settings, image)?;
    let begun = Instant::now();
    let mut output = Output::default();
    remote::run(async {
        let progress = Arc::new(Progress::new());
        let picture = Picture::open(settings, &options.auth, &options.source, &whereabouts, progress.clone()).await?;
        let name = options.name.clone().or_else(|| whereabouts.tag().map(|tag| tag.to_string()));
        let pulled = pull(&picture, options, folder, name.as_deref(), &progress).await;
        progress.clear();
        let (digest, had) = pulled?;
        output.print(format_args!("{} {digest}\n", whereabouts.full(settings)));
        if had.is_nothing() {
            ui::say(format_args!("Nothing to do for {}: all {} are there", picture.shown, ui::size(had.local)));
        } else {
            ui::say(format_args!("Pulled {}: {had}, in {:.1} s", picture.shown, begun.elapsed().as_secs_f64()));
        }
        Ok(())
    })?;
    output.end().map(|()| ExitCode::SUCCESS)
}

/// Brings an image into the layout, and returns its digest and where its bytes came from.
async fn pull(
    picture: &Picture,
    options: &Pull,
    folder: &Path,
    name: Option<&str>,
    progress: &Arc<Progress>,
) -> Result<(Digest, Had), Failure> {
    let Some((registry, repository)) = picture.repository() else {
        return Err(Failure::new(format!("{} is in no registry", picture.shown)));
    };
    let mut writer = LayoutWriter::open(folder).map_err(|error| Failure::of(&error))?.durable();
    let staging = writer.staging().map_err(|error| Failure::of(&error))?;
    let layout = Layout::open(writer.path()).ok();
    let older = layout.as_ref().map(|layout| OlderLayers::of(layout, name)).unwrap_or_default();
    let source = Near::new(picture.source(), layout, staging.clone());
    let root = root(picture, options.platform.as_ref()).await?;
    let tree = Tree::read(&source, &root).await.map_err(|error| remote::failure(&error))?;
    if let Some(wanted) = &options.platform {
        check_platform(picture, &root, &tree, wanted)?;
    }
    ui::detail(format_args!("{} is {} in {} blobs", picture.shown, ui::size(tree.size()), tree.blobs.len()));
    let fetcher = Fetcher {
        registry,
        repository,
        writer: &writer,
        staging: &staging,
        older: Arc::new(older),
        lists: lists(&tree),
        staged: source.staged(),
        verify: options.verify,
        progress: progress.clone(),
        planning: tokio::sync::Mutex::default(),
    };
    let mut had = Had { received: source.received(), ..Had::default() };
    let fetched = futures_util::stream::iter(&tree.blobs)
        .map(|blob| fetcher.fetch(blob))
        .buffer_unordered(AT_ONCE)
        .try_fold(Had::default(), |mut sum, had| async move {
            sum.add(had);
            Ok(sum)
        })
        .await;
    had.add(fetched.map_err(|error| {
        if error.is_full() {
            // A machine whose disk is full has other worries than to fetch the same once more.
            clear(&staging);
        }
        error.failure()
    })?);
    take_in(writer, &tree, &staging, name).map_err(|error| Failure::of(&error))?;
    Ok((tree.root.descriptor.digest, had))
}

/// What of an image is pulled: all that its name leads to, or what is for one platform.
async fn root(picture: &Picture, platform: Option<&Platform>) -> Result<Descriptor, Failure> {
    match platform {
        None => Ok(picture.root.clone()),
        Some(_) => {
            // In an index the better choice comes first (image-spec, "Image Index Property Descriptions").
            let first = picture.images(platform).await?.into_iter().next();
            first.ok_or_else(|| Failure::new(format!("{} holds no image", picture.shown)))
        }
    }
}

/// An image that is in no index says itself what it is for.
fn check_platform(picture: &Picture, root: &Descriptor, tree: &Tree, wanted: &Platform) -> Result<(), Failure> {
    let platform = root.platform.as_ref().or(tree.root.descriptor.platform.as_ref());
    if platform.is_some_and(|platform| platform.matches(wanted)) {
        return Ok(());
    }
    let failure = Failure::new(format!("{} has no image for {wanted}", picture.shown));
    Err(match platform {
        Some(platform) => failure.hint(format!("it is for {platform}")),
        None => failure.hint("it names no platform"),
    })
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

/// Makes everything that was fetched part of the layout.
fn take_in(mut writer: LayoutWriter, tree: &Tree, staging: &Path, name: Option<&str>) -> Result<(), wharf_oci::LayoutError> {
    for blob in &tree.blobs {
        let file = staging.join(partial(&blob.digest));
        if is_there(&file) {
            writer.adopt_file(&file, &blob.digest)?;
        }
    }
    for manifest in tree.manifests.iter().chain([&tree.root]) {
        writer.add_as(&manifest.bytes, &manifest.descriptor.digest)?;
    }
    writer.list(tree.root.descriptor.clone(), name);
    // What is still here is left of pulls that nobody went on with.
    clear(staging);
    writer.commit()
}

/// Removes the files of a folder.
fn clear(folder: &Path) {
    for file in fs::read_dir(folder).into_iter().flatten().flatten() {
        // Nothing depends on it.
        let _ = fs::remove_file(file.path());
    }
}
