//! Options of `doctor`.

use std::path::PathBuf;

use super::AuthOptions;

/// Options of `doctor`.
#[derive(Debug, clap::Args)]
pub struct Doctor {
    /// Registries to look at, HOST[:PORT], or the name of an image there [default: the configured one]
    #[arg(value_name = "REGISTRY")]
    pub registries: Vec<String>,
    /// Read what docker, podman, containerd and k3s are told below this folder, as of a device's root file system
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Credentials.
    #[command(flatten)]
    pub auth: AuthOptions,
}
