//! A blob that is being received: every reader gets its bytes as they come, while they are written to where they stay.
//!
//! What came last is in memory until it can be read from the file; older bytes are read from there. The last byte is held back until the whole was compared with
//! its digest and is durable, so that nobody sees the proper end of a wrong blob: a failure ends the readers' connections in the middle.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::failure::Failure;
use crate::body::{read, read_cached};

/// Bytes of the file that are read at a time.
const PIECE: u64 = 256 << 10;

/// How far it is.
#[derive(Clone, Debug)]
enum Phase {
    /// Nobody has said yet that there is such a blob.
    Asked,
    /// Nobody has it.
    Unknown,
    /// It is so long, and on its way.
    Coming { size: u64, arrived: u64 },
    /// It is there, compared with its digest and durable.
    Whole { size: u64 },
    /// It will not come.
    Failed(Failure),
}

/// See the module.
pub(crate) struct Growing {
    phase: watch::Sender<Phase>,
    window: Mutex<Window>,
}

/// Where the bytes are that have come.
#[derive(Default)]
struct Window {
    /// Holds the bytes before the first piece.
    file: Option<Arc<File>>,
    /// Where the first piece begins.
    begin: u64,
    pieces: VecDeque<Bytes>,
}

impl Growing {
    pub(super) fn new() -> Self {
        Self { phase: watch::Sender::new(Phase::Asked), window: Mutex::default() }
    }

    /// It was found and has so many bytes.
    pub(super) fn begins(&self, size: u64) {
        self.phase.send_replace(Phase::Coming { size, arrived: 0 });
    }

    /// The next bytes have come.
    pub(super) fn push(&self, bytes: Bytes) {
        let length = bytes.len() as u64;
        self.window.lock().pieces.push_back(bytes);
        self.phase.send_modify(|phase| {
            if let Phase::Coming { arrived, .. } = phase {
                *arrived += length;
            }
        });
    }

    /// The first `written` bytes can be read from the file: they need no more memory.
    pub(super) fn readable(&self, file: Arc<File>, written: u64) {
        let mut window = self.window.lock();
        window.file = Some(file);
        while let Some(piece) = window.pieces.front()
            && window.begin + piece.len() as u64 <= written
        {
            window.begin += piece.len() as u64;
            window.pieces.pop_front();
        }
    }

    /// All of it can be read from a file.
    pub(super) fn is_in(&self, file: Arc<File>, size: u64) {
        let mut window = self.window.lock();
        (window.file, window.begin) = (Some(file), size);
    }

    /// All of it is there.
    pub(super) fn ends(&self) {
        self.phase.send_modify(|phase| {
            if let Phase::Coming { size, .. } = phase {
                *phase = Phase::Whole { size: *size };
            }
        });
    }

    /// There is no such blob.
    pub(super) fn is_unknown(&self) {
        self.phase.send_replace(Phase::Unknown);
    }

    /// It will not come.
    pub(super) fn fails(&self, failure: Failure) {
        self.phase.send_replace(Phase::Failed(failure));
    }

    /// Whoever was to bring it was cut off.
    pub(super) fn fails_unless_decided(&self) {
        self.phase.send_if_modified(|phase| {
            let undecided = matches!(phase, Phase::Asked | Phase::Coming { .. });
            if undecided {
                *phase = Phase::Failed(Failure::Stopped);
            }
            undecided
        });
    }

    /// How long it is, once that is known; `None` when there is none.
    pub(crate) async fn size(&self) -> Result<Option<u64>, Failure> {
        let mut phase = self.phase.subscribe();
        let known = phase.wait_for(|phase| !matches!(phase, Phase::Asked)).await.map_err(|_| Failure::Stopped)?;
        match &*known {
            Phase::Asked | Phase::Unknown => Ok(None),
            Phase::Coming { size, .. } | Phase::Whole { size } => Ok(Some(*size)),
            Phase::Failed(failure) => Err(failure.clone()),
        }
    }

    /// These of its bytes, as they come.
    pub(crate) fn read(self: &Arc<Self>, range: Range<u64>) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
        let state = (self.clone(), self.phase.subscribe(), range);
        stream::unfold(state, |(growing, mut phase, mut range)| async move {
            if range.is_empty() {
                return None;
            }
            let read = growing.next(&mut phase, &range).await;
            range.start = match &read {
                Ok(bytes) => range.start + bytes.len() as u64,
                Err(_) => range.end,
            };
            Some((read, (growing, phase, range)))
        })
    }

    /// The first bytes of a range, as soon as there are any.
    async fn next(&self, phase: &mut watch::Receiver<Phase>, range: &Range<u64>) -> io::Result<Bytes> {
        let is_readable = |phase: &Phase| match phase {
            Phase::Coming { size, arrived } => range.start < shown(*size, *arrived),
            Phase::Asked => false,
            Phase::Unknown | Phase::Whole { .. } | Phase::Failed(_) => true,
        };
        let end = match &*phase.wait_for(is_readable).await.map_err(io::Error::other)? {
            Phase::Coming { size, arrived } => shown(*size, *arrived),
            Phase::Whole { size } => *size,
            Phase::Failed(failure) => return Err(io::Error::other(failure.clone())),
            Phase::Asked | Phase::Unknown => return Err(io::ErrorKind::NotFound.into()),
        };
        self.take(range.start..range.end.min(end)).await
    }

    /// The first of these bytes, all of which have come.
    async fn take(&self, range: Range<u64>) -> io::Result<Bytes> {
        let (file, range) = {
            let window = self.window.lock();
            if range.start >= window.begin {
                return window.piece(&range).ok_or_else(|| io::ErrorKind::UnexpectedEof.into());
            }
            (window.file.clone(), range.start..range.end.min(window.begin).min(range.start + PIECE))
        };
        let file = file.ok_or(io::ErrorKind::UnexpectedEof)?;
        match read_cached(&file, &range)? {
            Some(bytes) => Ok(bytes),
            None => tokio::task::spawn_blocking(move || read(&file, &range)).await.map_err(io::Error::other)?,
        }
    }
}

/// How many bytes may be seen before the end is known to be right.
fn shown(size: u64, arrived: u64) -> u64 {
    arrived.min(size.saturating_sub(1))
}

impl Window {
    /// The first of these bytes, out of the piece that holds them.
    fn piece(&self, range: &Range<u64>) -> Option<Bytes> {
        let mut begin = self.begin;
        for piece in &self.pieces {
            let end = begin + piece.len() as u64;
            if range.start < end {
                let at = |offset: u64| usize::try_from(offset - begin).unwrap_or(usize::MAX).min(piece.len());
                return Some(piece.slice(at(range.start)..at(range.end)));
            }
            begin = end;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use futures_util::StreamExt;

    use super::*;

    async fn whole(growing: Arc<Growing>, range: Range<u64>) -> io::Result<Vec<u8>> {
        let mut read = Box::pin(growing.read(range));
        let mut all = Vec::new();
        while let Some(bytes) = read.next().await {
            all.extend_from_slice(&bytes?);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn readers_get_every_byte_from_memory_and_file() {
        let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let size = content.len() as u64;
        let growing = Arc::new(Growing::new());
        let early = tokio::spawn(whole(growing.clone(), 0..size));
        let part = tokio::spawn(whole(growing.clone(), 150_000..350_001));
        tokio::task::yield_now().await;
        growing.begins(size);
        assert_eq!(growing.size().await.unwrap(), Some(size));
        let mut file = tempfile::tempfile().unwrap();
        let readable = Arc::new(file.try_clone().unwrap());
        let mut written = 0;
        for (number, piece) in content.chunks(7_000).enumerate() {
            growing.push(Bytes::copy_from_slice(piece));
            tokio::task::yield_now().await;
            if number % 3 == 2 {
                file.write_all(&content[written..][..21_000]).unwrap();
                written += 21_000;
                growing.readable(readable.clone(), written as u64);
            }
        }
        assert!(part.await.unwrap().unwrap() == content[150_000..350_001]);
        assert!(!early.is_finished(), "the last byte waits for the verdict");
        growing.ends();
        assert!(early.await.unwrap().unwrap() == content);
        assert!(whole(growing.clone(), 0..size).await.unwrap() == content, "and it can be read afterwards");
    }

    #[tokio::test]
    async fn a_failure_is_never_a_proper_end() {
        let growing = Arc::new(Growing::new());
        growing.begins(3);
        growing.push(Bytes::from_static(b"abc"));
        let mut read = Box::pin(growing.read(0..3));
        assert_eq!(read.next().await.unwrap().unwrap(), "ab");
        let upstream = "u".to_owned();
        growing.fails(Failure::Wrong { upstream, why: "it is another one".into() });
        assert!(read.next().await.unwrap().is_err());
        assert!(read.next().await.is_none());
        assert!(growing.size().await.is_err());
    }
}
