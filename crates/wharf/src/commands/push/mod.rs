//! `push`: finds what the build made, names it, works out its tags, and brings it to the registry.

mod choose;
mod dry_run;
mod group;
mod prepare;
mod recompress;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use wharf_client::{Offer, Pusher, Registry, Sent, Tagged};
use wharf_oci::Tag;

use crate::cli::Push;
use crate::remote;
use crate::settings::Settings;
use crate::summary;
use crate::ui::{self, Failure, Output};
use group::{Group, Overshadowed, overshadowed};
use prepare::{Prepared, Tagging};
use wharf_terminal::progress::Progress;

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
    let mut output = Output::default();
    remote::run(async {
        let mut prepared = Vec::new();
        for candidate in chosen.candidates {
            let name = candidate.shown();
            match prepare::prepare(settings, &tagging, candidate, options.recompress).await {
                Ok(image) => prepared.push(image),
                Err(failure) => {
                    failure.report();
                    failed.push(name);
                }
            }
        }
        if options.dry_run {
            return dry_run::show(settings, prepared, options.json);
        }
        if !prepared.is_empty() {
            let progress = Arc::new(Progress::new());
            // What upstreams have is nobody's work here.
            let registry = remote::open(settings, &options.auth, progress.clone()).await?.stored_only();
            let pusher = Pusher::new(&registry);
            let mut run =
                Run { settings, registry: &registry, pusher, progress: &progress, output: &mut output, failed: &mut failed };
            for group in Group::of(prepared) {
                run.push(group).await;
            }
        }
        Ok(())
    })?;
    if failed.is_empty() {
        return output.end().map(|()| ExitCode::SUCCESS);
    }
    // What is wrong with a single one was said.
    if wanted == 1 {
        return Err(Failure::Reported);
    }
    failed.sort();
    failed.dedup();
    Err(Failure::new(format!("{} of {wanted} not pushed: {}", failed.len(), failed.join(", "))))
}

/// What all images of a run share.
struct Run<'a> {
    settings: &'a Settings,
    registry: &'a Registry,
    pusher: Pusher<'a>,
    progress: &'a Progress,
    output: &'a mut Output,
    failed: &'a mut Vec<String>,
}

impl Run<'_> {
    /// Pushes the images of one name: all their content first, then the tags that they share.
    async fn push(&mut self, group: Group) {
        let begun = Instant::now();
        let Group { repository, images } = group;
        let images = self.without_the_overshadowed(images);
        let mut sent = Sent::default();
        let mut there = Vec::new();
        for image in images {
            self.progress.say(format_args!("Pushing {} from {}", image.described(), image.path.display()));
            let tags: Vec<_> = image.tags.iter().map(|(tag, _)| tag.clone()).collect();
            let sending = self.pusher.send(&image.layout, &image.tree, &repository);
            let (result, ()) = futures_util::future::join(sending, self.pusher.look_ahead(&repository, &tags)).await;
            match result {
                Ok(part) => {
                    sent.add(part);
                    there.push(image);
                }
                Err(error) => {
                    let path = image.path.display().to_string();
                    self.fails(
                        &image.shown,
                        &remote::failure(&error).about(&format!("{} was not pushed from {path}", image.shown)),
                    );
                }
            }
        }
        if there.is_empty() {
            return;
        }
        let roots: Vec<_> =
            there.iter().map(|image| &image.tree.root).filter(|root| root.descriptor.platform.is_some()).collect();
        let name = self.settings.short(&repository);
        let mut set = Vec::new();
        for (offer, tags) in group::offers(&there) {
            for (tag, tagged) in tags.iter().zip(self.pusher.tag(&repository, &offer, &roots, &tags).await) {
                let reference = format!("{}/{repository}:{tag}", self.registry.address().authority);
                match tagged {
                    Ok(tagged) => {
                        self.tell(&offer, &reference, &tagged);
                        set.push((tag.clone(), reference));
                    }
                    Err(error) => self.fails(&name, &remote::failure(&error).about(&format!("{reference} was not set"))),
                }
            }
        }
        let tags = if set.len() == 1 { "tag" } else { "tags" };
        ui::say(format_args!("Pushed {name}: {}; {} {tags}", summary::of(&sent, begun.elapsed()), set.len()));
        if let Some((_, reference)) = set.iter().find(|(tag, _)| *tag == Tag::latest()).or(set.first()) {
            ui::say(format_args!("Pull with: docker pull {reference}"));
        }
    }

    /// Takes out what a later image leaves no tag for. Where it was named, that it was not pushed is a failure.
    fn without_the_overshadowed(&mut self, images: Vec<Prepared>) -> Vec<Prepared> {
        let mut gone = Vec::new();
        for found in overshadowed(&images) {
            let text = found.to_string();
            let Overshadowed { image, everywhere, .. } = found;
            if everywhere {
                gone.push(image.path.clone());
            }
            if everywhere && image.named {
                self.fails(&image.shown, &Failure::new(text).hint("push it alone, under a --tag of its own"));
            } else {
                self.progress.warn(&text);
            }
        }
        images.into_iter().filter(|image| !gone.contains(&image.path)).collect()
    }

    fn tell(&mut self, offer: &Offer, reference: &str, tagged: &Tagged) {
        if tagged.replaced {
            let why = if offer.entries.is_empty() {
                "what was pushed names no platform, and shares a tag with nothing"
            } else {
                "what it led to before names no platform"
            };
            self.progress.warn(&format!("{reference} was replaced: {why}"));
        }
        let unchanged = if tagged.unchanged { ", as before" } else { "" };
        ui::detail(format_args!("{reference} leads to {}{unchanged}", tagged.media_type));
        self.output.print(format_args!("{reference} {}\n", tagged.digest));
    }

    fn fails(&mut self, name: &str, failure: &Failure) {
        self.progress.clear();
        self.progress.above(|| failure.report());
        self.failed.push(name.to_owned());
    }
}
