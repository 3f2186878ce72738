//! Blobs: pull, in whole or in parts, and delete.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use wharf_oci::{Digest, RepositoryName};
use wharf_store::{BlobDeletion, Content, StoreError};

use super::{Answer, Context};
use crate::access::Permit;
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
    permit: &Permit,
    repository: &RepositoryName,
    digest: &Digest,
    headers: &HeaderMap,
    head: bool,
) -> Answer {
    // Who asks whether a blob is there may be about to leave it out of a push.
    let blob = if head && permit.may_push(repository) {
        context.store.leased_blob(repository, digest).await?
    } else {
        context.store.blob(repository, digest).await?
    };
    let Some(blob) = blob else { return coming(context, permit, repository, digest, headers, head).await };
    if blob.record.cached {
        context.upstreams.counts.hits.inc();
    }
    let derived = blob.kept.get_or_make(|| Derived::new(digest));
    let part = |range: &Range<u64>| derived.part(&blob.content, range);
    answer(context, digest, blob.record.size, derived.head.clone(), headers, head, &part)
}

/// A blob that is not here, as it comes from upstream.
async fn coming(
    context: &Context,
    permit: &Permit,
    repository: &RepositoryName,
    digest: &Digest,
    headers: &HeaderMap,
    head: bool,
) -> Answer {
    let unknown = || ApiError::BlobUnknown(*digest);
    if head {
        // Who is about to push asks for every blob, and no upstream needs to know of those; and one that is told of a blob leaves it out.
        let asks = context.upstreams.mirror || !permit.may_push(repository);
        let size = if asks { context.upstreams.blob_size(repository, digest, headers).await? } else { None };
        let nothing = |_: &Range<u64>| Ok(Part::Memory(Bytes::new()));
        return answer(context, digest, size.ok_or_else(unknown)?, common_head(digest), headers, head, &nothing);
    }
    let growing = context.upstreams.blob(repository, digest, headers).await?.ok_or_else(unknown)?;
    let size = growing.size().await?.ok_or_else(unknown)?;
    let part =
        |range: &Range<u64>| Ok(Part::Coming { bytes: Box::pin(growing.read(range.clone())), length: range.end - range.start });
    answer(context, digest, size, common_head(digest), headers, head, &part)
}

/// Hands out a part of a blob.
type Parts<'a> = &'a (dyn Fn(&Range<u64>) -> Result<Part, ApiError> + Sync);

fn answer(
    context: &Context,
    digest: &Digest,
    size: u64,
    common: HeaderMap,
    headers: &HeaderMap,
    head: bool,
    part: Parts<'_>,
) -> Answer {
    let status = match conditional::of_read(headers, digest) {
        Verdict::Send => StatusCode::OK,
        Verdict::NotModified => StatusCode::NOT_MODIFIED,
        Verdict::Failed => return Err(ApiError::Precondition(Some(*digest))),
    };
    let mut response = respond::with(status, common);
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
        Selection::Whole => *response.body_mut() = Body::new([part(&(0..size))?]),
        Selection::Parts(ranges) => partial(&mut response, size, &ranges, part)?,
        Selection::Unsatisfiable => return Err(ApiError::Range(size)),
        Selection::TooMany => return Err(ApiError::TooManyRanges(context.limits.ranges)),
    }
    Ok(response)
}

fn common_head(digest: &Digest) -> HeaderMap {
    let mut head = respond::common();
    respond::name_content(&mut head, digest);
    head.insert(header::CONTENT_TYPE, BINARY);
    head.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    head.insert(header::CACHE_CONTROL, FOR_EVER);
    head
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
        Self { head: common_head(digest), mapping: OnceLock::new() }
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
fn partial(response: &mut Response<Body>, size: u64, ranges: &[Range<u64>], part: Parts<'_>) -> Result<(), ApiError> {
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let body = match ranges {
        [range] => {
            let value = respond::value(format!("bytes {}-{}/{size}", range.start, range.end - 1));
            response.headers_mut().insert(header::CONTENT_RANGE, value);
            Body::new([part(range)?])
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
                parts.push(part(range)?);
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

pub(super) async fn delete(context: &Context, permit: &Permit, repository: &RepositoryName, digest: &Digest) -> Answer {
    match context.store.delete_blob(repository, digest, permit.actor()).await? {
        BlobDeletion::Deleted { .. } => Ok(respond::empty(StatusCode::ACCEPTED)),
        BlobDeletion::InUse => {
            Err(ApiError::NotAllowed("a manifest of the repository names this blob; delete the manifest first"))
        }
        BlobDeletion::Unknown if context.store.repository_exists(repository).await? => Err(ApiError::BlobUnknown(*digest)),
        BlobDeletion::Unknown => Err(ApiError::NameUnknown(repository.to_string())),
    }
}
