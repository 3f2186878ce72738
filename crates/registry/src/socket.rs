//! A socket that counts what goes out, takes in a bounded piece at a time, and gives a client up that takes nothing for too long.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Sleep;

use crate::connection::Shared;

/// Bytes read at a time at most. hyper doubles its buffer whenever one is filled; a hundred uploads at once need no more than this, and it is one byte less than
/// the step at which the next doubling would come.
const READ: usize = (64 << 10) - 1;
/// Bytes of an answer that are copied together before they go out.
const JOINED: usize = 2 << 10;

/// See the module.
pub(crate) struct Socket<S> {
    inner: TokioIo<S>,
    shared: Arc<Shared>,
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Socket<S> {
    /// `patience` is how long a client may take nothing.
    pub(crate) fn new(stream: S, shared: Arc<Shared>, patience: Duration) -> Self {
        Self { inner: TokioIo::new(stream), shared, patience, stalled: None }
    }

    fn watch(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(result) => {
                self.stalled = None;
                if let Ok(count) = &result {
                    self.shared.metrics.add_sent(*count);
                }
                Poll::Ready(result)
            }
            Poll::Pending => {
                let patience = self.patience;
                let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
                match stalled.as_mut().poll(context) {
                    Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Read for Socket<S> {
    #[expect(unsafe_code, reason = "hyper has no safe way to fill a part of its buffer without a copy")]
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        // SAFETY: nothing in it is made uninitialised: the socket only writes to it.
        let room = unsafe { buffer.as_mut() };
        let most = room.len().min(READ);
        let mut part = ReadBuf::uninit(&mut room[..most]);
        let read = Pin::new(&mut self.inner).poll_read(context, part.unfilled());
        let filled = part.filled().len();
        // SAFETY: the first `filled` bytes of the room were written through `part`.
        unsafe { buffer.advance(filled) };
        read
    }
}

impl<S: AsyncWrite + Unpin> Write for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.watch(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum::<usize>();
        let written = if length <= JOINED {
            // The kernel takes one small piece with less ado than several.
            let mut joined = [0; JOINED];
            let mut end = 0;
            for slice in slices {
                joined[end..end + slice.len()].copy_from_slice(slice);
                end += slice.len();
            }
            Pin::new(&mut self.inner).poll_write(context, &joined[..end])
        } else {
            Pin::new(&mut self.inner).poll_write_vectored(context, slices)
        };
        self.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
