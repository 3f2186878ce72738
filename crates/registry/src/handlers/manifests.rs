//! Manifests: pull, push, delete.

use std::sync::Arc;

use http::{HeaderMap, Response, StatusCode, header};
use wharf_oci::{Algorithm, Digest, Manifest, ManifestError, Reference, RepositoryName, Tag, media_type};
use wharf_store::{ManifestDeletion, NewManifest, PutOutcome, StoreError};

use super::{Answer, Context};
use crate::access::Permit;
use crate::body::Body;
use crate::conditional::{self, Verdict};
use crate::error::ApiError;
use crate::incoming::RequestBody;
use crate::{respond, upstream};

/// Bytes of a manifest from which reading and hashing it, some milliseconds a megabyte, would keep the worker's other connections waiting.
const LARGE: usize = 64 << 10;

pub(super) async fn read(
    context: &Context,
    permit: &Permit,
    repository: &RepositoryName,
    reference: &Reference,
    headers: &HeaderMap,
    head: bool,
) -> Answer {
    let mut manifest = here(context, permit, repository, reference, head).await?;
    let mut is_stale = false;
    if context.upstreams.is_due(repository, reference, manifest.as_ref(), headers) {
        match context.upstreams.freshen(repository, reference, manifest.as_ref()).await {
            Ok(()) => manifest = here(context, permit, repository, reference, head).await?,
            // What there is, though it may be old, is better than nothing.
            Err(_) if manifest.is_some() => is_stale = true,
            Err(failure) => return Err(failure.into()),
        }
    } else if manifest.as_ref().is_some_and(|manifest| manifest.record.cached.is_some()) {
        context.upstreams.counts.hits.inc();
    }
    let Some(manifest) = manifest else {
        return Err(unknown(context, repository, reference).await?);
    };
    let record = &manifest.record;
    let status = match conditional::of_read(headers, &record.digest) {
        Verdict::Send => StatusCode::OK,
        Verdict::NotModified => StatusCode::NOT_MODIFIED,
        Verdict::Failed => return Err(ApiError::Precondition(Some(record.digest))),
    };
    let Head(common) = manifest.kept.get_or_make(|| {
        let mut headers = respond::common();
        respond::name_content(&mut headers, &record.digest);
        headers.insert(header::CONTENT_TYPE, respond::value(record.media_type.clone()));
        if let Some(cached) = &record.cached {
            headers.insert(respond::ORIGIN, respond::value(cached.origin.to_string()));
        }
        Head(headers)
    });
    let mut response = respond::with(status, common.clone());
    let headers = response.headers_mut();
    if is_stale {
        context.upstreams.counts.stale.inc();
        headers.insert(header::WARNING, upstream::STALE);
    }
    if status == StatusCode::NOT_MODIFIED {
        headers.remove(header::CONTENT_TYPE);
    } else if head {
        headers.insert(header::CONTENT_LENGTH, record.bytes.len().into());
    } else {
        *response.body_mut() = Body::full(record.bytes.clone());
    }
    Ok(response)
}

/// The manifest, as far as the registry has it.
async fn here(
    context: &Context,
    permit: &Permit,
    repository: &RepositoryName,
    reference: &Reference,
    head: bool,
) -> Result<Option<wharf_store::Manifest>, StoreError> {
    // Who asks whether a manifest is there may be about to push an index that names it.
    if head && permit.may_push(repository) {
        context.store.leased_manifest(repository, reference).await
    } else {
        context.store.manifest(repository, reference).await
    }
}

/// The headers of every answer about one manifest.
struct Head(HeaderMap);

async fn unknown(context: &Context, repository: &RepositoryName, reference: &Reference) -> Result<ApiError, ApiError> {
    Ok(if context.store.repository_exists(repository).await? {
        ApiError::ManifestUnknown(reference.to_string())
    } else {
        ApiError::NameUnknown(repository.to_string())
    })
}

pub(super) async fn put(
    context: &Context,
    permit: &Permit,
    repository: RepositoryName,
    reference: Reference,
    mut tags: Vec<Tag>,
    headers: &HeaderMap,
    body: &mut RequestBody,
) -> Answer {
    let conditions = conditional::of_push(headers)?;
    let declared = declared_type(headers)?;
    let bytes = body.whole(context.limits.manifest_size).await?;
    if body.announced().is_some_and(|length| length != bytes.len() as u64) {
        return Err(ApiError::Size(format!("the body has {} bytes, not the announced length", bytes.len())));
    }
    let Understood { manifest, sha256, sha512 } = if bytes.len() < LARGE {
        understand(&bytes, &declared)?
    } else {
        let bytes = bytes.clone();
        let task = tokio::task::spawn_blocking(move || understand(&bytes, &declared));
        task.await.map_err(|_| StoreError::Stopped)??
    };
    let by_digest = match &reference {
        Reference::Digest(expected) => {
            let actual = if expected.algorithm() == Algorithm::Sha512 { sha512 } else { sha256 };
            if actual != *expected {
                return Err(ApiError::DigestMismatch { expected: Box::new(*expected), actual: Box::new(actual) });
            }
            true
        }
        Reference::Tag(tag) => {
            tags.push(tag.clone());
            false
        }
    };
    let digest = match &reference {
        Reference::Digest(digest) => *digest,
        Reference::Tag(_) => sha256,
    };
    let subject = manifest.subject;
    let new = NewManifest {
        repository: repository.clone(),
        bytes,
        manifest: Arc::new(manifest),
        sha256,
        sha512,
        tags: tags.clone(),
        conditions,
        sparse: context.sparse,
        actor: permit.actor().clone(),
        origin: None,
    };
    match context.store.put_manifest(new).await? {
        PutOutcome::Stored => {}
        PutOutcome::Missing(digests) => return Err(ApiError::References(digests)),
        PutOutcome::OtherMediaType(stored) => return Err(ApiError::OtherMediaType(stored)),
        PutOutcome::ConditionFailed(current) => return Err(ApiError::Precondition(current)),
    }
    let mut response = respond::empty(StatusCode::CREATED);
    let headers = response.headers_mut();
    respond::name_content(headers, &digest);
    headers.insert(header::LOCATION, context.location(format_args!("/v2/{repository}/manifests/{digest}")));
    headers.insert(respond::FEATURES, respond::MANIFEST_IF_MATCH);
    if let Some(subject) = subject {
        headers.insert("oci-subject", respond::value(subject.to_string()));
    }
    if by_digest {
        for tag in &tags {
            headers.append("oci-tag", respond::value(tag.to_string()));
        }
    }
    Ok(response)
}

/// What the bytes of a manifest say, and what they are known by.
struct Understood {
    manifest: Manifest,
    sha256: Digest,
    sha512: Digest,
}

fn understand(bytes: &[u8], declared: &str) -> Result<Understood, ManifestError> {
    let manifest = Manifest::parse(bytes, declared)?;
    Ok(Understood { manifest, sha256: Digest::sha256(bytes), sha512: Digest::of(Algorithm::Sha512, bytes) })
}

/// The `Content-Type` without its parameters; empty when there is none.
fn declared_type(headers: &HeaderMap) -> Result<String, ApiError> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(String::new()) };
    let text = value.to_str().map_err(|_| ApiError::ContentType)?;
    let essence = text.split_once(';').map_or(text, |(essence, _)| essence).trim();
    if essence.is_empty() || media_type::is_valid(essence) { Ok(essence.to_owned()) } else { Err(ApiError::ContentType) }
}

pub(super) async fn delete(context: &Context, permit: &Permit, repository: &RepositoryName, reference: &Reference) -> Answer {
    match context.store.delete_manifest(repository, reference, permit.actor()).await? {
        ManifestDeletion::Deleted { .. } => Ok(accepted()),
        ManifestDeletion::Unknown => Err(ApiError::ManifestUnknown(reference.to_string())),
        ManifestDeletion::UnknownRepository => Err(ApiError::NameUnknown(repository.to_string())),
    }
}

fn accepted() -> Response<Body> {
    respond::empty(StatusCode::ACCEPTED)
}
