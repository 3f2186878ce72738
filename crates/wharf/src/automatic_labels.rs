//! The labels that a build puts on its images by itself, out of options and environment.

use std::collections::BTreeMap;
use std::path::PathBuf;

use wharf_yocto::git;
use wharf_yocto::labels::{self, BuildTime, Overrides};

use crate::cli::Automatic;
use crate::settings::{self, Settings};
use crate::ui::{self, Failure};

/// When the build is said to have been.
pub fn time(settings: &Settings, options: &Automatic) -> Result<BuildTime, Failure> {
    match (options.reproducible, epoch(settings)?) {
        (Some(false), _) | (None, None) => Ok(BuildTime::now()),
        (_, Some(epoch)) => Ok(epoch),
        (Some(true), None) => Err(Failure::new("SOURCE_DATE_EPOCH is not set, and the image is to be the same in every build")),
    }
}

/// What SOURCE_DATE_EPOCH says, when it is set.
pub fn epoch(settings: &Settings) -> Result<Option<BuildTime>, Failure> {
    let epoch = settings.environment.get(&settings::SOURCE_DATE_EPOCH);
    epoch.map(|epoch| BuildTime::of_epoch(epoch).map_err(|error| Failure::new(error.to_string()))).transpose()
}

/// The labels, with warnings for what cannot be found out.
pub fn labels(settings: &Settings, options: &Automatic, time: BuildTime) -> BTreeMap<String, String> {
    let topdir = options.topdir.clone().or_else(|| settings.environment.get(&settings::TOPDIR).map(PathBuf::from));
    // Warnings name the folder, and `.` would tell nobody which.
    let topdir = topdir.or_else(|| std::env::current_dir().ok()).unwrap_or_else(|| PathBuf::from("."));
    let overrides = Overrides {
        revision: options.revision.as_deref(),
        branch: options.branch.as_deref(),
        created: options.created.as_deref(),
        version: options.image_version.as_deref(),
    };
    let (labels, warnings) = labels::automatic(&overrides, time, || git::repository(&topdir));
    for warning in warnings {
        ui::warn(&warning.to_string());
    }
    labels
}
