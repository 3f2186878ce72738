//! Blobs: pull, in whole or in parts, and delete.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use wharf_oci::{Digest, RepositoryName};
use wharf_store::{Blob, BlobDeletion, Content, StoreError};

use super::{Answer, Context};
use crate::body::{Body, MAPPED_FROM, Mapping, Part};
use crate::conditional::{self, Verdict};
use crate::error::ApiError;
use crate::range::{Selection, select};
use crate::respond;

const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");
/// Content under a digest never changes (RFC 8246).
const FOR_EVER: HeaderValue = HeaderValue::from_static("max-age=31536000, immutable");

pub(super) async fn read(
    context: &Context,
    repository: &RepositoryName,
    digest: &Digest,
    headers: &HeaderMap,
    head: bool,
) -> Answer {
    // Who asks whether a blob is there may be about to leave it out of a push.
    let blob = if head && context.policy.may_push() {
        context.store.leased_blob(repository, digest).await?
    } else {
        context.store.blob(repository, digest).await?
    };
    let Some(blob) = blob else { return Err(ApiError::BlobUnknown(*digest)) };
    let size = blob.record.size;
    let status = match conditional::of_read(headers, digest) {
        Verdict::Send => StatusCode::OK,
        Verdict::NotModified => StatusCode::NOT_MODIFIED,
        Verdict::Failed => return Err(ApiError::Precondition(Some(*digest))),
    };
    let derived = blob.kept.get_or_make(|| Derived::new(digest));
    let mut response = respond::with(status, derived.head.clone());
    if status == StatusCode::NOT_MODIFIED {
        response.headers_mut().remove(header::CONTENT_TYPE);
        return Ok(response);
    }
    let selection = match headers.get(header::RANGE) {
        // HEAD has no ranges (RFC 9110, section 14.2).
        Some(range) if !head && conditional::range_counts(headers, digest) => {
            range.to_str().map_or(Selection::Whole, |range| select(range, size, context.limits.ranges))
        }
        _ => Selection::Whole,
    };
    match selection {
        Selection::Whole if head => {
            response.headers_mut().insert(header::CONTENT_LENGTH, size.into());
        }
        Selection::Whole => *response.body_mut() = Body::new([derived.part(&blob.content, &(0..size))?]),
        Selection::Parts(ranges) => partial(&mut response, &blob, derived, &ranges)?,
        Selection::Unsatisfiable => return Err(ApiError::Range(size)),
        Selection::TooMany => return Err(ApiError::TooManyRanges(context.limits.ranges)),
    }
    Ok(response)
}

/// What is made of a blob once and kept with it.
struct Derived {
    /// The headers of every answer about it.
    head: HeaderMap,
    /// Its file, mapped when the first large part of it was asked for. Who asks again finds the pages where they were.
    mapping: OnceLock<Arc<Mapping>>,
}

impl Derived {
    fn new(digest: &Digest) -> Self {
        let mut head = respond::common();
        respond::name_content(&mut head, digest);
        head.insert(header::CONTENT_TYPE, BINARY);
        head.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        head.insert(header::CACHE_CONTROL, FOR_EVER);
        Self { head, mapping: OnceLock::new() }
    }

    fn part(&self, content: &Content, range: &Range<u64>) -> Result<Part, ApiError> {
        let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        match content {
            Content::Memory(bytes) => {
                Ok(Part::Memory(bytes.slice(at(range.start).min(bytes.len())..at(range.end).min(bytes.len()))))
            }
            Content::File { file, size } if range.end - range.start >= MAPPED_FROM => {
                let map = match self.mapping.get() {
                    Some(map) => map,
                    None => {
                        let map = Mapping::new(file.clone(), *size).map_err(|error| StoreError::io("mapping a blob", error))?;
                        self.mapping.get_or_init(|| Arc::new(map))
                    }
                };
                Ok(Part::Mapped { map: map.clone(), range: at(range.start)..at(range.end) })
            }
            Content::File { file, .. } => Ok(Part::File { file: file.clone(), range: range.clone() }),
        }
    }
}

/// 206 with one range as it is, or several as `multipart/byteranges` (RFC 9110, section 14.6).
fn partial(response: &mut Response<Body>, blob: &Blob, derived: &Derived, ranges: &[Range<u64>]) -> Result<(), ApiError> {
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let (content, size) = (&blob.content, blob.record.size);
    let body = match ranges {
        [range] => {
            let value = respond::value(format!("bytes {}-{}/{size}", range.start, range.end - 1));
            response.headers_mut().insert(header::CONTENT_RANGE, value);
            Body::new([derived.part(content, range)?])
        }
        ranges => {
            let boundary = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
            let mut parts = Vec::with_capacity(ranges.len() * 2 + 1);
            for (index, range) in ranges.iter().enumerate() {
                let line_break = if index == 0 { "" } else { "\r\n" };
                let heading = format!(
                    "{line_break}--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {}-{}/{size}\r\n\r\n",
                    range.start,
                    range.end - 1
                );
                parts.push(Part::Memory(heading.into()));
                parts.push(derived.part(content, range)?);
            }
            parts.push(Part::Memory(format!("\r\n--{boundary}--\r\n").into()));
            let kind = respond::value(format!("multipart/byteranges; boundary={boundary}"));
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            Body::new(parts)
        }
    };
    *response.body_mut() = body;
    Ok(())
}

pub(super) async fn delete(context: &Context, repository: &RepositoryName, digest: &Digest) -> Answer {
    match context.store.delete_blob(repository, digest, &context.nobody).await? {
        BlobDeletion::Deleted { .. } => Ok(respond::empty(StatusCode::ACCEPTED)),
        BlobDeletion::InUse => {
            Err(ApiError::NotAllowed("a manifest of the repository names this blob; delete the manifest first"))
        }
        BlobDeletion::Unknown if context.store.repository_exists(repository).await? => Err(ApiError::BlobUnknown(*digest)),
        BlobDeletion::Unknown => Err(ApiError::NameUnknown(repository.to_string())),
    }
}
