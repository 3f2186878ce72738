//! HTTP/2 (RFC 9113): as [`crate::connection`], with many requests on one connection.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use crate::body::Turn;
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

/// How many times as long a connection that has been told to go may stay without a request: its client may be reading yet.
const CLOSING: u32 = 10;

/// Serves a connection until its end, or until the requests under way are answered once `stopping` says so.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    shared: &Arc<Shared>,
    stream: S,
    peer: &Peer,
    mut stopping: watch::Receiver<bool>,
) {
    let limits = &shared.handlers.limits;
    let activity = Activity::new();
    let io = Socket::new(stream, shared.clone(), limits.body_timeout);
    let service = {
        let (shared, peer, activity) = (shared.clone(), peer.clone(), activity.clone());
        service_fn(move |request: Request<Incoming>| {
            let (shared, peer) = (shared.clone(), peer.clone());
            let under_way = UnderWay::new(&activity);
            async move {
                let mut response = answer(&shared, request, &peer).await;
                let answer = under_way.answered();
                response.body_mut().pace(move |turn| answer.is_at(turn));
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
    let mut closing = false;
    loop {
        // Who has been told to go may be reading yet, or have a request on the way, which is answered.
        let quiet = limits.header_timeout * if closing { CLOSING } else { 1 };
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    ended_early(peer, &error);
                }
                return;
            }
            () = activity.idle(quiet) => {
                if closing {
                    return;
                }
                connection.as_mut().graceful_shutdown();
                closing = true;
            }
            () = activity.stalled(limits.body_timeout) => return ended_early(peer, &io::Error::from(io::ErrorKind::TimedOut)),
            () = stopped(&mut stopping), if !closing => {
                connection.as_mut().graceful_shutdown();
                closing = true;
            }
        }
    }
}

/// What goes on on a connection.
#[derive(Debug)]
struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Requests under way.
    requests: usize,
    /// When the last one ended, or the connection began.
    quiet_since: Instant,
    /// Those whose answers are being sent: whose move it is, and since when.
    answers: Vec<Arc<Mutex<(Turn, Instant)>>>,
}

impl Activity {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { requests: 0, quiet_since: Instant::now(), answers: Vec::new() })))
    }

    /// Resolves once there was no request for so long.
    async fn idle(&self, patience: Duration) {
        self.until(|state| if state.requests == 0 { Some(state.quiet_since + patience) } else { None }, patience).await;
    }

    /// Resolves once the client has taken nothing of one of its answers for so long. The socket does not show it: other streams may go on, and questions whether
    /// the other side is there.
    async fn stalled(&self, patience: Duration) {
        let due = |state: &State| {
            let moves = state.answers.iter().map(|answer| *answer.lock());
            moves.filter(|(turn, _)| *turn == Turn::Client).map(|(_, since)| since + patience).min()
        };
        self.until(due, patience).await;
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
struct UnderWay(Arc<Activity>);

impl UnderWay {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.0.lock().requests += 1;
        Self(activity.clone())
    }

    /// From now on its answer is sent.
    fn answered(self) -> Sending {
        let turn = Arc::new(Mutex::new((Turn::Client, Instant::now())));
        self.0.0.lock().answers.push(turn.clone());
        Sending { under_way: self, turn }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.requests -= 1;
        state.quiet_since = Instant::now();
    }
}

/// An answer that is being sent.
struct Sending {
    under_way: UnderWay,
    turn: Arc<Mutex<(Turn, Instant)>>,
}

impl Sending {
    fn is_at(&self, turn: Turn) {
        *self.turn.lock() = (turn, Instant::now());
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.under_way.0.0.lock().answers.retain(|turn| !Arc::ptr_eq(turn, &self.turn));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_idle_without_requests_and_stalled_where_the_client_has_the_next_move() {
        let activity = Activity::new();
        let (patience, long) = (Duration::from_millis(20), Duration::from_millis(200));
        let stalls = async || tokio::time::timeout(long, activity.stalled(patience)).await.is_ok();
        let idles = async || tokio::time::timeout(long, activity.idle(patience)).await.is_ok();
        let request = UnderWay::new(&activity);
        assert!(!idles().await);
        // What a handler works at may take its time.
        assert!(!stalls().await);
        let answer = request.answered();
        assert!(stalls().await);
        // So may what the answer is made of.
        answer.is_at(Turn::Server);
        assert!(!stalls().await);
        let other = UnderWay::new(&activity).answered();
        assert!(stalls().await);
        drop(other);
        assert!(!stalls().await && !idles().await);
        drop(answer);
        assert!(idles().await && !stalls().await);
    }
}
