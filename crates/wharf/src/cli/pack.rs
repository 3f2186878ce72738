//! Options of `pack`.

use std::path::PathBuf;

/// Options of `pack`.
#[derive(Debug, clap::Args)]
pub struct Pack {
    /// The root file system: a folder, or a tar archive; `-` is an archive on standard input
    #[arg(value_name = "ROOTFS")]
    pub rootfs: Option<PathBuf>,
    /// The OCI layout to write: a folder, new or with images already, or a file NAME.tar
    #[arg(value_name = "LAYOUT")]
    pub layout: Option<PathBuf>,
    /// Name of the image in the layout (OCI_IMAGE_TAG)
    #[arg(long, short = 't', value_name = "TAG", default_value = "latest")]
    pub tag: String,
    /// Image to build on: a layout, PATH[:NAME], whose layers, settings and history the new image goes on with
    #[arg(long, value_name = "LAYOUT")]
    pub base: Option<String>,
    /// Layout with an earlier version of the image, PATH[:NAME]: files that are the same in it are not compressed again. One in LAYOUT itself
    /// serves without being named. The new image comes out the same without
    #[arg(long, value_name = "LAYOUT")]
    pub older: Option<String>,
    /// Paths for a layer of their own, separated by spaces, with what is below them; * ? [] and ** are patterns; @FILE reads them from a file. May be repeated: a path goes to the first
    /// that names it, and what none names to a last layer
    #[arg(long = "layer", value_name = "PATHS")]
    pub layers: Vec<String>,
    /// Form of the layers
    #[arg(long, value_enum, default_value_t = Compression::Gzip)]
    pub compression: Compression,
    /// Level of the compression [default: as fast as is still small]
    #[arg(long, value_name = "N")]
    pub level: Option<u8>,
    /// Threads that compress [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Latest time of a file in the layers, in seconds since 1970; later ones are set to it [default: SOURCE_DATE_EPOCH]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub mtime_max: Option<i64>,
    /// How the image is to be run, and what is to be known of it.
    #[command(flatten)]
    pub execution: Execution,
    /// Put on the labels org.opencontainers.image.revision, .ref.name, .created and .version, too; those of --label win
    #[arg(long)]
    pub auto: bool,
    /// Which automatic labels, and when the image is made.
    #[command(flatten)]
    pub automatic: super::Automatic,
}

/// Forms of layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Compression {
    /// Members of gzip, which every client reads
    Gzip,
    /// Frames of zstd with a table of contents, which podman takes by parts; Docker before 23 and umoci read no zstd
    #[value(name = "zstd:chunked")]
    ZstdChunked,
}

/// What goes into the configuration of an image.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Image configuration")]
pub struct Execution {
    /// Program that a container runs, with its first arguments: words as a shell has them, or a JSON list (OCI_IMAGE_ENTRYPOINT)
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    pub entrypoint: Option<String>,
    /// Further arguments, which those given to `docker run` replace (OCI_IMAGE_ENTRYPOINT_ARGS, OCI_IMAGE_CMD)
    #[arg(long, visible_alias = "entrypoint-args", value_name = "WORDS", allow_hyphen_values = true)]
    pub cmd: Option<String>,
    /// Variable for the container; may be repeated (OCI_IMAGE_ENV_VARS)
    #[arg(long = "env", short = 'e', value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Label; may be repeated, and wins over an automatic one (OCI_IMAGE_LABELS)
    #[arg(long = "label", short = 'l', value_name = "KEY=VALUE")]
    pub labels: Vec<String>,
    /// Port that the container listens on, PORT or PORT/udp; may be repeated (OCI_IMAGE_PORTS)
    #[arg(long = "port", short = 'p', value_name = "PORT[/PROTOCOL]")]
    pub ports: Vec<String>,
    /// User, or user and group, that it runs as (OCI_IMAGE_RUNTIME_UID)
    #[arg(long, short, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Folder that it starts in (OCI_IMAGE_WORKINGDIR)
    #[arg(long, short, value_name = "PATH")]
    pub workdir: Option<String>,
    /// Signal that asks it to stop, such as SIGTERM (OCI_IMAGE_STOPSIGNAL)
    #[arg(long, value_name = "SIGNAL")]
    pub stop_signal: Option<String>,
    /// Who made the image (OCI_IMAGE_AUTHOR)
    #[arg(long, value_name = "NAME")]
    pub author: Option<String>,
    /// And where to reach them (OCI_IMAGE_AUTHOR_EMAIL)
    #[arg(long, value_name = "ADDRESS")]
    pub author_email: Option<String>,
    /// Architecture, by the names of images or of the build: arm64 or aarch64 (OCI_IMAGE_ARCH) [default: that of the base, or of the programs]
    #[arg(long, value_name = "ARCHITECTURE")]
    pub arch: Option<String>,
    /// Variant of the architecture, such as v7 (OCI_IMAGE_SUBARCH)
    #[arg(long, visible_alias = "subarch", value_name = "VARIANT")]
    pub variant: Option<String>,
    /// Operating system
    #[arg(long, value_name = "OS")]
    pub os: Option<String>,
}
