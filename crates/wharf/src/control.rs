//! Requests to a running server: over its control socket, and the one question whether it answers at all.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

/// How long a healthy server may take to say so.
const PATIENCE: Duration = Duration::from_secs(5);
/// A line of progress longer than this is none.
const MAX_LINE: usize = 1 << 20;

/// Why a request did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No connection.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// The connection broke, or something else than HTTP came.
    #[error("the connection broke")]
    Http(#[from] hyper::Error),
    /// An answer other than 200.
    #[error("the server answered {status}: {text}")]
    Status {
        /// The status.
        status: StatusCode,
        /// The beginning of the body.
        text: String,
    },
    /// Too slow.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Slow,
    /// The answer was not lines of JSON.
    #[error("the answer cannot be read")]
    Line(#[source] serde_json::Error),
    /// Nothing could be asked at all.
    #[error("cannot run a client")]
    Runtime(#[source] io::Error),
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// How.
    pub method: Method,
    /// Path and query.
    pub target: &'a str,
    /// What goes with it.
    pub body: Bytes,
}

impl<'a> Call<'a> {
    /// A question.
    pub fn get(target: &'a str) -> Self {
        Self { method: Method::GET, target, body: Bytes::new() }
    }

    /// Something to be done.
    pub fn post(target: &'a str, body: impl Into<Bytes>) -> Self {
        Self { method: Method::POST, target, body: body.into() }
    }
}

/// Asks `GET /v2/` of the server that listens on `address`, over TLS when it shows a certificate; an error when it does not answer 200
/// or 401, both of which come from a registry that works.
pub fn ping(address: SocketAddr, certificate: Option<&Path>) -> Result<(), ControlError> {
    let address = reachable(address);
    blocking(async {
        let asked = async {
            let stream = TcpStream::connect(address).await.map_err(ControlError::Connect)?;
            let host = address.to_string();
            let answer = match certificate {
                None => send(stream, Call::get("/v2/"), &host, |_| Ok(())).await,
                Some(certificate) => {
                    let tls = TlsConnector::from(wharf_client::pinned(certificate).map_err(ControlError::Connect)?);
                    let stream = tls.connect(address.ip().into(), stream).await.map_err(ControlError::Connect)?;
                    send(stream, Call::get("/v2/"), &host, |_| Ok(())).await
                }
            };
            match answer {
                Err(ControlError::Status { status: StatusCode::UNAUTHORIZED, .. }) => Ok(()),
                other => other,
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or(Err(ControlError::Slow))
    })
}

/// Sends a request to the control socket of the server that holds `root` and hands each line of the answer, which is
/// JSON, to `line`.
pub fn control(
    root: &Path,
    call: Call<'_>,
    mut line: impl FnMut(serde_json::Value) -> Result<(), ControlError>,
) -> Result<(), ControlError> {
    blocking(async {
        // A socket's path may be 107 bytes long, a storage folder's longer: the way leads through the open folder.
        let folder = std::fs::File::open(root).map_err(ControlError::Connect)?;
        let path = format!("/proc/self/fd/{}/control.sock", folder.as_raw_fd());
        let stream = UnixStream::connect(path).await.map_err(ControlError::Connect)?;
        send(stream, call, "control", |text| line(serde_json::from_slice(text).map_err(ControlError::Line)?)).await
    })
}

/// An address that a listener's address can be reached at: "all addresses" is no destination everywhere. A listener on
/// all of them takes IPv4 in any case, while IPv6 may be switched off on the loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    address
}

fn blocking<T>(work: impl Future<Output = Result<T, ControlError>>) -> Result<T, ControlError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ControlError::Runtime)?.block_on(work)
}

/// One request on its own connection. Each non-empty line of a 200's body goes to `line` as it arrives.
async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    call: Call<'_>,
    host: &str,
    mut line: impl FnMut(&[u8]) -> Result<(), ControlError>,
) -> Result<(), ControlError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Its error reaches the request as well.
    let driver = tokio::spawn(connection);
    let mut request = Request::new(Full::new(call.body));
    *request.method_mut() = call.method;
    *request.uri_mut() = call.target.parse().unwrap_or_default();
    if let Ok(host) = host.parse() {
        request.headers_mut().insert(http::header::HOST, host);
    }
    let mut response = sender.send_request(request).await?;
    let status = response.status();
    let mut pending = BytesMut::new();
    while let Some(frame) = response.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        pending.extend_from_slice(&data);
        if status == StatusCode::OK {
            while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                let text = pending.split_to(end + 1);
                if !text.trim_ascii().is_empty() {
                    line(text.trim_ascii())?;
                }
            }
        }
        if pending.len() > MAX_LINE {
            break;
        }
    }
    driver.abort();
    if status != StatusCode::OK {
        let text = String::from_utf8_lossy(&pending).chars().take(500).collect::<String>();
        return Err(ControlError::Status { status, text: text.trim().to_owned() });
    }
    match pending.trim_ascii() {
        [] => Ok(()),
        rest => line(rest),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    use serde_json::json;

    use super::*;

    /// Answers one request on the control socket of `root` with `answer`; the head of the request comes back.
    fn serve(root: &Path, answer: &'static str) -> std::thread::JoinHandle<String> {
        let folder = std::fs::File::open(root).unwrap();
        let listener = UnixListener::bind(format!("/proc/self/fd/{}/control.sock", folder.as_raw_fd())).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 4096];
            let length = stream.read(&mut head).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&head[..length]).into_owned()
        })
    }

    #[test]
    fn lines_of_a_control_answer_arrive_however_they_are_cut() {
        let folder = tempfile::tempdir().unwrap();
        // Longer than the path of a socket may be.
        let root = folder.path().join("x".repeat(120));
        std::fs::create_dir(&root).unwrap();
        let head = serve(
            &root,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
             a\r\n{\"done\":1}\r\n6\r\n\n{\"res\r\na\r\nult\":{}}\n \r\n0\r\n\r\n",
        );
        let mut lines = Vec::new();
        let asked = control(&root, Call::post("/collect?now=1", ""), |line| {
            lines.push(line);
            Ok(())
        });
        assert!(asked.is_ok(), "{asked:?}");
        assert_eq!(lines, [json!({ "done": 1 }), json!({ "result": {} })]);
        assert!(head.join().unwrap().starts_with("POST /collect?now=1 HTTP/1.1\r\n"));
    }

    #[test]
    fn answers_that_are_no_success_are_errors() {
        let asked = |answer| {
            let root = tempfile::tempdir().unwrap();
            let server = serve(root.path(), answer);
            let result = control(root.path(), Call::get("/status"), |_| Ok(()));
            server.join().unwrap();
            result
        };
        let refused = asked("HTTP/1.1 409 Conflict\r\nContent-Length: 4\r\n\r\nbusy");
        assert!(matches!(refused, Err(ControlError::Status { status: StatusCode::CONFLICT, text }) if text == "busy"));
        assert!(matches!(asked("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"), Err(ControlError::Http(_))));
        assert!(matches!(asked("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{"), Err(ControlError::Line(_))));
        let nobody = tempfile::tempdir().unwrap();
        assert!(matches!(control(nobody.path(), Call::get("/"), |_| Ok(())), Err(ControlError::Connect(_))));
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_on_the_loopback() {
        for (listens, asked) in [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "127.0.0.1:1"), ("[::1]:1", "[::1]:1")] {
            assert_eq!(reachable(listens.parse().unwrap()).to_string(), asked);
        }
    }
}
