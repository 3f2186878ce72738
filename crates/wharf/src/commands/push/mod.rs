//! `push`: finds what the build made, names it, works out its tags, and brings it to the registry.

mod choose;
mod group;
mod prepare;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use wharf_client::{Pusher, Sent};

use crate::cli::Push;
use crate::progress::Progress;
use crate::remote::{self, Remote};
use crate::settings::Settings;
use crate::summary;
use crate::ui::{self, Failure};
use group::Group;
use prepare::Tagging;

/// Pushes.
pub fn run(settings: &Settings, options: &Push) -> Result<ExitCode, Failure> {
    if !options.tags.is_empty() && options.images.is_empty() {
        return Err(Failure::new("--tag requires an image name")
            .hint(format!("`{} push NAME --tag TAG`, with a name of what the build made, or a path", ui::program())));
    }
    let tagging = Tagging::new(settings, options)?;
    let chosen = choose::choose(settings, options)?;
    let wanted = chosen.candidates.len() + chosen.failed.len();
    let mut failed = chosen.failed;
    remote::run(async {
        let mut prepared = Vec::new();
        for candidate in chosen.candidates {
            let name = candidate.shown();
            match prepare::prepare(settings, &tagging, candidate).await {
                Ok(image) => prepared.push(image),
                Err(failure) => {
                    failure.report();
                    failed.push(name);
                }
            }
        }
        if !prepared.is_empty() {
            let progress = Arc::new(Progress::new());
            let remote = Remote::open(settings, &options.auth, progress.clone()).await?;
            let pusher = Pusher::new(&remote.registry, remote.features);
            for group in Group::of(prepared) {
                push(settings, &remote, &pusher, &progress, group, &mut failed).await?;
            }
        }
        if failed.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        // What is wrong with a single one was said.
        if wanted == 1 {
            return Err(Failure::Reported);
        }
        failed.sort();
        failed.dedup();
        Err(Failure::new(format!("{} of {wanted} not pushed: {}", failed.len(), failed.join(", "))))
    })
}

/// Pushes the images of one name: all their content first, then the tags that they share.
async fn push(
    settings: &Settings,
    remote: &Remote,
    pusher: &Pusher<'_>,
    progress: &Progress,
    mut group: Group,
    failed: &mut Vec<String>,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let repository = group.repository.clone();
    let mut sent = Sent::default();
    let mut there = Vec::new();
    for warning in group.settle() {
        progress.warn(&warning);
    }
    for image in group.images {
        progress.say(format_args!("Pushing {} from {}", image.described(), image.layout.path().display()));
        match pusher.send(&image.layout, &image.tree, &repository).await {
            Ok(part) => {
                sent.add(part);
                there.push(image);
            }
            Err(error) => {
                let path = image.layout.path().display().to_string();
                remote::failure(&error).about(&format!("{} was not pushed from {path}", image.shown)).report();
                failed.push(image.shown);
            }
        }
    }
    let roots: Vec<_> = there.iter().map(|image| &image.tree.root).filter(|root| root.descriptor.platform.is_some()).collect();
    let mut complete = true;
    let mut set = 0;
    let mut newest = None;
    for (offer, tags) in group::offers(&there) {
        for (tag, tagged) in tags.iter().zip(pusher.tag(&repository, &offer, &roots, &tags).await) {
            let reference = format!("{}/{repository}:{tag}", remote.registry.address().authority);
            match tagged {
                Ok(tagged) => {
                    if tagged.replaced {
                        let why = if offer.entries.is_empty() {
                            "what was pushed names no platform, and shares a tag with nothing"
                        } else {
                            "what it led to before names no platform"
                        };
                        progress.warn(&format!("{reference} was replaced: {why}"));
                    }
                    let unchanged = if tagged.unchanged { ", as before" } else { "" };
                    ui::detail(format_args!("{reference} leads to {}{unchanged}", tagged.media_type));
                    ui::print(format_args!("{reference} {}\n", tagged.digest))?;
                    set += 1;
                    if tag.as_str() == "latest" || newest.is_none() {
                        newest = Some(reference);
                    }
                }
                Err(error) => {
                    remote::failure(&error).about(&format!("{reference} was not set")).report();
                    complete = false;
                }
            }
        }
    }
    let name = settings.short(&repository);
    if !complete {
        failed.push(name.clone());
    }
    if !there.is_empty() {
        let tags = if set == 1 { "tag" } else { "tags" };
        ui::say(format_args!("Pushed {name}: {}; {set} {tags}", summary::of(&sent, begun.elapsed())));
    }
    if let Some(reference) = newest {
        ui::say(format_args!("Pull with: docker pull {reference}"));
    }
    Ok(())
}
