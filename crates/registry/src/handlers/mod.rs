//! One file for each family of endpoints.

mod blobs;
mod listings;
mod manifests;
mod uploads;

use std::sync::Arc;

use http::{HeaderMap, Response, StatusCode};
use wharf_store::Store;

use crate::access::Policy;
use crate::body::Body;
use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::incoming::RequestBody;
use crate::respond;
use crate::server::Limits;
use crate::upstream;

/// What every handler works with.
pub(crate) struct Context {
    pub(crate) store: Arc<Store>,
    pub(crate) policy: Policy,
    pub(crate) upstreams: upstream::Asking,
    pub(crate) limits: Limits,
    /// An index may name manifests that the repository does not hold.
    pub(crate) sparse: bool,
    /// In front of every `Location`; empty for relative ones.
    pub(crate) external: String,
    /// Who acts, for the change log.
    pub(crate) nobody: Arc<str>,
}

impl Context {
    /// An address of this registry.
    pub(crate) fn location(&self, path: std::fmt::Arguments<'_>) -> http::HeaderValue {
        respond::value(format!("{}{path}", self.external))
    }
}

type Answer = Result<Response<Body>, ApiError>;

/// Answers a request that may be answered.
pub(crate) async fn handle(
    context: &Context,
    endpoint: Endpoint,
    headers: &HeaderMap,
    body: &mut RequestBody,
    head: bool,
) -> Answer {
    if context.upstreams.mirror && endpoint.changes() {
        return Err(ApiError::NotAllowed("this registry mirrors another one; what is to be in it has to be pushed there"));
    }
    match endpoint {
        Endpoint::ReadManifest(repository, reference) => manifests::read(context, &repository, &reference, headers, head).await,
        Endpoint::ReadBlob(repository, digest) => blobs::read(context, &repository, &digest, headers, head).await,
        Endpoint::Base => {
            let mut response = respond::json(StatusCode::OK, "{}");
            response.headers_mut().insert(respond::FEATURES, respond::ALL_FEATURES);
            Ok(response)
        }
        Endpoint::Catalog(page) => listings::catalog(context, &page).await,
        Endpoint::Tags(repository, page) => listings::tags(context, &repository, &page).await,
        Endpoint::Referrers { repository, subject, artifact_type, after } => {
            listings::referrers(context, &repository, &subject, artifact_type.as_deref(), after.as_ref()).await
        }
        Endpoint::PutManifest { repository, reference, tags } => {
            manifests::put(context, repository, reference, tags, headers, body).await
        }
        Endpoint::DeleteManifest(repository, reference) => manifests::delete(context, &repository, &reference).await,
        Endpoint::DeleteBlob(repository, digest) => blobs::delete(context, &repository, &digest).await,
        Endpoint::BeginUpload(repository, begin) => uploads::begin(context, &repository, begin, body).await,
        Endpoint::UploadStatus(repository, id) => uploads::status(context, &repository, id).await,
        Endpoint::AppendUpload(repository, id) => uploads::append(context, &repository, id, headers, body).await,
        Endpoint::FinishUpload(repository, id, digest) => uploads::finish(context, &repository, id, &digest, headers, body).await,
        Endpoint::CancelUpload(repository, id) => uploads::cancel(context, &repository, id).await,
        Endpoint::Health => Ok(respond::json(StatusCode::OK, "{}")),
        Endpoint::Ready => {
            context.store.check().await?;
            Ok(respond::json(StatusCode::OK, "{}"))
        }
    }
}
