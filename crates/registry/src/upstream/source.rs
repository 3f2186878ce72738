//! One upstream, and how it is asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use wharf_client::{Access, Chunks, ClientError, Fetched, Registry, Silent};
use wharf_oci::{Descriptor, Digest, Reference, RepositoryName};

use super::counts::Counts;
use super::failure::Failure;
use super::mapping::Mapping;

/// How long an upstream that failed is not asked about what is here already. Whoever asks gets what there is at once, instead of after a timeout.
const REST: Duration = Duration::from_secs(10);
/// How long an upstream may take to say where a tag leads, while what is here waits to be given out.
const CHECK: Duration = Duration::from_secs(10);
/// The longest pause that an upstream may ask for and get.
const LONGEST_REST: Duration = Duration::from_secs(3_600);

/// Docker Hub, as people call it.
const DOCKER_HUB: &str = "docker.io";

/// An upstream registry as the configuration has it.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// How it is reached, and who we are to it. Its address is what is shown of it.
    pub access: Access,
    /// What it is called in repositories' origins, logs and metrics.
    pub name: String,
    /// Hosts that it stands for when a client names one with `?ns=`. Its repositories are also found here below each of these names.
    pub namespaces: Vec<String>,
    /// Which repositories here are looked for there.
    pub mappings: Vec<Mapping>,
    /// How long a tag is taken for what it was before it is asked for again.
    pub ttl: Duration,
}

/// See the module.
pub(super) struct Source {
    pub(super) name: String,
    pub(super) ttl: Duration,
    namespaces: Vec<String>,
    mappings: Vec<Mapping>,
    registry: Registry,
    counts: Counts,
    received: Counter,
    resting: Mutex<Option<(Instant, Failure)>>,
}

/// A repository of an upstream.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) source: Arc<Source>,
    pub(super) repository: RepositoryName,
}

impl Source {
    pub(super) fn new(upstream: Upstream, counts: &Counts) -> Result<Self, ClientError> {
        let Upstream { access, name, namespaces, mut mappings, ttl } = upstream;
        mappings.sort_by_key(|mapping| std::cmp::Reverse(mapping.precision()));
        mappings.extend(namespaces.iter().map(|namespace| Mapping::below(&component(namespace))));
        let registry = Registry::new(access, Arc::new(Silent))?;
        let received = counts.received(&name);
        Ok(Self { name, ttl, namespaces, mappings, registry, counts: counts.clone(), received, resting: Mutex::default() })
    }

    /// What a repository here is called there, if it is looked for there.
    pub(super) fn repository(&self, here: &RepositoryName) -> Option<RepositoryName> {
        let there = self.mappings.iter().find_map(|mapping| mapping.apply(here))?;
        // What people call `docker.io/alpine` is `library/alpine` there.
        let is_short = self.registry.address().authority == DOCKER_HUB && !there.as_str().contains('/');
        if is_short { format!("library/{there}").parse().ok() } else { Some(there) }
    }

    /// What a repository of this namespace is called here, if the upstream stands for it.
    pub(super) fn of_namespace(&self, namespace: &str, repository: &RepositoryName) -> Option<RepositoryName> {
        let known = self.namespaces.iter().any(|known| known.eq_ignore_ascii_case(namespace));
        if known { format!("{}/{repository}", component(namespace)).parse().ok() } else { None }
    }

    /// Why it is not to be asked now about what is here already.
    pub(super) fn resting(&self) -> Option<Failure> {
        let resting = self.resting.lock();
        resting.as_ref().filter(|(until, _)| *until > Instant::now()).map(|(_, failure)| failure.clone())
    }

    /// As [`resting`](Self::resting), only when it asked for it itself: with how long it still wants to be left alone.
    fn left_alone(&self) -> Option<Failure> {
        let resting = self.resting.lock();
        let (until, Failure::Busy { upstream, .. }) = resting.as_ref()? else { return None };
        let left = until.checked_duration_since(Instant::now())?;
        Some(Failure::Busy { upstream: upstream.clone(), after: Some(left) })
    }

    /// Counts what came of a question, and keeps in mind when it should not be asked again too soon.
    fn judge<T>(
        &self,
        what: &str,
        repository: &RepositoryName,
        asked: Result<Option<T>, ClientError>,
    ) -> Result<Option<T>, Failure> {
        let error = match asked {
            Ok(found) => {
                self.counts.asked(&self.name, if found.is_some() { "found" } else { "missing" });
                *self.resting.lock() = None;
                return Ok(found);
            }
            Err(error) => error,
        };
        let failure = Failure::of(&self.name, &error);
        let (result, rest) = match &failure {
            Failure::Busy { after, .. } => ("busy", Some(after.unwrap_or(REST).min(LONGEST_REST))),
            Failure::Refused { .. } => ("refused", None),
            Failure::Wrong { .. } => ("failed", None),
            _ => ("failed", Some(REST)),
        };
        self.counts.asked(&self.name, result);
        tracing::warn!(upstream = self.name, %repository, what, error = &error as &dyn std::error::Error, "an upstream did not give what it was asked for");
        if let Some(rest) = rest {
            *self.resting.lock() = Some((Instant::now() + rest, failure.clone()));
        }
        Err(failure)
    }
}

impl Place {
    /// What is shown of it.
    pub(super) fn origin(&self) -> wharf_store::Origin {
        wharf_store::Origin { upstream: self.source.name.clone(), repository: self.repository.clone() }
    }

    /// The digest that a tag leads to there.
    pub(super) async fn resolve(&self, reference: &Reference) -> Result<Option<Digest>, Failure> {
        if let Some(failure) = self.source.resting() {
            return Err(failure);
        }
        let asked = tokio::time::timeout(CHECK, self.source.registry.resolve(&self.repository, reference)).await;
        let stalled = |_| Err(ClientError::Stalled { origin: self.source.registry.address().origin(), after: CHECK });
        let asked = asked.unwrap_or_else(stalled);
        self.source.judge("tag", &self.repository, asked)
    }

    /// A manifest, compared with its digest.
    pub(super) async fn manifest(&self, reference: &Reference) -> Result<Option<Fetched>, Failure> {
        if let Some(failure) = self.source.left_alone() {
            return Err(failure);
        }
        let asked = self.source.registry.manifest(&self.repository, reference).await;
        let found = self.source.judge("manifest", &self.repository, asked)?;
        self.count(found.as_ref().map_or(0, |found| found.bytes.len()));
        Ok(found)
    }

    /// The length of a blob.
    pub(super) async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, Failure> {
        if let Some(failure) = self.source.left_alone() {
            return Err(failure);
        }
        let asked = self.source.registry.blob_size(&self.repository, digest).await;
        self.source.judge("blob", &self.repository, asked)
    }

    /// The length of a blob and its bytes.
    pub(super) async fn blob(&self, digest: &Digest) -> Result<Option<(u64, Chunks)>, Failure> {
        if let Some(failure) = self.source.left_alone() {
            return Err(failure);
        }
        let asked = self.source.registry.open_blob(&self.repository, digest).await;
        self.source.judge("blob", &self.repository, asked)
    }

    /// The bytes of a blob from `offset` on, after those before it were cut off.
    pub(super) async fn rest(&self, digest: &Digest, size: u64, offset: u64) -> Result<Chunks, ClientError> {
        self.source.registry.blob(&self.repository, &Descriptor::new("", *digest, size), offset).await
    }

    /// That a blob came whole and was another one.
    pub(super) fn wrong(&self, digest: &Digest) -> ClientError {
        ClientError::Content { origin: self.source.registry.address().origin(), digest: *digest }
    }

    /// What came of receiving a blob that was found.
    pub(super) fn failed(&self, digest: &Digest, error: &ClientError) -> Failure {
        self.source.counts.asked(&self.source.name, "failed");
        tracing::warn!(
            upstream = self.source.name, repository = %self.repository, %digest, error = error as &dyn std::error::Error,
            "a blob of an upstream did not come to its end; nothing of it is kept"
        );
        Failure::of(&self.source.name, error)
    }

    /// Bytes came.
    pub(super) fn count(&self, bytes: usize) {
        self.source.received.inc_by(bytes as u64);
    }
}

/// A host as one component of a repository's name, which may hold no colon.
fn component(host: &str) -> String {
    host.to_ascii_lowercase().replace(':', "_")
}

#[cfg(test)]
mod tests {
    use wharf_client::{Address, Credentials, Patience, Tls};

    use super::*;

    fn source(authority: &str, namespaces: &[&str], rules: &[(&str, &str)]) -> Source {
        let address = Address { https: true, authority: authority.to_owned() };
        let access = Access { address, credentials: Credentials::None, tls: Tls::default(), patience: Patience::default() };
        let mappings = rules.iter().map(|(here, there)| Mapping::new(here, there).unwrap()).collect();
        let namespaces = namespaces.iter().map(ToString::to_string).collect();
        let upstream = Upstream { access, name: authority.to_owned(), namespaces, mappings, ttl: REST };
        Source::new(upstream, &Counts::default()).unwrap()
    }

    #[tokio::test]
    async fn the_most_precise_rule_counts_and_every_name_below_the_host() {
        let hub =
            source("docker.io", &["docker.io"], &[("yocto/*", "library/*"), ("yocto/app", "team/app"), ("mirror/**", "**")]);
        let there = |here: &str| hub.repository(&here.parse().unwrap()).map(|name| name.to_string());
        for (here, expected) in [
            ("yocto/alpine", Some("library/alpine")),
            ("yocto/app", Some("team/app")),
            ("mirror/alpine", Some("library/alpine")),
            ("mirror/team/app", Some("team/app")),
            ("docker.io/alpine", Some("library/alpine")),
            ("docker.io/team/app", Some("team/app")),
            ("other/app", None),
        ] {
            assert_eq!(there(here).as_deref(), expected, "{here}");
        }
    }

    #[tokio::test]
    async fn a_namespace_with_a_port_has_a_name_here() {
        let other = source("other.example:5000", &["Other.example:5000"], &[]);
        let app = "app".parse().unwrap();
        let here = other.of_namespace("other.example:5000", &app).unwrap();
        assert_eq!(here.as_str(), "other.example_5000/app");
        assert_eq!(other.repository(&here), Some(app.clone()));
        assert_eq!(other.of_namespace("docker.io", &app), None);
    }
}
