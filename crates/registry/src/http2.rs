//! HTTP/2 (RFC 9113): as [`crate::connection`], with many requests on one connection.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

use crate::connection::{HEAD_MAX, Peer, Shared, answer, ended_early, stopped};
use crate::socket::Socket;

/// Requests under way on one connection. Clients fetch a few layers at a time.
const STREAMS: u32 = 128;
/// Bytes that a client may send of one body before they were taken: what a link of 100 ms and 80 Mbit/s has on the way.
const STREAM_WINDOW: u32 = 1 << 20;
/// The same for all of its bodies together.
const CONNECTION_WINDOW: u32 = 2 << 20;
/// Bytes of answers that wait to be sent, for each stream.
const SEND_BUFFER: usize = 512 << 10;

/// Serves a connection until its end, or until the requests under way are answered once `stopping` says so.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    shared: &Arc<Shared>,
    stream: S,
    peer: &Peer,
    mut stopping: watch::Receiver<bool>,
) {
    let limits = &shared.handlers.limits;
    let activity = Activity::new();
    let stream = Watched { inner: stream, activity: activity.clone() };
    let io = Socket::new(stream, shared.clone(), limits.body_timeout);
    let service = {
        let (shared, peer, activity) = (shared.clone(), peer.clone(), activity.clone());
        service_fn(move |request: Request<Incoming>| {
            let (shared, peer) = (shared.clone(), peer.clone());
            let mut under_way = UnderWay::new(&activity);
            async move {
                let mut response = answer(&shared, request, &peer).await;
                under_way.is_answered();
                response.body_mut().hold(under_way);
                Ok::<_, Infallible>(response)
            }
        })
    };
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(HEAD_MAX as u32)
        .serve_connection(io, service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = activity.idle(limits.header_timeout) => {
            connection.as_mut().graceful_shutdown();
            // The client may not have heard it, or have a request on the way: that one is answered.
            let _ = tokio::time::timeout(limits.header_timeout, connection).await;
            return;
        }
        () = activity.stalled(limits.body_timeout) => return ended_early(peer, &io::Error::from(io::ErrorKind::TimedOut)),
        () = stopped(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        ended_early(peer, &error);
    }
}

/// What goes on on a connection.
#[derive(Debug)]
struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Requests under way.
    requests: usize,
    /// Those among them whose answers are being sent.
    answers: usize,
    /// When the last one ended, or the connection began.
    quiet_since: Instant,
    /// When bytes were last taken by the client.
    sent: Instant,
}

impl Activity {
    fn new() -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self(Mutex::new(State { requests: 0, answers: 0, quiet_since: now, sent: now })))
    }

    /// Resolves once there was no request for so long.
    async fn idle(&self, patience: Duration) {
        self.until(|state| if state.requests == 0 { Some(state.quiet_since + patience) } else { None }, patience).await;
    }

    /// Resolves once there are answers to send, and the client has taken none of them for so long: it may have stopped to take one stream's bytes, which the
    /// socket does not show.
    async fn stalled(&self, patience: Duration) {
        self.until(|state| if state.answers > 0 { Some(state.sent + patience) } else { None }, patience).await;
    }

    /// Resolves once `due` names a time that is over. It is asked again when that time has come, or after `pause`.
    async fn until(&self, due: impl Fn(&State) -> Option<Instant>, pause: Duration) {
        loop {
            let due = due(&self.0.lock());
            match due.map(|due| due.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return,
                wait => tokio::time::sleep(wait.unwrap_or(pause)).await,
            }
        }
    }
}

/// Counts a request until its answer is over.
struct UnderWay {
    activity: Arc<Activity>,
    answered: bool,
}

impl UnderWay {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.0.lock().requests += 1;
        Self { activity: activity.clone(), answered: false }
    }

    /// From now on its answer is sent.
    fn is_answered(&mut self) {
        let mut state = self.activity.0.lock();
        if state.answers == 0 {
            state.sent = Instant::now();
        }
        state.answers += 1;
        self.answered = true;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.activity.0.lock();
        state.requests -= 1;
        state.answers -= usize::from(self.answered);
        state.quiet_since = Instant::now();
    }
}

/// A stream that notes when bytes were taken.
struct Watched<S> {
    inner: S,
    activity: Arc<Activity>,
}

impl<S> Watched<S> {
    fn note(&self) {
        self.activity.0.lock().sent = Instant::now();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        if written.is_ready() {
            self.note();
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        if written.is_ready() {
            self.note();
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_idle_only_without_requests_and_stalled_only_with_answers() {
        let activity = Activity::new();
        let (patience, long) = (Duration::from_millis(20), Duration::from_millis(200));
        let mut request = UnderWay::new(&activity);
        assert!(tokio::time::timeout(long, activity.idle(patience)).await.is_err());
        // What a handler works at may take its time.
        assert!(tokio::time::timeout(long, activity.stalled(patience)).await.is_err());
        request.is_answered();
        assert!(tokio::time::timeout(long, activity.stalled(patience)).await.is_ok());
        drop(request);
        assert!(tokio::time::timeout(long, activity.stalled(patience)).await.is_err());
        assert!(tokio::time::timeout(long, activity.idle(patience)).await.is_ok());
    }
}
