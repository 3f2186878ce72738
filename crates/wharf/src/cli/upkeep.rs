//! Options of the commands that look after a storage folder.

use std::path::PathBuf;

use super::Selected;

/// Options of `check`.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// A backup to check in place of the registry's storage
    pub backup: Option<PathBuf>,
    /// Which registry.
    #[command(flatten)]
    pub selected: Selected,
    /// Mend what can be mended, while the registry runs or not; what is damaged is put aside, nothing that is whole goes
    #[arg(long, conflicts_with = "backup")]
    pub repair: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of `backup`.
#[derive(Debug, clap::Args)]
pub struct Backup {
    /// The folder for it: a new or empty one, or one with an earlier backup
    pub folder: PathBuf,
    /// Which registry.
    #[command(flatten)]
    pub selected: Selected,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of `restore`.
#[derive(Debug, clap::Args)]
pub struct Restore {
    /// The folder of the backup
    pub folder: PathBuf,
    /// Which registry.
    #[command(flatten)]
    pub selected: Selected,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
