//! What a registry lists: the tags of a repository, and its repositories.

use bytes::Bytes;
use http::header::LINK;
use http::{Method, StatusCode};
use reqwest::{Response, Url};
use serde::Deserialize;
use wharf_oci::RepositoryName;

use crate::auth::Scope;
use crate::transport::Ask;
use crate::{ClientError, Registry};

/// Bytes of one page of a listing at most.
const MAX_PAGE: usize = 16 << 20;
/// Pages of one listing at most: with a server's usual hundred a page that is a million.
const MAX_PAGES: usize = 10_000;
/// Bytes of all pages of one listing at most, which is more than that million needs.
const MAX_LISTING: usize = 64 << 20;

impl Registry {
    /// All tags of a repository, in the registry's order; `None` when it does not know the repository.
    pub async fn tags(&self, repository: &RepositoryName) -> Result<Option<Vec<String>>, ClientError> {
        #[derive(Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let scope = Scope::pull(repository);
        let first = self.transport.url(&format!("{repository}/tags/list"));
        self.pages(first, &scope, |page: Page| page.tags.unwrap_or_default()).await
    }

    /// The names of all repositories, in the registry's order.
    pub async fn catalog(&self) -> Result<Vec<String>, ClientError> {
        #[derive(Deserialize)]
        struct Page {
            repositories: Option<Vec<String>>,
        }
        let mut first = self.transport.url("_catalog");
        // Most give a hundred at a time unless asked; asking for more is always allowed, and some then give fewer.
        first.set_query(Some("n=1000"));
        let scope = Scope::catalog();
        let names = |page: Page| page.repositories.unwrap_or_default();
        let found = match self.pages(first.clone(), &scope, names).await {
            // Distribution has a limit that may be set lower, and refuses more.
            Err(error) if error.is_status(StatusCode::BAD_REQUEST) => {
                first.set_query(None);
                self.pages(first, &scope, names).await?
            }
            found => found?,
        };
        found.ok_or_else(|| ClientError::Protocol { origin: self.transport.origin(), what: "it has no catalog".to_owned() })
    }

    /// A listing with every page followed (distribution-spec, "Listing Tags": the `Link` header).
    async fn pages<P: for<'a> Deserialize<'a>>(
        &self,
        first: Url,
        scope: &Scope,
        entries: impl Fn(P) -> Vec<String>,
    ) -> Result<Option<Vec<String>>, ClientError> {
        let origin = self.transport.origin();
        let mut all = Vec::new();
        let mut size = 0;
        let mut next = Some(first);
        for _ in 0..MAX_PAGES {
            let Some(url) = next else { return Ok(Some(all)) };
            let what = format!("GET {}", url.path());
            // A page that is gone is one of a listing that is gone: half of it is nothing to go by.
            let page = self.transport.again(&what, || self.page(url.clone(), scope)).await?;
            let Some((bytes, following)) = page else { return Ok(None) };
            next = following;
            size += bytes.len();
            if size > MAX_LISTING {
                return Err(ClientError::Protocol { origin, what: format!("a listing of more than {MAX_LISTING} bytes") });
            }
            let page = serde_json::from_slice(&bytes)
                .map_err(|_| ClientError::Protocol { origin: origin.clone(), what: "a listing that does not read".to_owned() })?;
            all.extend(entries(page));
        }
        Err(ClientError::Protocol { origin, what: format!("a listing of more than {MAX_PAGES} pages") })
    }

    /// One page and the address of the next; `None` when there is no such listing.
    async fn page(&self, url: Url, scope: &Scope) -> Result<Option<(Bytes, Option<Url>)>, ClientError> {
        let response = self.transport.follow(Ask::new(Method::GET, url, scope)).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(self.unexpected(&Method::GET, response).await),
        }
        let next = self.following(&response)?;
        Ok(Some((self.transport.read(response, MAX_PAGE).await?, next)))
    }

    /// The next page: `Link: </v2/…?last=x&n=y>; rel="next"`. Wherever it points, the page is here: a registry behind a proxy often does not know its own
    /// address.
    fn following(&self, response: &Response) -> Result<Option<Url>, ClientError> {
        let Some(link) = response.headers().get(LINK) else { return Ok(None) };
        let strange =
            || ClientError::Protocol { origin: self.transport.origin(), what: "a listing whose next page is nowhere".to_owned() };
        let link = link.to_str().map_err(|_| strange())?;
        if link.trim().is_empty() {
            return Ok(None);
        }
        let (target, parameters) = link.split_once('<').and_then(|(_, rest)| rest.split_once('>')).ok_or_else(strange)?;
        if !parameters.contains("next") {
            return Ok(None);
        }
        let target = response.url().join(target).map_err(|_| strange())?;
        let mut next = response.url().clone();
        next.set_path(target.path());
        next.set_query(target.query());
        if next == *response.url() { Err(strange()) } else { Ok(Some(next)) }
    }
}
