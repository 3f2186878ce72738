//! The HTTP side of the registry: a request becomes one [`Endpoint`] value, one place decides whether its caller may have it, a handler answers.
//!
//! It implements the OCI distribution specification 1.1.1 and the additions of its development version (`tag` parameters on a push by digest, digest algorithms
//! on uploads), and beyond it conditional manifest pushes and pulls through to other registries.
mod access;
mod audit;
mod body;
mod conditional;
mod connection;
mod control;
mod endpoint;
mod error;
mod guard;
mod handlers;
mod http2;
mod incoming;
mod metrics;
mod observe;
mod paging;
mod query;
mod range;
mod respond;
mod server;
mod socket;
mod tls;
mod upstream;

pub use access::{Policy, Wanted};
pub use audit::AuditLog;
pub use endpoint::{Endpoint, TokenRequest};
pub use error::ApiError;
pub use guard::{Challenge, Guard, KeySource, Unavailable};
pub use server::{Limits, Monitoring, Options, Running, ServeError, serve};
pub use upstream::{Failure as UpstreamFailure, Mapping, MappingError, Upstream, Upstreams};

#[doc(hidden)]
pub mod fuzzing {
    //! Entrances for the fuzz targets: whatever reads what a client sends.
    pub use crate::conditional::fuzz as conditional;
    pub use crate::endpoint::fuzz as endpoint;
    pub use crate::range::fuzz as range;
}
