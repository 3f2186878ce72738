//! What is counted of upstreams.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Question {
    upstream: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Upstream {
    upstream: String,
}

/// Counters over all upstreams.
#[derive(Clone, Default)]
pub(crate) struct Counts {
    requests: Family<Question, Counter>,
    received: Family<Upstream, Counter>,
    /// Answers out of what is cached.
    pub(crate) hits: Counter,
    /// Those of them whose upstream could not be asked when it was due.
    pub(crate) stale: Counter,
}

impl Counts {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("wharf_upstream_requests", "Questions to upstreams by what came of them", self.requests.clone());
        registry.register_with_unit(
            "wharf_upstream_received",
            "Bytes of blobs and manifests that came from upstreams",
            Unit::Bytes,
            self.received.clone(),
        );
        registry.register("wharf_upstream_hits", "Answers out of what is cached of upstreams", self.hits.clone());
        registry.register(
            "wharf_upstream_stale",
            "Answers whose upstream could not be asked when it was due",
            self.stale.clone(),
        );
    }

    /// A question was answered: `found`, `missing`, `failed`, `refused` or `busy`.
    pub(super) fn asked(&self, upstream: &str, result: &'static str) {
        self.requests.get_or_create(&Question { upstream: upstream.to_owned(), result }).inc();
    }

    /// The counter of an upstream's bytes.
    pub(super) fn received(&self, upstream: &str) -> Counter {
        self.received.get_or_create(&Upstream { upstream: upstream.to_owned() }).clone()
    }
}
