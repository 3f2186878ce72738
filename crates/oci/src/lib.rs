//! Names, digests, descriptors, manifests and layouts of the Open Container Initiative's specifications, as types that are right by
//! construction.
//!
//! Every parser here is total and bounded. Apart from layouts and archives, which are read where they lie, nothing here touches a
//! file, and nothing at all a socket, a database or an asynchronous runtime. What this crate hands out may be used without a second check: a [`RepositoryName`] matches the distribution specification's grammar, a [`Digest`] names an
//! algorithm this registry computes and has that algorithm's length, a [`Tag`] fits into a URL and a file name.
#![forbid(unsafe_code)]

mod descriptor;
mod digest;
mod document;
mod layout;
mod look;
mod manifest;
pub mod media_type;
mod name;
mod platform;
mod reference;

pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest, DigestError, DigestText, Hasher, SavedState};
pub use document::{Document, DocumentError, ImageConfig, ImageIndex, ImageManifest, MAX_MANIFEST};
pub use layout::{Layout, LayoutError, LayoutKind, LayoutWriter, NamedImage, Place, Staged, write_archive};
pub use look::{Found, is_there, look};
pub use manifest::{Manifest, ManifestError, Need, Referenced};
pub use name::{NameError, Reference, ReferenceError, RepositoryName, Tag, TagError};
pub use platform::{Platform, PlatformError};
pub use reference::{ImageReference, ImageReferenceError, ReferenceFault};
