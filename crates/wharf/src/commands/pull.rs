//! `pull`: fetches an image into a layout, and takes from the registry only what the layout lacks.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use wharf_client::Tree;
use wharf_oci::{Descriptor, Digest, LayoutError, LayoutWriter, Platform};
use wharf_pull::{FetchError, Had, Puller, take_in};

use super::usage_of;
use crate::cli::Pull;
use crate::picture::{Picture, Whereabouts};
use crate::remote;
use crate::settings::Settings;
use crate::ui::{self, Failure, Output};
use wharf_terminal::progress::Progress;

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
    let folder = writer.path().to_owned();
    let puller = Puller::new((registry, repository), picture.source(), (&folder, &staging), name, progress.clone());
    let puller = puller.verifying(options.verify);
    let root = root(picture, options.platform.as_ref()).await?;
    let tree = puller.tree(&root).await.map_err(|error| remote::failure(&error))?;
    if let Some(wanted) = &options.platform {
        check_platform(picture, &root, &tree, wanted)?;
    }
    ui::detail(format_args!("{} is {} in {} blobs", picture.shown, ui::size(tree.size()), tree.blobs.len()));
    let had = puller.fetch(&tree).await.map_err(|error| {
        if error.is_full() {
            // A machine whose disk is full has other worries than to fetch the same once more.
            clear(&staging);
        }
        failure(&error)
    })?;
    let layout = |error: LayoutError| Failure::of(&error);
    if !take_in(&mut writer, &tree, &staging).map_err(layout)? {
        return Err(Failure::new(format!("a part of {} was removed while it was pulled", picture.shown)));
    }
    writer.list(tree.root.descriptor.clone(), name);
    // What is still here is left of pulls that nobody went on with.
    clear(&staging);
    writer.commit().map_err(layout)?;
    Ok((tree.root.descriptor.digest, had))
}

/// A report of what kept a blob from being fetched.
fn failure(error: &FetchError) -> Failure {
    match error {
        FetchError::Client(error) if error.is_passing() => {
            remote::failure(error).hint("what was received is kept; the same command goes on from there")
        }
        FetchError::Client(error) => remote::failure(error),
        error => Failure::of(error),
    }
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

/// Removes the files of a folder.
fn clear(folder: &Path) {
    for file in fs::read_dir(folder).into_iter().flatten().flatten() {
        // Nothing depends on it.
        let _ = fs::remove_file(file.path());
    }
}
