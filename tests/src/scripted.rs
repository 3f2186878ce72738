//! An HTTP server that says what a test wants to hear, and remembers what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// For a body longer than this, the head alone may be answered: with [`Reply::early`].
const HASTY: usize = 64 << 20;

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// Path and query, or what else stood there.
    pub target: String,
    /// Header fields, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// When its head was there.
    pub at: Instant,
}

impl Asked {
    /// The value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Bytes of the body, as announced.
    fn length(&self) -> usize {
        self.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)
    }

    /// Whether it has this method and a target that holds `part`.
    pub fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.target.contains(part)
    }
}

/// What is answered.
#[derive(Clone, Debug)]
#[must_use = "an answer is to be given"]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    length: Option<u64>,
    cut: Option<usize>,
    hang: bool,
    early: bool,
}

impl Reply {
    /// An answer without a body.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), length: None, cut: None, hang: false, early: false }
    }

    /// The same with a header field.
    pub fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// The same with a body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The same, announcing another length than the body has.
    pub fn length(mut self, length: u64) -> Self {
        self.length = Some(length);
        self
    }

    /// The same, with the connection ended after so many bytes of the body.
    pub fn cut(mut self, after: usize) -> Self {
        self.cut = Some(after);
        self
    }

    /// The same, given before the request's body is read, as a proxy does that refuses it; the connection ends soon after.
    pub fn early(mut self) -> Self {
        self.early = true;
        self
    }

    /// Nothing is answered, and nothing more is read.
    pub fn hang() -> Self {
        Self { hang: true, ..Self::new(0) }
    }

    /// The connection ends without an answer.
    pub fn close() -> Self {
        Self::new(0)
    }
}

type Handler = dyn Fn(&Asked) -> Reply + Send + Sync;

/// The server. Dropping it ends it.
pub struct Scripted {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    ended: Arc<AtomicBool>,
}

impl Scripted {
    /// Starts it on a port of the kernel's choice. Answers may be asked for from several threads at once.
    pub fn start(handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port for a scripted server");
        let address = listener.local_addr().expect("its address");
        let (asked, ended): (Arc<Mutex<Vec<Asked>>>, Arc<AtomicBool>) = Default::default();
        let handler: Arc<Handler> = Arc::new(handler);
        let (log, end) = (asked.clone(), ended.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if end.load(Ordering::SeqCst) {
                    break;
                }
                let (handler, log, end) = (handler.clone(), log.clone(), end.clone());
                thread::spawn(move || serve(stream, &*handler, &log, &end));
            }
        });
        Self { address, asked, ended }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests had this method and a target that holds `part`.
    pub fn count(&self, method: &str, part: &str) -> usize {
        self.asked().iter().filter(|asked| asked.is(method, part)).count()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // The listener notices by one connection more.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, handler: &Handler, log: &Mutex<Vec<Asked>>, ended: &AtomicBool) {
    let _ = stream.set_nodelay(true);
    let Ok(reading) = stream.try_clone() else { return };
    let (mut reader, mut stream) = (BufReader::new(reading), stream);
    while let Some(mut asked) = read_head(&mut reader) {
        if asked.length() > HASTY {
            let reply = handler(&asked);
            if reply.early {
                log.lock().unwrap_or_else(PoisonError::into_inner).push(asked.clone());
                let _ = write(&mut stream, &asked.method, &reply);
                linger(&mut reader);
                return;
            }
        }
        if !read_body(&mut reader, &mut asked) {
            return;
        }
        log.lock().unwrap_or_else(PoisonError::into_inner).push(asked.clone());
        let reply = handler(&asked);
        if reply.hang {
            while !ended.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(20));
            }
            return;
        }
        if reply.status == 0 || !write(&mut stream, &asked.method, &reply) {
            return;
        }
    }
}

/// Reads and forgets for a moment, so that the answer is not lost with the connection.
fn linger(reader: &mut BufReader<TcpStream>) {
    let end = Instant::now() + Duration::from_secs(1);
    let _ = reader.get_ref().set_read_timeout(Some(Duration::from_millis(200)));
    let mut buffer = vec![0; 64 << 10];
    while Instant::now() < end && reader.read(&mut buffer).is_ok_and(|length| length > 0) {}
}

fn read_head(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut line = String::new();
    let mut next = |reader: &mut BufReader<TcpStream>| {
        line.clear();
        reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        Some(line.trim_end().to_owned())
    };
    let request = next(reader)?;
    let mut words = request.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let field = next(reader)?;
        let Some((name, value)) = field.split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Some(Asked { method, target, headers, body: Vec::new(), at: Instant::now() })
}

fn read_body(reader: &mut BufReader<TcpStream>, asked: &mut Asked) -> bool {
    asked.body.resize(asked.length(), 0);
    reader.read_exact(&mut asked.body).is_ok()
}

/// Whether the connection may go on.
fn write(stream: &mut TcpStream, method: &str, reply: &Reply) -> bool {
    let mut head = format!("HTTP/1.1 {} Scripted\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let chunked = reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("transfer-encoding"));
    let own = reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    if reply.status != 204 && !chunked && !own {
        head.push_str(&format!("Content-Length: {}\r\n", reply.length.unwrap_or(reply.body.len() as u64)));
    }
    head.push_str("\r\n");
    let body = if method == "HEAD" { &[][..] } else { &reply.body[..reply.cut.unwrap_or(reply.body.len())] };
    let sent = if chunked && method != "HEAD" {
        let framed = [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat();
        stream.write_all(&[head.as_bytes(), &framed].concat())
    } else {
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body))
    };
    sent.is_ok() && reply.cut.is_none()
}
