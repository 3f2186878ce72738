//! Options of `pki`.

use std::path::PathBuf;

use clap::Subcommand;

use super::{Listing, Selected};

/// What to do with the registry's own certificates.
#[derive(Debug, Subcommand)]
pub enum Pki {
    /// Show the authority's and the server's certificate: names, time, fingerprint
    Show(Listing),
    /// Give the server another certificate now; a running registry shows it within seconds
    Renew {
        /// Which registry.
        #[command(flatten)]
        selected: Selected,
        /// The authority's certificate, too, for the key that it has; clients have to be given it before the old one expires
        #[arg(long)]
        authority: bool,
    },
    /// Write the authority's certificate, which clients have to believe, to a file or to standard output
    Export {
        /// Which registry.
        #[command(flatten)]
        selected: Selected,
        /// The file [default: standard output]
        file: Option<PathBuf>,
    },
}
