//! Names, digests, descriptors and manifests of the Open Container Initiative's specifications, as types that are right by construction.
//!
//! This crate is pure: it neither opens files nor sockets, and every parser in it is total and bounded. What it hands out
//! may be used without a second check: a [`RepositoryName`] matches the distribution specification's grammar, a [`Digest`] names an
//! algorithm this registry computes and has that algorithm's length, a [`Tag`] fits into a URL and a file name.
#![forbid(unsafe_code)]

mod digest;
mod manifest;
pub mod media_type;
mod name;

pub use digest::{Algorithm, Digest, DigestError, DigestText, Hasher, SavedState};
pub use manifest::{Descriptor, Manifest, ManifestError, Need, Referenced};
pub use name::{NameError, Reference, ReferenceError, RepositoryName, Tag, TagError};
