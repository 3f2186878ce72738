//! What can go wrong between a client and a registry, by what can be done about it.

use std::time::Duration;

use http::{Method, StatusCode};
use wharf_oci::{Digest, DocumentError, LayoutError};

use crate::credentials::CredentialError;

/// Anything below that is worth telling and not worth telling apart.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// One entry of a registry's error answer (distribution-spec, "Error Codes").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// The code, such as `NAME_UNKNOWN`; empty when the answer was plain text.
    pub code: String,
    /// What the registry says about it.
    pub message: String,
}

/// Why a request, or what it was for, did not succeed. `origin` is `http://HOST[:PORT]` as people write it.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers there at all.
    #[error("{origin} is not responding")]
    Unreachable {
        /// The registry.
        origin: String,
        /// Why.
        source: Cause,
    },
    /// The other side's certificate is not believed, or it does not speak TLS.
    #[error("no secure connection to {origin}")]
    Tls {
        /// The registry.
        origin: String,
        /// Why.
        source: Cause,
    },
    /// A connection ended in the middle.
    #[error("the connection to {origin} broke")]
    Broken {
        /// The registry.
        origin: String,
        /// Why.
        source: Cause,
    },
    /// Nothing moved for too long.
    #[error("{origin} did not go on within {} s", after.as_secs())]
    Stalled {
        /// The registry.
        origin: String,
        /// How long nothing moved.
        after: Duration,
    },
    /// An answer that is no success.
    #[error("{origin} answered {status} to {method} {path}{}{}", listed(details), wished(*retry_after))]
    Status {
        /// The registry.
        origin: String,
        /// What was asked.
        method: Method,
        /// Of what, without the query.
        path: String,
        /// The answer.
        status: StatusCode,
        /// What it says.
        details: Vec<Detail>,
        /// The pause that the registry asks for.
        retry_after: Option<Duration>,
    },
    /// 401: it wants to know who asks, or does not believe it.
    #[error("{origin} {}{}", if *known { "does not accept these credentials" } else { "asks for credentials" }, listed(details))]
    Unauthorized {
        /// The registry.
        origin: String,
        /// Credentials were sent.
        known: bool,
        /// What it says.
        details: Vec<Detail>,
    },
    /// 403: it knows who asks, and refuses.
    #[error("{origin} does not allow {method} {path}{}", listed(details))]
    Denied {
        /// The registry.
        origin: String,
        /// What was asked.
        method: Method,
        /// Of what.
        path: String,
        /// What it says.
        details: Vec<Detail>,
    },
    /// Credentials were not sent to where the registry wanted them.
    #[error("credentials for {origin} are not sent to {realm}: {why}")]
    Realm {
        /// The registry.
        origin: String,
        /// Where they should have gone.
        realm: String,
        /// Why not.
        why: &'static str,
    },
    /// Something else than the protocol came back.
    #[error("{origin} is no registry, or a broken one: {what}")]
    Protocol {
        /// The registry.
        origin: String,
        /// What came.
        what: String,
    },
    /// What came differs from its digest.
    #[error("{origin} sent something else than {digest}")]
    Content {
        /// The registry.
        origin: String,
        /// What was asked for.
        digest: Digest,
    },
    /// Others moved the tag each time.
    #[error("the tag {tag} was moved by others {attempts} times while it was to be set")]
    Contended {
        /// The tag.
        tag: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// More than any image has.
    #[error("{0}")]
    Excess(String),
    /// Nothing of a remote image is for the platforms that were asked for.
    #[error("no image for {wanted} in {image}; it has {available}")]
    Platform {
        /// The image.
        image: String,
        /// The platforms asked for.
        wanted: String,
        /// Those it has.
        available: String,
    },
    /// A manifest or configuration does not read.
    #[error("{digest} cannot be read")]
    Document {
        /// Of what.
        digest: Digest,
        /// Why.
        source: DocumentError,
    },
    /// The local image is not as it should be.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A local file did not read.
    #[error("cannot read {what}")]
    Read {
        /// The file.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// Credentials could not be had.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// The client itself could not be set up.
    #[error("cannot set up a client")]
    Setup(#[source] Cause),
}

fn wished(pause: Option<Duration>) -> String {
    pause.map(|pause| format!("; it asks to wait for {} s", pause.as_secs_f64().ceil())).unwrap_or_default()
}

fn listed(details: &[Detail]) -> String {
    let one = |detail: &Detail| match detail.code.as_str() {
        "" => detail.message.clone(),
        code if detail.message.is_empty() => code.to_owned(),
        code => format!("{} ({code})", detail.message),
    };
    match details {
        [] => String::new(),
        details => format!(": {}", details.iter().map(one).collect::<Vec<_>>().join("; ")),
    }
}

impl ClientError {
    /// Whether the same may well succeed a little later: timeouts, broken connections, 408, 425, 429 and those 5xx that speak of a passing
    /// state. A full disk (507) and what is not implemented (501, 505) do not pass.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } | Self::Stalled { .. } => true,
            Self::Status { status, .. } => crate::transport::is_passing(*status),
            _ => false,
        }
    }

    /// The pause that the registry asked for.
    pub fn pause(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the answer was this status.
    pub fn is_status(&self, wanted: StatusCode) -> bool {
        matches!(self, Self::Status { status, .. } if *status == wanted)
    }

    /// Whether the registry gave this error code.
    pub fn has_code(&self, code: &str) -> bool {
        match self {
            Self::Status { details, .. } | Self::Denied { details, .. } | Self::Unauthorized { details, .. } => {
                details.iter().any(|detail| detail.code == code)
            }
            _ => false,
        }
    }
}
