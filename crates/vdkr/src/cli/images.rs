//! Options of the commands about images.

use std::path::PathBuf;

use clap::Subcommand;

/// Options of `pull`.
#[derive(Clone, Debug, clap::Args)]
pub struct Pull {
    /// Print only the image's name
    #[arg(long, short)]
    pub quiet: bool,
    /// Platform, OS/ARCHITECTURE[/VARIANT], in place of the one that runs best
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<wharf_oci::Platform>,
    /// The image, NAME[:TAG] or NAME@DIGEST
    #[arg(value_name = "IMAGE")]
    pub image: String,
}

/// Options of `push`.
#[derive(Clone, Debug, clap::Args)]
pub struct Push {
    /// Print only the image's name
    #[arg(long, short)]
    pub quiet: bool,
    /// The image, NAME[:TAG]
    #[arg(value_name = "IMAGE")]
    pub image: String,
}

/// Options of `images` and `image ls`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct List {
    /// Only those of this name
    #[arg(value_name = "NAME[:TAG]")]
    pub name: Option<String>,
    /// Only IDs
    #[arg(long, short)]
    pub quiet: bool,
    /// All of them, which they are anyway
    #[arg(long, short)]
    pub all: bool,
    /// Print IDs whole
    #[arg(long)]
    pub no_trunc: bool,
    /// Also the digests that registries know them by
    #[arg(long)]
    pub digests: bool,
    /// Condition: reference=PATTERN, dangling=true|false, label=KEY[=VALUE], before=IMAGE, since=IMAGE; may be repeated
    #[arg(long, short, value_name = "KEY=VALUE")]
    pub filter: Vec<String>,
    /// `table`, `json`, or a template of Go such as {{.Repository}}:{{.Tag}}
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}

/// Commands of `image`.
#[derive(Clone, Debug, Subcommand)]
pub enum Image {
    /// List images
    #[command(alias = "list")]
    Ls(List),
    /// Show everything about images, as JSON
    Inspect(Inspect),
    /// Remove images
    #[command(alias = "remove")]
    Rm(Remove),
    /// Show the steps that made an image
    History(History),
    /// Remove images without a name
    Prune(Prune),
    /// Fetch an image from a registry
    Pull(Pull),
    /// Give an image another name
    Tag(Tag),
    /// Send an image to a registry
    Push(Push),
    /// Write images into an archive
    Save(Save),
    /// Read images from an archive
    Load(Load),
    /// Make an image of a root file system's archive
    Import(Import),
}

/// Options of `inspect`.
#[derive(Clone, Debug, clap::Args)]
pub struct Inspect {
    /// `json`, or a template of Go such as {{.Config.Env}}
    #[arg(long, short, value_name = "FORMAT")]
    pub format: Option<String>,
    /// What it is: image or container
    #[arg(long = "type", value_name = "TYPE", value_parser = ["image", "container"])]
    pub kind: Option<String>,
    /// Images, by name or ID
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

/// Options of `history`.
#[derive(Clone, Debug, clap::Args)]
pub struct History {
    /// Print steps whole
    #[arg(long)]
    pub no_trunc: bool,
    /// Only IDs
    #[arg(long, short)]
    pub quiet: bool,
    /// Print sizes and times for people
    #[arg(long, short = 'H', default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub human: bool,
    /// `table`, `json`, or a template of Go
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// The image, by name or ID
    #[arg(value_name = "IMAGE")]
    pub image: String,
}

/// Options of `tag`.
#[derive(Clone, Debug, clap::Args)]
pub struct Tag {
    /// The image, by name or ID
    #[arg(value_name = "IMAGE")]
    pub source: String,
    /// The name that it gets besides
    #[arg(value_name = "NAME[:TAG]")]
    pub target: String,
}

/// Options of `rmi`.
#[derive(Clone, Debug, clap::Args)]
pub struct Remove {
    /// Remove it with all its names
    #[arg(long, short)]
    pub force: bool,
    /// Keep parents without a name, of which there are none
    #[arg(long)]
    pub no_prune: bool,
    /// Images, by name or ID
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
}

/// Options of `image prune`.
#[derive(Clone, Debug, clap::Args)]
pub struct Prune {
    /// All images that no container uses, not only those without a name
    #[arg(long, short)]
    pub all: bool,
    /// Whether to go ahead.
    #[command(flatten)]
    pub confirmed: Confirmed,
}

/// Whether something is removed without asking.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Confirmed {
    /// Do not ask
    #[arg(long, short)]
    pub force: bool,
}

/// Options of `save`.
#[derive(Clone, Debug, clap::Args)]
pub struct Save {
    /// The archive [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Images, by name or ID
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
}

/// Options of `load`.
#[derive(Clone, Debug, clap::Args)]
pub struct Load {
    /// The archive [default: standard input]
    #[arg(long, short, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Print only what was loaded
    #[arg(long, short)]
    pub quiet: bool,
}

/// Options of `import`.
#[derive(Clone, Debug, clap::Args)]
pub struct Import {
    /// Change of the configuration, such as `CMD ["sh"]`; may be repeated
    #[arg(long, short, value_name = "INSTRUCTION")]
    pub change: Vec<String>,
    /// What was done, for the history
    #[arg(long, short, value_name = "TEXT")]
    pub message: Option<String>,
    /// Platform of the image
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<wharf_oci::Platform>,
    /// The archive; `-` is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Name of the image
    #[arg(value_name = "NAME[:TAG]")]
    pub name: Option<String>,
}

/// Options of `vimport`.
#[derive(Clone, Debug, clap::Args)]
pub struct Vimport {
    /// An OCI layout, an archive of images, or a folder with a root file system
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Name of the image [default: the one it has, else the last part of the path]
    #[arg(value_name = "NAME[:TAG]")]
    pub name: Option<String>,
}
