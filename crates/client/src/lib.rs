//! The other side of the distribution specification: reading from registries and writing to them.
//!
//! A [`Registry`] is asked one thing at a time; each request is authorized as the registry wants it, and tried again after a passing failure. A
//! [`Source`] gives out an image: a layout on disk, or a repository elsewhere. A [`Tree`] is an image with everything below it, and a [`Pusher`]
//! brings it into a repository and sets tags to it, beside the platforms that others keep there.
//!
//! What may be relied on: memory does not grow with a blob. Credentials go to the registry they are for and to its token server, never along a
//! redirect. A tag is set only after all that it leads to is there.
#![forbid(unsafe_code)]

mod address;
mod auth;
mod body;
mod credentials;
mod document;
mod error;
mod listing;
mod merge;
mod observer;
mod probe;
mod push;
mod ranges;
mod registries_conf;
mod registry;
mod retry;
mod source;
mod tls;
mod transport;
mod tree;
mod upload;

pub use address::Address;
pub use body::Chunks;
pub use credentials::{
    Credential, CredentialError, CredentialsFile, Environment, HelperError, LineProblem, ReadError, Readable, Secret,
    Source as Credentials, from_variables,
};
pub use document::document;
pub use error::{Cause, ClientError, Detail};
pub use merge::{Decision, Entry, Existing, Offer, REFERENCE_DIGEST, decide, is_about_another};
pub use observer::{How, Observer, Silent, size};
pub use probe::{Answer, Distrust, Presented, Route, probe};
pub use push::{Pusher, Sent, Tagged};
pub use ranges::{BlobRanges, bytes_asked};
pub use registries_conf::{Endpoint, EndpointError, EntryProblem, Registries, RegistriesError, RegistriesWarning};
pub use registry::{Deleted, Features, Fetched, Precondition, Put, Registry};
pub use retry::Patience;
pub use source::{RepositorySource, Source};
pub use tls::{Tls, Verify, pinned};
pub use transport::Access;
pub use tree::{Manifest, Tree};

#[doc(hidden)]
pub mod fuzzing {
    //! Entrances for the fuzz targets: whatever reads what a registry answers.
    pub use crate::auth::challenge::fuzz as challenge;
    pub use crate::ranges::multipart::fuzz as multipart;
}
