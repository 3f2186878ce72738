//! Listings: catalog, tags, referrers.

use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use serde_json::value::RawValue;
use wharf_oci::{Digest, RepositoryName, media_type};
use wharf_store::{Page, Referrer};

use super::{Answer, Context};
use crate::access::Permit;
use crate::body::Body;
use crate::error::ApiError;
use crate::paging::PageQuery;
use crate::respond;

/// Descriptors in one page of referrers, and bytes: what clients take for a manifest (distribution-spec, "Pushing Manifests"), without the index around them.
const REFERRERS: usize = 1_000;
const REFERRERS_BYTES: usize = (4 << 20) - 1_024;

#[derive(Serialize)]
struct Catalog {
    repositories: Vec<String>,
}

#[derive(Serialize)]
struct Tags<'a> {
    name: &'a str,
    tags: Vec<String>,
}

pub(super) async fn catalog(context: &Context, permit: &Permit, query: &PageQuery) -> Answer {
    let query = &PageQuery { n: query.n.min(context.limits.catalog), last: query.last.clone() };
    let page = visible(context, permit, query).await?;
    let link = link(&page, query, "/v2/_catalog");
    Ok(listing(&Catalog { repositories: page.items }, link))
}

/// A page of what the caller may pull.
async fn visible(context: &Context, permit: &Permit, query: &PageQuery) -> Result<Page<String>, ApiError> {
    let mut page = context.store.repositories(query.last.as_deref(), query.n).await?;
    if !permit.is_guarded() || query.n == 0 {
        return Ok(page);
    }
    let mut items = Vec::new();
    loop {
        let last = page.items.last().cloned();
        items.extend(page.items.into_iter().filter(|name| permit.may_see(name)));
        // One more than is wanted says that there is a further page, which a page of what they may not see would not.
        if items.len() > query.n || !page.more {
            let more = items.len() > query.n;
            items.truncate(query.n);
            return Ok(Page { items, more });
        }
        page = context.store.repositories(last.as_deref(), context.limits.catalog).await?;
    }
}

pub(super) async fn tags(context: &Context, repository: &RepositoryName, query: &PageQuery) -> Answer {
    let page = context.store.tags(repository, query.last.as_deref(), query.n).await?;
    let page = page.ok_or_else(|| ApiError::NameUnknown(repository.to_string()))?;
    let link = link(&page, query, &format!("/v2/{repository}/tags/list"));
    Ok(listing(&Tags { name: repository.as_str(), tags: page.items }, link))
}

/// The way to the next page, when there is one. Nobody who asks for nothing is sent on.
fn link(page: &Page<String>, query: &PageQuery, path: &str) -> Option<String> {
    let last = page.items.last().filter(|_| page.more)?;
    Some(query.next(path, last))
}

fn listing(value: &impl Serialize, link: Option<String>) -> Response<Body> {
    // Maps with text keys, lists and text: nothing here that JSON could not hold.
    let mut response = respond::json(StatusCode::OK, serde_json::to_vec(value).unwrap_or_default());
    if let Some(link) = link {
        response.headers_mut().insert(header::LINK, respond::value(link));
    }
    response
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<'a> {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<Descriptor<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor<'a> {
    media_type: &'a str,
    digest: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<&'a RawValue>,
}

pub(super) async fn referrers(
    context: &Context,
    repository: &RepositoryName,
    subject: &Digest,
    artifact_type: Option<&str>,
    after: Option<&Digest>,
) -> Answer {
    let page = context.store.referrers(repository, subject, artifact_type, after, REFERRERS, REFERRERS_BYTES).await?;
    let manifests = page.items.iter().map(descriptor).collect();
    let index = Index { schema_version: 2, media_type: media_type::OCI_INDEX, manifests };
    let link = page.items.last().filter(|_| page.more).map(|last| {
        let filter = artifact_type.map(|text| format!("artifactType={}&", crate::query::encode(text))).unwrap_or_default();
        format!("</v2/{repository}/referrers/{subject}?{filter}last={}>; rel=\"next\"", last.digest)
    });
    let mut response = listing(&index, link);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type::OCI_INDEX));
    if artifact_type.is_some() {
        headers.insert("oci-filters-applied", HeaderValue::from_static("artifactType"));
    }
    Ok(response)
}

fn descriptor(referrer: &Referrer) -> Descriptor<'_> {
    Descriptor {
        media_type: &referrer.media_type,
        digest: referrer.digest.to_string(),
        size: referrer.size,
        artifact_type: referrer.artifact_type.as_deref(),
        annotations: referrer.annotations.as_deref().and_then(|text| serde_json::from_str(text).ok()),
    }
}
