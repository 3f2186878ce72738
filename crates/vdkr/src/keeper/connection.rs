//! Connections of other vdkr processes: a thread writes to each, so that one which does not read holds up nobody but its own streams.

use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use serde::Serialize;
use wharf_guest_protocol::{CONTROL, write};

/// What is done when the last one who was to get some bytes has got them, or is gone.
pub struct Delivered(pub Box<dyn Fn() + Send + Sync>);

impl Drop for Delivered {
    fn drop(&mut self) {
        (self.0)();
    }
}

struct Item {
    channel: u32,
    bytes: Vec<u8>,
    _delivered: Option<Arc<Delivered>>,
}

/// The most bytes that wait for one who does not read, and what an item counts beside its own: twice what windows allow in single bytes. A guest
/// that sends more keeps to no window.
const MOST: usize = 64 << 20;
const ITEM: usize = 64;

/// The writing side of a connection.
pub struct Connection {
    items: Mutex<Option<Sender<Item>>>,
    waiting: Arc<AtomicUsize>,
    writer: Mutex<Option<JoinHandle<()>>>,
    socket: UnixStream,
}

impl Connection {
    /// Over a socket.
    ///
    /// # Errors
    /// When the system has no room for a thread.
    pub fn over(socket: &UnixStream) -> std::io::Result<Self> {
        let (items, incoming) = channel();
        let to = socket.try_clone()?;
        let waiting = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&waiting);
        let builder = thread::Builder::new().name("viewer".to_owned()).stack_size(128 << 10);
        let writer = builder.spawn(move || deliver(to, &incoming, &counted))?;
        Ok(Self { items: Mutex::new(Some(items)), waiting, writer: Mutex::new(Some(writer)), socket: socket.try_clone()? })
    }

    /// Send a message.
    pub fn tell(&self, message: &impl Serialize) {
        if let Ok(bytes) = serde_json::to_vec(message) {
            self.push(Item { channel: CONTROL, bytes, _delivered: None });
        }
    }

    /// Send bytes of a stream.
    pub fn carry(&self, channel: u32, bytes: Vec<u8>, delivered: Option<Arc<Delivered>>) {
        self.push(Item { channel, bytes, _delivered: delivered });
    }

    fn push(&self, item: Item) {
        if let Some(items) = &*self.items.lock().unwrap_or_else(PoisonError::into_inner) {
            let size = item.bytes.len() + ITEM;
            if self.waiting.fetch_add(size, Ordering::Relaxed) > MOST {
                self.cut();
            }
            let _ = items.send(item);
        }
    }

    /// Close it; what waits is not sent any more.
    pub fn cut(&self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }

    /// Wait until all was sent, and close it.
    pub fn finish(&self) {
        drop(self.items.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = writer.join();
        }
        self.cut();
    }
}

fn deliver(mut to: UnixStream, incoming: &Receiver<Item>, waiting: &AtomicUsize) {
    let mut is_there = true;
    // Of one that is gone the rest is taken all the same: what was delivered counts.
    while let Ok(item) = incoming.recv() {
        is_there = is_there && write(&mut to, item.channel, &item.bytes).is_ok();
        waiting.fetch_sub(item.bytes.len() + ITEM, Ordering::Relaxed);
    }
}
