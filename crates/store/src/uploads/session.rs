//! One upload session as this process knows it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use wharf_oci::{Algorithm, Hasher, RepositoryName, SavedState};

use super::UploadId;
use crate::index::UploadRow;
use crate::{Location, Staging, Timestamp};

pub(crate) struct Session {
    pub(super) id: UploadId,
    pub(super) repository: RepositoryName,
    pub(super) owner: Arc<str>,
    pub(super) location: Location,
    pub(super) created: Timestamp,
    /// Bytes that arrived, for asking without waiting for whoever writes.
    pub(super) arrived: AtomicU64,
    progressed: Mutex<(Timestamp, Instant)>,
    /// Rises when somebody else wants the session; who holds an older number lets go.
    pub(super) turn: AtomicU64,
    pub(super) takeover: Notify,
    pub(super) state: Arc<tokio::sync::Mutex<State>>,
}

/// What only the one who writes may touch.
pub(super) struct State {
    pub(super) staging: Option<Box<dyn Staging>>,
    pub(super) hasher: Hasher,
    pub(super) written: u64,
    pub(super) synced: u64,
    /// Finished, cancelled or failed: whoever waited for it finds nothing.
    pub(super) ended: bool,
    /// Whether the index knows of it.
    pub(super) recorded: bool,
}

impl State {
    /// Of a session that has just begun.
    pub(super) fn new(hasher: Hasher) -> Self {
        Self { staging: None, hasher, written: 0, synced: 0, ended: false, recorded: false }
    }

    /// Of a session that was read back from the index.
    pub(super) fn read_back(staging: Option<Box<dyn Staging>>, hasher: Hasher, written: u64) -> Self {
        Self { staging, hasher, written, synced: written, ended: false, recorded: true }
    }

    /// Whether bytes were under way when whoever wrote them was cut off, so that neither file nor hash is known any more.
    pub(super) fn is_adrift(&self) -> bool {
        self.staging.is_none() && self.written > 0
    }

    /// Whether there is nothing of it but its place in memory.
    pub(super) fn is_empty(&self) -> bool {
        !self.recorded && self.staging.is_none() && self.written == 0
    }
}

impl Session {
    pub(super) fn new(row: &UploadRow, state: State) -> Self {
        Self {
            id: row.id,
            repository: row.repository.clone(),
            owner: row.owner.clone(),
            location: row.location.clone(),
            created: row.created,
            arrived: AtomicU64::new(state.written),
            progressed: Mutex::new((row.progressed, Instant::now())),
            turn: AtomicU64::new(0),
            takeover: Notify::new(),
            state: Arc::new(tokio::sync::Mutex::new(state)),
        }
    }

    /// Bytes that arrived so far.
    pub(crate) fn offset(&self) -> u64 {
        self.arrived.load(Ordering::Acquire)
    }

    /// When bytes last came.
    pub(super) fn progressed(&self) -> Timestamp {
        self.progressed.lock().0
    }

    /// How long no bytes came.
    pub(super) fn idle(&self) -> Duration {
        self.progressed.lock().1.elapsed()
    }

    /// Notes that bytes came.
    pub(super) fn touch(&self) {
        *self.progressed.lock() = (Timestamp::now(), Instant::now());
    }

    /// Its row before anything of it is synced. What the hash must answer for has to outlive this process as well.
    pub(super) fn first_row(&self, state: &State) -> UploadRow {
        let also = state.hasher.also();
        self.row(0, (also != Algorithm::Sha256).then(|| Hasher::new(also).save()))
    }

    /// Its row with this many synced bytes, and the state of the hash after them.
    pub(super) fn row(&self, offset: u64, state: Option<SavedState>) -> UploadRow {
        UploadRow {
            id: self.id,
            repository: self.repository.clone(),
            owner: self.owner.clone(),
            location: self.location.clone(),
            offset,
            state,
            created: self.created,
            progressed: self.progressed(),
        }
    }
}
