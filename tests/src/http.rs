//! A synchronous HTTP/1.1 client under the test's full control.
//!
//! It follows no redirect, retries nothing, and lets a test send what no ordinary client would: a wrong length, half a
//! body, raw bytes. Header fields keep their order and may repeat.

use std::fmt::Display;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Long enough for a slow disk, short enough that a server that never answers fails the test instead of hanging it.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
enum Body<'a> {
    None,
    Sized(&'a [u8]),
    Chunked(Vec<&'a [u8]>),
}

/// A request being put together; `send` sends it on a connection of its own.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request<'a> {
    address: SocketAddr,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Body<'a>,
}

impl<'a> Request<'a> {
    /// A request for `target`, which is sent as it is, without any escaping.
    pub fn new(address: SocketAddr, method: &str, target: &str) -> Self {
        Self { address, method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: Body::None }
    }

    /// Adds a header field; a name may be given several times.
    pub fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// A body with its length announced, unless a `Content-Length` header was given, which is then sent as given.
    pub fn body(mut self, body: &'a [u8]) -> Self {
        self.body = Body::Sized(body);
        self
    }

    /// A body without a length, in these chunks (`Transfer-Encoding: chunked`).
    pub fn chunked(mut self, chunks: impl IntoIterator<Item = &'a [u8]>) -> Self {
        self.body = Body::Chunked(chunks.into_iter().collect());
        self
    }

    /// Sends it and reads the answer.
    ///
    /// # Panics
    /// When no well-formed answer came back.
    pub fn send(&self) -> Response {
        self.try_send().unwrap_or_else(|e| panic!("{} {}: {e}", self.method, self.target))
    }

    /// As [`send`](Self::send), for tests in which the server may be gone.
    pub fn try_send(&self) -> io::Result<Response> {
        let mut connection = Connection::open(self.address)?;
        self.send_on(&mut connection)
    }

    /// Sends it on a connection that stays open, and reads the answer.
    pub fn send_on(&self, connection: &mut Connection) -> io::Result<Response> {
        // A server may answer before it has read everything and close: the answer counts, not the broken pipe.
        let written = connection.write(&self.head()).and_then(|()| match &self.body {
            Body::None => Ok(()),
            Body::Sized(body) => connection.write(body),
            Body::Chunked(chunks) => {
                for chunk in chunks {
                    connection.write(format!("{:x}\r\n", chunk.len()).as_bytes())?;
                    connection.write(chunk)?;
                    connection.write(b"\r\n")?;
                }
                connection.write(b"0\r\n\r\n")
            }
        });
        let answer = connection.read_response(&self.method);
        match (written, answer) {
            (_, Ok(answer)) => Ok(answer),
            (Err(e), Err(_)) | (Ok(()), Err(e)) => Err(e),
        }
    }

    /// Announces the whole body, sends only its first `length` bytes, and ends the sending half of the connection.
    /// Returns the answer if the server gave one; in any case the server has noticed when this returns.
    pub fn send_truncated(&self, length: usize) -> Option<Response> {
        let mut connection = self.send_beginning(length);
        connection.finish_writing();
        let answer = connection.read_response(&self.method).ok();
        // Until the server has closed its half it may still be at work on what it was sent.
        let _ = connection.read_to_end();
        answer
    }

    /// Announces the whole body, sends only its first `length` bytes, and returns with the connection open.
    pub fn send_beginning(&self, length: usize) -> Connection {
        let mut connection = Connection::open(self.address).expect("connect");
        connection.write(&self.head()).expect("send the head");
        match &self.body {
            Body::Sized(body) => connection.write(&body[..length]).expect("send half a body"),
            Body::Chunked(chunks) => {
                let all = chunks.concat();
                connection.write(format!("{:x}\r\n", all.len()).as_bytes()).expect("send a chunk header");
                connection.write(&all[..length]).expect("send half a chunk");
            }
            Body::None => {}
        }
        connection
    }

    fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !self.has("Host") {
            head.push_str(&format!("Host: {}\r\n", self.address));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match &self.body {
            Body::Chunked(_) => head.push_str("Transfer-Encoding: chunked\r\n"),
            Body::Sized(body) if !self.has("Content-Length") => {
                head.push_str(&format!("Content-Length: {}\r\n", body.len()));
            }
            Body::None if matches!(self.method.as_str(), "POST" | "PUT" | "PATCH") && !self.has("Content-Length") => {
                head.push_str("Content-Length: 0\r\n");
            }
            _ => {}
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name))
    }
}

/// One TCP connection to a server.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
    older: bool,
}

impl Connection {
    /// Connects, with a limit on every read and write.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream), older: false })
    }

    /// From now on answers may be of HTTP/1.0, for requests that are.
    pub fn accept_older(&mut self) {
        self.older = true;
    }

    /// Sends raw bytes.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Tells the server that nothing more will come.
    pub fn finish_writing(&mut self) {
        let _ = self.stream.get_ref().shutdown(Shutdown::Write);
    }

    /// Everything that is still to come until the server closes.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest)?;
        Ok(rest)
    }

    /// Reads exactly these many bytes, whatever they are.
    pub fn read_some(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.stream.read_exact(buffer)
    }

    /// Reads one answer to a request with `method`, after any number of interim (1xx) ones.
    pub fn read_response(&mut self, method: &str) -> io::Result<Response> {
        let mut interim = Vec::new();
        loop {
            let mut response = self.read_head()?;
            if (100..200).contains(&response.status) {
                interim.push(response.status);
                continue;
            }
            response.interim = interim;
            if method != "HEAD" && response.status != 204 && response.status != 304 {
                self.read_body(&mut response)?;
            }
            return Ok(response);
        }
    }

    /// Reads one interim answer, such as `100 Continue`.
    pub fn read_interim(&mut self) -> io::Result<u16> {
        self.read_head().map(|r| r.status)
    }

    fn read_head(&mut self) -> io::Result<Response> {
        let line = self.read_line()?;
        let mut words = line.splitn(3, ' ');
        let (version, status) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let status = status.parse().map_err(|_| malformed(format!("status line {line:?}")))?;
        if version != "HTTP/1.1" && !(self.older && version == "HTTP/1.0") {
            return Err(malformed(format!("version {version:?}")));
        }
        let mut headers = Vec::new();
        loop {
            let line = self.read_line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| malformed(format!("header {line:?}")))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        Ok(Response { status, headers, body: Vec::new(), framing: Framing::None, interim: Vec::new() })
    }

    fn read_body(&mut self, response: &mut Response) -> io::Result<()> {
        let lengths = response.all("Content-Length");
        let chunked = response.get("Transfer-Encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked"));
        if chunked {
            if !lengths.is_empty() {
                return Err(malformed("both a length and a transfer encoding"));
            }
            response.framing = Framing::Chunked;
            loop {
                let size = self.read_line()?;
                let size = usize::from_str_radix(&size, 16).map_err(|_| malformed(format!("chunk {size:?}")))?;
                let start = response.body.len();
                response.body.resize(start + size, 0);
                self.stream.read_exact(&mut response.body[start..])?;
                if !self.read_line()?.is_empty() {
                    return Err(malformed("no line end after a chunk"));
                }
                if size == 0 {
                    return Ok(());
                }
            }
        }
        if lengths.len() > 1 {
            return Err(malformed("two lengths"));
        }
        match lengths.first() {
            Some(length) => {
                let length: usize = length.parse().map_err(|_| malformed(format!("length {length:?}")))?;
                response.framing = Framing::Length(length as u64);
                response.body.resize(length, 0);
                self.stream.read_exact(&mut response.body)
            }
            None => {
                response.framing = Framing::UntilClose;
                self.stream.read_to_end(&mut response.body).map(drop)
            }
        }
    }

    fn read_line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        match line.strip_suffix(b"\r\n") {
            Some(line) => Ok(String::from_utf8_lossy(line).into_owned()),
            None if line.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            None => Err(malformed(format!("line {:?}", String::from_utf8_lossy(&line)))),
        }
    }
}

fn malformed(what: impl Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed answer: {what}"))
}

/// How the end of an answer's body was marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body by the rules of HTTP: an answer to HEAD, a 204 or a 304.
    None,
    /// By `Content-Length`.
    Length(u64),
    /// By the chunked transfer encoding.
    Chunked,
    /// By the end of the connection, which cannot be told from a broken one.
    UntilClose,
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Every header field in the order sent.
    pub headers: Vec<(String, String)>,
    /// The body, empty when there was none.
    pub body: Vec<u8>,
    /// How the body ended.
    pub framing: Framing,
    /// Status codes of the interim answers that came first.
    pub interim: Vec<u16>,
}

impl Response {
    /// The values of every field called `name`.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    /// The value of the field `name`, if there is one.
    ///
    /// # Panics
    /// When there are several, which for the fields asked for here would be a fault.
    pub fn get(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "several {name} fields: {all:?}");
        all.first().copied()
    }

    /// The value of the field `name`, which must be there.
    pub fn header(&self, name: &str) -> &str {
        self.get(name).unwrap_or_else(|| panic!("no {name} in {}", self.describe()))
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("no JSON ({e}) in {}", self.describe()))
    }

    /// Status, headers and the beginning of the body, for messages.
    pub fn describe(&self) -> String {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(600)]);
        format!("{} {:?} {body:?}", self.status, self.headers)
    }
}
