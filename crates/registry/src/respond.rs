//! Building answers.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use wharf_oci::Digest;
use wharf_store::StoreError;

use crate::body::Body;
use crate::error::ApiError;

/// The digest of what was answered or stored.
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// Names of features beyond the specification.
pub(crate) const FEATURES: HeaderName = HeaderName::from_static("wharf-features");
/// Manifest pushes honour preconditions.
pub(crate) const MANIFEST_IF_MATCH: HeaderValue = HeaderValue::from_static("manifest-if-match");
/// All of them: preconditions; mounting a blob from whatever repository has it, when no `from` is given; and `Cache-Control: only-if-cached`, with which upstreams
/// are not asked.
pub(crate) const ALL_FEATURES: HeaderValue = HeaderValue::from_static("manifest-if-match, mount-from-any, stored-only");
/// Where content came from that nobody pushed here: `docker.io/library/alpine`.
pub(crate) const ORIGIN: HeaderName = HeaderName::from_static("wharf-origin");
/// The UUID of an upload, as the reference implementation sends it.
pub(crate) const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
/// Correlates an answer with a log line.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// What every answer's headers begin with, and room for the rest.
pub(crate) fn common() -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(10);
    headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    headers
}

/// An answer without a body, with these headers.
pub(crate) fn with(status: StatusCode, headers: HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    with(status, common())
}

/// An answer with a JSON body.
pub(crate) fn json(status: StatusCode, bytes: impl Into<Bytes>) -> Response<Body> {
    of_type(status, HeaderValue::from_static("application/json"), bytes)
}

/// An answer with a body of this type.
pub(crate) fn of_type(status: StatusCode, content_type: HeaderValue, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = empty(status);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    *response.body_mut() = Body::full(bytes);
    response
}

/// A header value from text that holds nothing but visible ASCII; what does not is left out by the caller's `insert`.
pub(crate) fn value(text: impl Into<Bytes>) -> HeaderValue {
    HeaderValue::from_maybe_shared(text.into()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// `Docker-Content-Digest` and `ETag` for content with this digest.
pub(crate) fn name_content(headers: &mut HeaderMap, digest: &Digest) {
    let text = digest.text();
    let mut quoted = Vec::with_capacity(text.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(text.as_bytes());
    quoted.push(b'"');
    let quoted = Bytes::from(quoted);
    headers.insert(CONTENT_DIGEST, value(quoted.slice(1..quoted.len() - 1)));
    headers.insert(header::ETAG, value(quoted));
}

/// The answer to a request that failed.
pub(crate) fn error(error: &ApiError) -> Response<Body> {
    let (status, _) = error.answer();
    let mut response = json(status, error.body().to_string());
    let headers = response.headers_mut();
    match error {
        ApiError::Method(methods) => {
            headers.insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        // What is forbidden here is always a change.
        ApiError::NotAllowed(_) => {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        ApiError::OutOfOrder { location, offset } => {
            headers.insert(header::LOCATION, value(location.clone()));
            headers.insert(header::RANGE, received(*offset));
        }
        ApiError::Range(size) => {
            headers.insert(header::CONTENT_RANGE, value(format!("bytes */{size}")));
        }
        ApiError::Precondition(Some(current)) => {
            headers.insert(header::ETAG, value(format!("\"{current}\"")));
        }
        ApiError::Throttled(wait) => {
            headers.insert(header::RETRY_AFTER, wait.as_secs().max(1).into());
        }
        ApiError::Store(StoreError::Busy(_)) => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        ApiError::TooManyUploads => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
        }
        ApiError::Upstream(failure) => {
            if let Some(pause) = failure.retry_after() {
                // In whole seconds, and never sooner than it said.
                headers.insert(header::RETRY_AFTER, (pause.as_secs() + u64::from(pause.subsec_nanos() > 0)).into());
            }
        }
        _ => {}
    }
    response
}

/// The `Range` of an upload: `0-<last byte>`. With no bytes yet there is no last one, and `0-0` is what clients are used to.
pub(crate) fn received(offset: u64) -> HeaderValue {
    value(format!("0-{}", offset.saturating_sub(1)))
}
