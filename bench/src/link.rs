//! A link to a server: it counts what comes back, and may be as slow as the links that devices have.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::Result;

/// Bytes that are passed on at once.
const PIECE: usize = 64 << 10;

/// A listener that passes connections on to a server, until it is dropped.
pub struct Link {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    server: SocketAddr,
    /// Bytes a second that come back at most, over all connections.
    rate: Option<f64>,
    /// When the link is free again.
    free: Mutex<Instant>,
    answered: AtomicU64,
    ended: AtomicBool,
}

impl Link {
    /// A link to `server`; of `rate` bytes a second towards the client, or as fast as it goes.
    pub fn start(server: SocketAddr, rate: Option<f64>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            server,
            rate,
            free: Mutex::new(Instant::now()),
            answered: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let accepting = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.ended.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(client) = client else { continue };
                let shared = accepting.clone();
                // A connection that breaks is the client's to notice.
                thread::spawn(move || shared.connect(&client));
            }
        });
        Ok(Self { address, shared })
    }

    /// Bytes that came back so far, headers included.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::SeqCst)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn connect(&self, client: &TcpStream) -> std::io::Result<()> {
        let server = TcpStream::connect(self.server)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || {
            // Either end may go first.
            let _ = std::io::copy(&mut from_client, &mut to_server);
            let _ = to_server.shutdown(Shutdown::Write);
        });
        let answered = self.answer(server, client);
        let _ = client.shutdown(Shutdown::Both);
        answered
    }

    fn answer(&self, mut server: TcpStream, mut client: &TcpStream) -> std::io::Result<()> {
        let mut buffer = vec![0; PIECE];
        loop {
            let length = server.read(&mut buffer)?;
            if length == 0 {
                return Ok(());
            }
            self.answered.fetch_add(length as u64, Ordering::SeqCst);
            self.wait(length);
            client.write_all(&buffer[..length])?;
        }
    }

    /// Waits until so many more bytes have had their time on the link.
    fn wait(&self, length: usize) {
        let Some(rate) = self.rate else { return };
        let free = {
            let mut free = self.free.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *free = (*free).max(Instant::now()) + Duration::from_secs_f64(length as f64 / rate);
            *free
        };
        thread::sleep(free.saturating_duration_since(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::Link;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Instant;

    #[test]
    fn what_comes_back_is_counted_and_held_to_the_rate() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let link = Link::start(listener.local_addr().unwrap(), Some(1e6)).unwrap();
        let server = std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let mut question = [0; 2];
            connection.read_exact(&mut question).unwrap();
            connection.write_all(&[7; 200_000]).unwrap();
            question
        });
        let begun = Instant::now();
        let mut client = TcpStream::connect(link.address).unwrap();
        client.write_all(b"ab").unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert_eq!((answer.len(), link.answered(), &server.join().unwrap()), (200_000, 200_000, b"ab"));
        assert!(begun.elapsed().as_secs_f64() >= 0.2);
    }
}
