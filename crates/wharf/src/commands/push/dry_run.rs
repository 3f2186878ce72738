//! `push --dry-run`: what would be pushed, and to which tags.

use serde_json::json;
use wharf_oci::Tag;

use super::group::{Group, overshadowed};
use super::prepare::Prepared;
use crate::settings::Settings;
use crate::ui::{self, Failure};

/// Prints a line for each tag of each image, its reference and where the image lies; or a list of the images as JSON.
pub fn show(settings: &Settings, prepared: Vec<Prepared>, as_json: bool) -> Result<(), Failure> {
    let authority = settings.url.authority();
    let mut listed = Vec::new();
    for Group { repository, images } in Group::of(prepared) {
        let taken = overshadowed(&images);
        for found in &taken {
            ui::warn(&found.to_string());
        }
        for image in &images {
            let gives_way = |tag: &Tag| taken.iter().any(|found| found.image.path == image.path && found.tags.contains(&tag));
            let tags: Vec<_> = image.tags.iter().map(|(tag, _)| tag).filter(|tag| !gives_way(tag)).collect();
            if tags.is_empty() {
                continue;
            }
            if !as_json {
                ui::say(format_args!("Would push {} from {}", image.described(), image.path.display()));
                for tag in &tags {
                    ui::print(format_args!("{authority}/{repository}:{tag} {}\n", image.path.display()))?;
                }
            }
            listed.push(json!({
                "name": image.name,
                "machine": image.machine,
                "repository": repository.to_string(),
                "path": image.path,
                "digest": image.tree.root.descriptor.digest.to_string(),
                "tags": tags.iter().map(ToString::to_string).collect::<Vec<_>>(),
            }));
        }
    }
    if as_json { ui::print_json(&json!(listed)) } else { Ok(()) }
}
