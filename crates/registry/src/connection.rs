//! One connection: its limits in time and size, and the way of each request through the house. What is particular to HTTP/2 is in [`http2`].

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Version, header, request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use wharf_store::StoreError;

use crate::access::{Need, Permit, need};
use crate::audit::{self, AuditLog};
use crate::body::Body;
use crate::endpoint::{Endpoint, Kind};
use crate::error::ApiError;
use crate::guard;
use crate::handlers::{self, Asked};
use crate::incoming::RequestBody;
use crate::metrics::Metrics;
use crate::socket::Socket;
use crate::{http2, observe, respond, tls};

/// Bytes of a request's head. An update that asks for a thousand ranges has 20 KB of it.
pub(crate) const HEAD_MAX: usize = 128 << 10;

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) handlers: handlers::Context,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) audit: Option<AuditLog>,
    pub(crate) tls: Option<TlsAcceptor>,
    /// Headers of every answer, by configuration.
    pub(crate) extra_headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) access_log: bool,
}

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// From where.
    pub(crate) address: Option<SocketAddr>,
    /// Whether what is sent has to be encrypted, and read for that.
    pub(crate) encrypted: bool,
    /// The common name of the certificate that the client showed, which is one of an authority that counts.
    pub(crate) certificate: Option<Arc<str>>,
}

impl Peer {
    /// Where from, as far as callers are told apart who do not say who they are.
    pub(crate) fn place(&self) -> String {
        self.address.map(|address| wharf_access::network(address.ip()).to_string()).unwrap_or_default()
    }
}

/// Serves a connection until its end, or until the requests under way are answered once `stopping` says so.
pub(crate) async fn serve(shared: Arc<Shared>, stream: TcpStream, mut stopping: watch::Receiver<bool>) {
    let mut peer = Peer { address: stream.peer_addr().ok(), encrypted: shared.tls.is_some(), certificate: None };
    let _counted = Counted::new(shared.clone());
    // Answers are written whole; waiting for more to send would only delay them.
    let _ = stream.set_nodelay(true);
    let Some(tls) = &shared.tls else { return http1(&shared, stream, &peer, stopping).await };
    let patience = shared.handlers.limits.header_timeout;
    let accepted = tokio::select! {
        accepted = tls::accept(tls, stream, patience) => accepted,
        () = stopped(&mut stopping) => return,
    };
    if let Ok(stream) = &accepted {
        peer.certificate = tls::shown_name(stream);
    }
    match accepted {
        Ok(stream) if tls::speaks_http2(&stream) => http2::serve(&shared, stream, &peer, stopping).await,
        Ok(stream) => http1(&shared, stream, &peer, stopping).await,
        Err(error) => ended_early(&peer, &error),
    }
}

async fn http1<S: AsyncRead + AsyncWrite + Unpin>(
    shared: &Arc<Shared>,
    stream: S,
    peer: &Peer,
    mut stopping: watch::Receiver<bool>,
) {
    let limits = &shared.handlers.limits;
    let io = Socket::new(stream, shared.clone(), limits.body_timeout);
    let service = service_fn(move |request| async move { Ok::<_, Infallible>(answer(shared, request, peer).await) });
    let mut builder = http1::Builder::new();
    // Vectored writes hand bodies to the socket by address; see `body`.
    builder.writev(true).max_buf_size(HEAD_MAX).timer(TokioTimer::new()).header_read_timeout(limits.header_timeout);
    let connection = builder.serve_connection(io, service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stopped(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        ended_early(peer, &error);
    }
}

/// For who wants to know why clients fail; it is nobody's fault here.
pub(crate) fn ended_early(peer: &Peer, error: &(dyn std::error::Error + 'static)) {
    tracing::debug!(peer = peer.address.map(tracing::field::display), error, "a connection ended early");
}

/// Counts a connection while it lasts.
struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: Arc<Shared>) -> Self {
        shared.metrics.connections.inc();
        Self(shared)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.metrics.connections.dec();
    }
}

/// Resolves when the server stops.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it the server.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// Answers a request that changes something, to its end even if the client goes away: hyper drops what it waits for then, and a change must not stop between
/// its commit and what follows from it. Answers the body as well, of which more may have to be read.
async fn change(
    shared: &Arc<Shared>,
    endpoint: Endpoint,
    permit: Permit,
    (headers, peer): (HeaderMap, Peer),
    mut body: RequestBody,
) -> (Result<Response<Body>, ApiError>, Option<RequestBody>) {
    let shared = shared.clone();
    let task = tokio::spawn(async move {
        let asked = Asked { permit: &permit, peer: &peer, headers: &headers, head: false };
        let outcome = handlers::handle(&shared.handlers, endpoint, &asked, &mut body).await;
        (outcome, body)
    });
    match task.await {
        Ok((outcome, body)) => (outcome, Some(body)),
        Err(_) => (Err(ApiError::Store(StoreError::Stopped)), None),
    }
}

/// Whether a request may go on, and by whom it is.
pub(crate) struct Admitted {
    /// What was asked for, where that could be read and was refused.
    pub(crate) endpoint: Option<Endpoint>,
    /// Who asks, where that is known.
    pub(crate) actor: Option<Arc<str>>,
    pub(crate) outcome: Result<(Endpoint, Permit), ApiError>,
}

async fn admit(
    context: &handlers::Context,
    endpoint: Result<Endpoint, ApiError>,
    head: &request::Parts,
    peer: &Peer,
) -> Admitted {
    let endpoint = match endpoint {
        Ok(endpoint) => endpoint,
        Err(error) => return Admitted { endpoint: None, actor: None, outcome: Err(error) },
    };
    let permit = match &context.guard {
        Some(guard) if need(&endpoint) != Need::Nothing => match guard.identify(&head.headers, peer).await {
            Ok(caller) => Permit::of(context.policy, guard.clone(), caller),
            // Who fails to log in counts as nobody.
            Err(error) => {
                let outcome = Err(of_place(context, peer).err().unwrap_or(error));
                return Admitted { endpoint: Some(endpoint), actor: None, outcome };
            }
        },
        _ => Permit::open(context.policy, context.nobody.clone()),
    };
    if let Err(error) = within_quota(context, &permit, peer) {
        return Admitted { endpoint: Some(endpoint), actor: Some(permit.actor().clone()), outcome: Err(error) };
    }
    let actor = Some(permit.actor().clone());
    match permit.authorize(&endpoint) {
        Ok(()) => Admitted { endpoint: None, actor, outcome: Ok((endpoint, permit)) },
        Err(error) => Admitted { endpoint: Some(endpoint), actor, outcome: Err(error) },
    }
}

/// Counts a request for who is known by name, and for everybody else by where they are.
fn within_quota(context: &handlers::Context, permit: &Permit, peer: &Peer) -> Result<(), ApiError> {
    match &context.quota {
        Some(quota) if permit.is_known() => quota.take(permit.actor(), Instant::now()).map_err(ApiError::Throttled),
        _ => of_place(context, peer),
    }
}

fn of_place(context: &handlers::Context, peer: &Peer) -> Result<(), ApiError> {
    let Some(quota) = &context.quota else { return Ok(()) };
    quota.take(&peer.place(), Instant::now()).map_err(ApiError::Throttled)
}

pub(crate) async fn answer(shared: &Arc<Shared>, request: Request<Incoming>, peer: &Peer) -> Response<Body> {
    let begun = Instant::now();
    let (head, incoming) = request.into_parts();
    let context = &shared.handlers;
    let mut body = RequestBody::new(incoming, &head.headers, context.limits.body_timeout);
    let is_head = head.method == Method::HEAD;
    let endpoint = Endpoint::of(&head).map(|endpoint| context.upstreams.placed(endpoint, head.uri.query()));
    let kind = endpoint.as_ref().map_or(Kind::Invalid, Endpoint::kind);
    let admitted = admit(context, endpoint, &head, peer).await;
    let deed = audit::Deed::of(&admitted, shared.audit.is_some());
    let (outcome, mut body) = match admitted.outcome {
        Ok((endpoint, permit)) if endpoint.changes() => {
            change(shared, endpoint, permit, (head.headers.clone(), peer.clone()), body).await
        }
        Ok((endpoint, permit)) => {
            let asked = Asked { permit: &permit, peer, headers: &head.headers, head: is_head };
            (handlers::handle(context, endpoint, &asked, &mut body).await, Some(body))
        }
        Err(error) => (Err(error), Some(body)),
    };
    if let (Some(log), Some(deed)) = (&shared.audit, deed) {
        deed.record(log, peer, &outcome);
    }
    let seen = observe::Request { method: &head.method, uri: &head.uri, headers: &head.headers, peer: peer.address };
    let needs_id = shared.access_log || outcome.is_err() || head.headers.contains_key(respond::REQUEST_ID);
    let id = needs_id.then(|| observe::request_id(&head.headers));
    let mut response = match outcome {
        Ok(response) => response,
        Err(error) => {
            if let Some(id) = &id {
                observe::failure(&seen, id, &error);
            }
            shared.metrics.failed(&error);
            if let Some(body) = &mut body {
                body.linger().await;
            }
            let mut response = respond::error(&error);
            if let Some(guard) = &context.guard
                && let Some(challenge) = guard.challenge(&error, &guard::origin(&head, peer, &context.realm))
            {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            }
            if is_head {
                let length = response.body().length();
                response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
                *response.body_mut() = Body::default();
            }
            response
        }
    };
    for (name, value) in &shared.extra_headers {
        response.headers_mut().insert(name.clone(), value.clone());
    }
    if head.version < Version::HTTP_2 && !body.as_ref().is_some_and(RequestBody::is_delimited) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let received = body.map_or(0, |body| body.received());
    shared.metrics.received.inc_by(received);
    let status = response.status().as_u16();
    let line = id.as_ref().filter(|_| shared.access_log).map(|id| observe::Line::new(&seen, id, status, received));
    if let Some(id) = id {
        response.headers_mut().insert(respond::REQUEST_ID, id);
    }
    let finished = move |shared: &Shared, sent: u64| {
        let took = begun.elapsed();
        shared.metrics.observe(kind, status, took);
        if let Some(line) = line {
            line.write(sent, took);
        }
    };
    if peer.encrypted {
        response.body_mut().read_files();
    }
    if response.body().is_in_memory() {
        finished(shared, response.body().length());
    } else {
        // Only then is it known how much the client took, and how long that was.
        let shared = shared.clone();
        response.body_mut().when_dropped(move |sent| finished(&shared, sent));
    }
    response
}
