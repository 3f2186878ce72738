//! Upload sessions: bytes that come in pieces, over several requests, through restarts.

mod upload;

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use wharf_oci::{Algorithm, Hasher, RepositoryName};

use crate::index::{Index, UploadRow};
use crate::{BlobStore, Location, Result, Staging, StoreError, Timestamp};

pub use upload::{FinishError, Upload};

/// How long an unsynced remainder may wait after a request has ended.
const SETTLE: Duration = Duration::from_secs(5);

/// Names an upload session: a random UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UploadId(uuid::Uuid);

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text is not a UUID in its usual form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an upload is named by a UUID")]
pub struct NotAnUploadId;

impl FromStr for UploadId {
    type Err = NotAnUploadId;

    fn from_str(text: &str) -> Result<Self, NotAnUploadId> {
        // Only the form that was handed out, so that one session has one address.
        match uuid::Uuid::try_parse(text) {
            Ok(id) if text.len() == 36 && !text.bytes().any(|byte| byte.is_ascii_uppercase()) => Ok(Self(id)),
            _ => Err(NotAnUploadId),
        }
    }
}

pub(crate) struct Session {
    id: UploadId,
    pub(crate) repository: RepositoryName,
    owner: Arc<str>,
    location: Location,
    created: Timestamp,
    /// Bytes that arrived, for asking without waiting for whoever writes.
    arrived: AtomicU64,
    progressed: Mutex<(Timestamp, Instant)>,
    /// Rises when somebody else wants the session; who holds an older number lets go.
    turn: AtomicU64,
    takeover: Notify,
    state: Arc<tokio::sync::Mutex<State>>,
}

struct State {
    staging: Option<Box<dyn Staging>>,
    hasher: Hasher,
    written: u64,
    synced: u64,
    /// Finished, cancelled or failed: whoever waited for it finds nothing.
    ended: bool,
    /// The session's row being written. Whatever else is told to the index of this session comes after it.
    announcing: Option<tokio::task::JoinHandle<Result<()>>>,
}

impl State {
    /// Whether bytes were under way when whoever wrote them was cut off, so that neither file nor hash is known any more.
    fn is_adrift(&self) -> bool {
        self.staging.is_none() && self.written > 0
    }
}

/// All sessions that were used lately. The others are in the index.
pub(crate) struct Uploads {
    index: Arc<dyn Index>,
    blobs: Arc<dyn BlobStore>,
    sessions: Mutex<HashMap<UploadId, Arc<Session>>>,
    /// Held while a session is read back from the index, so that two requests do not open one file.
    loading: tokio::sync::Mutex<()>,
    open: AtomicUsize,
    limit: usize,
}

impl Uploads {
    pub(crate) fn new(index: Arc<dyn Index>, blobs: Arc<dyn BlobStore>, open: usize, limit: usize) -> Self {
        Self {
            index,
            blobs,
            sessions: Mutex::default(),
            loading: tokio::sync::Mutex::default(),
            open: AtomicUsize::new(open),
            limit,
        }
    }

    /// Sessions, those in the index included.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// A new session; `None` when there are too many.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        repository: &RepositoryName,
        owner: &Arc<str>,
        algorithm: Algorithm,
    ) -> Result<Option<Arc<Session>>> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.limit {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Ok(None);
        }
        let now = Timestamp::now();
        let row = UploadRow {
            id: UploadId(uuid::Uuid::new_v4()),
            repository: repository.clone(),
            owner: owner.clone(),
            location: self.blobs.allocate(),
            offset: 0,
            // What the hash must answer for has to survive a restart as well.
            state: (algorithm != Algorithm::Sha256).then(|| Hasher::new(algorithm).save()),
            created: now,
            progressed: now,
        };
        let session = Arc::new(Session::new(&row, None, Hasher::new(algorithm), 0));
        // The client is not kept waiting for this: an empty session that is lost with the server costs it one more request.
        let index = self.index.clone();
        let announcing = tokio::spawn(async move { index.open_upload(row).await });
        if let Ok(mut state) = session.state.try_lock() {
            state.announcing = Some(announcing);
        }
        self.sessions.lock().insert(session.id, session.clone());
        Ok(Some(session))
    }

    /// The repository's session with this id, from memory or from the index.
    pub(crate) async fn find(&self, repository: &RepositoryName, id: UploadId) -> Result<Option<Arc<Session>>> {
        let in_memory = self.sessions.lock().get(&id).cloned();
        let session = match in_memory {
            Some(session) => Some(session),
            None => self.load(id).await?,
        };
        Ok(session.filter(|session| session.repository == *repository))
    }

    async fn load(&self, id: UploadId) -> Result<Option<Arc<Session>>> {
        let _alone = self.loading.lock().await;
        let loaded = self.sessions.lock().get(&id).cloned();
        if loaded.is_some() {
            return Ok(loaded);
        }
        let Some(row) = self.index.upload(id).await? else { return Ok(None) };
        let saved = row.state.as_ref().and_then(Hasher::restore);
        let hasher = saved.unwrap_or_else(|| Hasher::new(Algorithm::Sha256));
        let lost = row.offset > 0 && row.state.as_ref().and_then(Hasher::restore).is_none();
        let staging = match (row.offset, lost) {
            (0, _) | (_, true) => None,
            (offset, false) => self.blobs.stage(&row.location, offset).await?,
        };
        // Synced bytes can be missing only where somebody took them away; then the upload begins anew, and says so.
        let (written, hasher) = match &staging {
            Some(_) => (row.offset, hasher),
            None if row.offset == 0 => (0, hasher),
            None => (0, Hasher::new(Algorithm::Sha256)),
        };
        let session = Arc::new(Session::new(&row, staging, hasher, written));
        self.sessions.lock().insert(id, session.clone());
        Ok(Some(session))
    }

    /// The right to write to a session. Whoever had it until now, perhaps on a dead connection, loses it. `None` when the session has ended.
    pub(crate) async fn take(self: &Arc<Self>, mut session: Arc<Session>) -> Result<Option<Upload>> {
        // Once more at most: what was just read back from the index is not adrift.
        for _ in 0..2 {
            let turn = session.turn.fetch_add(1, Ordering::SeqCst) + 1;
            session.takeover.notify_waiters();
            let mut state = session.state.clone().lock_owned().await;
            if state.ended {
                return Ok(None);
            }
            if !state.is_adrift() {
                session.arrived.store(state.written, Ordering::Release);
                return Ok(Some(Upload::new(self.clone(), session, state, turn)));
            }
            self.unload(&session, &mut state);
            drop(state);
            match self.load(session.id).await? {
                Some(loaded) => session = loaded,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Lets go of a session in memory; the index keeps it, at its last synced offset.
    fn unload(&self, session: &Session, state: &mut State) {
        state.staging = None;
        state.ended = true;
        self.sessions.lock().remove(&session.id);
    }

    /// Repositories with a session that has made progress within `period`.
    pub(crate) fn active(&self, period: Duration) -> std::collections::HashSet<RepositoryName> {
        let sessions = self.sessions.lock();
        sessions
            .values()
            .filter(|session| session.progressed.lock().1.elapsed() < period)
            .map(|session| session.repository.clone())
            .collect()
    }

    /// Syncs and notes what idle sessions have received, and lets go of those that were idle for long.
    pub(crate) async fn settle(&self, everything: bool) {
        let sessions: Vec<_> = self.sessions.lock().values().cloned().collect();
        for session in sessions {
            let idle = session.progressed.lock().1.elapsed();
            if !everything && idle < SETTLE {
                continue;
            }
            let Ok(mut state) = session.state.clone().try_lock_owned() else { continue };
            if state.ended {
                continue;
            }
            if state.is_adrift() {
                self.unload(&session, &mut state);
                continue;
            }
            if let Err(error) = self.checkpoint(&session, &mut state).await {
                tracing::warn!(upload = %session.id, %error, "cannot note an unfinished upload");
                continue;
            }
            let mut sessions = self.sessions.lock();
            // Nobody but us and the table has it, and nobody can ask the table meanwhile: it can be read back from the index, and needs no open file till then.
            if everything || idle > SETTLE * 6 && Arc::strong_count(&session) <= 2 {
                state.staging = None;
                state.ended = true;
                sessions.remove(&session.id);
            }
        }
    }

    /// Makes what was written durable and notes it. What cannot be synced is lost, whatever a second attempt would say: the kernel tells of a failed write once.
    async fn checkpoint(&self, session: &Session, state: &mut State) -> Result<()> {
        self.announced(session, state).await?;
        if state.synced == state.written {
            return Ok(());
        }
        if let Some(staging) = &mut state.staging
            && let Err(error) = staging.sync().await
        {
            self.discard(session, state).await?;
            return Err(error);
        }
        self.index.save_upload(session.row(state.written, Some(&state.hasher))).await?;
        state.synced = state.written;
        Ok(())
    }

    /// Ends sessions without progress since `before`; answers how many.
    pub(crate) async fn expire(self: &Arc<Self>, before: Timestamp) -> Result<usize> {
        let mut expired = 0;
        for row in self.index.idle_uploads(before, 1_000).await? {
            let Some(session) = self.find(&row.repository, row.id).await? else { continue };
            if session.progressed.lock().0 >= before {
                continue;
            }
            if let Some(upload) = self.take(session).await? {
                upload.cancel().await?;
                expired += 1;
            }
        }
        Ok(expired)
    }

    /// Waits until the index knows of the session. When it cannot, the session is gone, and so are its bytes.
    async fn announced(&self, session: &Session, state: &mut State) -> Result<()> {
        let Some(announcing) = &mut state.announcing else { return Ok(()) };
        // Awaited in place: who gives up here must not make the next one believe that it is done.
        let announced = announcing.await;
        state.announcing = None;
        if let Err(error) = announced.map_err(|_| StoreError::Stopped).flatten() {
            state.staging = None;
            self.unload(session, state);
            self.count_down();
            self.blobs.delete(vec![session.location.clone()]).await?;
            return Err(error);
        }
        Ok(())
    }

    /// Removes a session and its bytes. The bytes are the session's for as long as the index has its row: once they are a blob's, they stay.
    async fn discard(&self, session: &Session, state: &mut State) -> Result<()> {
        if self.announced(session, state).await.is_err() {
            return Ok(());
        }
        self.unload(session, state);
        if self.index.upload(session.id).await?.is_some() {
            // The bytes go first: on a full disk the index needs their room.
            self.blobs.delete(vec![session.location.clone()]).await?;
            if self.index.delete_upload(session.id).await? {
                self.count_down();
            }
        }
        Ok(())
    }

    /// One session less.
    fn count_down(&self) {
        let less = |open: usize| Some(open.saturating_sub(1));
        let _ = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

impl Session {
    fn new(row: &UploadRow, staging: Option<Box<dyn Staging>>, hasher: Hasher, written: u64) -> Self {
        let state = State { staging, hasher, written, synced: written, ended: false, announcing: None };
        Self {
            id: row.id,
            repository: row.repository.clone(),
            owner: row.owner.clone(),
            location: row.location.clone(),
            created: row.created,
            arrived: AtomicU64::new(written),
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

    fn row(&self, offset: u64, hasher: Option<&Hasher>) -> UploadRow {
        UploadRow {
            id: self.id,
            repository: self.repository.clone(),
            owner: self.owner.clone(),
            location: self.location.clone(),
            offset,
            state: hasher.map(Hasher::save),
            created: self.created,
            progressed: self.progressed.lock().0,
        }
    }
}
