//! A wire between client and server that breaks where a test says.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// Bytes that are taken off a connection at once.
const PIECE: usize = 16 << 10;

/// What happens to the connection that carries a certain byte or request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It ends when the client has sent so many bytes, counted over all connections.
    CutAt(u64),
    /// It ends when the server has answered with so many bytes, counted over all connections.
    CutAnswerAt(u64),
    /// Nothing more is taken from the client once it has sent so many bytes, counted over all connections.
    StallAt(u64),
    /// A request that begins with this text is cut in its middle.
    CutRequest(&'static str),
    /// A request that begins with this text reaches the server, its answer nobody.
    CutAnswer(&'static str),
}

/// A proxy for TCP in front of one server. Faults happen once each, in any order.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: Mutex<SocketAddr>,
    received: AtomicU64,
    sent: AtomicU64,
    faults: Mutex<VecDeque<Fault>>,
    happened: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
    ended: AtomicBool,
}

impl Proxy {
    /// Listens on a port of the kernel's choice.
    pub fn start(target: SocketAddr, faults: impl IntoIterator<Item = Fault>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port for a proxy");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            faults: Mutex::new(faults.into_iter().collect()),
            happened: AtomicU64::new(0),
            open: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let own = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                if own.ended.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(client) = client else { continue };
                let own = own.clone();
                thread::spawn(move || own.serve(&client));
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that clients sent, of requests' heads and bodies.
    pub fn received(&self) -> u64 {
        self.shared.received.load(Ordering::SeqCst)
    }

    /// Bytes that clients were sent, of answers' heads and bodies.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }

    /// Faults that have happened.
    pub fn happened(&self) -> u64 {
        self.shared.happened.load(Ordering::SeqCst)
    }

    /// Sends new connections to another address, and ends those that there are.
    pub fn retarget(&self, target: SocketAddr) {
        *lock(&self.shared.target) = target;
        self.shared.end_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.shared.end_all();
        // The listener notices by one connection more.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn end_all(&self) {
        for stream in lock(&self.open).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn serve(self: &Arc<Self>, client: &TcpStream) {
        // Where nobody listens, the client sees a connection that ends at once.
        let Ok(server) = TcpStream::connect(*lock(&self.target)) else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (Ok(to_client), Ok(from_server)) = (client.try_clone(), server.try_clone()) else { return };
        if let (Ok(client), Ok(server)) = (client.try_clone(), server.try_clone()) {
            lock(&self.open).extend([client, server]);
        }
        let mute = Arc::new(AtomicBool::new(false));
        let answers = {
            let (own, mute) = (self.clone(), mute.clone());
            thread::spawn(move || own.answers(from_server, to_client, &mute))
        };
        self.requests(client, &server, &mute);
        // When the server still answers, its answer goes out before the connection ends.
        if !mute.load(Ordering::SeqCst) {
            let _ = server.shutdown(Shutdown::Write);
        }
        let _ = answers.join();
        let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
    }

    fn requests(&self, mut client: &TcpStream, mut server: &TcpStream, mute: &AtomicBool) {
        let mut buffer = vec![0; PIECE];
        while let Ok(length @ 1..) = client.read(&mut buffer) {
            let piece = &buffer[..length];
            let total = self.received.fetch_add(length as u64, Ordering::SeqCst) + length as u64;
            let fault = self.fault(piece, total);
            let kept = match &fault {
                Some(Fault::CutAt(at)) => length - usize::try_from(total - at).unwrap_or(length).min(length),
                Some(Fault::CutRequest(_)) => length / 2,
                _ => length,
            };
            if matches!(fault, Some(Fault::CutAnswer(_))) {
                mute.store(true, Ordering::SeqCst);
            }
            if server.write_all(&piece[..kept]).is_err() {
                return;
            }
            match fault {
                Some(Fault::CutAt(_) | Fault::CutRequest(_)) => {
                    let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
                    return;
                }
                Some(Fault::StallAt(_)) => {
                    // Until the client has enough of it; what it still sends stays in its own buffers.
                    let mut end = [0];
                    let _ = client.set_read_timeout(Some(Duration::from_secs(60)));
                    while client.peek(&mut end).is_ok_and(|length| length > 0) && !self.ended.load(Ordering::SeqCst) {
                        if client.take_error().ok().flatten().is_some() || is_closed(client) {
                            break;
                        }
                        thread::sleep(Duration::from_millis(20));
                    }
                    let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
                    return;
                }
                _ => {}
            }
        }
    }

    fn fault(&self, piece: &[u8], total: u64) -> Option<Fault> {
        let mut faults = lock(&self.faults);
        let place = faults.iter().position(|fault| match fault {
            Fault::CutAt(at) | Fault::StallAt(at) => total >= *at,
            Fault::CutAnswerAt(_) => false,
            Fault::CutRequest(text) | Fault::CutAnswer(text) => piece.starts_with(text.as_bytes()),
        })?;
        self.happened.fetch_add(1, Ordering::SeqCst);
        faults.remove(place)
    }

    fn answers(&self, mut server: TcpStream, mut client: TcpStream, mute: &AtomicBool) {
        let mut buffer = vec![0; PIECE];
        while let Ok(length @ 1..) = server.read(&mut buffer) {
            if mute.load(Ordering::SeqCst) || client.write_all(&buffer[..length]).is_err() {
                break;
            }
            let total = self.sent.fetch_add(length as u64, Ordering::SeqCst) + length as u64;
            let mut faults = lock(&self.faults);
            let cut = faults.iter().position(|fault| matches!(fault, Fault::CutAnswerAt(at) if total >= *at));
            if cut.and_then(|place| faults.remove(place)).is_some() {
                self.happened.fetch_add(1, Ordering::SeqCst);
                break;
            }
        }
        let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
    }
}

/// Whether the other side has ended the connection, though bytes of it are still unread.
fn is_closed(stream: &TcpStream) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut asked = [PollFd::new(stream, PollFlags::RDHUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut asked, Some(&now)).is_ok() && asked[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
