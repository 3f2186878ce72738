//! A blocking HTTP/1.1 client that costs little, because it shares the processors with the server it measures.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::failure::{Context, Failure, Result};

/// Enough for small answers, and for a layer of a megabyte in a few system calls.
const BUFFER: usize = 256 << 10;
/// Longer than any single request of these benches; a server that is silent for so long has failed.
const SILENCE: Duration = Duration::from_secs(300);
/// Bodies up to this length leave in the same write as their head.
const JOINED_BODY: usize = 64 * 1024;

/// One kept-alive connection.
pub struct Connection<S = TcpStream> {
    stream: S,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    host: String,
    head: Vec<u8>,
}

/// The parts of a response that the benches look at.
#[derive(Debug, Default)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// How many bytes of body came.
    pub length: u64,
    /// The `Location` header.
    pub location: Option<String>,
    /// The `Link` header.
    pub link: Option<String>,
}

/// How the end of a body is known.
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// Where a response body goes.
pub enum Sink<'a> {
    /// Read and forgotten.
    Discard,
    /// Appended to a buffer.
    Keep(&'a mut Vec<u8>),
}

impl Sink<'_> {
    fn take(&mut self, bytes: &[u8]) {
        if let Sink::Keep(kept) = self {
            kept.extend_from_slice(bytes);
        }
    }
}

impl Connection<TcpStream> {
    /// Connects to a server.
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).context(format_args!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_write_timeout(Some(SILENCE))?;
        Ok(Self::over(stream, address.to_string()))
    }

    /// The same connection with a receive buffer of another size: for large bodies fewer, larger reads cost the client less.
    pub fn with_buffer(self, size: usize) -> Self {
        Self { buffer: vec![0; size], ..self }
    }
}

impl<S: Read + Write> Connection<S> {
    /// Speaks HTTP over a stream that is already connected.
    pub fn over(stream: S, host: String) -> Self {
        Self { stream, buffer: vec![0; BUFFER], start: 0, end: 0, host, head: Vec::with_capacity(1024) }
    }

    /// Sends a request with a body held in memory (or none) and reads the whole response.
    pub fn exchange(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        sink: Sink<'_>,
    ) -> Result<Answer> {
        self.write_head(method, path, headers, body.len() as u64);
        if body.len() <= JOINED_BODY {
            self.head.extend_from_slice(body);
            self.stream.write_all(&self.head).context(format_args!("{method} {path}"))?;
        } else {
            self.stream.write_all(&self.head).context(format_args!("{method} {path}"))?;
            // A server that refuses early stops reading; its answer says why, so that is what is reported.
            let sent = self.stream.write_all(body);
            if let Err(error) = sent {
                return self.refused(method, path, &error);
            }
        }
        self.read_answer(method, sink).context(format_args!("{method} {path}"))
    }

    /// Sends a request whose body comes in pieces, `length` bytes in all, and discards the response body.
    pub fn stream<'a>(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        length: u64,
        pieces: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Answer> {
        self.write_head(method, path, headers, length);
        self.stream.write_all(&self.head).context(format_args!("{method} {path}"))?;
        for piece in pieces {
            if let Err(error) = self.stream.write_all(piece) {
                return self.refused(method, path, &error);
            }
        }
        self.read_answer(method, Sink::Discard).context(format_args!("{method} {path}"))
    }

    /// A GET that discards its body.
    pub fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        self.exchange("GET", path, headers, &[], Sink::Discard)?.expecting(200, path)
    }

    /// Writes the head of a request into its buffer.
    fn write_head(&mut self, method: &str, path: &str, headers: &[(&str, &str)], length: u64) {
        self.head.clear();
        let head = &mut self.head;
        // Writing into a Vec cannot fail.
        let _ = write!(head, "{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.host);
        for (name, value) in headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if length > 0 || !matches!(method, "GET" | "HEAD" | "DELETE") {
            let _ = write!(head, "Content-Length: {length}\r\n");
        }
        head.extend_from_slice(b"\r\n");
    }

    /// Reads the answer of a server that stopped taking a body.
    fn refused(&mut self, method: &str, path: &str, error: &io::Error) -> Result<Answer> {
        let mut body = Vec::new();
        match self.read_answer(method, Sink::Keep(&mut body)) {
            Ok(answer) => Err(Failure::new(format!(
                "{method} {path}: {error} after status {}: {}",
                answer.status,
                String::from_utf8_lossy(&body)
            ))),
            Err(_) => Err(Failure::new(format!("{method} {path}: {error}"))),
        }
    }

    /// Reads one response.
    fn read_answer(&mut self, method: &str, mut sink: Sink<'_>) -> Result<Answer> {
        loop {
            let (mut answer, framing) = self.read_head()?;
            // 100 Continue precedes the real answer.
            if answer.status < 200 {
                continue;
            }
            if method == "HEAD" || matches!(answer.status, 204 | 304) {
                return Ok(answer);
            }
            answer.length = match framing {
                Framing::Length(length) => {
                    self.read_body(length, &mut sink)?;
                    length
                }
                Framing::Chunked => self.read_chunks(&mut sink)?,
                Framing::UntilClose => self.read_rest(&mut sink)?,
            };
            return Ok(answer);
        }
    }

    fn read_head(&mut self) -> Result<(Answer, Framing)> {
        let mut seen = 0_usize;
        let length = loop {
            let have = &self.buffer[self.start..self.end];
            let from = seen.saturating_sub(3);
            if let Some(at) = have[from..].windows(4).position(|window| window == b"\r\n\r\n") {
                break from + at + 4;
            }
            seen = have.len();
            if self.fill()? == 0 {
                return Err(Failure::new("the connection was closed before an answer"));
            }
        };
        let head = std::str::from_utf8(&self.buffer[self.start..self.start + length]).context("response head")?;
        let parsed = parse_head(head)?;
        self.start += length;
        Ok(parsed)
    }

    fn read_body(&mut self, length: u64, sink: &mut Sink<'_>) -> Result<()> {
        let mut left = length;
        while left > 0 {
            if self.start == self.end && self.fill()? == 0 {
                return Err(Failure::new(format!("the connection was closed with {left} bytes of the body missing")));
            }
            let have = usize::try_from(left).map_or(self.end - self.start, |left| left.min(self.end - self.start));
            sink.take(&self.buffer[self.start..self.start + have]);
            self.start += have;
            left -= have as u64;
        }
        Ok(())
    }

    fn read_chunks(&mut self, sink: &mut Sink<'_>) -> Result<u64> {
        let mut total = 0;
        loop {
            let line = self.read_line()?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(digits, 16).context(format_args!("chunk size {digits:?}"))?;
            if size == 0 {
                while !self.read_line()?.is_empty() {}
                return Ok(total);
            }
            self.read_body(size, sink)?;
            self.read_line()?;
            total += size;
        }
    }

    fn read_rest(&mut self, sink: &mut Sink<'_>) -> Result<u64> {
        let mut total = 0;
        loop {
            sink.take(&self.buffer[self.start..self.end]);
            total += (self.end - self.start) as u64;
            self.start = self.end;
            if self.fill()? == 0 {
                return Ok(total);
            }
        }
    }

    fn read_line(&mut self) -> Result<String> {
        loop {
            let have = &self.buffer[self.start..self.end];
            if let Some(at) = have.windows(2).position(|window| window == b"\r\n") {
                let line = String::from_utf8_lossy(&have[..at]).into_owned();
                self.start += at + 2;
                return Ok(line);
            }
            if self.fill()? == 0 {
                return Err(Failure::new("the connection was closed within a chunked body"));
            }
        }
    }

    /// Reads more into the buffer; 0 is the end of the stream.
    fn fill(&mut self) -> Result<usize> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.end == self.buffer.len() {
                return Err(Failure::new("a response line does not fit into the buffer"));
            }
        }
        loop {
            match self.stream.read(&mut self.buffer[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Answer {
    /// The answer itself when it has the status `wanted`.
    pub fn expecting(self, wanted: u16, what: &str) -> Result<Self> {
        if self.status == wanted {
            Ok(self)
        } else {
            Err(Failure::new(format!("{what}: status {} instead of {wanted}", self.status)))
        }
    }
}

fn parse_head(head: &str) -> Result<(Answer, Framing)> {
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| Failure::new("not an HTTP response"))?;
    let mut answer = Answer { status, ..Answer::default() };
    let mut framing = Framing::UntilClose;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            framing = Framing::Length(value.parse().context("Content-Length")?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
            framing = Framing::Chunked;
        } else if name.eq_ignore_ascii_case("location") {
            answer.location = Some(value.to_owned());
        } else if name.eq_ignore_ascii_case("link") {
            answer.link = Some(value.to_owned());
        }
    }
    Ok((answer, framing))
}

#[cfg(test)]
mod tests {
    use super::{Connection, Sink};
    use std::io::{Cursor, Read, Result, Write};

    /// Answers from a script, in reads of at most three bytes.
    struct Script(Cursor<Vec<u8>>);

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
            let most = buffer.len().min(3);
            self.0.read(&mut buffer[..most])
        }
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn reads_sized_and_chunked_bodies_in_turn() {
        let script = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello\
            HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\nlocation: /x\r\n\r\n3\r\nabc\r\n2;a=b\r\nde\r\n0\r\n\r\n";
        let mut connection = Connection::over(Script(Cursor::new(script.to_vec())), "h".into());
        let mut body = Vec::new();
        let first = connection.exchange("GET", "/", &[], &[], Sink::Keep(&mut body)).unwrap();
        assert_eq!((first.status, first.length, body.as_slice()), (200, 5, b"hello".as_slice()));
        body.clear();
        let second = connection.exchange("POST", "/", &[], &[], Sink::Keep(&mut body)).unwrap();
        assert_eq!((second.status, second.length, body.as_slice()), (202, 5, b"abcde".as_slice()));
        assert_eq!(second.location.as_deref(), Some("/x"));
    }

    #[test]
    fn a_short_body_is_a_failure() {
        let script = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello";
        let mut connection = Connection::over(Script(Cursor::new(script.to_vec())), "h".into());
        assert!(connection.get("/", &[]).is_err());
    }
}
