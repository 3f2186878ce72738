//! Pieces compressed by several threads and handed back in order.

use std::collections::VecDeque;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::Form;
use super::encode::{Batch, Done, Encoder};
use crate::{LayersError, OlderPieces};

/// Bytes that make a batch. With a piece of the largest usual kind on top it has three times as many at most.
const BATCH: usize = 128 << 10;
/// Batches that wait to be compressed or written, besides those that are being compressed.
const WAITING: usize = 8;

/// Threads that compress. Dropped, they end.
///
/// What batches are made of is used again and again: between threads, allocators are slow to give memory back.
#[derive(Debug)]
pub(super) struct Pipeline {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// The pieces that are to be handed over next.
    next: Batch,
    /// Batches that were handed over and not yet taken back.
    on_their_way: usize,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// There is a batch to compress, or nothing more to do.
    work: Condvar,
    /// The foremost batch is done.
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Batches that no thread has taken, with their places in the order.
    jobs: VecDeque<(u64, Batch)>,
    /// What became of the batches from `first` on; none yet for those that are under way.
    results: VecDeque<Option<Result<Done, LayersError>>>,
    /// Empty ones.
    batches: Vec<Batch>,
    dones: Vec<Done>,
    first: u64,
    closed: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A thread panics nowhere while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pipeline {
    /// Starts `threads` threads, at least one. None of them for a plain archive, whose pieces are not to be compressed.
    pub fn new(form: Form, threads: usize, older: &Arc<OlderPieces>) -> Result<Option<Self>, LayersError> {
        let mut pipeline = Self { shared: Arc::default(), threads: Vec::new(), next: Batch::default(), on_their_way: 0 };
        for _ in 0..threads.max(1) {
            let Some(encoder) = Encoder::new(form, older)? else { return Ok(None) };
            let shared = pipeline.shared.clone();
            let thread = std::thread::Builder::new().name("compress".to_owned()).spawn(move || work(&shared, encoder));
            pipeline.threads.push(thread.map_err(LayersError::stream("starting a thread"))?);
        }
        Ok(Some(pipeline))
    }

    /// Whether batches are to be taken out before another piece is put in.
    pub fn is_full(&self) -> bool {
        self.on_their_way >= self.threads.len() + WAITING
    }

    /// Puts in a piece.
    pub fn put(&mut self, piece: &[u8], is_content: bool) {
        self.next.data.extend_from_slice(piece);
        self.next.pieces.push((piece.len(), is_content));
        if self.next.data.len() >= BATCH {
            self.hand_over();
        }
    }

    /// Lets the threads have the pieces that were put in last, few as they may be.
    pub fn hand_over(&mut self) {
        if self.next.pieces.is_empty() {
            return;
        }
        let mut state = self.shared.state();
        let empty = state.batches.pop().unwrap_or_default();
        let place = state.first + state.results.len() as u64;
        state.results.push_back(None);
        state.jobs.push_back((place, mem::replace(&mut self.next, empty)));
        self.on_their_way += 1;
        drop(state);
        self.shared.work.notify_one();
    }

    /// Takes out the foremost batch if it is done; waits for it if `wait` says so. None when there is no such batch.
    pub fn take(&mut self, wait: bool) -> Option<Result<Done, LayersError>> {
        let mut state = self.shared.state();
        loop {
            if let Some(result) = state.results.front_mut()?.take() {
                state.results.pop_front();
                state.first += 1;
                self.on_their_way -= 1;
                return Some(result);
            }
            if !wait {
                return None;
            }
            state = self.shared.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes back a batch whose pieces were written.
    pub fn give_back(&mut self, mut done: Done) {
        done.stored.clear();
        done.pieces.clear();
        self.shared.state().dones.push(done);
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.closed = true;
        state.jobs.clear();
        drop(state);
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            // It has nothing to say: what it made was taken, or is not wanted.
            let _ = thread.join();
        }
    }
}

/// What a thread does until it is told to end.
fn work(shared: &Shared, mut encoder: Encoder) {
    let mut state = shared.state();
    loop {
        if let Some((place, mut batch)) = state.jobs.pop_front() {
            let mut done = state.dones.pop().unwrap_or_default();
            drop(state);
            // Whoever waits for this batch is told, whatever happens.
            let result = panic::catch_unwind(AssertUnwindSafe(|| encoder.encode(&batch, &mut done)));
            let result = result.unwrap_or_else(|_| Err(LayersError::Compression("a thread panicked".to_owned())));
            let result = result.map(|()| done);
            batch.data.clear();
            batch.pieces.clear();
            state = shared.state();
            state.batches.push(batch);
            let index = (place - state.first) as usize;
            if let Some(slot) = state.results.get_mut(index) {
                *slot = Some(result);
            }
            if index == 0 {
                shared.done.notify_one();
            }
        } else if state.closed {
            return;
        } else {
            state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
