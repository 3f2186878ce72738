//! Connections of other vdkr processes: a thread writes to each, so that one which does not read holds up nobody but its own streams.

use std::os::unix::net::UnixStream;
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

/// The writing side of a connection.
pub struct Connection {
    items: Mutex<Option<Sender<Item>>>,
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
        let writer =
            thread::Builder::new().name("viewer".to_owned()).stack_size(128 << 10).spawn(move || deliver(to, &incoming))?;
        Ok(Self { items: Mutex::new(Some(items)), writer: Mutex::new(Some(writer)), socket: socket.try_clone()? })
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
            let _ = items.send(item);
        }
    }

    /// Wait until all was sent, and close it.
    pub fn finish(&self) {
        drop(self.items.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = writer.join();
        }
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

fn deliver(mut to: UnixStream, incoming: &Receiver<Item>) {
    let mut is_there = true;
    // Of one that is gone the rest is taken all the same: what was delivered counts.
    while let Ok(item) = incoming.recv() {
        is_there = is_there && write(&mut to, item.channel, &item.bytes).is_ok();
    }
}
