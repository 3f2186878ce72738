//! `tags`.

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use super::usage_of;
use crate::cli::Tags;
use crate::image_name::ImageName;
use crate::remote;
use crate::settings::Settings;
use crate::ui::{self, Failure};
use wharf_terminal::progress::Progress;

/// Lists the tags of an image, one on each line.
pub fn run(settings: &Settings, options: &Tags) -> Result<ExitCode, Failure> {
    let Some(image) = &options.image else {
        return usage_of("tags", "wharf tags container-base");
    };
    let name = ImageName::parse(settings, image)?;
    if let Some(reference) = &name.reference {
        return Err(Failure::new(format!("give the image without {reference}: {}", settings.short(&name.repository))));
    }
    let found = remote::run(async {
        let registry = remote::open(settings, &options.auth, Arc::new(Progress::new())).await?;
        registry.tags(&name.repository).await.map_err(|error| remote::failure(&error))
    })?;
    // A repository that holds nothing with a name is as good as none.
    let Some(tags) = found.filter(|tags| !tags.is_empty()) else {
        return Err(Failure::new(format!("Image not found: {}", name.repository))
            .hint(format!("`{} list` lists the images that have tags", ui::program())));
    };
    if options.json {
        ui::print_json(&json!({ "name": name.repository.as_str(), "tags": tags }))?;
    } else {
        ui::print(tags.iter().map(|tag| format!("{tag}\n")).collect::<String>())?;
    }
    Ok(ExitCode::SUCCESS)
}
