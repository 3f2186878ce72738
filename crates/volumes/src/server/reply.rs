//! Replies, written behind the room for their headers, so that one write sends a whole frame.

use rustix::io::Errno;

use super::abi::{NOTIFY_INVAL_INODE, OUT_HEADER};
use crate::frame;

/// Where the body of a reply starts.
const BODY: usize = frame::HEADER + OUT_HEADER;

/// A frame with one reply. Its memory is used again for the next.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    /// The frame's bytes up to `end`; what follows is room that was used before.
    bytes: Vec<u8>,
    end: usize,
    outdated: Option<u64>,
}

impl Reply {
    /// An empty body.
    pub(crate) fn clear(&mut self) {
        self.outdated = None;
        self.end = 0;
        self.room(BODY);
        self.end = BODY;
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    pub(crate) fn zeros(&mut self, count: usize) {
        self.room(count).fill(0);
        self.end += count;
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// Room of `size` bytes behind the body, with anything in it.
    pub(crate) fn room(&mut self, size: usize) -> &mut [u8] {
        let needed = self.end + size;
        if self.bytes.len() < needed {
            self.bytes.resize(needed, 0);
        }
        &mut self.bytes[self.end..needed]
    }

    /// Takes the first `count` bytes of the room last asked for into the body.
    pub(crate) fn grow(&mut self, count: usize) {
        self.end = self.bytes.len().min(self.end + count);
    }

    /// Bytes of the body so far.
    pub(crate) fn len(&self) -> usize {
        self.end - BODY
    }

    /// Takes back what follows the first `length` bytes of the body.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.end = self.end.min(BODY + length);
    }

    /// The guest is to ask again for the attributes of a node before it gets this reply.
    pub(crate) fn outdate(&mut self, node: u64) {
        self.outdated = Some(node);
    }

    /// The frame that does so.
    pub(crate) fn notice(&self, volume: u32) -> Option<Vec<u8>> {
        let node = self.outdated?;
        let mut notice = Self::default();
        notice.clear();
        notice.u64(node);
        // Attributes alone: dropping pages could wait for a page that waits for a reply behind this.
        notice.bytes(&(-1_i64).to_le_bytes());
        notice.u64(0);
        notice.head(volume, 0, NOTIFY_INVAL_INODE);
        notice.bytes.truncate(notice.end);
        Some(notice.bytes)
    }

    /// The finished frame.
    pub(crate) fn finish(&mut self, volume: u32, unique: u64, result: Result<(), Errno>) -> &[u8] {
        let error = match result {
            Ok(()) => 0,
            Err(errno) => {
                self.clear();
                -errno.raw_os_error()
            }
        };
        self.head(volume, unique, error);
        &self.bytes[..self.end]
    }

    fn head(&mut self, volume: u32, unique: u64, error: i32) {
        let length = self.end - frame::HEADER;
        self.bytes[..frame::HEADER].copy_from_slice(&frame::header(length, volume));
        let head = &mut self.bytes[frame::HEADER..BODY];
        head[..4].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        head[4..8].copy_from_slice(&error.to_le_bytes());
        head[8..].copy_from_slice(&unique.to_le_bytes());
    }
}
