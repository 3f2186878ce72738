//! The encrypted way in.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The first byte of a handshake (RFC 8446, section 5.1: the record type).
const HANDSHAKE: u8 = 22;
/// Said in clear text to who speaks it, for it can read nothing else. Clients show it to their users.
const PLAIN: &str = "this registry speaks TLS: use https, and do not list it as insecure\n";

/// The handshake, for which the client has `patience`.
pub(crate) async fn accept(tls: &TlsAcceptor, stream: TcpStream, patience: Duration) -> io::Result<TlsStream<TcpStream>> {
    let handshake = async {
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE {
            return Err(refuse_plain(stream).await);
        }
        tls.accept(stream).await
    };
    tokio::time::timeout(patience, handshake).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Whether the client chose HTTP/2 (RFC 7301).
pub(crate) fn speaks_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}

/// The common name of the certificate that the client showed.
pub(crate) fn shown_name(stream: &TlsStream<TcpStream>) -> Option<Arc<str>> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    Some(name.into())
}

async fn refuse_plain(mut stream: TcpStream) -> io::Error {
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{PLAIN}",
        PLAIN.len()
    );
    // A request that stays unread would turn the end of the connection into a reset, and the answer with it.
    let _ = stream.try_read(&mut [0; 8 << 10]);
    let sent = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    };
    sent.await.err().unwrap_or_else(|| io::Error::other("a request in clear text"))
}
