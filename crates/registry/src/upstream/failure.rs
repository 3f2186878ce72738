//! What it means for a client that an upstream does not give what it was asked for.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use wharf_client::ClientError;
use wharf_store::StoreError;

use super::once::Unasked;

/// Why something could not be had from an upstream. All who wait for one question get the same.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// It does not answer, or not as a registry does.
    #[error("the registry does not have this, and cannot ask its upstream {upstream}: {why}")]
    Unavailable {
        /// Which.
        upstream: String,
        /// What happened.
        why: Arc<str>,
    },
    /// It does not want to give it to this registry. Some answer so for what they do not have.
    #[error("the registry does not have this, and its upstream {upstream} refuses it, or does not have it either: {why}")]
    Refused {
        /// Which.
        upstream: String,
        /// What it said.
        why: Arc<str>,
    },
    /// It wants to be asked less often.
    #[error("the registry does not have this, and its upstream {upstream} asks to be left alone for a while")]
    Busy {
        /// Which.
        upstream: String,
        /// For how long, when it said so.
        after: Option<Duration>,
    },
    /// It sent something else than what was asked for.
    #[error("what the upstream {upstream} sent is not kept: {why}")]
    Wrong {
        /// Which.
        upstream: String,
        /// What was wrong.
        why: Arc<str>,
    },
    /// So much is being fetched that this has to wait.
    #[error("the registry asks its upstreams for as much as it can right now; try again in a moment")]
    Crowded,
    /// The disk is full.
    #[error("the storage is full")]
    Full,
    /// The registry itself could not keep it.
    #[error("what came from an upstream cannot be kept: {0}")]
    Storage(Arc<str>),
    /// The registry is about to stop.
    #[error("the registry is shutting down")]
    Stopped,
}

impl Failure {
    /// What a client's failure to get something from an upstream means.
    pub(super) fn of(upstream: &str, error: &ClientError) -> Self {
        let (upstream, why) = (upstream.to_owned(), Arc::from(with_cause(error)));
        match error {
            ClientError::Status { status, retry_after, .. } if *status == StatusCode::TOO_MANY_REQUESTS => {
                Self::Busy { upstream, after: *retry_after }
            }
            ClientError::Unauthorized { .. } | ClientError::Denied { .. } | ClientError::Realm { .. } => {
                Self::Refused { upstream, why }
            }
            ClientError::Content { .. } => Self::Wrong { upstream, why },
            _ => Self::Unavailable { upstream, why },
        }
    }

    /// Status and code of the answer.
    pub(crate) fn answer(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Unavailable { .. } => (StatusCode::BAD_GATEWAY, "UPSTREAM_UNAVAILABLE"),
            Self::Refused { .. } => (StatusCode::BAD_GATEWAY, "UPSTREAM_DENIED"),
            Self::Wrong { .. } => (StatusCode::BAD_GATEWAY, "UPSTREAM_INVALID"),
            Self::Busy { .. } => (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
            Self::Full => (StatusCode::INSUFFICIENT_STORAGE, "STORAGE_FULL"),
            Self::Storage(_) => (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN"),
            Self::Crowded => (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
            Self::Stopped => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
        }
    }

    /// How long to wait before asking again, when that is known.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { after, .. } => *after,
            Self::Crowded => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// Whether another upstream may be asked whatever it is: this one has said that it has nothing for us.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

impl From<Unasked> for Failure {
    fn from(unasked: Unasked) -> Self {
        match unasked {
            Unasked::Crowded => Self::Crowded,
            Unasked::Stopped => Self::Stopped,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::Full,
            StoreError::Stopped => Self::Stopped,
            other => {
                // The engine's own words may name paths: they are for the log.
                tracing::error!(error = &other as &dyn std::error::Error, "cannot keep what came from an upstream");
                Self::Storage("its log says more".into())
            }
        }
    }
}

/// An error with what caused it, on one line.
fn with_cause(error: &ClientError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
