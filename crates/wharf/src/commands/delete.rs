//! `delete`.

use std::process::ExitCode;
use std::sync::Arc;

use wharf_client::{ClientError, Deleted, Registry};
use wharf_oci::{Reference, RepositoryName};

use super::usage_of;
use crate::cli::Delete;
use crate::image_name::ImageName;
use crate::remote;
use crate::settings::Settings;
use crate::ui::{self, Failure};
use wharf_terminal::progress::Progress;

/// Removes one tag, or a manifest with its tags.
pub fn run(settings: &Settings, options: &Delete) -> Result<ExitCode, Failure> {
    let Some(image) = &options.image else {
        return usage_of("delete", "wharf delete container-base:20260112-143022");
    };
    let name = ImageName::parse(settings, image)?;
    let Some(reference) = name.reference else {
        return Err(
            Failure::new(format!("Tag required: {image}:TAG")).hint(format!("`{} tags {image}` lists them", ui::program()))
        );
    };
    let short = settings.short(&name.repository);
    remote::run(async {
        let registry = remote::open(settings, &options.auth, Arc::new(Progress::new())).await?;
        match registry.delete_manifest(&name.repository, &reference).await.map_err(|error| remote::failure(&error))? {
            Deleted::Done => ui::say("Deleted successfully"),
            Deleted::Unknown if matches!(reference, Reference::Digest(_)) => {
                return Err(Failure::new(format!("Manifest not found: {short}@{reference}")));
            }
            Deleted::Unknown => {
                return Err(Failure::new(format!("Tag not found: {short}:{reference}"))
                    .hint(format!("`{} tags {short}` lists them", ui::program())));
            }
            Deleted::Unsupported => return Err(cannot(&registry, &name.repository, &reference, &short).await),
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// What to say of a registry that refuses: a tag that is not there comes first.
async fn cannot(registry: &Registry, repository: &RepositoryName, reference: &Reference, short: &str) -> Failure {
    let origin = registry.address().origin();
    let Reference::Tag(tag) = reference else {
        return Failure::new(format!("{origin} does not delete anything"))
            .hint("deletes must be switched on where it is configured (storage.delete.enabled)");
    };
    match registry.resolve(repository, reference).await {
        Ok(None) => Failure::new(format!("Tag not found: {short}:{tag}")),
        Ok(Some(digest)) => Failure::new(format!("{origin} cannot delete a tag alone"))
            .hint(format!("`{} delete {short}@{digest}` deletes the manifest with all its tags", ui::program())),
        Err(error @ ClientError::Unauthorized { .. }) => remote::failure(&error),
        Err(error) => Failure::new(format!("{origin} cannot delete a tag alone")).because(&error),
    }
}
