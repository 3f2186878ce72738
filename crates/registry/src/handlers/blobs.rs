//! Blobs: pull, in whole or in parts, and delete.

use std::ops::Range;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use wharf_oci::{Digest, RepositoryName};
use wharf_store::{BlobDeletion, Content};

use super::{Answer, Context};
use crate::body::{Body, Part};
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
    let mut response = respond::empty(status);
    name(response.headers_mut(), digest);
    if status == StatusCode::NOT_MODIFIED {
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
        Selection::Whole => {
            response.headers_mut().insert(header::CONTENT_TYPE, BINARY);
            if head {
                response.headers_mut().insert(header::CONTENT_LENGTH, size.into());
            } else {
                *response.body_mut() = Body::new([part(&blob.content, &(0..size))]);
            }
        }
        Selection::Parts(ranges) => partial(&mut response, &blob.content, &ranges, size),
        Selection::Unsatisfiable => return Err(ApiError::Range(size)),
        Selection::TooMany => return Err(ApiError::TooManyRanges(context.limits.ranges)),
    }
    Ok(response)
}

fn name(headers: &mut HeaderMap, digest: &Digest) {
    respond::name_content(headers, digest);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CACHE_CONTROL, FOR_EVER);
}

fn part(content: &Content, range: &Range<u64>) -> Part {
    match content {
        Content::File { file, .. } => Part::File { file: file.clone(), range: range.clone() },
        Content::Memory(bytes) => {
            let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            Part::Memory(bytes.slice(at(range.start)..at(range.end)))
        }
    }
}

/// 206 with one range as it is, or several as `multipart/byteranges` (RFC 9110, section 14.6).
fn partial(response: &mut Response<Body>, content: &Content, ranges: &[Range<u64>], size: u64) {
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let body = match ranges {
        [range] => {
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, BINARY);
            headers.insert(header::CONTENT_RANGE, respond::value(format!("bytes {}-{}/{size}", range.start, range.end - 1)));
            Body::new([part(content, range)])
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
                parts.push(part(content, range));
            }
            parts.push(Part::Memory(format!("\r\n--{boundary}--\r\n").into()));
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, respond::value(format!("multipart/byteranges; boundary={boundary}")));
            Body::new(parts)
        }
    };
    *response.body_mut() = body;
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
