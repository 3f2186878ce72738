//! Numbers for Prometheus. What a request counts is found once, at the start, so that counting costs an addition.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use wharf_store::{Store, StoreError, Timestamp};

use crate::endpoint::Kind;
use crate::error::ApiError;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    endpoint: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Endpoint {
    endpoint: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cause {
    cause: &'static str,
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// Seconds. From a cached manifest to a large upload.
const LATENCIES: [f64; 14] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0];

struct PerKind {
    requests: [Counter; CLASSES.len()],
    latency: Histogram,
}

/// Everything that is counted.
pub(crate) struct Metrics {
    registry: Registry,
    kinds: [PerKind; Kind::ALL.len()],
    pub(crate) received: Counter,
    sent: Counter,
    pub(crate) connections: Gauge,
    failures: Family<Cause, Counter>,
    store: StoreGauges,
}

#[derive(Default)]
struct StoreGauges {
    uploads: Gauge,
    leases: Gauge,
    repositories: Gauge,
    tags: Gauge,
    manifests: Gauge,
    blobs: Gauge,
    bytes: Gauge,
    free: Gauge,
    reclaimable: Gauge,
    collected_bytes: Gauge,
    collected_blobs: Gauge,
    collected_manifests: Gauge,
    collection_milliseconds: Gauge,
    collection_age: Gauge,
}

impl StoreGauges {
    fn register(&self, registry: &mut Registry) {
        let mut gauge = |name, help, gauge: &Gauge| registry.register(name, help, gauge.clone());
        gauge("wharf_uploads_open", "Open upload sessions", &self.uploads);
        gauge("wharf_leases", "Leases in force", &self.leases);
        gauge("wharf_repositories", "Repositories that hold a manifest", &self.repositories);
        gauge("wharf_tags", "Tags", &self.tags);
        gauge("wharf_manifests", "Manifests, counted once per repository", &self.manifests);
        gauge("wharf_blobs", "Blobs, counted once", &self.blobs);
        gauge("wharf_blob_bytes", "Bytes of all blobs, counted once", &self.bytes);
        gauge("wharf_disk_free_bytes", "Bytes that can still be written", &self.free);
        gauge(
            "wharf_reclaimable_bytes",
            "Bytes that wait for a lease or the grace to end, as of the last collection",
            &self.reclaimable,
        );
        gauge("wharf_collection_freed_bytes", "Bytes freed by the last collection", &self.collected_bytes);
        gauge("wharf_collection_blobs", "Blobs removed by the last collection", &self.collected_blobs);
        gauge("wharf_collection_manifests", "Manifests removed by the last collection", &self.collected_manifests);
        gauge("wharf_collection_duration_milliseconds", "How long the last collection took", &self.collection_milliseconds);
        gauge(
            "wharf_collection_age_seconds",
            "Time since the last collection ended; -1 when there was none",
            &self.collection_age,
        );
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let requests: Family<Request, Counter> = Family::default();
        let latency = Family::<Endpoint, Histogram>::new_with_constructor(|| Histogram::new(LATENCIES));
        let kinds = Kind::ALL.map(|kind| PerKind {
            requests: CLASSES.map(|status| requests.get_or_create(&Request { endpoint: kind.as_str(), status }).clone()),
            latency: latency.get_or_create(&Endpoint { endpoint: kind.as_str() }).clone(),
        });
        registry.register("wharf_http_requests", "Requests answered", requests);
        registry.register_with_unit(
            "wharf_http_request_duration",
            "Time until the answer's head was ready",
            Unit::Seconds,
            latency,
        );
        let (received, sent) = (Counter::default(), Counter::default());
        registry.register_with_unit("wharf_http_received", "Bytes of request bodies", Unit::Bytes, received.clone());
        registry.register_with_unit("wharf_http_sent", "Bytes written to clients", Unit::Bytes, sent.clone());
        let connections = Gauge::default();
        registry.register("wharf_http_connections", "Open connections", connections.clone());
        let failures = Family::default();
        registry.register(
            "wharf_store_failures",
            "Requests that failed because of the disk, the index or damaged content",
            failures.clone(),
        );
        for cause in ["full", "damaged", "backend", "stopped"] {
            drop(failures.get_or_create(&Cause { cause }));
        }
        let store = StoreGauges::default();
        store.register(&mut registry);
        Self { registry, kinds, received, sent, connections, failures, store }
    }

    /// Counts an answered request.
    pub(crate) fn observe(&self, kind: Kind, status: u16, took: Duration) {
        let kind = &self.kinds[kind as usize];
        kind.requests[usize::from(status / 100).clamp(1, 5) - 1].inc();
        kind.latency.observe(took.as_secs_f64());
    }

    /// Counts a failure of the store.
    pub(crate) fn failed(&self, error: &ApiError) {
        let ApiError::Store(error) = error else { return };
        let cause = match error {
            StoreError::Full => "full",
            StoreError::Damaged { .. } => "damaged",
            StoreError::Stopped => "stopped",
            StoreError::Backend { .. } => "backend",
        };
        self.failures.get_or_create(&Cause { cause }).inc();
    }

    /// The text that Prometheus reads. Asks the store for its sums.
    pub(crate) async fn text(&self, store: &Store) -> String {
        let gauges = &self.store;
        let set = |gauge: &Gauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&gauges.uploads, store.open_uploads() as u64);
        set(&gauges.leases, store.leases() as u64);
        match store.totals().await {
            Ok(totals) => {
                set(&gauges.repositories, totals.repositories);
                set(&gauges.tags, totals.tags);
                set(&gauges.manifests, totals.manifests);
                set(&gauges.blobs, totals.blobs);
                set(&gauges.bytes, totals.blob_bytes);
            }
            Err(error) => tracing::warn!(%error, "cannot count what is stored"),
        }
        if let Ok(Some(free)) = store.free_space().await {
            set(&gauges.free, free);
        }
        gauges.collection_age.set(-1);
        if let Some((at, last)) = store.last_collection() {
            set(&gauges.reclaimable, last.held_bytes);
            set(&gauges.collected_bytes, last.bytes);
            set(&gauges.collected_blobs, last.blobs);
            set(&gauges.collected_manifests, last.manifests);
            set(&gauges.collection_milliseconds, last.milliseconds);
            set(&gauges.collection_age, Timestamp::now().since(at).as_secs());
        }
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(_) => String::new(),
        }
    }

    /// Bytes went out.
    pub(crate) fn add_sent(&self, bytes: usize) {
        self.sent.inc_by(bytes as u64);
    }
}
