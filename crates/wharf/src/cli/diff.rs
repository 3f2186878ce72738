//! Options of `diff`.

use wharf_oci::Platform;

use super::{AuthOptions, SourceOptions};

/// Options of `diff`.
#[derive(Debug, clap::Args)]
pub struct Diff {
    /// The older image: NAME:TAG or NAME@DIGEST, HOST/NAME:TAG of another registry, or a layout or archive by path (PATH:NAME or PATH@DIGEST picks one of several)
    #[arg(value_name = "A")]
    pub before: Option<String>,
    /// The newer image
    #[arg(value_name = "B")]
    pub after: Option<String>,
    /// Only this platform, OS/ARCHITECTURE[/VARIANT] [default: all that both have]
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<Platform>,
    /// Only the totals, without the lists
    #[arg(long, conflicts_with = "json")]
    pub summary: bool,
    /// Compare the times of files as well
    #[arg(long)]
    pub times: bool,
    /// End with exit code 2 when the images differ [default: 0 whether they do or not]
    #[arg(long)]
    pub exit_code: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// How another registry is reached.
    #[command(flatten)]
    pub source: SourceOptions,
    /// Credentials.
    #[command(flatten)]
    pub auth: AuthOptions,
}
