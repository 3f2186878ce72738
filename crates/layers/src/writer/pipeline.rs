//! Pieces compressed by several threads and handed back in order.

use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::Form;
use super::encode::{Done, Encoder, Job};
use crate::LayersError;

/// Bytes of pieces that are on their way at most, as they came and as they became. A single piece more is always let in.
const ON_THEIR_WAY: usize = 12 << 20;
/// Threads that compress. Dropped, they end.
#[derive(Debug)]
pub(super) struct Pipeline {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    on_their_way: usize,
    lengths: VecDeque<usize>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// There is a piece to compress, or nothing more to do.
    work: Condvar,
    /// The foremost piece is done.
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Pieces that no thread has taken, with their places in the order.
    jobs: VecDeque<(u64, Job)>,
    /// What became of the pieces from `first` on; none yet for those that are under way.
    results: VecDeque<Option<Result<Done, LayersError>>>,
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
    pub fn new(form: Form, threads: usize) -> Result<Option<Self>, LayersError> {
        let mut pipeline = Self { shared: Arc::default(), threads: Vec::new(), on_their_way: 0, lengths: VecDeque::new() };
        for _ in 0..threads.max(1) {
            let Some(encoder) = Encoder::new(form)? else { return Ok(None) };
            let shared = pipeline.shared.clone();
            let thread = std::thread::Builder::new().name("compress".to_owned()).spawn(move || work(&shared, encoder));
            pipeline.threads.push(thread.map_err(LayersError::stream("starting a thread"))?);
        }
        Ok(Some(pipeline))
    }

    /// Whether pieces are to be taken out before another is put in.
    pub fn is_full(&self) -> bool {
        self.on_their_way >= ON_THEIR_WAY
    }

    /// Puts in a piece.
    pub fn put(&mut self, job: Job) {
        self.on_their_way += 2 * job.data.len();
        self.lengths.push_back(job.data.len());
        let mut state = self.shared.state();
        let place = state.first + state.results.len() as u64;
        state.results.push_back(None);
        state.jobs.push_back((place, job));
        drop(state);
        self.shared.work.notify_one();
    }

    /// Takes out the foremost piece if it is done; waits for it if `wait` says so. None when there is no such piece.
    pub fn take(&mut self, wait: bool) -> Option<Result<Done, LayersError>> {
        let mut state = self.shared.state();
        loop {
            match state.results.front_mut() {
                None => return None,
                Some(result) => {
                    if let Some(result) = result.take() {
                        state.results.pop_front();
                        state.first += 1;
                        self.on_their_way -= 2 * self.lengths.pop_front().unwrap_or(0);
                        return Some(result);
                    }
                }
            }
            if !wait {
                return None;
            }
            state = self.shared.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
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
        if let Some((place, job)) = state.jobs.pop_front() {
            drop(state);
            // Whoever waits for this piece is told, whatever happens.
            let result = panic::catch_unwind(AssertUnwindSafe(|| encoder.encode(job)));
            let result = result.unwrap_or_else(|_| Err(LayersError::Compression("a thread panicked".to_owned())));
            state = shared.state();
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
