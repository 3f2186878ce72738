//! The server in the foreground.

use std::sync::Arc;

use rustix::process::Signal;
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};
use wharf_registry::{Limits, Monitoring, Options, Policy};
use wharf_store::Store;
use wharf_store::lock::StorageLock;

use crate::config::Config;
use crate::listen;
use crate::notify::Notifier;
use crate::storage;
use crate::ui::Failure;

/// Serves what `config` says until SIGTERM or SIGINT, then finishes the requests in flight. A second signal ends it at once.
pub fn run(config: &Config) -> Result<(), Failure> {
    raise_descriptor_limit();
    let lock = storage::lock(&config.storage.root).map_err(cannot_start)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot_start)?;
    let result = runtime.block_on(serve(config, &lock));
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

async fn serve(config: &Config, lock: &StorageLock) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot_start)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot_start)?;
    // The listeners come first: a port that is taken is the likeliest mistake, and is told before anything is touched.
    let options = options(config)?;
    let store = Arc::new(storage::open(config, lock).await.map_err(cannot_start)?);
    store.note_alive().await.map_err(cannot_start)?;
    let running = wharf_registry::serve(store.clone(), options).map_err(cannot_start)?;
    lock.publish(&running.listeners).map_err(cannot_start)?;
    let notifier = Notifier::from_environment();
    notifier.ready();
    let monitoring = (!running.monitoring.is_empty()).then(|| tracing::field::debug(&running.monitoring));
    tracing::info!(addresses = ?running.listeners, monitoring, "ready");

    let signal = stop_signal(&mut terminate, &mut interrupt).await;
    notifier.stopping();
    tracing::info!(?signal, "stopping");
    tokio::select! {
        () = stop(running, &store) => tracing::info!("stopped"),
        _ = stop_signal(&mut terminate, &mut interrupt) => tracing::warn!("stopped at once by a second signal"),
    }
    Ok(())
}

async fn stop(running: wharf_registry::Running, store: &Store) {
    running.stop().await;
    store.close().await;
}

async fn stop_signal(terminate: &mut SignalStream, interrupt: &mut SignalStream) -> Signal {
    tokio::select! {
        _ = terminate.recv() => Signal::TERM,
        _ = interrupt.recv() => Signal::INT,
    }
}

fn options(config: &Config) -> Result<Options, Failure> {
    let bound = listen::bind(&config.http.listen).map_err(cannot_start)?;
    let mut warnings = bound.warnings;
    let monitoring = match &config.http.debug {
        None => None,
        Some(debug) => {
            let mut bound = listen::bind(&debug.listen).map_err(cannot_start)?;
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
        monitoring,
        owner: Some(storage::bind_control(&config.storage.root).map_err(cannot_start)?),
        policy: Policy { read_only: config.storage.read_only, deletes: config.storage.delete },
        limits: Limits {
            manifest_size: number(config.limits.manifest_size.0),
            ranges: number(config.limits.ranges),
            catalog: number(config.catalog_max_entries),
            header_timeout: config.timeouts.header,
            body_timeout: config.timeouts.body,
        },
        sparse_indexes: config.sparse_indexes,
        external: config.http.external_url.clone(),
        extra_headers: config.http.headers.clone(),
        access_log: config.log.access,
        drain: config.http.drain_timeout,
        connections: 0,
        workers: 0,
    })
}
