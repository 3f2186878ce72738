//! Numbers for Prometheus. What a request counts is found once, at the start, so that counting costs an addition.

use std::collections::HashSet;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use wharf_store::{Done, Store, StoreError};

use crate::endpoint::Kind;
use crate::error::ApiError;
use crate::upstream;

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

/// How long the sums over everything stored hold: they take reading whole tables, and whoever may ask may ask often.
const TOTALS_HOLD: Duration = Duration::from_secs(15);

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
    /// Times that no further connection could be taken.
    pub(crate) full: Counter,
    failures: Family<Cause, Counter>,
    background: Background,
    process: Process,
    store: StoreGauges,
    totals: tokio::sync::Mutex<Option<Instant>>,
}

/// What background work did since the start.
#[derive(Default)]
struct Background {
    collections: Counter,
    freed: Counter,
    scrubbed: Counter,
    failures: Counter,
    /// What these say already.
    counted: Mutex<Done>,
}

impl Background {
    fn register(&self, registry: &mut Registry) {
        registry.register("wharf_collections", "Collections that came to their end", self.collections.clone());
        registry.register_with_unit("wharf_collection_freed", "Bytes freed by collections", Unit::Bytes, self.freed.clone());
        registry.register("wharf_scrubbed_blobs", "Blobs that were read again and compared", self.scrubbed.clone());
        registry.register(
            "wharf_background_failures",
            "Times that background work failed; it is tried again",
            self.failures.clone(),
        );
    }

    fn count(&self, done: Done) {
        let mut counted = self.counted.lock();
        self.collections.inc_by(done.collections.saturating_sub(counted.collections));
        self.freed.inc_by(done.freed_bytes.saturating_sub(counted.freed_bytes));
        self.scrubbed.inc_by(done.scrubbed.saturating_sub(counted.scrubbed));
        self.failures.inc_by(done.failures.saturating_sub(counted.failures));
        *counted = done;
    }
}

/// What the kernel knows of this process, under the names that all servers use.
#[derive(Default)]
struct Process {
    open_fds: Gauge,
    max_fds: Gauge,
    resident: Gauge,
    started: Gauge<f64, AtomicU64>,
}

impl Process {
    fn register(&self, registry: &mut Registry) {
        registry.register("process_open_fds", "Open file descriptors", self.open_fds.clone());
        registry.register("process_max_fds", "File descriptors that may be open", self.max_fds.clone());
        registry.register("process_resident_memory_bytes", "Memory of the process", self.resident.clone());
        registry.register("process_start_time_seconds", "Start of the process in seconds since 1970", self.started.clone());
        self.started.set(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
    }

    fn read(&self) {
        if let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") {
            // One of them is this folder's.
            set(&self.open_fds, (descriptors.count() as u64).saturating_sub(1));
        }
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        set(&self.max_fds, limit.unwrap_or(u64::MAX));
        if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            set(&self.resident, kilobytes.unwrap_or_default() * 1024);
        }
    }
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
    collection_seconds: Gauge<f64, AtomicU64>,
    collection_ended: Gauge<f64, AtomicU64>,
}

fn set(gauge: &Gauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
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
            "Bytes that wait for a lease or the grace to end, as of the collector's last look at each repository",
            &self.reclaimable,
        );
        gauge("wharf_collection_last_freed_bytes", "Bytes freed by the last collection", &self.collected_bytes);
        gauge("wharf_collection_last_blobs", "Blobs removed by the last collection", &self.collected_blobs);
        gauge("wharf_collection_last_manifests", "Manifests removed by the last collection", &self.collected_manifests);
        let mut seconds = |name, help, gauge: &Gauge<f64, AtomicU64>| registry.register(name, help, gauge.clone());
        seconds("wharf_collection_last_duration_seconds", "How long the last collection took", &self.collection_seconds);
        seconds(
            "wharf_collection_last_timestamp_seconds",
            "When the last collection ended, in seconds since 1970; 0 when there was none since the start",
            &self.collection_ended,
        );
    }
}

impl Metrics {
    /// `room` is how many connections may be open at a time.
    pub(crate) fn new(room: usize, upstream: &upstream::Counts) -> Self {
        let mut registry = Registry::default();
        registry.register("wharf_build", "The program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        let process = Process::default();
        process.register(&mut registry);
        let requests: Family<Request, Counter> = Family::default();
        let latency = Family::<Endpoint, Histogram>::new_with_constructor(|| Histogram::new(LATENCIES));
        let kinds = Kind::ALL.map(|kind| PerKind {
            requests: CLASSES.map(|status| requests.get_or_create(&Request { endpoint: kind.as_str(), status }).clone()),
            latency: latency.get_or_create(&Endpoint { endpoint: kind.as_str() }).clone(),
        });
        registry.register("wharf_http_requests", "Requests answered", requests);
        registry.register_with_unit(
            "wharf_http_request_duration",
            "Time until the answer was over, for those from memory until it was made",
            Unit::Seconds,
            latency,
        );
        let (received, sent) = (Counter::default(), Counter::default());
        registry.register_with_unit("wharf_http_received", "Bytes of request bodies", Unit::Bytes, received.clone());
        registry.register_with_unit("wharf_http_sent", "Bytes written to clients", Unit::Bytes, sent.clone());
        let connections = Gauge::default();
        registry.register("wharf_http_connections", "Open connections", connections.clone());
        let (most, full) = (Gauge::default(), Counter::default());
        set(&most, room as u64);
        registry.register("wharf_http_connections_max", "Connections that may be open", most);
        registry.register(
            "wharf_http_connections_full",
            "Times that a connection had to wait because as many as may be were open",
            full.clone(),
        );
        let failures = Family::default();
        registry.register(
            "wharf_store_failures",
            "Requests that failed because of the disk, the index or damaged content",
            failures.clone(),
        );
        for cause in ["full", "read-only", "busy", "damaged", "index-damaged", "disk", "index", "stopped"] {
            drop(failures.get_or_create(&Cause { cause }));
        }
        upstream.register(&mut registry);
        let background = Background::default();
        background.register(&mut registry);
        let store = StoreGauges::default();
        store.register(&mut registry);
        let totals = tokio::sync::Mutex::default();
        Self { registry, kinds, received, sent, connections, full, failures, background, process, store, totals }
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
            StoreError::ReadOnly => "read-only",
            StoreError::Busy(_) => "busy",
            StoreError::Damaged { .. } => "damaged",
            StoreError::IndexDamaged { .. } => "index-damaged",
            StoreError::Stopped => "stopped",
            // The index speaks through its engine's errors.
            StoreError::Backend { source, .. } if source.is::<std::io::Error>() => "disk",
            StoreError::Backend { .. } => "index",
        };
        self.failures.get_or_create(&Cause { cause }).inc();
    }

    /// The sums of the store, read anew when they are no longer good.
    async fn count_stored(&self, store: &Store) {
        // Who asks meanwhile waits, instead of reading the same tables.
        let mut read = self.totals.lock().await;
        if read.is_some_and(|read| read.elapsed() < TOTALS_HOLD) {
            return;
        }
        let gauges = &self.store;
        match store.totals().await {
            Ok(totals) => {
                set(&gauges.repositories, totals.repositories);
                set(&gauges.tags, totals.tags);
                set(&gauges.manifests, totals.manifests);
                set(&gauges.blobs, totals.blobs);
                set(&gauges.bytes, totals.blob_bytes);
                set(&gauges.reclaimable, totals.held_bytes);
                *read = Some(Instant::now());
            }
            Err(error) => tracing::warn!(%error, "cannot count what is stored"),
        }
    }

    /// The text that Prometheus reads, as OpenMetrics. Asks the store for its sums.
    pub(crate) async fn text(&self, store: &Store) -> String {
        let gauges = &self.store;
        set(&gauges.uploads, store.open_uploads() as u64);
        set(&gauges.leases, store.leases() as u64);
        self.process.read();
        self.count_stored(store).await;
        self.background.count(store.done());
        if let Ok(Some(free)) = store.free_space().await {
            set(&gauges.free, free);
        }
        if let Some((at, last)) = store.last_collection() {
            set(&gauges.collected_bytes, last.bytes);
            set(&gauges.collected_blobs, last.blobs);
            set(&gauges.collected_manifests, last.manifests);
            gauges.collection_seconds.set(Duration::from_millis(last.milliseconds).as_secs_f64());
            gauges.collection_ended.set(Duration::from_millis(u64::try_from(at.0).unwrap_or_default()).as_secs_f64());
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

/// The type of the plain form.
pub(crate) const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// OpenMetrics as the older text format (`version=0.0.4`), in which a counter's family has the name of its samples, and
/// units, kinds of information and an end are not known.
pub(crate) fn as_plain_text(open: &str) -> String {
    let of_kind = |kind: &'static str| {
        let named = move |line: &'_ str| line.strip_prefix("# TYPE ")?.strip_suffix(kind)?.strip_suffix(' ').map(str::to_owned);
        open.lines().filter_map(named).collect::<HashSet<String>>()
    };
    let (counters, infos) = (of_kind("counter"), of_kind("info"));
    let mut text = String::with_capacity(open.len());
    for line in open.lines().filter(|line| *line != "# EOF" && !line.starts_with("# UNIT ")) {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(what), Some(family), Some(rest)) => {
                let suffix = match family {
                    family if counters.contains(family) => "_total",
                    family if infos.contains(family) => "_info",
                    _ => "",
                };
                let rest = if what == "TYPE" && rest == "info" { "gauge" } else { rest };
                text.push_str(&format!("# {what} {family}{suffix} {rest}\n"));
            }
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_names_families_as_their_samples() {
        let open = "# HELP a Things.\n# TYPE a counter\n# UNIT a bytes\na_total 1\n\
                    # HELP b The program.\n# TYPE b info\nb_info{version=\"1\"} 1\n\
                    # HELP c Now.\n# TYPE c gauge\nc{x=\"y z\"} 2\n# EOF\n";
        let plain = "# HELP a_total Things.\n# TYPE a_total counter\na_total 1\n\
                     # HELP b_info The program.\n# TYPE b_info gauge\nb_info{version=\"1\"} 1\n\
                     # HELP c Now.\n# TYPE c gauge\nc{x=\"y z\"} 2\n";
        assert_eq!(as_plain_text(open), plain);
    }

    #[test]
    fn failures_of_the_disk_and_of_the_index_are_told_apart() {
        let metrics = Metrics::new(1, &upstream::Counts::default());
        let failures = |cause| metrics.failures.get_or_create(&Cause { cause }).get();
        metrics.failed(&ApiError::Store(StoreError::io("reading", std::io::Error::other("a bad sector"))));
        assert_eq!((failures("disk"), failures("index")), (1, 0));
        metrics.failed(&ApiError::Store(StoreError::Backend { context: "reading", source: "malformed".into() }));
        assert_eq!((failures("disk"), failures("index")), (1, 1));
    }
}
