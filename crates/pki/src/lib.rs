//! The certificates that a registry serves with: those of an authority of its own, made on first use and renewed in time, or given ones.
//!
//! A folder holds `ca.key`, `ca.crt`, `server.key` and `server.crt`, all PEM; keys have mode 0600. Certificates follow RFC 5280.

mod authority;
mod facts;
mod folder;
mod identity;
mod names;
mod serving;

pub use facts::{Facts, FactsError};
pub use folder::{AUTHORITY, AUTHORITY_KEY, Issued, Pki, PkiError, Plan, SERVER, SERVER_KEY};
pub use names::{NameError, Names};
pub use serving::{ClientCertificates, Serving, ServingError, Version};
