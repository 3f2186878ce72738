//! One file for each family of endpoints.

mod blobs;
mod listings;
mod manifests;
mod token;
mod uploads;

use std::sync::Arc;

use http::{HeaderMap, Response, StatusCode};
use wharf_access::Quota;
use wharf_store::Store;

use crate::access::{Permit, Policy};
use crate::body::Body;
use crate::connection::Peer;
use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::guard::Guard;
use crate::incoming::RequestBody;
use crate::metrics::{self, Metrics};
use crate::server::Limits;
use crate::{respond, upstream};

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
    /// Where clients fetch tokens; empty for how they reached the registry.
    pub(crate) realm: String,
    /// Who may do what; `None` where everybody may do everything.
    pub(crate) guard: Option<Arc<Guard>>,
    /// Requests that one caller may send.
    pub(crate) quota: Option<Quota>,
    pub(crate) metrics: Arc<Metrics>,
    /// Who acts where nobody is asked, for the change log.
    pub(crate) nobody: Arc<str>,
}

impl Context {
    /// An address of this registry.
    pub(crate) fn location(&self, path: std::fmt::Arguments<'_>) -> http::HeaderValue {
        respond::value(format!("{}{path}", self.external))
    }
}

type Answer = Result<Response<Body>, ApiError>;

/// A request that may be answered, by whom and how it came.
pub(crate) struct Asked<'a> {
    pub(crate) permit: &'a Permit,
    pub(crate) peer: &'a Peer,
    pub(crate) headers: &'a HeaderMap,
    /// Only the head of the answer is wanted.
    pub(crate) head: bool,
}

/// Answers a request that may be answered.
pub(crate) async fn handle(context: &Context, endpoint: Endpoint, asked: &Asked<'_>, body: &mut RequestBody) -> Answer {
    let Asked { permit, headers, head, .. } = *asked;
    if context.upstreams.mirror && endpoint.changes() {
        return Err(ApiError::NotAllowed("this registry mirrors another one; what is to be in it has to be pushed there"));
    }
    match endpoint {
        Endpoint::ReadManifest(repository, reference) => {
            manifests::read(context, permit, &repository, &reference, headers, head).await
        }
        Endpoint::ReadBlob(repository, digest) => blobs::read(context, permit, &repository, &digest, headers, head).await,
        Endpoint::Base => {
            let mut response = respond::json(StatusCode::OK, "{}");
            response.headers_mut().insert(respond::FEATURES, respond::ALL_FEATURES);
            Ok(response)
        }
        Endpoint::Catalog(page) => listings::catalog(context, permit, &page).await,
        Endpoint::Tags(repository, page) => listings::tags(context, &repository, &page).await,
        Endpoint::Referrers { repository, subject, artifact_type, after } => {
            listings::referrers(context, &repository, &subject, artifact_type.as_deref(), after.as_ref()).await
        }
        Endpoint::PutManifest { repository, reference, tags } => {
            manifests::put(context, permit, repository, reference, tags, headers, body).await
        }
        Endpoint::DeleteManifest(repository, reference) => manifests::delete(context, permit, &repository, &reference).await,
        Endpoint::DeleteBlob(repository, digest) => blobs::delete(context, permit, &repository, &digest).await,
        Endpoint::BeginUpload(repository, begin) => uploads::begin(context, permit, &repository, begin, body).await,
        Endpoint::UploadStatus(repository, id) => uploads::status(context, permit, &repository, id).await,
        Endpoint::AppendUpload(repository, id) => uploads::append(context, permit, &repository, id, headers, body).await,
        Endpoint::FinishUpload(repository, id, digest) => {
            uploads::finish(context, permit, &repository, id, &digest, headers, body).await
        }
        Endpoint::CancelUpload(repository, id) => uploads::cancel(context, permit, &repository, id).await,
        Endpoint::Token(request) => token::issue(context, request, headers, asked.peer, body).await,
        Endpoint::Metrics if permit.is_guarded() => {
            let text = context.metrics.text(&context.store).await;
            Ok(respond::of_type(StatusCode::OK, metrics::PLAIN, metrics::as_plain_text(&text)))
        }
        // Where nobody is asked who they are, there are no administrators.
        Endpoint::Metrics => Err(ApiError::NotFound),
        Endpoint::Health => Ok(respond::json(StatusCode::OK, "{}")),
        Endpoint::Ready => {
            context.store.check().await?;
            Ok(respond::json(StatusCode::OK, "{}"))
        }
    }
}
