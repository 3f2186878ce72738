//! Options of the commands that talk to a registry over HTTP.

use std::path::PathBuf;

use wharf_oci::Platform;

/// Options of `push`.
#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub struct Push {
    /// Images to push, by name, or layouts and archives, by path (PATH:NAME or PATH@DIGEST picks one of several) [default: all that the build made]
    #[arg(value_name = "IMAGE|PATH")]
    pub images: Vec<String>,
    /// Tag to push to, instead of those of the strategy; may be repeated
    #[arg(long = "tag", short = 't', value_name = "TAG")]
    pub tags: Vec<String>,
    /// Tags to push to, separated by spaces: timestamp sha git branch semver version latest arch (CONTAINER_REGISTRY_TAG_STRATEGY)
    #[arg(long, short, value_name = "TOKENS")]
    pub strategy: Option<String>,
    /// Version for the strategies semver and version (IMAGE_VERSION)
    #[arg(long, short = 'v', value_name = "VERSION")]
    pub version: Option<String>,
    /// Bring layers that others wrote into a form that updates cheaply; the digests of images change, their content does not
    #[arg(long, value_enum, value_name = "FORM")]
    pub recompress: Option<super::Compression>,
    /// Name in the registry, instead of the one that the file's name holds; for one PATH
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Only tell what would be pushed and to which tags, without the registry
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON
    #[arg(long, requires = "dry_run")]
    pub json: bool,
    /// Credentials.
    #[command(flatten)]
    pub auth: AuthOptions,
}

/// Options of `import`.
#[derive(Debug, clap::Args)]
pub struct Import {
    /// The image, such as docker.io/library/alpine:latest
    #[arg(value_name = "SOURCE")]
    pub source: Option<String>,
    /// Name here [default: the last part of the source's name]
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Only this platform, OS/ARCHITECTURE[/VARIANT]; may be repeated [default: all]
    #[arg(long = "platform", value_name = "PLATFORM")]
    pub platforms: Vec<Platform>,
    /// The other registry.
    #[command(flatten)]
    pub source_options: SourceOptions,
    /// Credentials.
    #[command(flatten)]
    pub auth: AuthOptions,
}

/// Options of `delete`.
#[derive(Debug, clap::Args)]
pub struct Delete {
    /// The tag to remove, IMAGE:TAG, or a manifest with all its tags, IMAGE@DIGEST
    #[arg(value_name = "IMAGE:TAG|IMAGE@DIGEST")]
    pub image: Option<String>,
    /// Credentials.
    #[command(flatten)]
    pub auth: AuthOptions,
}

/// Options of `list`.
#[derive(Debug, clap::Args)]
pub struct List {
    /// One line for each tag, with size, platforms, time of the build and digest
    #[arg(long, short)]
    pub long: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Credentials.
    #[command(flatten)]
    pub auth: AuthOptions,
}

/// Options of `tags`.
#[derive(Debug, clap::Args)]
pub struct Tags {
    /// The image
    #[arg(value_name = "IMAGE")]
    pub image: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Credentials.
    #[command(flatten)]
    pub auth: AuthOptions,
}

/// Options of `catalog`.
#[derive(Debug, clap::Args)]
pub struct Catalog {
    /// Print JSON, which it does anyway
    #[arg(long)]
    pub json: bool,
    /// Credentials.
    #[command(flatten)]
    pub auth: AuthOptions,
}

/// Options of `script`.
#[derive(Debug, clap::Args)]
pub struct Script {
    /// Where to write it; `-` is standard output [default: container-registry.sh in the storage folder]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Where credentials come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum AuthMode {
    /// Nowhere: requests go out without
    None,
    /// The files of docker login and podman login
    Home,
    /// One such file
    Authfile,
    /// A file with CONTAINER_REGISTRY_USER and _PASSWORD, or _TOKEN
    Credsfile,
    /// These variables of the environment
    Env,
}

/// Who we are to the registry.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Credentials")]
pub struct AuthOptions {
    /// Where credentials come from (CONTAINER_REGISTRY_AUTH_MODE)
    #[arg(long, value_enum, value_name = "MODE")]
    pub auth_mode: Option<AuthMode>,
    /// The same as --auth-mode home
    #[arg(long)]
    pub use_home_auth: bool,
    /// File of docker login or podman login (CONTAINER_REGISTRY_AUTHFILE)
    #[arg(long, value_name = "FILE")]
    pub authfile: Option<PathBuf>,
    /// File of lines CONTAINER_REGISTRY_USER=… and _PASSWORD=…, or _TOKEN=… (CONTAINER_REGISTRY_CREDSFILE)
    #[arg(long, value_name = "FILE")]
    pub credsfile: Option<PathBuf>,
    /// User and password
    #[arg(long, value_name = "USER:PASSWORD")]
    pub creds: Option<String>,
    /// Registry token
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
}

/// How another registry is reached than the configured one.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Other registries")]
pub struct SourceOptions {
    /// File of docker login or podman login, for the other registry
    #[arg(long, value_name = "FILE")]
    pub src_authfile: Option<PathBuf>,
    /// File of lines CONTAINER_REGISTRY_USER=… and _PASSWORD=…, or _TOKEN=…, for the other registry
    #[arg(long, value_name = "FILE")]
    pub src_credsfile: Option<PathBuf>,
    /// User and password for the other registry
    #[arg(long, value_name = "USER:PASSWORD")]
    pub src_creds: Option<String>,
    /// Registry token for the other registry
    #[arg(long, value_name = "TOKEN")]
    pub src_token: Option<String>,
    /// Whether the other registry's certificate must be believed; false takes any, and plain HTTP
    #[arg(long, value_name = "true|false", action = clap::ArgAction::Set)]
    pub src_tls_verify: Option<bool>,
    /// Certificate authority to believe for the other registry, PEM
    #[arg(long, value_name = "FILE")]
    pub src_ca_cert: Option<PathBuf>,
}
