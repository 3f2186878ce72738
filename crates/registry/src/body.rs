//! Bodies of answers: nothing, memory, or ranges of a file that go from the page cache to the socket.
//!
//! A large range is mapped and handed to the socket by address, so that its bytes are copied once, by the kernel. They are never read by this process: a failing
//! disk or a file cut short from outside makes the system call fail (`EFAULT`), which ends that connection, and not the process by a signal. That holds for
//! plain connections with vectored writes, which is how [`crate::connection`] sets hyper up. Where bytes must be read, as for encryption, they are read out of the
//! file into memory ([`Body::read_files`]).
//! What is not in the page cache yet is read into it by another thread first, so that no connection waits for another one's disk.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::task::JoinHandle;

/// Bytes of a file that are handed to the socket at a time.
const SEGMENT: u64 = 1 << 20;
/// Ranges from this length on are sent from a mapped file; below, a copy costs less than asking whether the pages are there.
pub(crate) const MAPPED_FROM: u64 = 128 << 10;

/// Bytes of a file that are read into memory at a time.
const READ: usize = 256 << 10;

/// The body of an answer.
#[derive(Default)]
pub(crate) struct Body {
    parts: VecDeque<Part>,
    length: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    watcher: Option<Watcher>,
    reads: bool,
    paced: Option<Pace>,
}

/// Told of each step of a body: whether the client has the next move, or this side.
type Pace = Box<dyn FnMut(Turn) + Send>;

/// Whose move it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The client has been given bytes, and takes them.
    Client,
    /// Bytes are waited for on this side.
    Server,
}

/// Who is told how many bytes were taken.
struct Watcher {
    /// Bytes there were to take.
    whole: u64,
    tell: Box<dyn FnOnce(u64) + Send>,
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(watcher) = self.watcher.take() {
            (watcher.tell)(watcher.whole - self.length);
        }
    }
}

/// A piece of a body.
pub(crate) enum Part {
    /// Bytes in memory.
    Memory(Bytes),
    /// Few bytes of a file.
    File { file: Arc<File>, range: Range<u64> },
    /// Bytes of a mapped file.
    Mapped { map: Arc<Mapping>, range: Range<usize> },
    /// Bytes that are still to come from elsewhere, exactly so many.
    Coming { bytes: Coming, length: u64 },
}

/// Bytes as they come. An error ends the connection before the answer's end.
pub(crate) type Coming = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

impl Part {
    fn length(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { range, .. } => range.end - range.start,
            Self::Mapped { range, .. } => range.len() as u64,
            Self::Coming { length, .. } => *length,
        }
    }
}

impl Body {
    /// Parts, one after the other.
    pub(crate) fn new(parts: impl IntoIterator<Item = Part>) -> Self {
        let parts: VecDeque<_> = parts.into_iter().filter(|part| part.length() > 0).collect();
        Self { length: parts.iter().map(Part::length).sum(), parts, reading: None, watcher: None, reads: false, paced: None }
    }

    /// Bytes from memory.
    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        Self::new([Part::Memory(bytes.into())])
    }

    /// Calls `pace` whenever the turn changes or bytes are handed out. What it holds is kept until the answer is over.
    pub(crate) fn pace(&mut self, pace: impl FnMut(Turn) + Send + 'static) {
        self.paced = Some(Box::new(pace));
    }

    /// Hands out nothing that must not be read: the bytes go through this process.
    pub(crate) fn read_files(&mut self) {
        self.reads = true;
    }

    /// Bytes that are still to come.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Whether all of it is at hand.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Memory(_)))
    }

    /// Calls `tell` when the answer is over, whole or not, with how many bytes of it were taken.
    pub(crate) fn when_dropped(&mut self, tell: impl FnOnce(u64) + Send + 'static) {
        self.watcher = Some(Watcher { whole: self.length, tell: Box::new(tell) });
    }

    /// The next bytes of a part that is still to come; `None` when the next part is another one.
    fn poll_coming(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let Some(Part::Coming { bytes, length }) = self.parts.front_mut().filter(|_| self.reading.is_none()) else {
            return Poll::Ready(None);
        };
        let next = ready!(bytes.as_mut().poll_next(context)).unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()));
        *length = length.saturating_sub(next.as_ref().map_or(0, |next| next.len() as u64));
        if *length == 0 {
            self.parts.pop_front();
        }
        Poll::Ready(Some(next))
    }

    /// The next bytes, or a reader that fetches them.
    fn advance(&mut self) -> io::Result<Option<Bytes>> {
        let Some(part) = self.parts.pop_front() else { return Ok(None) };
        match part {
            Part::Coming { .. } => Err(io::Error::other("what is still to come is polled for")),
            Part::Memory(bytes) => Ok(Some(bytes)),
            Part::File { file, range } => {
                if let Some(bytes) = read_cached(&file, &range)? {
                    return Ok(Some(bytes));
                }
                self.reading = Some(tokio::task::spawn_blocking(move || read(&file, &range)));
                Ok(None)
            }
            Part::Mapped { map, range } if self.reads => {
                let end = range.end.min(range.start + READ);
                if end < range.end {
                    self.parts.push_front(Part::Mapped { map: map.clone(), range: end..range.end });
                }
                self.parts.push_front(Part::File { file: map.file.clone(), range: range.start as u64..end as u64 });
                self.advance()
            }
            Part::Mapped { map, range } => {
                #[expect(clippy::cast_possible_truncation, reason = "a segment is far smaller than the address space")]
                let end = range.end.min(range.start + SEGMENT as usize);
                if end < range.end {
                    self.parts.push_front(Part::Mapped { map: map.clone(), range: end..range.end });
                }
                if map.is_resident(&(range.start..end)) {
                    return Ok(Some(Bytes::from_owner(Segment { map, range: range.start..end })));
                }
                self.reading = Some(tokio::task::spawn_blocking(move || {
                    map.fetch(&(range.start..end))?;
                    Ok(Bytes::from_owner(Segment { map, range: range.start..end }))
                }));
                Ok(None)
            }
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let next = self.poll_next(context);
        if let Some(pace) = &mut self.paced {
            pace(if next.is_pending() { Turn::Server } else { Turn::Client });
        }
        next
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty() && self.reading.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

impl Body {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(next) = ready!(self.poll_coming(context)) {
            self.length -= next.as_ref().map_or(0, |next| next.len() as u64);
            return Poll::Ready(Some(next.map(Frame::data)));
        }
        loop {
            let bytes = match &mut self.reading {
                Some(reading) => {
                    let Poll::Ready(result) = Pin::new(reading).poll(context) else { return Poll::Pending };
                    self.reading = None;
                    match result.map_err(io::Error::other).flatten() {
                        Ok(bytes) => bytes,
                        Err(error) => return Poll::Ready(Some(Err(error))),
                    }
                }
                None => match self.advance() {
                    Ok(Some(bytes)) => bytes,
                    Ok(None) if self.reading.is_some() => continue,
                    Ok(None) => return Poll::Ready(None),
                    Err(error) => return Poll::Ready(Some(Err(error))),
                },
            };
            self.length -= bytes.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
    }
}

/// The whole range, if it can be had without waiting for the disk.
pub(crate) fn read_cached(file: &File, range: &Range<u64>) -> io::Result<Option<Bytes>> {
    #[expect(clippy::cast_possible_truncation, reason = "only short ranges are read")]
    let mut buffer = vec![0; (range.end - range.start) as usize];
    let slices = &mut [io::IoSliceMut::new(&mut buffer)];
    match rustix::io::preadv2(file, slices, range.start, rustix::io::ReadWriteFlags::NOWAIT) {
        Ok(count) if count == buffer.len() => Ok(Some(buffer.into())),
        Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The whole range, waiting for the disk.
pub(crate) fn read(file: &File, range: &Range<u64>) -> io::Result<Bytes> {
    #[expect(clippy::cast_possible_truncation, reason = "only short ranges are read")]
    let mut buffer = vec![0; (range.end - range.start) as usize];
    file.read_exact_at(&mut buffer, range.start)?;
    Ok(buffer.into())
}

/// A mapped file.
#[derive(Debug)]
pub(crate) struct Mapping {
    map: memmap2::Mmap,
    file: Arc<File>,
}

impl Mapping {
    #[expect(unsafe_code, reason = "mapping a file; see the module's documentation")]
    pub(crate) fn new(file: Arc<File>, size: u64) -> io::Result<Self> {
        let length = usize::try_from(size).map_err(io::Error::other)?;
        // SAFETY: blobs are never written again once the index names them, so the bytes do not change under a reader of this program. Should somebody cut or
        // overwrite the file from outside all the same, the bytes are only ever handed to system calls by address, which fail instead of faulting.
        let map = unsafe { memmap2::MmapOptions::new().len(length).map(&*file)? };
        Ok(Self { map, file })
    }

    /// Whether the page cache holds all of it.
    #[expect(unsafe_code, reason = "no safe wrapper of mincore in the crates used here")]
    fn is_resident(&self, range: &Range<usize>) -> bool {
        const PAGE: usize = 4096;
        let address = self.map.as_ptr() as usize + range.start;
        let aligned = address & !(PAGE - 1);
        let length = range.end - range.start + (address - aligned);
        let mut pages = [0_u8; (SEGMENT as usize) / PAGE + 2];
        debug_assert!(length.div_ceil(PAGE) <= pages.len());
        // SAFETY: the address range lies within the mapping, which lives as long as `self` and begins on a page; the vector has a byte for each of its pages.
        let result = unsafe { libc::mincore(aligned as *mut libc::c_void, length, pages.as_mut_ptr()) };
        result == 0 && pages[..length.div_ceil(PAGE)].iter().all(|page| page & 1 == 1)
    }

    /// Reads a range into the page cache, waiting for the disk and noticing its errors.
    fn fetch(&self, range: &Range<usize>) -> io::Result<()> {
        let mut buffer = vec![0; 128 << 10];
        let mut offset = range.start;
        while offset < range.end {
            let length = buffer.len().min(range.end - offset);
            self.file.read_exact_at(&mut buffer[..length], offset as u64)?;
            offset += length;
        }
        Ok(())
    }
}

/// A piece of a mapping, as an owner for [`Bytes`].
struct Segment {
    map: Arc<Mapping>,
    range: Range<usize>,
}

impl AsRef<[u8]> for Segment {
    fn as_ref(&self) -> &[u8] {
        &self.map.map[self.range.clone()]
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use std::io::Write;

    use super::*;

    #[tokio::test]
    async fn parts_come_in_order_and_to_the_byte() {
        let content: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        let file = Arc::new(file);
        let map = Arc::new(Mapping::new(file.clone(), content.len() as u64).unwrap());
        for range in [0..content.len(), 1..content.len() - 1, 4095..4097, 5000..2_000_000, 7..7 + (128 << 10)] {
            for reads in [false, true] {
                let part = match range.len() as u64 {
                    MAPPED_FROM.. => Part::Mapped { map: map.clone(), range: range.clone() },
                    _ => Part::File { file: file.clone(), range: range.start as u64..range.end as u64 },
                };
                let mut body = Body::new([Part::Memory("<".into()), part, Part::Memory(">".into())]);
                if reads {
                    body.read_files();
                }
                assert_eq!(body.length(), range.len() as u64 + 2);
                let bytes = body.collect().await.unwrap().to_bytes();
                assert_eq!(bytes[0], b'<');
                assert!(bytes[1..bytes.len() - 1] == content[range.clone()], "{range:?}");
                assert_eq!(bytes[bytes.len() - 1], b'>');
            }
        }
    }

    #[tokio::test]
    async fn a_file_cut_short_is_an_error() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(100).unwrap();
        let body = Body::new([Part::File { file: Arc::new(file), range: 0..200 }]);
        assert!(body.collect().await.is_err());
    }
}
