//! Bodies in both directions, and what their failures mean.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http::header::{LOCATION, RETRY_AFTER};
use http::{HeaderMap, Method, StatusCode};
use http_body::{Frame, SizeHint};
use reqwest::Response;
use serde::Deserialize;

use crate::ClientError;
use crate::error::Detail;
use crate::retry::Patience;

/// Bytes as they come, in pieces of any size.
pub type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, ClientError>> + Send + Sync>>;

/// Bytes of an error answer that are looked at.
const MAX_ERROR: usize = 64 << 10;
/// Characters of an error answer that is not the specification's JSON which are shown.
const SHOWN: usize = 200;

/// A body of known length that says how far it went, and keeps the reason when its own source fails.
pub(crate) struct Outgoing {
    pub(crate) chunks: Chunks,
    pub(crate) left: u64,
    pub(crate) state: Arc<OutgoingState>,
    pub(crate) told: Box<dyn Fn(u64) + Send + Sync>,
}

/// What is known of a body on its way.
#[derive(Debug, Default)]
pub(crate) struct OutgoingState {
    /// Bytes handed to the connection.
    pub(crate) sent: AtomicU64,
    /// Why the source failed.
    pub(crate) failure: std::sync::Mutex<Option<ClientError>>,
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let chunk = match ready!(self.chunks.as_mut().poll_next(context)) {
            Some(Ok(chunk)) if chunk.len() as u64 <= self.left => chunk,
            Some(Err(error)) => {
                *self.state.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error);
                return Poll::Ready(Some(Err("its source failed")));
            }
            Some(Ok(_)) => return Poll::Ready(Some(Err("its source is longer than it said"))),
            None => return Poll::Ready(Some(Err("its source ended early"))),
        };
        self.left -= chunk.len() as u64;
        let sent = self.state.sent.fetch_add(chunk.len() as u64, Ordering::Relaxed) + chunk.len() as u64;
        (self.told)(sent);
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }
}

/// What a failure of the HTTP library means.
pub(crate) fn connection(origin: &str, error: reqwest::Error) -> ClientError {
    let origin = origin.to_owned();
    // Its own text repeats the URL, whose query may hold what is nobody's business.
    let error = error.without_url();
    if let Some(problem) = tls_problem(&error) {
        let source = match problem {
            rustls::Error::InvalidMessage(_) => "it does not speak TLS".into(),
            problem => problem.to_string().into(),
        };
        return ClientError::Tls { origin, source };
    }
    match error {
        error if error.is_connect() || error.is_timeout() => ClientError::Unreachable { origin, source: deepest(&error) },
        error => ClientError::Broken { origin, source: deepest(&error) },
    }
}

/// What TLS has to say about a failure. An I/O error may hold it without naming it as its source.
fn tls_problem<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(found) = error.downcast_ref() {
        return Some(found);
    }
    let inside = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    inside.and_then(|inner| tls_problem(inner)).or_else(|| error.source().and_then(tls_problem))
}

/// The innermost reason, which says what happened; those around it say only that it did.
fn deepest(error: &reqwest::Error) -> crate::error::Cause {
    let mut reason: &dyn std::error::Error = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    reason.to_string().into()
}

/// An answer's body, when it is no longer than `most` bytes, never stands still for longer than `patience` allows, and is not endlessly slow.
pub(crate) async fn read(origin: &str, mut response: Response, most: usize, patience: &Patience) -> Result<Bytes, ClientError> {
    let stalled = |after| ClientError::Stalled { origin: origin.to_owned(), after };
    let end = Instant::now() + patience.answer;
    let mut bytes = BytesMut::new();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let limit = patience.stall.min(left);
        let read = tokio::time::timeout(limit, response.chunk()).await;
        let read = read.map_err(|_| stalled(if limit == left { patience.answer } else { limit }))?;
        let Some(chunk) = read.map_err(|error| connection(origin, error))? else { break };
        if bytes.len() + chunk.len() > most {
            return Err(ClientError::Protocol {
                origin: origin.to_owned(),
                what: format!("an answer of more than {most} bytes"),
            });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// The error that an unexpected answer is, with as much of its words as comes within `wait`.
pub(crate) async fn status(origin: &str, method: &Method, path: &str, mut response: Response, wait: Duration) -> ClientError {
    let (status, retry_after) = (response.status(), retry_after(response.headers()));
    let mut bytes = BytesMut::new();
    let words = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_ERROR {
                break;
            }
        }
    };
    // The status is known; a text that does not come in time is not waited for.
    let _ = tokio::time::timeout(wait, words).await;
    let mut details = details(&bytes);
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    if let Some(location) = location.filter(|_| status.is_redirection()) {
        // A page for people says no more than this.
        details = vec![Detail { code: String::new(), message: format!("it redirects to {}", clean(location)) }];
    }
    let (origin, method, path) = (origin.to_owned(), method.clone(), path.to_owned());
    match status {
        StatusCode::UNAUTHORIZED => ClientError::Unauthorized { origin, known: false, details },
        StatusCode::FORBIDDEN => ClientError::Denied { origin, method, path, details },
        status => ClientError::Status { origin, method, path, status, details, retry_after },
    }
}

/// What an error answer says.
fn details(bytes: &[u8]) -> Vec<Detail> {
    #[derive(Deserialize)]
    struct Answer {
        errors: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: Option<String>,
    }
    if let Ok(answer) = serde_json::from_slice::<Answer>(bytes) {
        let detail = |entry: Entry| Detail { code: clean(&entry.code), message: clean(&entry.message.unwrap_or_default()) };
        return answer.errors.into_iter().take(5).map(detail).collect();
    }
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    if text.is_empty() || text.starts_with('<') {
        return Vec::new();
    }
    vec![Detail { code: String::new(), message: clean(text) }]
}

/// Text from elsewhere, fit for a terminal's line.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN).collect::<String>().trim().to_owned()
}

/// The pause that an answer asks for: seconds or a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(SystemTime::now()).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_specification_and_others_are_shown_in_a_line() {
        let detail = |code: &str, message: &str| Detail { code: code.into(), message: message.into() };
        let answer =
            br#"{"errors":[{"code":"DENIED","message":"no\nway","detail":{}},{"code":"X","message":null},{"message":"m"}]}"#;
        assert_eq!(details(answer), [detail("DENIED", "no way"), detail("X", ""), detail("", "m")]);
        assert_eq!(details(b"<html>"), []);
        assert_eq!(details(b" \n"), []);
        assert_eq!(details(b"bad \x1b[31mgateway\n"), [detail("", "bad  [31mgateway")]);
        assert_eq!(details("x".repeat(1000).as_bytes()), [detail("", &"x".repeat(SHOWN))]);
    }

    #[test]
    fn faults_of_tls_are_found_however_they_are_wrapped() {
        use std::io::Error;
        let fault = || rustls::Error::HandshakeNotComplete;
        let found = |error: &(dyn std::error::Error + 'static)| tls_problem(error).is_some();
        assert!(found(&fault()) && found(&Error::other(fault())) && found(&Error::other(Error::other(fault()))));
        assert!(!found(&Error::other("else")) && !found(&Error::from(std::io::ErrorKind::BrokenPipe)));
    }

    #[test]
    fn pauses_are_read_in_both_forms() {
        let headers = |value: &str| HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
        assert_eq!(retry_after(&headers("7")), Some(Duration::from_secs(7)));
        let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        assert!(retry_after(&headers(&later)).is_some_and(|pause| (90..=100).contains(&pause.as_secs())));
        assert_eq!(retry_after(&headers("soon")), None);
        assert_eq!(retry_after(&headers("Sun, 06 Nov 1994 08:49:37 GMT")), None);
    }
}
