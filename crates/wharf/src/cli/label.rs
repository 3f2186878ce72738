//! Options of `label`.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;

/// Options of `label`.
#[derive(Debug, clap::Args)]
pub struct Label {
    /// The layout, and one of its images when not all are meant
    #[arg(value_name = "LAYOUT[:NAME]")]
    pub layout: Option<String>,
    /// Labels to put on, in place of those of the same keys
    #[arg(value_name = "KEY=VALUE")]
    pub labels: Vec<String>,
    /// Label to take off; may be repeated
    #[arg(long, value_name = "KEY")]
    pub remove: Vec<String>,
    /// Put on the labels org.opencontainers.image.revision, .ref.name, .created and .version, too; those given as KEY=VALUE win
    #[arg(long)]
    pub auto: bool,
    /// Which automatic labels.
    #[command(flatten)]
    pub automatic: Automatic,
}

/// What the automatic labels say. With an empty value the default counts, `none` leaves the label out.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Automatic labels")]
pub struct Automatic {
    /// Revision [default: short commit of the build directory's git repository] (OCI_IMAGE_REVISION)
    #[arg(long, value_name = "REVISION|none", requires = "auto")]
    pub revision: Option<String>,
    /// Branch, for ref.name [default: branch of that repository] (OCI_IMAGE_BRANCH)
    #[arg(long, value_name = "BRANCH|none", requires = "auto")]
    pub branch: Option<String>,
    /// Time of the build, RFC 3339 [default: SOURCE_DATE_EPOCH when set, else now] (OCI_IMAGE_BUILD_DATE)
    #[arg(long, value_name = "TIME|none", requires = "auto")]
    pub created: Option<String>,
    /// Version [default: no such label] (OCI_IMAGE_VERSION, PV)
    #[arg(long, value_name = "VERSION|none", requires = "auto")]
    pub image_version: Option<String>,
    /// Whether SOURCE_DATE_EPOCH counts: 0 for a build by BitBake, which always sets it; 1 makes it an error that it is unset (OCI_IMAGE_REPRODUCIBLE)
    #[arg(long, value_name = "0|1", requires = "auto", value_parser = BoolishValueParser::new())]
    pub reproducible: Option<bool>,
    /// Build directory, whose git repository is asked [default: TOPDIR, else the current folder]
    #[arg(long, value_name = "DIR", requires = "auto")]
    pub topdir: Option<PathBuf>,
}
