//! The right to write to an upload session, and the way of its bytes: hashed and written piece by piece while the next ones arrive.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use wharf_oci::{Algorithm, Digest, Hasher};

use super::session::{Session, State};
use super::{UploadId, Uploads};
use crate::index::Place;
use crate::{Result, Staging, StoreError};

/// Bytes that are hashed and written at a time while many upload: a hundred at once, two pieces each, fit into 16 MiB.
const SMALL_PIECE: usize = 64 << 10;
/// Bytes at a time while few do: handing a piece to other threads costs as much as hashing 100 KiB.
const LARGE_PIECE: usize = 512 << 10;
/// Sessions up to which pieces are large.
const FEW: usize = 8;
/// Bytes after which a running upload is synced and noted, so that a crash loses no more than that.
const CHECKPOINT: u64 = 64 << 20;

/// Why an upload did not become a blob.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// The content has another digest. The session is gone, and so are its bytes.
    #[error("the content has digest {actual}")]
    Mismatch {
        /// What the content's digest is.
        actual: Digest,
    },
    /// The disk or the index failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A piece on its way to the disk, with its length.
struct Writing {
    task: tokio::task::JoinHandle<(Result<()>, Box<dyn Staging>, Hasher)>,
    length: u64,
}

/// The right to write to an upload session.
///
/// Dropping it keeps the session with what was written; [`Upload::pause`] does so too and waits for it.
pub struct Upload {
    uploads: Arc<Uploads>,
    session: Arc<Session>,
    /// Always there; an option so that dropping can move it into the task that finishes the last piece.
    state: Option<OwnedMutexGuard<State>>,
    turn: u64,
    buffer: BytesMut,
    writing: Option<Writing>,
    /// The file that grows, once there is one.
    file: Option<Arc<File>>,
    /// What a dropped one left to be finished. Dropped itself, as a runtime does at its end, it leaves nothing.
    is_rest: bool,
}

/// A verified upload, synced and ready for the index.
pub(crate) struct Verified {
    pub(crate) sha256: Digest,
    pub(crate) size: u64,
    pub(crate) place: Place,
}

impl Upload {
    pub(super) fn new(uploads: Arc<Uploads>, session: Arc<Session>, state: OwnedMutexGuard<State>, turn: u64) -> Self {
        Self { uploads, session, state: Some(state), turn, buffer: BytesMut::new(), writing: None, file: None, is_rest: false }
    }

    /// Its name.
    pub fn id(&self) -> UploadId {
        self.session.id
    }

    /// Bytes that arrived so far.
    pub fn offset(&self) -> u64 {
        self.session.offset()
    }

    /// Resolves when another request takes the session over: stop writing then.
    pub async fn taken_over(&self) {
        let notified = self.session.takeover.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        if self.session.turn.load(Ordering::SeqCst) == self.turn {
            notified.await;
        }
    }

    #[expect(clippy::expect_used, reason = "the state is moved out by drop alone")]
    fn state(&mut self) -> &mut State {
        self.state.as_mut().expect("an upload has its state until it is dropped")
    }

    /// Takes the next bytes. They are hashed and written while the caller fetches more. After an error the session is gone, and so are its bytes.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.session.arrived.fetch_add(bytes.len() as u64, Ordering::Release);
        let size = if self.uploads.open() <= FEW { LARGE_PIECE } else { SMALL_PIECE };
        if self.buffer.is_empty() && bytes.len() >= size / 2 {
            return self.hand_over(bytes).await;
        }
        let mut rest = bytes;
        while self.buffer.len() + rest.len() >= size {
            // The buffer may have grown while pieces were larger.
            let part = rest.split_to(size.saturating_sub(self.buffer.len()));
            self.buffer.extend_from_slice(&part);
            let piece = self.buffer.split().freeze();
            self.hand_over(piece).await?;
        }
        if !rest.is_empty() {
            if self.buffer.capacity() - self.buffer.len() < rest.len() {
                // Most uploads are small: begin with what is there, and take the room of a whole piece only when more comes.
                let room = if self.buffer.is_empty() { rest.len() } else { size - self.buffer.len() };
                self.buffer.reserve(room);
            }
            self.buffer.extend_from_slice(&rest);
        }
        Ok(())
    }

    /// Begins to hash and write a piece, after the one before it.
    async fn hand_over(&mut self, piece: Bytes) -> Result<()> {
        self.join().await?;
        let (uploads, session) = (self.uploads.clone(), self.session.clone());
        let state = self.state();
        if state.written - state.synced >= CHECKPOINT {
            uploads.checkpoint(&session, state).await?;
        }
        let staging = match state.staging.take() {
            Some(staging) => staging,
            None => uploads.blobs.stage(&session.location, 0).await?.ok_or(StoreError::Stopped)?,
        };
        let file = staging.file();
        let length = piece.len() as u64;
        let mut hasher = state.hasher.clone();
        session.touch();
        uploads.note(&session);
        let task = tokio::spawn(async move {
            let mut staging = staging;
            let hashed = piece.clone();
            let hashing = tokio::task::spawn_blocking(move || {
                hasher.update(&hashed);
                hasher
            });
            let written = staging.write(piece).await;
            match hashing.await {
                Ok(hasher) => (written, staging, hasher),
                // Hashing cannot fail; the runtime is going down.
                Err(_) => (Err(StoreError::Stopped), staging, Hasher::new(Algorithm::Sha256)),
            }
        });
        self.file = file;
        self.writing = Some(Writing { task, length });
        Ok(())
    }

    /// What can be read already: the file that grows, and how many bytes of it are there. Those after them are on their way.
    pub fn readable(&mut self) -> Option<(Arc<File>, u64)> {
        let written = self.state().written;
        self.file.clone().map(|file| (file, written))
    }

    /// Waits for the piece under way. After an error the session is gone: what lies at the end of its file is not known.
    async fn join(&mut self) -> Result<()> {
        let Some(writing) = &mut self.writing else { return Ok(()) };
        // Awaited in place, so that who is cut off here leaves the piece to whoever finishes the upload's remainder.
        let (outcome, length) = ((&mut writing.task).await, writing.length);
        self.writing = None;
        let (result, staging, hasher) = outcome.map_err(|_| StoreError::Stopped)?;
        let (uploads, session) = (self.uploads.clone(), self.session.clone());
        let state = self.state();
        (state.staging, state.hasher) = (Some(staging), hasher);
        if let Err(error) = result {
            uploads.discard(&session, state).await?;
            return Err(error);
        }
        state.written += length;
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            let piece = self.buffer.split().freeze();
            self.hand_over(piece).await?;
        }
        self.join().await
    }

    /// Ends the request but not the session: everything that arrived is written, and the index knows of the session, so that a crash of this process leaves
    /// something to go on from.
    pub async fn pause(mut self) -> Result<()> {
        self.flush().await?;
        let (uploads, session) = (self.uploads.clone(), self.session.clone());
        uploads.record(&session, self.state()).await
    }

    /// Ends the session and removes its bytes.
    pub async fn cancel(mut self) -> Result<()> {
        self.buffer.clear();
        self.join().await?;
        let (uploads, session) = (self.uploads.clone(), self.session.clone());
        uploads.discard(&session, self.state()).await
    }

    /// Verifies and syncs what arrived. The session stays until [`Upload::close`].
    pub(crate) async fn verify(&mut self, expected: &Digest) -> Result<Verified, FinishError> {
        if self.is_small() {
            return self.verify_small(expected).await;
        }
        self.flush().await?;
        let (uploads, session) = (self.uploads.clone(), self.session.clone());
        let state = self.state();
        if state.staging.is_none() {
            // Not a byte came: the empty blob.
            state.staging = uploads.blobs.stage(&session.location, 0).await?;
        }
        let Some(staging) = &mut state.staging else { return Err(StoreError::Stopped.into()) };
        if state.hasher.digest(expected.algorithm()).is_none() {
            // The digest's algorithm was not announced when the session began.
            let hasher = Arc::new(Mutex::new(Hasher::new(expected.algorithm())));
            let feed = hasher.clone();
            staging.read_back(Box::new(move |bytes| feed.lock().update(bytes))).await?;
            state.hasher = hasher.lock().clone();
        }
        let (actual, sha256) = (state.hasher.digest(expected.algorithm()), state.hasher.digest(Algorithm::Sha256));
        let (Some(actual), Some(sha256)) = (actual, sha256) else { return Err(StoreError::Stopped.into()) };
        if actual != *expected {
            uploads.discard(&session, state).await?;
            return Err(FinishError::Mismatch { actual });
        }
        if let Err(error) = staging.sync().await {
            uploads.discard(&session, state).await?;
            return Err(error.into());
        }
        Ok(Verified { sha256, size: state.written, place: Place::Store(session.location.clone()) })
    }

    /// Whether all that came fits into the index.
    fn is_small(&mut self) -> bool {
        let (length, most) = (self.buffer.len(), self.uploads.inline);
        let nothing_written = self.writing.is_none() && self.state().written == 0;
        nothing_written && most > 0 && length <= most
    }

    /// As [`Upload::verify`], without a file: the bytes become durable with the index.
    async fn verify_small(&mut self, expected: &Digest) -> Result<Verified, FinishError> {
        let bytes = self.buffer.split().freeze();
        let actual = Digest::of(expected.algorithm(), &bytes);
        let (uploads, session) = (self.uploads.clone(), self.session.clone());
        let state = self.state();
        if actual != *expected {
            uploads.discard(&session, state).await?;
            return Err(FinishError::Mismatch { actual });
        }
        Ok(Verified { sha256: Digest::sha256(&bytes), size: bytes.len() as u64, place: Place::Index(bytes) })
    }

    /// The index has taken the session over. Its file, if it has one, is deleted unless it is the blob's.
    pub(crate) async fn close(mut self, keep_file: bool) {
        let (uploads, session) = (self.uploads.clone(), self.session.clone());
        let state = self.state();
        let has_file = state.recorded || state.staging.is_some();
        uploads.unload(&session, state);
        uploads.count_down();
        if !keep_file
            && has_file
            && let Err(error) = uploads.blobs.delete(vec![session.location.clone()]).await
        {
            // The sweep after the next start finds it.
            tracing::warn!(upload = %session.id, %error, "cannot delete superfluous bytes");
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(state) = self.state.take() else { return };
        if self.is_rest || state.ended || (self.writing.is_none() && self.buffer.is_empty()) {
            return;
        }
        // The request went away in the middle. What arrived is kept: the rest of it is written by a task that holds the session until then.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let rest = Self {
            uploads: self.uploads.clone(),
            session: self.session.clone(),
            state: Some(state),
            turn: self.turn,
            buffer: std::mem::take(&mut self.buffer),
            writing: self.writing.take(),
            file: None,
            is_rest: true,
        };
        runtime.spawn(async move {
            // An error has ended the session; there is nobody left to tell.
            let _ = rest.pause().await;
        });
    }
}
