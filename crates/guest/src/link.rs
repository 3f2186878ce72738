//! The way to the host: frames, written by many threads, one at a time.

use std::fs::File;
use std::sync::{Mutex, PoisonError};

use wharf_guest_protocol::{CONTROL, Event, Stream, write};

/// The writing side of the port for messages and streams.
pub struct Link {
    port: Mutex<File>,
}

impl Link {
    /// Over an open port.
    pub fn new(port: File) -> Self {
        Self { port: Mutex::new(port) }
    }

    /// Tell the host something.
    pub fn tell(&self, event: &Event) {
        if let Ok(json) = serde_json::to_vec(event) {
            self.send(CONTROL, &json);
        }
    }

    /// Send bytes of a stream; none say that it has ended.
    pub fn carry(&self, stream: Stream, bytes: &[u8]) {
        self.send(stream.channel(), bytes);
    }

    fn send(&self, channel: u32, payload: &[u8]) {
        let mut port = self.port.lock().unwrap_or_else(PoisonError::into_inner);
        // A host that is gone takes its machine along: there is nobody to tell.
        let _ = write(&mut *port, channel, payload);
    }
}
