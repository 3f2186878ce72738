//! Listeners, worker threads, and an orderly end.
//!
//! Each worker thread runs its own connections from beginning to end, so that answering from memory wakes nobody else. One thread accepts and gives each new
//! connection to the worker that has the fewest.

use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue};
use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use wharf_access::Quota;
use wharf_store::Store;

use crate::access::Policy;
use crate::audit::AuditLog;
use crate::connection::{self, Shared};
use crate::control::{self, Identity};
use crate::guard::Guard;
use crate::handlers;
use crate::metrics::Metrics;
use crate::upstream::{self, Upstreams};

/// Threads of one worker that wait for the disk: enough to keep one busy, and few enough that a hundred uploads at once do not each bring stacks and
/// allocator caches of their own.
const DISK_THREADS: usize = 8;

/// How often connections that cannot be accepted are told of.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Bounds on what a client may ask for.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a manifest.
    pub manifest_size: usize,
    /// Ranges in one request.
    pub ranges: usize,
    /// Repositories in one page of the catalog, at most 10,000.
    pub catalog: usize,
    /// Requests a second of one caller, on average; 0 for as many as come.
    pub requests: u32,
    /// Time for a request's head to arrive; also how long a connection may be idle.
    pub header_timeout: Duration,
    /// Time without progress in a body, either way.
    pub body_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_size: 4 << 20,
            ranges: 4_096,
            catalog: 10_000,
            requests: 0,
            header_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(60),
        }
    }
}

/// How to serve. Sockets are bound by the caller, who can say best why one could not be.
#[derive(Debug)]
pub struct Options {
    /// Where clients connect.
    pub listeners: Vec<StdTcpListener>,
    /// How TLS is spoken with clients; without it they are answered in clear text.
    pub tls: Option<Arc<ServerConfig>>,
    /// Where monitoring connects, if it is wanted.
    pub monitoring: Option<Monitoring>,
    /// Where the storage's owner connects.
    pub owner: Option<StdUnixListener>,
    /// What everybody may do.
    pub policy: Policy,
    /// Who may do what; without it, everybody may do everything.
    pub guard: Option<Guard>,
    /// Where changes and refusals are told of.
    pub audit: Option<AuditLog>,
    /// Where to look for what is not here.
    pub upstreams: Upstreams,
    /// Bounds.
    pub limits: Limits,
    /// Whether an index may name manifests that the repository does not hold.
    pub sparse_indexes: bool,
    /// `scheme://host` in front of every `Location`; none for relative ones.
    pub external: Option<String>,
    /// `scheme://host` by which clients reach the registry, where they are told to fetch tokens; none for how they reached it.
    pub realm: Option<String>,
    /// Headers of every answer.
    pub extra_headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether every request is logged.
    pub access_log: bool,
    /// How long requests under way may take to end once the server stops.
    pub drain: Duration,
    /// Connections open at a time; further ones wait until others end. 0 for as many as leave a quarter of the process's
    /// descriptors to files.
    pub connections: usize,
    /// Threads that answer; 0 for one a core.
    pub workers: usize,
}

/// The listeners for monitoring.
#[derive(Debug)]
pub struct Monitoring {
    /// Where it connects.
    pub listeners: Vec<StdTcpListener>,
    /// Path of the metrics, if they are wanted.
    pub metrics_path: Option<String>,
}

/// Why the server could not begin.
#[derive(Debug, thiserror::Error)]
#[error("cannot start to serve")]
pub struct ServeError(#[from] io::Error);

/// A server that answers.
pub struct Running {
    /// Addresses it answers on.
    pub listeners: Vec<SocketAddr>,
    /// Addresses that monitoring answers on.
    pub monitoring: Vec<SocketAddr>,
    stopping: watch::Sender<bool>,
    workers: Vec<std::thread::JoinHandle<()>>,
    tasks: JoinSet<()>,
}

/// Begins to serve. Call it within a Tokio runtime, which runs the background work; requests are answered on threads of their own.
pub fn serve(store: Arc<Store>, options: Options) -> Result<Running, ServeError> {
    let address = |listener: &StdTcpListener| listener.local_addr();
    let listeners = options.listeners.iter().map(address).collect::<io::Result<Vec<_>>>()?;
    let watched = options.monitoring.iter().flat_map(|monitoring| &monitoring.listeners);
    let monitoring = watched.map(address).collect::<io::Result<Vec<_>>>()?;
    let room = match options.connections {
        0 => default_connections(),
        most => most,
    };
    let upstreams = upstream::Asking::new(store.clone(), options.upstreams).map_err(io::Error::other)?;
    let quota = (options.limits.requests > 0).then(|| Quota::new(options.limits.requests));
    let metrics = Arc::new(Metrics::new(room, &upstreams.counts));
    let shared = Arc::new(Shared {
        metrics: metrics.clone(),
        audit: options.audit,
        handlers: handlers::Context {
            store: store.clone(),
            policy: options.policy,
            upstreams,
            limits: options.limits,
            sparse: options.sparse_indexes,
            realm: options.realm.unwrap_or_default().trim_end_matches('/').to_owned(),
            external: options.external.unwrap_or_default().trim_end_matches('/').to_owned(),
            guard: options.guard.map(Arc::new),
            quota,
            metrics,
            nobody: "".into(),
        },
        tls: options.tls.map(TlsAcceptor::from),
        extra_headers: options.extra_headers,
        access_log: options.access_log,
    });
    let (stopping, stop) = watch::channel(false);
    let count = match options.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count,
    };
    let mut workers = Vec::new();
    let mut inboxes = Vec::new();
    for number in 0..count {
        let (worker, inbox) = Worker::start(number, shared.clone(), stop.clone(), options.drain)?;
        workers.push(worker);
        inboxes.push(inbox);
    }
    let entrance = Arc::new(Entrance {
        inboxes,
        // Each listener holds a place for the connection that it waits for.
        room: Arc::new(Semaphore::new(room.saturating_add(options.listeners.len()).min(Semaphore::MAX_PERMITS))),
        failures: Mutex::default(),
        shared: shared.clone(),
    });
    let mut tasks = JoinSet::new();
    for listener in options.listeners {
        listener.set_nonblocking(true)?;
        tasks.spawn(accept(TcpListener::from_std(listener)?, entrance.clone()));
    }
    if let Some(Monitoring { listeners, metrics_path }) = options.monitoring {
        for listener in listeners {
            listener.set_nonblocking(true)?;
            tasks.spawn(control::serve_monitoring(shared.clone(), metrics_path.clone(), TcpListener::from_std(listener)?));
        }
    }
    if let Some(listener) = options.owner {
        listener.set_nonblocking(true)?;
        let identity = Arc::new(Identity { listeners: listeners.clone(), started: Instant::now() });
        tasks.spawn(control::serve_owner(shared, identity, UnixListener::from_std(listener)?));
    }
    tasks.spawn(async move { store.maintain().await });
    Ok(Running { listeners, monitoring, stopping, workers, tasks })
}

/// Three quarters of the descriptors this process may have: what is read from the disk needs some, too.
fn default_connections() -> usize {
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let descriptors = descriptors.and_then(|number| usize::try_from(number).ok()).unwrap_or(usize::MAX);
    (descriptors / 4).saturating_mul(3).max(1)
}

impl Running {
    /// Stops: takes no new connections, lets requests under way end within the drain time, and ends the background work.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
        let _ = self.stopping.send(true);
        let workers = std::mem::take(&mut self.workers);
        let _ = tokio::task::spawn_blocking(move || workers.into_iter().for_each(|worker| drop(worker.join()))).await;
    }
}

/// A connection with its place among those that may be open at a time.
struct Accepted {
    stream: std::net::TcpStream,
    place: OwnedSemaphorePermit,
}

/// The way to a worker.
struct Inbox {
    sender: mpsc::UnboundedSender<Accepted>,
    open: Arc<AtomicUsize>,
}

struct Worker {
    shared: Arc<Shared>,
    inbox: mpsc::UnboundedReceiver<Accepted>,
    open: Arc<AtomicUsize>,
    stop: watch::Receiver<bool>,
    drain: Duration,
}

impl Worker {
    fn start(
        number: usize,
        shared: Arc<Shared>,
        stop: watch::Receiver<bool>,
        drain: Duration,
    ) -> io::Result<(std::thread::JoinHandle<()>, Inbox)> {
        let (sender, inbox) = mpsc::unbounded_channel();
        let open = Arc::new(AtomicUsize::new(0));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_name(format!("disk-{number}"))
            .max_blocking_threads(DISK_THREADS)
            .build()?;
        let worker = Self { shared, inbox, open: open.clone(), stop, drain };
        let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            runtime.block_on(worker.run());
            // What is still on its way to the disk is finished by the store's own shutdown; nothing here is worth waiting for.
            runtime.shutdown_timeout(Duration::from_secs(5));
        })?;
        Ok((thread, Inbox { sender, open }))
    }

    async fn run(mut self) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.inbox.recv() => accepted,
                Some(_) = connections.join_next() => continue,
                () = connection::stopped(&mut self.stop) => None,
            };
            let Some(Accepted { stream, place }) = accepted else { break };
            let (shared, stop) = (self.shared.clone(), self.stop.clone());
            let open = Open(self.open.clone());
            connections.spawn(async move {
                let _counted = (open, place);
                if let Ok(stream) = TcpStream::from_std(stream) {
                    connection::serve(shared, stream, stop).await;
                }
            });
        }
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(self.drain, drained).await.is_err() {
            tracing::warn!(connections = connections.len(), "requests did not end within the drain time; they are cut off");
        }
    }
}

/// Counts a connection while it lasts.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What all listeners share.
struct Entrance {
    inboxes: Vec<Inbox>,
    room: Arc<Semaphore>,
    failures: Mutex<Failures>,
    shared: Arc<Shared>,
}

impl Entrance {
    /// A place for the next connection, which waits in the kernel's queue until there is one.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = self.room.clone().try_acquire_owned() {
            return Some(place);
        }
        self.shared.metrics.full.inc();
        self.room.clone().acquire_owned().await.ok()
    }
}

/// Connections that could not be accepted. While that lasts it is tried some twenty times a second.
#[derive(Default)]
struct Failures {
    told: Option<Instant>,
    since: u64,
}

impl Failures {
    /// Counts one. How many there were when it is time to tell of them.
    fn count(&mut self, now: Instant) -> Option<u64> {
        self.since += 1;
        let due = self.told.is_none_or(|told| now.duration_since(told) >= TELL_EVERY);
        due.then(|| {
            self.told = Some(now);
            std::mem::take(&mut self.since)
        })
    }
}

async fn accept(listener: TcpListener, entrance: Arc<Entrance>) {
    while let Some(place) = entrance.place().await {
        let stream = match listener.accept().await.and_then(|(stream, _)| stream.into_std()) {
            Ok(stream) => stream,
            Err(error) => {
                // Out of descriptors, most of the time: connections end, and then it goes on.
                if let Some(failures) = entrance.failures.lock().count(Instant::now()) {
                    tracing::warn!(%error, failures, "cannot accept a connection");
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if let Some(inbox) = entrance.inboxes.iter().min_by_key(|inbox| inbox.open.load(Ordering::Relaxed)) {
            inbox.open.fetch_add(1, Ordering::Relaxed);
            let _ = inbox.sender.send(Accepted { stream, place });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_to_accept_are_told_of_now_and_then_with_their_number() {
        let mut failures = Failures::default();
        let begun = Instant::now();
        assert_eq!(failures.count(begun), Some(1));
        for _ in 0..5 {
            assert_eq!(failures.count(begun + TELL_EVERY / 2), None);
        }
        assert_eq!(failures.count(begun + TELL_EVERY), Some(6));
    }
}
