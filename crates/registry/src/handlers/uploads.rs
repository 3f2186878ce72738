//! Uploads: begin, mount, append, ask, finish, cancel.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use wharf_oci::{Digest, RepositoryName};
use wharf_store::{FinishError, StoreError, Upload, UploadId};

use super::{Answer, Context};
use crate::access::Permit;
use crate::body::Body;
use crate::endpoint::Begin;
use crate::error::ApiError;
use crate::incoming::RequestBody;
use crate::range::of_chunk;
use crate::respond;

/// Repositories that are looked through for one from which the caller may mount.
const SOURCES: usize = 1_000;
/// Bytes between two looks at the free space.
const LOOK_AT_SPACE: u64 = 8 << 20;

pub(super) async fn begin(
    context: &Context,
    permit: &Permit,
    repository: &RepositoryName,
    begin: Begin,
    body: &mut RequestBody,
) -> Answer {
    let store = &context.store;
    let algorithm = match begin {
        Begin::Session(algorithm) => algorithm,
        Begin::Mount { digest, from } => {
            if mount(context, permit, repository, &digest, from.as_ref()).await? {
                return Ok(created(context, repository, &digest));
            }
            digest.algorithm()
        }
        // A client that announces a digest but sends nothing means to send it later.
        Begin::Whole(digest) if body.announced() == Some(0) && digest != Digest::of(digest.algorithm(), b"") => {
            digest.algorithm()
        }
        Begin::Whole(digest) => {
            let Some(mut upload) = store.begin_upload(repository, permit.actor(), digest.algorithm()).await? else {
                return Err(ApiError::TooManyUploads);
            };
            if let Err(error) = receive(context, &mut upload, body, None).await {
                // Nobody knows the session's name, so nobody can go on with it.
                upload.cancel().await?;
                return Err(error);
            }
            let id = upload.id();
            let answer = complete(context, permit, repository, upload, &digest).await;
            if answer.is_err()
                && let Some(upload) = store.take_upload(repository, permit.actor(), id).await?
            {
                upload.cancel().await?;
            }
            return answer;
        }
    };
    match store.begin_upload(repository, permit.actor(), algorithm).await? {
        Some(upload) => Ok(session(context, repository, upload.id(), StatusCode::ACCEPTED, 0)),
        None => Err(ApiError::TooManyUploads),
    }
}

/// Mounts a blob from where the caller may pull it. What they may not pull is not there, so that a mount says nothing of it.
async fn mount(
    context: &Context,
    permit: &Permit,
    repository: &RepositoryName,
    digest: &Digest,
    from: Option<&RepositoryName>,
) -> Result<bool, ApiError> {
    let readable = |source: &RepositoryName| permit.may_mount(source.as_str());
    let chosen;
    let from = match from {
        Some(from) if !readable(from) => return Ok(false),
        None if permit.is_guarded() => {
            chosen = context.store.holders(digest, SOURCES).await?.into_iter().find(readable);
            match &chosen {
                Some(source) => Some(source),
                None => return Ok(false),
            }
        }
        from => from,
    };
    Ok(context.store.mount(repository, digest, from, permit.actor()).await?.is_some())
}

pub(super) async fn status(context: &Context, permit: &Permit, repository: &RepositoryName, id: UploadId) -> Answer {
    let offset = context.store.upload_offset(repository, permit.actor(), id).await?.ok_or(ApiError::UploadUnknown)?;
    Ok(session(context, repository, id, StatusCode::NO_CONTENT, offset))
}

pub(super) async fn append(
    context: &Context,
    permit: &Permit,
    repository: &RepositoryName,
    id: UploadId,
    headers: &HeaderMap,
    body: &mut RequestBody,
) -> Answer {
    let mut upload = context.store.take_upload(repository, permit.actor(), id).await?.ok_or(ApiError::UploadUnknown)?;
    let length = chunk_length(context, repository, &upload, headers, body, false)?;
    if let Err(error) = receive(context, &mut upload, body, length).await {
        return Err(refused(context, upload, error).await);
    }
    let offset = upload.offset();
    upload.pause().await?;
    Ok(session(context, repository, id, StatusCode::ACCEPTED, offset))
}

pub(super) async fn finish(
    context: &Context,
    permit: &Permit,
    repository: &RepositoryName,
    id: UploadId,
    digest: &Digest,
    headers: &HeaderMap,
    body: &mut RequestBody,
) -> Answer {
    let mut upload = context.store.take_upload(repository, permit.actor(), id).await?.ok_or(ApiError::UploadUnknown)?;
    let length = chunk_length(context, repository, &upload, headers, body, true)?;
    if let Err(error) = receive(context, &mut upload, body, length).await {
        return Err(refused(context, upload, error).await);
    }
    complete(context, permit, repository, upload, digest).await
}

pub(super) async fn cancel(context: &Context, permit: &Permit, repository: &RepositoryName, id: UploadId) -> Answer {
    let upload = context.store.take_upload(repository, permit.actor(), id).await?.ok_or(ApiError::UploadUnknown)?;
    upload.cancel().await?;
    Ok(respond::empty(StatusCode::NO_CONTENT))
}

/// Checks a chunk's `Content-Range` against the session and the body's length; the chunk's length, when it says one.
fn chunk_length(
    context: &Context,
    repository: &RepositoryName,
    upload: &Upload,
    headers: &HeaderMap,
    body: &RequestBody,
    is_last: bool,
) -> Result<Option<u64>, ApiError> {
    let Some(range) = headers.get(header::CONTENT_RANGE) else { return Ok(None) };
    let range = range.to_str().ok().and_then(of_chunk).ok_or(ApiError::ContentRange)?;
    let offset = upload.offset();
    if range.start != offset {
        let location = format!("{}/v2/{repository}/blobs/uploads/{}", context.external, upload.id());
        return Err(ApiError::OutOfOrder { location, offset });
    }
    let length = range.end - range.start;
    match body.announced() {
        // No range is as short as nothing. Clients that close a session without a last chunk say where they are all the same.
        Some(0) if is_last => Ok(None),
        Some(announced) if announced != length => {
            Err(ApiError::Size(format!("Content-Range names {length} bytes, Content-Length {announced}")))
        }
        _ => Ok(Some(length)),
    }
}

/// Takes the body into the session. What arrived before an error stays, so that the client can go on from there.
async fn receive(context: &Context, upload: &mut Upload, body: &mut RequestBody, length: Option<u64>) -> Result<(), ApiError> {
    let mut look = body.received() + LOOK_AT_SPACE;
    let announced = body.announced();
    loop {
        let bytes = tokio::select! {
            biased;
            bytes = body.next() => bytes?,
            () = upload.taken_over() => return Err(ApiError::TakenOver),
        };
        let Some(mut bytes) = bytes else { break };
        if body.received() >= look {
            look = body.received() + LOOK_AT_SPACE;
            context.store.check_space().await?;
        }
        let excess = length.is_some_and(|length| body.received() > length);
        if let (true, Some(length)) = (excess, length) {
            let before = body.received() - bytes.len() as u64;
            bytes.truncate(usize::try_from(length.saturating_sub(before)).unwrap_or(usize::MAX));
        }
        upload.write(bytes).await?;
        if excess {
            return Err(ApiError::Size(format!(
                "the body is longer than the {} bytes of its Content-Range",
                length.unwrap_or_default()
            )));
        }
    }
    match length.or(announced) {
        Some(length) if body.received() != length => {
            Err(ApiError::Size(format!("the body has {} bytes instead of {length}", body.received())))
        }
        _ => Ok(()),
    }
}

/// What arrived is kept for the client to go on from, unless there is no room for the rest.
async fn refused(context: &Context, upload: Upload, error: ApiError) -> ApiError {
    match error {
        ApiError::Store(StoreError::Full) => context.store.give_up(upload).await.into(),
        error => error,
    }
}

async fn complete(context: &Context, permit: &Permit, repository: &RepositoryName, upload: Upload, digest: &Digest) -> Answer {
    match context.store.finish_upload(repository, upload, digest, permit.actor()).await {
        Ok(_) => Ok(created(context, repository, digest)),
        Err(FinishError::Mismatch { actual }) => {
            Err(ApiError::DigestMismatch { expected: Box::new(*digest), actual: Box::new(actual) })
        }
        Err(FinishError::Store(error)) => Err(error.into()),
    }
}

fn session(context: &Context, repository: &RepositoryName, id: UploadId, status: StatusCode, offset: u64) -> Response<Body> {
    let mut response = respond::empty(status);
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, context.location(format_args!("/v2/{repository}/blobs/uploads/{id}")));
    headers.insert(header::RANGE, respond::received(offset));
    headers.insert(respond::UPLOAD_UUID, respond::value(id.to_string()));
    if status != StatusCode::NO_CONTENT {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    response
}

fn created(context: &Context, repository: &RepositoryName, digest: &Digest) -> Response<Body> {
    let mut response = respond::empty(StatusCode::CREATED);
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, context.location(format_args!("/v2/{repository}/blobs/{digest}")));
    headers.insert(respond::CONTENT_DIGEST, respond::value(digest.to_string()));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}
