//! Options of `inspect`.

use wharf_oci::Platform;

use super::{AuthOptions, SourceOptions};

/// Options of `inspect`.
#[derive(Debug, clap::Args)]
pub struct Inspect {
    /// The image: NAME[:TAG] of the configured registry, HOST/NAME[:TAG] of another one, or a layout or archive, PATH, PATH:NAME or PATH@DIGEST
    #[arg(value_name = "IMAGE|PATH")]
    pub image: Option<String>,
    /// Only this platform, OS/ARCHITECTURE[/VARIANT]
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<Platform>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Print the manifest, byte for byte as it is stored: with --platform that of the one image, else what the name leads to
    #[arg(long, conflicts_with_all = ["json", "config"])]
    pub raw: bool,
    /// Print the image configuration, byte for byte as it is stored; of several platforms --platform picks one
    #[arg(long, conflicts_with = "json")]
    pub config: bool,
    /// The other registry.
    #[command(flatten)]
    pub source_options: SourceOptions,
    /// Credentials.
    #[command(flatten)]
    pub auth: AuthOptions,
}
