//! Everything that can be wrong with a request, and the one place that says how it is answered.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use wharf_oci::{Digest, DigestError, ManifestError, NameError};
use wharf_store::StoreError;

use crate::access::Wanted;

use crate::upstream;

/// Missing digests that one answer names: more than any image has layers, so that an answer does not outgrow the request.
const MISSING_MAX: usize = 1_000;

/// Why a request was not answered with success. Codes are those of the specification (distribution-spec, "Error Codes"); for what that has none for,
/// status 5xx, the code says what happened.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No such address.
    #[error("there is nothing at this address")]
    NotFound,
    /// A request that does not say whom it is for, or says it twice.
    #[error("a request needs one Host header")]
    Host,
    /// The address has other methods.
    #[error("this address answers to {0}")]
    Method(&'static str),
    /// Not a repository name.
    #[error("invalid repository name {name:?}: {error}")]
    Name {
        /// As sent.
        name: String,
        /// What is wrong with it.
        error: NameError,
    },
    /// Not a tag.
    #[error("invalid tag {0:?}: a tag is a letter, digit or `_`, then up to 127 letters, digits, `.`, `_` or `-`")]
    Tag(String),
    /// Not a digest.
    #[error("invalid digest {digest:?}: {error}")]
    Digest {
        /// As sent.
        digest: String,
        /// What is wrong with it.
        error: DigestError,
    },
    /// The closing PUT without a digest.
    #[error("the `digest` parameter is missing")]
    DigestMissing,
    /// Content with another digest.
    #[error("the content has digest {actual}, not {expected}")]
    DigestMismatch {
        /// As promised.
        expected: Box<Digest>,
        /// As computed.
        actual: Box<Digest>,
    },
    /// Repository unknown.
    #[error("the registry has no repository {0}")]
    NameUnknown(String),
    /// Manifest unknown.
    #[error("the repository has no manifest {0}")]
    ManifestUnknown(String),
    /// Blob unknown.
    #[error("the repository has no blob {0}")]
    BlobUnknown(Digest),
    /// Upload session unknown.
    #[error("there is no such upload; it has ended, expired or was never begun")]
    UploadUnknown,
    /// Not a manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A malformed Content-Type of a manifest.
    #[error("the Content-Type is not a media type of at most 255 bytes")]
    ContentType,
    /// The same bytes, said to be something else.
    #[error("these bytes are stored as {0}; push them with that Content-Type, or delete the manifest first")]
    OtherMediaType(String),
    /// The manifest names what is not there.
    #[error("the manifest names content that the repository does not hold")]
    References(Vec<Digest>),
    /// Too long a manifest.
    #[error("the manifest is longer than {0} bytes")]
    ManifestTooLarge(usize),
    /// Too many tags in one push.
    #[error("more than {0} tags in one push")]
    TooManyTags(usize),
    /// A body of another length than promised.
    #[error("{0}")]
    Size(String),
    /// A malformed Content-Range.
    #[error("Content-Range must be FIRST-LAST, counted from 0")]
    ContentRange,
    /// A chunk that does not begin where the last one ended.
    #[error("the upload has {offset} bytes; the next chunk must begin there")]
    OutOfOrder {
        /// Where the session is found.
        location: String,
        /// Bytes so far.
        offset: u64,
    },
    /// The body ended early or stalled.
    #[error("the body broke off: {0}")]
    Body(&'static str),
    /// Another request continued the same upload.
    #[error("another request has taken over this upload")]
    TakenOver,
    /// A Range that selects nothing, or the same bytes again and again.
    #[error("the ranges select nothing of the blob's {0} bytes, or overlap so much that they are more than all of it")]
    Range(u64),
    /// More ranges than are answered at once.
    #[error("more than {0} ranges in one request; ask for fewer at a time")]
    TooManyRanges(usize),
    /// A malformed precondition.
    #[error("{0} must be `*` or a list of quoted digests")]
    Condition(&'static str),
    /// A failed precondition.
    #[error("the precondition failed; named now: {}", .0.as_ref().map_or("nothing".to_owned(), ToString::to_string))]
    Precondition(Option<Digest>),
    /// Something this registry does not do, or not now.
    #[error("{0}")]
    Unsupported(&'static str),
    /// Something forbidden by the configuration or by what else is stored.
    #[error("{0}")]
    NotAllowed(&'static str),
    /// Nobody said who they are, and that is needed.
    #[error("authentication is required")]
    Unauthenticated(Wanted),
    /// The bearer token is for something else.
    #[error("the token does not cover this; a new one is needed")]
    Insufficient(Wanted),
    /// The credentials are wrong, or have ended.
    #[error("the credentials are wrong or have expired")]
    WrongCredentials,
    /// Who asks may not do that.
    #[error("the caller has no right to do this here")]
    Forbidden,
    /// Too many requests or failed logins.
    #[error("too many requests or failed logins; try again in {} s", .0.as_secs().max(1))]
    Throttled(Duration),
    /// A token could not be made.
    #[error("the registry cannot give out tokens; its log says more")]
    NoToken,
    /// Too many open uploads.
    #[error("too many uploads are open; finish or cancel some, or try again later")]
    TooManyUploads,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is not here, and could not be had from an upstream.
    #[error(transparent)]
    Upstream(#[from] upstream::Failure),
}

impl ApiError {
    /// Status and code: the whole table.
    pub(crate) fn answer(&self) -> (StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::NotFound => (S::NOT_FOUND, "UNSUPPORTED"),
            Self::Method(_) | Self::NotAllowed(_) => (S::METHOD_NOT_ALLOWED, "UNSUPPORTED"),
            Self::Name { .. } => (S::BAD_REQUEST, "NAME_INVALID"),
            Self::Tag(_) | Self::Manifest(_) | Self::OtherMediaType(_) | Self::ContentType => {
                (S::BAD_REQUEST, "MANIFEST_INVALID")
            }
            Self::Digest { .. } | Self::DigestMissing | Self::DigestMismatch { .. } => (S::BAD_REQUEST, "DIGEST_INVALID"),
            Self::NameUnknown(_) => (S::NOT_FOUND, "NAME_UNKNOWN"),
            Self::ManifestUnknown(_) => (S::NOT_FOUND, "MANIFEST_UNKNOWN"),
            Self::BlobUnknown(_) => (S::NOT_FOUND, "BLOB_UNKNOWN"),
            Self::UploadUnknown => (S::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"),
            Self::References(_) => (S::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN"),
            Self::ManifestTooLarge(_) => (S::PAYLOAD_TOO_LARGE, "MANIFEST_INVALID"),
            Self::TooManyTags(_) => (S::URI_TOO_LONG, "MANIFEST_INVALID"),
            Self::Size(_) => (S::BAD_REQUEST, "SIZE_INVALID"),
            Self::ContentRange | Self::Body(_) => (S::BAD_REQUEST, "BLOB_UPLOAD_INVALID"),
            Self::TakenOver => (S::CONFLICT, "BLOB_UPLOAD_INVALID"),
            Self::OutOfOrder { .. } => (S::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID"),
            Self::Range(_) => (S::RANGE_NOT_SATISFIABLE, "UNSUPPORTED"),
            Self::Host | Self::TooManyRanges(_) | Self::Unsupported(_) | Self::Condition(_) => (S::BAD_REQUEST, "UNSUPPORTED"),
            Self::Precondition(_) => (S::PRECONDITION_FAILED, "DENIED"),
            Self::Unauthenticated(_) | Self::WrongCredentials => (S::UNAUTHORIZED, "UNAUTHORIZED"),
            // A token that is too narrow is a 403 with a challenge (RFC 6750, section 3.1). Clients that keep a token for all that they do get another one by that.
            Self::Insufficient(_) | Self::Forbidden => (S::FORBIDDEN, "DENIED"),
            Self::Throttled(_) => (S::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
            Self::NoToken => (S::INTERNAL_SERVER_ERROR, "UNKNOWN"),
            Self::TooManyUploads => (S::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
            Self::Upstream(failure) => failure.answer(),
            Self::Store(StoreError::Full) => (S::INSUFFICIENT_STORAGE, "STORAGE_FULL"),
            Self::Store(StoreError::Stopped | StoreError::ReadOnly | StoreError::Busy(_)) => {
                (S::SERVICE_UNAVAILABLE, "UNAVAILABLE")
            }
            Self::Store(StoreError::Damaged { .. }) => (S::INTERNAL_SERVER_ERROR, "BLOB_DAMAGED"),
            Self::Store(StoreError::Backend { .. } | StoreError::IndexDamaged { .. }) => (S::INTERNAL_SERVER_ERROR, "UNKNOWN"),
        }
    }

    /// The body: one entry, or one for each digest that is missing, up to a bound.
    pub(crate) fn body(&self) -> Value {
        let (_, code) = self.answer();
        let entry = |message: String, detail: Value| match detail {
            Value::Null => json!({ "code": code, "message": message }),
            detail => json!({ "code": code, "message": message, "detail": detail }),
        };
        let errors = match self {
            Self::References(digests) => digests
                .iter()
                .take(MISSING_MAX)
                .map(|digest| entry(format!("the repository does not hold {digest}"), json!({ "digest": digest.to_string() })))
                .collect(),
            // The engine's own words may name paths: they are for the log.
            Self::Store(StoreError::Backend { .. }) => {
                vec![entry("the registry failed; its log says more".to_owned(), Value::Null)]
            }
            other => vec![entry(other.to_string(), other.detail())],
        };
        json!({ "errors": errors })
    }

    fn detail(&self) -> Value {
        match self {
            Self::Name { name, .. } | Self::NameUnknown(name) => json!({ "name": name }),
            Self::Tag(tag) => json!({ "tag": tag }),
            Self::Digest { digest, .. } => json!({ "digest": digest }),
            Self::DigestMismatch { expected, actual } => {
                json!({ "expected": expected.to_string(), "actual": actual.to_string() })
            }
            Self::ManifestUnknown(reference) => json!({ "reference": reference }),
            Self::BlobUnknown(digest) => json!({ "digest": digest.to_string() }),
            Self::OutOfOrder { offset, .. } => json!({ "offset": offset }),
            Self::Precondition(current) => json!({ "current": current.map(|digest| digest.to_string()) }),
            _ => Value::Null,
        }
    }
}
