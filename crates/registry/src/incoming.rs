//! Bodies of requests: streamed, counted, and given up when nothing comes any more.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::error::ApiError;

/// Bytes of an unread body that are taken in and thrown away, so that the client gets to read the answer instead of a reset connection.
const LINGER_BYTES: u64 = 8 << 20;
/// How long that may take.
const LINGER: Duration = Duration::from_secs(5);

/// The body of a request.
pub(crate) struct RequestBody {
    inner: Incoming,
    announced: Option<u64>,
    patience: Duration,
    received: u64,
    /// The client waits for a go-ahead before it sends; without one nothing comes.
    expects: bool,
    broken: bool,
    /// All of it came, and nothing behind it.
    ended: bool,
    /// Fields came behind the last chunk.
    trailers: bool,
}

impl RequestBody {
    pub(crate) fn new(inner: Incoming, headers: &HeaderMap, patience: Duration) -> Self {
        Self {
            announced: inner.size_hint().exact(),
            inner,
            patience,
            received: 0,
            expects: headers.contains_key(header::EXPECT),
            broken: false,
            ended: false,
            trailers: false,
        }
    }

    /// The length that was announced.
    pub(crate) fn announced(&self) -> Option<u64> {
        self.announced
    }

    /// Bytes that came so far.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Whether all agree on where the next request begins: behind a length, or behind a last chunk that was seen with nothing after it. For a line feed alone
    /// is a part of a trailer field to hyper, where others may see the end of the body, and then a request in what is still a trailer here.
    pub(crate) fn is_delimited(&self) -> bool {
        self.announced.is_some() || self.ended
    }

    /// The next bytes; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            let frame = match tokio::time::timeout(self.patience, self.inner.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(None) => {
                    self.ended = !self.trailers;
                    return Ok(None);
                }
                Ok(Some(Err(_))) => {
                    self.broken = true;
                    return Err(ApiError::Body("the connection was lost or the encoding is wrong"));
                }
                Err(_) => {
                    self.broken = true;
                    return Err(ApiError::Body("nothing came for too long"));
                }
            };
            match frame.into_data() {
                Ok(data) => {
                    self.received += data.len() as u64;
                    return Ok(Some(data));
                }
                Err(_) => self.trailers = true,
            }
        }
    }

    /// The whole body, if it has at most `limit` bytes.
    pub(crate) async fn whole(&mut self, limit: usize) -> Result<Bytes, ApiError> {
        if self.announced().is_some_and(|length| length > limit as u64) {
            return Err(ApiError::ManifestTooLarge(limit));
        }
        let Some(first) = self.next().await? else { return Ok(Bytes::new()) };
        let mut all: Option<BytesMut> = None;
        let announced = self.announced().and_then(|length| usize::try_from(length).ok());
        while let Some(more) = self.next().await? {
            let all = all.get_or_insert_with(|| {
                // All of it at once, where the length is known: growing step by step takes twice the room. Memory counts when it is written to.
                let mut all = BytesMut::with_capacity(announced.unwrap_or(first.len() + more.len()));
                all.extend_from_slice(&first);
                all
            });
            all.extend_from_slice(&more);
            if all.len() > limit {
                return Err(ApiError::ManifestTooLarge(limit));
            }
        }
        let all = all.map_or(first, BytesMut::freeze);
        if all.len() > limit { Err(ApiError::ManifestTooLarge(limit)) } else { Ok(all) }
    }

    /// Throws away a bounded rest, so that a refusal reaches the client that is still sending.
    pub(crate) async fn linger(&mut self) {
        if self.broken || self.inner.is_end_stream() || (self.expects && self.received == 0) {
            return;
        }
        let until = self.received + LINGER_BYTES;
        let rest = async { while self.received < until && matches!(self.next().await, Ok(Some(_))) {} };
        let _ = tokio::time::timeout(LINGER, rest).await;
    }
}
