//! Options of `unpack`.

use std::path::PathBuf;

use wharf_oci::Platform;

/// Options of `unpack`.
#[derive(Debug, clap::Args)]
pub struct Unpack {
    /// The layout or archive, and one of its images when it holds several
    #[arg(value_name = "LAYOUT[:NAME]")]
    pub layout: Option<String>,
    /// Folder that becomes the root file system: a new one, or an empty one
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// Which image of several, OS/ARCHITECTURE[/VARIANT]
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<Platform>,
    /// Leave out what only root may do: owners stay those of who unpacks, devices become empty files
    #[arg(long)]
    pub rootless: bool,
}
