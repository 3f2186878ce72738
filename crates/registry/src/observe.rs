//! What is seen of a request from outside: its id, its log line, its count.

use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Uri, header};

use crate::error::ApiError;
use crate::respond::REQUEST_ID;

/// A request as its log line shows it.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) peer: Option<SocketAddr>,
}

/// The client's own request id, when it is harmless in a log, else a new one.
pub(crate) fn request_id(headers: &HeaderMap) -> HeaderValue {
    let own = headers.get(REQUEST_ID).filter(|id| {
        let sane = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
        (1..=128).contains(&id.len()) && id.as_bytes().iter().all(sane)
    });
    own.cloned().unwrap_or_else(|| crate::respond::value(format!("{:016x}", fastrand::u64(..))))
}

/// What the log says of an answered request, once that is over.
pub(crate) struct Line {
    id: HeaderValue,
    peer: Option<SocketAddr>,
    method: Method,
    uri: Uri,
    agent: Option<HeaderValue>,
    status: u16,
    received: u64,
}

impl Line {
    pub(crate) fn new(request: &Request<'_>, id: &HeaderValue, status: u16, received: u64) -> Self {
        Self {
            id: id.clone(),
            peer: request.peer.map(canonical),
            method: request.method.clone(),
            uri: request.uri.clone(),
            agent: request.headers.get(header::USER_AGENT).cloned(),
            status,
            received,
        }
    }

    /// Writes it. `sent` bytes of the answer's body were taken.
    pub(crate) fn write(self, sent: u64, took: Duration) {
        tracing::info!(
            target: "wharf::access",
            id = self.id.to_str().unwrap_or("-"),
            remote = self.peer.map(tracing::field::display),
            method = %self.method,
            path = self.uri.path(),
            // Some clients put secrets into that of a token.
            query = self.uri.query().filter(|_| self.uri.path() != "/token"),
            status = self.status,
            received = self.received,
            sent,
            microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            agent = self.agent.as_ref().and_then(|agent| agent.to_str().ok()).unwrap_or("-"),
            "request"
        );
    }
}

/// A listener on all addresses sees IPv4 clients with IPv6 addresses that stand for theirs.
fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

/// A failure that somebody should look at. What a client did wrong is not one.
pub(crate) fn failure(request: &Request<'_>, id: &HeaderValue, error: &ApiError) {
    // What an upstream failed at was told of once, for all who waited for it.
    if error.answer().0.is_server_error() && !matches!(error, ApiError::Upstream(_)) {
        tracing::error!(
            id = id.to_str().unwrap_or("-"), method = %request.method, path = request.uri.path(),
            error = error as &dyn std::error::Error, "a request failed"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_shown_with_the_addresses_they_have() {
        for (seen, shown) in [("[::ffff:10.0.0.1]:9", "10.0.0.1:9"), ("10.0.0.1:9", "10.0.0.1:9"), ("[fe80::1]:9", "[fe80::1]:9")]
        {
            assert_eq!(canonical(seen.parse().unwrap()).to_string(), shown);
        }
    }
}
