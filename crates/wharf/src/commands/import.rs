//! `import`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use wharf_client::{ClientError, Fetched, Offer, Pusher, REFERENCE_DIGEST, RepositorySource, Source, Tree};
use wharf_oci::{Descriptor, Document, ImageIndex, ImageReference, Platform, Reference, Tag};

use super::usage_of;
use crate::cli::Import;
use crate::image_name::ImageName;
use crate::origin;
use crate::remote;
use crate::settings::Settings;
use crate::summary;
use crate::ui::{self, Failure, Output};
use wharf_terminal::progress::Progress;

/// Copies an image of another registry.
pub fn run(settings: &Settings, options: &Import) -> Result<ExitCode, Failure> {
    let Some(source) = &options.source else {
        return usage_of("import", "wharf import docker.io/library/alpine:latest");
    };
    let image: ImageReference =
        source.parse().map_err(|error| Failure::new(format!("`{source}` is no image's name")).because(&error))?;
    let own = options.name.clone().unwrap_or_else(|| image.last_component().to_owned());
    let name = ImageName::parse(settings, &own)?;
    let tag = match name.reference {
        Some(Reference::Digest(_)) => {
            return Err(Failure::new(format!("`{own}` holds a digest, which only the content decides")));
        }
        Some(Reference::Tag(tag)) => tag,
        None => match image.reference() {
            Reference::Tag(tag) => tag,
            Reference::Digest(_) => match image.tag() {
                Some(tag) => tag.clone(),
                None => "latest".parse::<Tag>().map_err(|error| Failure::new(error.to_string()))?,
            },
        },
    };
    let begun = Instant::now();
    let mut output = Output::default();
    remote::run(async {
        let progress = Arc::new(Progress::new());
        let here = remote::open(settings, &options.auth, progress.clone()).await?.stored_only();
        let origin = origin::find(settings, &options.source_options, &image, progress.clone()).await?;
        let source = RepositorySource {
            is_destination: origin.registry.address() == here.address(),
            registry: &origin.registry,
            repository: origin.repository.clone(),
        };
        ui::say(format_args!("Importing {image} from {}", origin.registry.address()));
        let failed = |error: ClientError| remote::failure(&error);
        let (tree, offer) = chosen(&source, &origin.manifest, &image, &options.platforms).await.map_err(failed)?;
        let pusher = Pusher::new(&here);
        let sent = pusher.send(&source, &tree, &name.repository).await;
        progress.clear();
        let sent = sent.map_err(failed)?;
        let tagged = pusher.tag(&name.repository, &offer, &[&tree.root], std::slice::from_ref(&tag)).await;
        let reference = format!("{}/{}:{tag}", here.address().authority, name.repository);
        for tagged in tagged {
            let tagged = tagged.map_err(failed)?;
            if tagged.replaced {
                ui::say(format_args!("What {reference} led to before was replaced"));
            }
            output.print(format_args!("{reference} {}\n", tagged.digest));
        }
        ui::say(format_args!("Import complete: {}", summary::of(&sent, begun.elapsed())));
        ui::say(format_args!("Pull with: docker pull {reference}"));
        Ok(())
    })?;
    output.end().map(|()| ExitCode::SUCCESS)
}

/// The whole image, which takes the tag as it is; or some of its platforms, which join those that are there.
async fn chosen(
    source: &dyn Source,
    manifest: &Fetched,
    image: &ImageReference,
    platforms: &[Platform],
) -> Result<(Tree, Offer), ClientError> {
    if platforms.is_empty() {
        let tree = Tree::of(source, manifest).await?;
        let offer = Offer { whole: tree.root.clone(), entries: Vec::new(), is_joined: false };
        return Ok((tree, offer));
    }
    let document = Document::parse(&manifest.bytes, &manifest.media_type)
        .map_err(|source| ClientError::Document { digest: manifest.digest, source })?;
    let tree = match document {
        Document::Image(_) => Tree::of(source, manifest).await?,
        Document::Index(index) => match narrowed(&index, platforms) {
            Some(Narrowed::One(child)) => Tree::read(source, &child).await?,
            Some(Narrowed::Several(index)) => Tree::of_index(source, &index).await?,
            None => return Err(absent(image, platforms, index.manifests.iter().filter_map(|child| child.platform.as_ref()))),
        },
    };
    let found: Vec<_> = tree.offer().entries.iter().filter_map(|entry| entry.descriptor.platform.as_ref()).collect();
    let missing: Vec<_> = platforms.iter().filter(|wanted| !found.iter().any(|found| found.matches(wanted))).cloned().collect();
    if !missing.is_empty() {
        return Err(absent(image, &missing, found.into_iter()));
    }
    let offer = tree.offer().clone();
    Ok((tree, offer))
}

/// What is left of an index.
enum Narrowed {
    One(Descriptor),
    Several(ImageIndex),
}

/// The entries for these platforms, with what the index says about each.
fn narrowed(index: &ImageIndex, platforms: &[Platform]) -> Option<Narrowed> {
    let is_wanted = |child: &Descriptor| {
        child.platform.as_ref().is_some_and(|platform| platforms.iter().any(|wanted| platform.matches(wanted)))
    };
    let wanted: Vec<_> = index.manifests.iter().filter(|child| is_wanted(child)).collect();
    match wanted.as_slice() {
        [] => None,
        [child] => Some(Narrowed::One((*child).clone())),
        wanted => {
            let about = |child: &Descriptor| {
                let subject = child.annotation(REFERENCE_DIGEST);
                subject.is_some_and(|subject| wanted.iter().any(|wanted| wanted.digest.to_string() == subject))
            };
            let manifests = index.manifests.iter().filter(|child| is_wanted(child) || about(child)).cloned().collect();
            Some(Narrowed::Several(ImageIndex { manifests, ..index.clone() }))
        }
    }
}

fn absent<'a>(image: &ImageReference, wanted: &[Platform], available: impl Iterator<Item = &'a Platform>) -> ClientError {
    let listed = |platforms: Vec<String>| if platforms.is_empty() { "none".to_owned() } else { platforms.join(", ") };
    ClientError::Platform {
        image: image.to_string(),
        wanted: listed(wanted.iter().map(ToString::to_string).collect()),
        available: listed(available.filter(|platform| !platform.is_unknown()).map(ToString::to_string).collect()),
    }
}
