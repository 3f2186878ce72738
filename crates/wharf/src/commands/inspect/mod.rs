//! `inspect`: one image at a glance.

mod config;
mod facts;
mod json;
mod text;

use std::process::ExitCode;
use std::sync::Arc;

use super::usage_of;
use crate::cli::Inspect;
use crate::picture::{Picture, Whereabouts};
use crate::remote;
use crate::settings::Settings;
use crate::ui::{self, Failure};
use facts::{Facts, Image};
use wharf_terminal::printable::printable_json;
use wharf_terminal::progress::Progress;

/// Shows an image.
pub fn run(settings: &Settings, options: &Inspect) -> Result<ExitCode, Failure> {
    let Some(image) = &options.image else {
        return usage_of("inspect", "wharf inspect container-base:latest");
    };
    let whereabouts = Whereabouts::parse(settings, image)?;
    let output = remote::run(async {
        let picture =
            Picture::open(settings, &options.auth, &options.source_options, &whereabouts, Arc::new(Progress::new())).await?;
        look(&picture, options).await
    })?;
    ui::print_bytes(&output).map(|()| ExitCode::SUCCESS)
}

/// What is to be printed.
async fn look(picture: &Picture, options: &Inspect) -> Result<Vec<u8>, Failure> {
    let document = async |descriptor| picture.source().document(descriptor).await.map_err(|error| remote::failure(&error));
    if options.raw && options.platform.is_none() {
        return Ok(document(&picture.root).await?.into());
    }
    let facts = Facts::of(picture, options.platform.as_ref()).await?;
    if options.raw {
        return Ok(the_one(&facts)?.bytes.to_vec());
    }
    if options.config {
        return Ok(document(&the_one(&facts)?.manifest.config).await?.into());
    }
    Ok(match options.json {
        true => printable_json(&format!("{:#}\n", json::document(&facts))).into_owned(),
        false => text::page(&facts),
    }
    .into_bytes())
}

/// The image that is meant where only one can be.
fn the_one(facts: &Facts) -> Result<&Image, Failure> {
    match facts.images.as_slice() {
        [image] => Ok(image),
        images => {
            let platforms: Vec<_> = images.iter().filter_map(|image| image.platform.as_ref()).map(ToString::to_string).collect();
            Err(Failure::new(format!("{} holds several images", facts.shown))
                .hint(format!("--platform picks one: {}", platforms.join(", "))))
        }
    }
}
