//! `catalog`.

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use crate::cli::Catalog;
use crate::remote;
use crate::settings::Settings;
use crate::ui::{self, Failure};
use wharf_terminal::progress::Progress;

/// Prints the JSON of the API, with every page followed.
pub fn run(settings: &Settings, options: &Catalog) -> Result<ExitCode, Failure> {
    let repositories = remote::run(async {
        let registry = remote::open(settings, &options.auth, Arc::new(Progress::new())).await?;
        registry.catalog().await.map_err(|error| remote::failure(&error))
    })?;
    ui::print(format_args!("{}\n", json!({ "repositories": repositories })))?;
    Ok(ExitCode::SUCCESS)
}
