//! The server in the foreground.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};
use wharf_registry::{Guard, Limits, Monitoring, Options, Policy};
use wharf_store::Store;
use wharf_store::lock::{State, StorageLock};

use crate::audit;
use crate::config::Config;
use crate::guard;
use crate::listen;
use crate::notify::Notifier;
use crate::sandbox::{self, Places};
use crate::storage;
use crate::tls::{self, Certificates};
use crate::ui::Failure;

/// Several requests to stop within this time are one: two `wharf stop` at the same moment must not cut off what a single
/// one lets end.
const SAME_REQUEST: Duration = Duration::from_secs(2);

/// Serves what `config` says until SIGTERM, SIGINT or SIGHUP, then finishes the requests in flight. A second signal ends it
/// at once. `folder` is that of `start`. With a log file, which standard output and standard error are then, SIGHUP opens that anew instead.
pub fn run(config: &Config, folder: &Path, log: Option<&Path>) -> Result<(), Failure> {
    raise_descriptor_limit();
    let lock = storage::lock(&config.storage.root, State::Starting).map_err(cannot_start)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot_start)?;
    let result = runtime.block_on(serve(config, &lock, folder, log));
    let _ = std::fs::remove_file(config.storage.root.join("control.sock"));
    // Whatever still reads or hashes has nothing left to say; the end of the process does not wait for it.
    runtime.shutdown_background();
    result
}

/// Every connection and every blob that is read holds a descriptor; the usual soft limit of 1,024 is for programs that use `select`.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

fn cannot_start(error: impl std::error::Error + 'static) -> Failure {
    Failure::new("cannot start").because(&error)
}

async fn serve(config: &Config, lock: &StorageLock, folder: &Path, log: Option<&Path>) -> Result<(), Failure> {
    let mut signals = Signals::new(log).map_err(cannot_start)?;
    let certificates = tls::prepare(config)?;
    let guard = guard::prepare(config)?;
    // The listeners come before the storage: a port that is taken is the likeliest mistake.
    let options = options(config, certificates.as_ref(), guard)?;
    // Before any thread is there, for each inherits it; with all ports bound, and nothing opened that a client has a word in.
    sandbox::enter(config.sandbox, &Places::of(config, folder, log))?;
    let store = Arc::new(storage::open(config, lock).await.map_err(cannot_start)?);
    store.note_alive().await.map_err(cannot_start)?;
    let running = wharf_registry::serve(store.clone(), options).map_err(cannot_start)?;
    lock.publish(State::Serving, &running.listeners).map_err(cannot_start)?;
    if let Some(certificates) = certificates {
        tokio::spawn(certificates.keep());
    }
    let notifier = Notifier::from_environment();
    notifier.ready();
    let monitoring = (!running.monitoring.is_empty()).then(|| tracing::field::debug(&running.monitoring));
    tracing::info!(addresses = ?running.listeners, monitoring, "ready");

    let signal = signals.stop().await;
    let asked = Instant::now();
    // Only others who ask rely on it, and those are patient.
    if let Err(error) = lock.publish(State::Stopping, &running.listeners) {
        tracing::warn!(%error, "cannot tell others of the stop");
    }
    notifier.stopping();
    tracing::info!(signal, "stopping");
    tokio::select! {
        () = stop(running, &store) => tracing::info!("stopped"),
        signal = signals.stop_again(asked) => tracing::warn!(signal, "stopped at once by a second signal"),
    }
    Ok(())
}

async fn stop(running: wharf_registry::Running, store: &Store) {
    running.stop().await;
    store.close().await;
}

/// The signals that a server heeds.
struct Signals {
    terminate: SignalStream,
    interrupt: SignalStream,
    /// `None` when whoever started this process wants it to outlive the terminal, as `nohup` does.
    hangup: Option<SignalStream>,
    log: Option<PathBuf>,
}

impl Signals {
    fn new(log: Option<&Path>) -> io::Result<Self> {
        let heeded = log.is_some() || !ignores_hangup();
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: heeded.then(|| signal(SignalKind::hangup())).transpose()?,
            log: log.map(Path::to_path_buf),
        })
    }

    /// Waits for a signal that asks to stop.
    async fn stop(&mut self) -> &'static str {
        loop {
            let hangup = async {
                match &mut self.hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = hangup => match &self.log {
                    None => return "SIGHUP",
                    Some(log) => match reopen(log) {
                        Ok(()) => tracing::info!("opened the log file anew"),
                        Err(error) => tracing::error!(file = %log.display(), %error, "cannot open the log file anew"),
                    },
                },
            }
        }
    }

    /// Waits for one that ends at once a server that was asked to stop.
    async fn stop_again(&mut self, asked: Instant) -> &'static str {
        loop {
            match self.stop().await {
                "SIGTERM" if asked.elapsed() < SAME_REQUEST => {}
                // A terminal that goes away may say so more than once.
                "SIGHUP" => {}
                signal => return signal,
            }
        }
    }
}

/// Whether SIGHUP was ignored when this process began.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 != 0)
}

/// Lets standard output and standard error go on in the file that has the log's name now.
fn reopen(log: &Path) -> io::Result<()> {
    let file = OpenOptions::new().create(true).append(true).open(log)?;
    rustix::stdio::dup2_stdout(&file)?;
    rustix::stdio::dup2_stderr(&file)?;
    Ok(())
}

fn options(config: &Config, certificates: Option<&Certificates>, guard: Option<Guard>) -> Result<Options, Failure> {
    let bound = listen::bind(&config.http.listen).map_err(|error| listen::cannot_listen(&error))?;
    let mut warnings = bound.warnings;
    let monitoring = match &config.http.debug {
        None => None,
        Some(debug) => {
            let mut bound = listen::bind(&debug.listen).map_err(|error| listen::cannot_listen(&error))?;
            warnings.append(&mut bound.warnings);
            Some(Monitoring { listeners: bound.listeners, metrics_path: debug.metrics_path.clone() })
        }
    };
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let number = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    Ok(Options {
        listeners: bound.listeners,
        tls: certificates.map(Certificates::config),
        monitoring,
        owner: Some(storage::bind_control(&config.storage.root).map_err(cannot_start)?),
        guard,
        audit: config.audit.as_deref().map(audit::open).transpose()?,
        policy: Policy { read_only: config.storage.read_only, deletes: config.storage.delete },
        upstreams: crate::upstreams::of(config).map_err(Failure::new)?,
        limits: Limits {
            manifest_size: number(config.limits.manifest_size.0),
            ranges: number(config.limits.ranges),
            catalog: number(config.catalog_max_entries),
            requests: u32::try_from(config.limits.requests_per_caller).unwrap_or(u32::MAX),
            header_timeout: config.timeouts.header,
            body_timeout: config.timeouts.body,
        },
        sparse_indexes: config.sparse_indexes,
        external: config.http.external_url.clone(),
        realm: config.http.host.clone(),
        extra_headers: config.http.headers.clone(),
        access_log: config.log.access,
        drain: config.http.drain_timeout,
        connections: 0,
        workers: 0,
    })
}
