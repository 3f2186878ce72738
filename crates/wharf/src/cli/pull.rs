//! Options of `pull`.

use std::path::PathBuf;

use wharf_oci::Platform;

use super::{AuthOptions, SourceOptions};

/// Options of `pull`.
#[derive(Debug, clap::Args)]
pub struct Pull {
    /// The image, NAME[:TAG], NAME@DIGEST, or with another registry's host in front
    #[arg(value_name = "IMAGE")]
    pub image: Option<String>,
    /// The OCI layout to pull into: a folder, new or with images already; what an older version there has is not fetched again
    #[arg(value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
    /// Name of the image in the layout, where it takes the place of the one that has it [default: the tag]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Only the image for this platform, OS/ARCHITECTURE[/VARIANT] [default: everything that the tag leads to]
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<Platform>,
    /// Read also large blobs that the layout has already, and fetch those again that differ from their digest
    #[arg(long)]
    pub verify: bool,
    /// The other registry.
    #[command(flatten)]
    pub source: SourceOptions,
    /// Credentials.
    #[command(flatten)]
    pub auth: AuthOptions,
}
