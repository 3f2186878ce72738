//! Two side doors: a Unix socket for the owner of the storage (status, collection on demand), and a listener for monitoring.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, mpsc};
use wharf_store::{CollectOptions, Repair, Store};

use crate::connection::Shared;
use crate::metrics;
use crate::query::Query;

const OPENMETRICS: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

type Answer = Response<BoxBody<Bytes, Infallible>>;

fn answer(status: StatusCode, content_type: HeaderValue, text: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(text.into()).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

fn json_answer(status: StatusCode, value: &Value) -> Answer {
    answer(status, HeaderValue::from_static("application/json"), value.to_string())
}

/// Connections of monitoring at a time; further ones wait.
const WATCHERS: usize = 64;

/// Bytes of one repair at most. The longest names the repositories that hold a blob.
const REPAIR_MAX: usize = 16 << 20;

/// What `/status` tells beside the store's own numbers.
pub(crate) struct Identity {
    pub(crate) listeners: Vec<SocketAddr>,
    pub(crate) started: Instant,
}

/// Answers on the owner's socket for as long as the future is polled.
pub(crate) async fn serve_owner(shared: Arc<Shared>, identity: Arc<Identity>, listener: UnixListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (shared, identity) = (shared.clone(), identity.clone());
        let service = service_fn(move |request| {
            let (shared, identity) = (shared.clone(), identity.clone());
            async move { Ok::<_, Infallible>(owner(&shared, &identity, request).await) }
        });
        tokio::spawn(http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service));
    }
}

async fn owner(shared: &Arc<Shared>, identity: &Identity, request: Request<Incoming>) -> Answer {
    let store = &shared.handlers.store;
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/status") => match store.totals().await {
            Ok(totals) => json_answer(StatusCode::OK, &status(store, identity, totals)),
            Err(error) => json_answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": error.to_string() })),
        },
        (&Method::POST, "/collect") => {
            let query = Query::parse(request.uri().query().unwrap_or_default());
            let is_set = |name| query.get(name).is_some_and(|value| matches!(&*value, "1" | "true"));
            collect(shared.clone(), CollectOptions { dry_run: is_set("dry_run"), now: is_set("now") })
        }
        (&Method::GET, "/writing") => {
            let places: Vec<_> = store.writing().into_iter().map(|place| place.0).collect();
            json_answer(StatusCode::OK, &json!({ "locations": places }))
        }
        (&Method::POST, "/repair") => repair(store, request.into_body()).await,
        _ => json_answer(StatusCode::NOT_FOUND, &json!({ "error": "there is nothing at this address" })),
    }
}

/// Carries out the one repair in the body, and answers what was done, or `null` when another look showed no need.
async fn repair(store: &Store, body: Incoming) -> Answer {
    let read = Limited::new(body, REPAIR_MAX).collect().await.map(|body| body.to_bytes());
    let Ok(repair) = read.map_err(drop).and_then(|bytes| serde_json::from_slice::<Repair>(&bytes).map_err(drop)) else {
        return json_answer(StatusCode::BAD_REQUEST, &json!({ "error": "the body is no repair" }));
    };
    match store.repair(repair).await {
        Ok(done) => json_answer(StatusCode::OK, &json!({ "done": done })),
        Err(error) => json_answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": error.to_string() })),
    }
}

fn status(store: &Store, identity: &Identity, totals: wharf_store::Totals) -> Value {
    json!({
        "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": identity.started.elapsed().as_secs(),
        "listeners": identity.listeners,
        "store": {
            "repositories": totals.repositories,
            "tags": totals.tags,
            "manifests": totals.manifests,
            "blobs": totals.blobs,
            "bytes": totals.blob_bytes,
            "uploads": totals.uploads,
            "leases": store.leases(),
        },
        "last_collection": store.last_collection().map(|(at, report)| json!({ "ended": at.0, "report": report })),
    })
}

/// Collects and streams how far it is, one JSON object a line; the last has `result` or `error`.
fn collect(shared: Arc<Shared>, options: CollectOptions) -> Answer {
    let (sender, receiver) = mpsc::channel::<Value>(16);
    tokio::spawn(async move {
        let progress = sender.clone();
        let store = &shared.handlers.store;
        let result = store
            .collect(options, &mut |step| {
                // Who reads too slowly misses a step, not the result.
                let _ = progress.try_send(json!({ "progress": step }));
            })
            .await;
        let last = match result {
            Ok(report) => json!({ "result": report }),
            Err(error) => json!({ "error": error.to_string() }),
        };
        let _ = sender.send(last).await;
    });
    let lines = stream::unfold(receiver, |mut receiver| async {
        let value = receiver.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from(format!("{value}\n")))), receiver))
    });
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(lines)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response
}

/// Answers `/metrics` and the health checks on the monitoring listener.
pub(crate) async fn serve_monitoring(shared: Arc<Shared>, metrics_path: Option<String>, listener: TcpListener) {
    let metrics_path = Arc::new(metrics_path);
    let room = Arc::new(Semaphore::new(WATCHERS));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (shared, metrics_path) = (shared.clone(), metrics_path.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let (shared, metrics_path) = (shared.clone(), metrics_path.clone());
            async move { Ok::<_, Infallible>(monitoring(&shared, metrics_path.as_deref(), &request).await) }
        });
        let connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            let _place = place;
            // What becomes of a connection is its client's affair.
            let _ = connection.await;
        });
    }
}

async fn monitoring(shared: &Shared, metrics_path: Option<&str>, request: &Request<Incoming>) -> Answer {
    let store = &shared.handlers.store;
    match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, path) if Some(path) == metrics_path => {
            let text = shared.metrics.text(store).await;
            if wants_openmetrics(request.headers()) {
                answer(StatusCode::OK, OPENMETRICS, text)
            } else {
                answer(StatusCode::OK, metrics::PLAIN, metrics::as_plain_text(&text))
            }
        }
        (&Method::GET | &Method::HEAD, "/healthz") => json_answer(StatusCode::OK, &json!({})),
        (&Method::GET | &Method::HEAD, "/readyz" | "/debug/health") => match store.check().await {
            Ok(()) => json_answer(StatusCode::OK, &json!({})),
            Err(error) => json_answer(StatusCode::SERVICE_UNAVAILABLE, &json!({ "storage": error.to_string() })),
        },
        _ => json_answer(StatusCode::NOT_FOUND, &json!({ "error": "there is nothing at this address" })),
    }
}

/// Whether the client names the newer format among those it takes; browsers and curl do not.
fn wants_openmetrics(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|range| {
        let (name, parameters) = range.split_once(';').unwrap_or((range, ""));
        let refused = parameters.split(';').any(|parameter| matches!(parameter.trim(), "q=0" | "q=0.0"));
        name.trim().eq_ignore_ascii_case("application/openmetrics-text") && !refused
    })
}
