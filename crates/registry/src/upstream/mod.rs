//! What this registry lacks, out of upstream registries.
//!
//! Looked for there is only what was not pushed here. A manifest is fetched, stored and then answered; a blob is handed on while it comes ([`growing`]), once for
//! all who wait ([`fetch`]). A tag counts for its upstream's time to live, and is then asked for again ([`freshness`]); when that fails, what is here is given out
//! with a warning. Which upstream is asked for which repository is said by [`mapping`]. All of it runs on one runtime beside the workers, so that a connection to
//! an upstream belongs to no worker's.

mod counts;
mod failure;
mod fetch;
mod freshness;
mod growing;
mod mapping;
mod missing;
mod once;
mod source;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header};
use tokio::runtime::Handle;
use wharf_client::ClientError;
use wharf_oci::{Digest, Reference, RepositoryName};
use wharf_store::{Manifest, Store, Timestamp};

use crate::endpoint::Endpoint;
use crate::query::Query;

pub(crate) use counts::Counts;
pub use failure::Failure;
pub(crate) use growing::Growing;
pub use mapping::{Mapping, MappingError};
pub use source::Upstream;

use fetch::Fetches;
use missing::Missing;
use once::Once;
use source::{Place, Source};

/// A manifest's repository here, and its tag or digest.
type Key = (RepositoryName, Reference);

/// Where to look for what is not here.
#[derive(Debug, Default)]
pub struct Upstreams {
    /// Asked in this order; the first that has something wins.
    pub list: Vec<Upstream>,
    /// The registry is nothing but a mirror: it takes no pushes, and everything in it came from upstream.
    pub mirror: bool,
}

/// All upstreams, and what is being asked of them.
pub(crate) struct Asking {
    pub(crate) counts: Counts,
    pub(crate) mirror: bool,
    runtime: Handle,
    shared: Arc<Shared>,
    manifests: Once<Key, Result<(), Failure>>,
    sizes: Once<(RepositoryName, Digest), Result<Option<u64>, Failure>>,
    fetches: Fetches,
}

/// What questions under way work with.
struct Shared {
    store: Arc<Store>,
    sources: Vec<Arc<Source>>,
    missing: Missing<Key>,
}

impl Asking {
    /// Asks on this thread's runtime.
    pub(crate) fn new(store: Arc<Store>, upstreams: Upstreams) -> Result<Self, ClientError> {
        let counts = Counts::default();
        let sources =
            upstreams.list.into_iter().map(|upstream| Source::new(upstream, &counts).map(Arc::new)).collect::<Result<_, _>>()?;
        Ok(Self {
            counts,
            mirror: upstreams.mirror,
            runtime: Handle::current(),
            shared: Arc::new(Shared { store, sources, missing: Missing::default() }),
            manifests: Once::default(),
            sizes: Once::default(),
            fetches: Fetches::default(),
        })
    }

    /// The endpoint that a client means who names a registry besides (`?ns=`, as containerd asks a mirror): a repository below that name, when an upstream stands
    /// for it.
    pub(crate) fn placed(&self, endpoint: Endpoint, query: Option<&str>) -> Endpoint {
        let namespace = query.filter(|_| !self.shared.sources.is_empty()).and_then(|query| Query::parse(query).get("ns"));
        let Some(namespace) = namespace else { return endpoint };
        let placed = |name: &RepositoryName| self.shared.sources.iter().find_map(|source| source.of_namespace(&namespace, name));
        match &endpoint {
            Endpoint::ReadManifest(name, reference) => match placed(name) {
                Some(name) => Endpoint::ReadManifest(name, reference.clone()),
                None => endpoint,
            },
            Endpoint::ReadBlob(name, digest) => match placed(name) {
                Some(name) => Endpoint::ReadBlob(name, *digest),
                None => endpoint,
            },
            _ => endpoint,
        }
    }

    /// Whether an upstream is to be asked before this is answered.
    pub(crate) fn is_due(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        here: Option<&Manifest>,
        headers: &HeaderMap,
    ) -> bool {
        // Most registries have none, and most answers were pushed.
        if self.shared.sources.is_empty() || here.is_some_and(|here| here.record.cached.is_none()) {
            return false;
        }
        !is_for_stored(headers) && self.shared.is_due(&(repository.clone(), reference.clone()), here)
    }

    /// Brings a manifest here in line with the upstreams. After success the store has the answer, also when that is that there is none.
    pub(crate) async fn freshen(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        here: Option<&Manifest>,
    ) -> Result<(), Failure> {
        // While an upstream rests, what is here is given out at once.
        if let Some(failure) = here.and_then(|here| self.shared.resting(here)) {
            return Err(failure);
        }
        let key = (repository.clone(), reference.clone());
        let (shared, asked) = (self.shared.clone(), key.clone());
        self.manifests.ask(&self.runtime, key, || async move { shared.freshen(&asked).await }).await?
    }

    /// A blob that is not here, as it comes from upstream; `None` when nobody has it.
    pub(crate) async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        headers: &HeaderMap,
    ) -> Result<Option<Arc<Growing>>, Failure> {
        let Some(places) = self.places(repository, digest, headers) else { return Ok(None) };
        let growing = self.fetches.join(&self.runtime, &self.shared.store, (repository.clone(), *digest), places)?;
        if growing.size().await?.is_some() {
            return Ok(Some(growing));
        }
        self.shared.missing.note((repository.clone(), Reference::Digest(*digest)));
        Ok(None)
    }

    /// The length of a blob that is not here; `None` when nobody has it.
    pub(crate) async fn blob_size(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        headers: &HeaderMap,
    ) -> Result<Option<u64>, Failure> {
        let Some(places) = self.places(repository, digest, headers) else { return Ok(None) };
        let asked = *digest;
        let question = || async move {
            let mut failure = None;
            for place in places {
                match place.blob_size(&asked).await {
                    Ok(None) => {}
                    Ok(size) => return Ok(size),
                    Err(failed) => failure = failure.or(Some(failed)),
                }
            }
            failure.map_or(Ok(None), Err)
        };
        self.sizes.ask(&self.runtime, (repository.clone(), *digest), question).await?
    }

    /// Where a blob may be; `None` when there is no use in asking.
    fn places(&self, repository: &RepositoryName, digest: &Digest, headers: &HeaderMap) -> Option<Vec<Place>> {
        if self.shared.sources.is_empty() || is_for_stored(headers) {
            return None;
        }
        if self.shared.missing.knows(&(repository.clone(), Reference::Digest(*digest))) {
            return None;
        }
        Some(self.shared.places(repository)).filter(|places| !places.is_empty())
    }
}

impl Shared {
    /// The repositories that stand for one here, in the order of the upstreams.
    fn places(&self, repository: &RepositoryName) -> Vec<Place> {
        let place = |source: &Arc<Source>| {
            let repository = source.repository(repository)?;
            Some(Place { source: source.clone(), repository })
        };
        self.sources.iter().filter_map(place).collect()
    }

    /// Whether the upstreams are to be asked: about what is not here, and about a tag whose time has run out.
    fn is_due(&self, key: &Key, here: Option<&Manifest>) -> bool {
        let (repository, reference) = key;
        let cached = match here {
            None => return !self.missing.knows(key) && self.sources.iter().any(|source| source.repository(repository).is_some()),
            Some(here) => here.record.cached.as_ref(),
        };
        match (reference, cached) {
            (Reference::Tag(_), Some(cached)) => {
                // One that the configuration no longer names is asked no more, and what came from it stays as it is.
                let source = self.sources.iter().find(|source| source.name == cached.origin.upstream);
                source.is_some_and(|source| Timestamp::now().since(cached.checked) >= source.ttl)
            }
            _ => false,
        }
    }

    /// Why the upstream that something here came from is not to be asked now.
    fn resting(&self, here: &Manifest) -> Option<Failure> {
        let origin = &here.record.cached.as_ref()?.origin;
        self.sources.iter().find(|source| source.name == origin.upstream)?.resting()
    }
}

/// Whether the client wants what is here and nothing else (RFC 9111, section 5.2.1.7).
fn is_for_stored(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|directive| directive.trim().eq_ignore_ascii_case("only-if-cached"))
}

/// What is said of an answer whose upstream could not be asked (RFC 7234, section 5.5).
pub(crate) const STALE: HeaderValue = HeaderValue::from_static("111 wharf \"Revalidation Failed\"");
