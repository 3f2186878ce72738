//! Upload sessions: bytes that come in pieces, over several requests, through restarts.

mod session;
mod upload;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use wharf_oci::{Algorithm, Hasher, RepositoryName};

use crate::index::{Index, UploadRow};
use crate::{BlobStore, Location, Options, Result, Timestamp};

use session::{Session, State};
pub use upload::{FinishError, Upload};

/// How long an unsynced remainder may wait after a request has ended.
const SETTLE: Duration = Duration::from_secs(5);
/// How long a session lives that never got a byte.
const EMPTY: Duration = Duration::from_secs(3_600);
/// How long such a session is safe where others need its place.
const EMPTY_AT_THE_LIMIT: Duration = Duration::from_secs(60);

/// Bytes of the largest blob that may be kept in the index. More would be read over by everybody who looks for something else.
const MOST_INLINE: usize = 32 << 10;

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

/// All sessions that were used lately. The others are in the index, and so are those of the first kind once a request has left bytes in them: most uploads end
/// before the index needs to know of them.
pub(crate) struct Uploads {
    index: Arc<dyn Index>,
    blobs: Arc<dyn BlobStore>,
    sessions: Mutex<HashMap<UploadId, Arc<Session>>>,
    /// Held while a session is read back from the index, so that two requests do not open one file.
    loading: tokio::sync::Mutex<()>,
    open: AtomicUsize,
    limit: usize,
    /// The same of one owner.
    most_of_one: usize,
    /// Bytes up to which a blob is kept in the index.
    inline: usize,
    started: Timestamp,
    /// How long a lease lasts.
    lease: Duration,
    activity: Mutex<HashMap<RepositoryName, Activity>>,
}

/// Uploads of one repository, as far as they keep what its clients were told.
#[derive(Clone, Copy)]
struct Activity {
    /// Since when there was never a lease's time without.
    since: Instant,
    last: Instant,
    /// The last of those that were opened before this process began.
    inherited: Option<Instant>,
}

impl Uploads {
    /// `started` is when this process began, and `open` how many sessions the index knew then.
    pub(crate) fn new(
        index: Arc<dyn Index>,
        blobs: Arc<dyn BlobStore>,
        open: usize,
        options: &Options,
        started: Timestamp,
    ) -> Self {
        Self {
            index,
            blobs,
            sessions: Mutex::default(),
            loading: tokio::sync::Mutex::default(),
            open: AtomicUsize::new(open),
            limit: options.uploads,
            most_of_one: options.uploads_of_one,
            inline: options.inline.min(MOST_INLINE),
            started,
            lease: options.lease,
            activity: Mutex::default(),
        }
    }

    /// Sessions, those in the index included.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// A new session; `None` when there are too many, or too many of this owner.
    pub(crate) fn begin(&self, repository: &RepositoryName, owner: &Arc<str>, algorithm: Algorithm) -> Option<Arc<Session>> {
        if self.has_enough(owner) {
            self.drop_empty(EMPTY_AT_THE_LIMIT);
            if self.has_enough(owner) {
                return None;
            }
        }
        if !self.count_up() {
            self.drop_empty(EMPTY_AT_THE_LIMIT);
            if !self.count_up() {
                return None;
            }
        }
        let now = Timestamp::now();
        let row = UploadRow {
            id: UploadId(uuid::Uuid::new_v4()),
            repository: repository.clone(),
            owner: owner.clone(),
            location: self.blobs.allocate(),
            offset: 0,
            state: None,
            created: now,
            progressed: now,
        };
        let session = Arc::new(Session::new(&row, State::new(Hasher::new(algorithm))));
        self.sessions.lock().insert(session.id, session.clone());
        self.note(&session);
        Some(session)
    }

    /// Whether an owner with a name has as many sessions as one may have.
    fn has_enough(&self, owner: &Arc<str>) -> bool {
        let sessions = self.sessions.lock();
        let theirs = || sessions.values().filter(|session| session.owner == *owner).count();
        !owner.is_empty() && sessions.len() >= self.most_of_one && theirs() >= self.most_of_one
    }

    /// The repository's session with this id, from memory or from the index.
    pub(crate) async fn find(&self, repository: &RepositoryName, owner: &str, id: UploadId) -> Result<Option<Arc<Session>>> {
        let in_memory = self.sessions.lock().get(&id).cloned();
        let session = match in_memory {
            Some(session) => Some(session),
            None => self.load(id).await?,
        };
        Ok(session.filter(|session| session.repository == *repository && *session.owner == *owner))
    }

    async fn load(&self, id: UploadId) -> Result<Option<Arc<Session>>> {
        let _alone = self.loading.lock().await;
        let loaded = self.sessions.lock().get(&id).cloned();
        if loaded.is_some() {
            return Ok(loaded);
        }
        let Some(row) = self.index.upload(id).await? else { return Ok(None) };
        let saved = row.state.as_ref().map(Hasher::restore);
        let fresh = || Hasher::new(Algorithm::Sha256);
        let (staging, written, hasher) = match (row.offset, saved) {
            (0, saved) => (None, 0, saved.flatten().unwrap_or_else(fresh)),
            (offset, Some(Some(hasher))) => match self.blobs.stage(&row.location, offset).await? {
                Some(staging) => (Some(staging), offset, hasher),
                // Synced bytes can be missing only where somebody took them away; then the upload begins anew, and says so.
                None => (None, 0, fresh()),
            },
            (_, _) => (None, 0, fresh()),
        };
        let session = Arc::new(Session::new(&row, State::read_back(staging, hasher, written)));
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
            self.reset(&session, &mut state).await?;
            drop(state);
            match self.load(session.id).await? {
                Some(loaded) => session = loaded,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Lets go of a session in memory; the index keeps it, if it knows it, at its last synced offset.
    fn unload(&self, session: &Session, state: &mut State) {
        state.staging = None;
        state.ended = true;
        self.sessions.lock().remove(&session.id);
        self.note(session);
    }

    /// As [`Uploads::unload`], for a session whose bytes in memory are not to be trusted.
    async fn reset(&self, session: &Session, state: &mut State) -> Result<()> {
        self.record(session, state).await?;
        self.unload(session, state);
        Ok(())
    }

    /// Makes the index know of a session, so that it outlives this process. When it cannot, the session is gone, and so are its bytes.
    async fn record(&self, session: &Session, state: &mut State) -> Result<()> {
        if state.recorded {
            return Ok(());
        }
        if let Err(error) = self.index.open_upload(session.first_row(state)).await {
            self.discard(session, state).await?;
            return Err(error);
        }
        state.recorded = true;
        Ok(())
    }

    /// Notes that an upload began, went on or ended.
    fn note(&self, session: &Session) {
        let now = Instant::now();
        let mut activity = self.activity.lock();
        let before = activity.get(&session.repository).filter(|before| now - before.last < self.lease);
        let inherited = if session.created < self.started { Some(now) } else { before.and_then(|before| before.inherited) };
        let noted = Activity { since: before.map_or(now, |before| before.since), last: now, inherited };
        match activity.get_mut(&session.repository) {
            Some(entry) => *entry = noted,
            None => drop(activity.insert(session.repository.clone(), noted)),
        }
    }

    /// Repositories where an upload went on or ended within a lease's time, with since when there were such without a pause.
    pub(crate) fn active(&self) -> HashMap<RepositoryName, Instant> {
        let mut activity = self.activity.lock();
        activity.retain(|_, activity| activity.last.elapsed() < self.lease);
        activity.iter().map(|(repository, activity)| (repository.clone(), activity.since)).collect()
    }

    /// As [`Uploads::active`], for one repository.
    pub(crate) fn active_since(&self, repository: &RepositoryName) -> Option<Instant> {
        let activity = self.activity.lock();
        activity.get(repository).filter(|activity| activity.last.elapsed() < self.lease).map(|activity| activity.since)
    }

    /// Repositories where an upload that was opened before this process began went on or ended within a lease's time.
    pub(crate) fn inherited(&self) -> HashSet<RepositoryName> {
        let is_late = |activity: &Activity| activity.inherited.is_some_and(|at| at.elapsed() < self.lease);
        let activity = self.activity.lock();
        activity.iter().filter(|(_, activity)| is_late(activity)).map(|(repository, _)| repository.clone()).collect()
    }

    /// Places of the sessions in memory, of which the index may not know yet.
    pub(crate) fn locations(&self) -> HashSet<Location> {
        self.sessions.lock().values().map(|session| session.location.clone()).collect()
    }

    /// Syncs and notes what idle sessions have received, and lets go of those that were idle for long.
    pub(crate) async fn settle(&self, everything: bool) {
        let sessions: Vec<_> = self.sessions.lock().values().cloned().collect();
        for session in sessions {
            let idle = session.idle();
            if !everything && idle < SETTLE {
                continue;
            }
            let Ok(mut state) = session.state.clone().try_lock_owned() else { continue };
            if state.ended || (state.is_empty() && !everything) {
                continue;
            }
            let settled = match state.is_adrift() {
                true => self.reset(&session, &mut state).await,
                false => self.checkpoint(&session, &mut state).await,
            };
            if let Err(error) = settled {
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
        self.record(session, state).await?;
        if state.synced == state.written {
            return Ok(());
        }
        if let Some(staging) = &mut state.staging
            && let Err(error) = staging.sync().await
        {
            self.discard(session, state).await?;
            return Err(error);
        }
        self.index.save_upload(session.row(state.written, Some(state.hasher.save()))).await?;
        state.synced = state.written;
        Ok(())
    }

    /// Ends sessions without progress for so long; answers how many. Those that never got a byte go sooner.
    pub(crate) async fn expire(self: &Arc<Self>, expiry: Duration) -> Result<usize> {
        #[cfg(feature = "planted")]
        if crate::planted::Planted::Expire.is_on() {
            return Ok(0);
        }
        let mut expired = self.drop_empty(EMPTY.min(expiry));
        let before = Timestamp::now().before(expiry);
        for row in self.index.idle_uploads(before, 1_000).await? {
            match self.expire_one(&row, before).await {
                Ok(done) => expired += usize::from(done),
                // One that cannot be removed must not keep the others open.
                Err(error) => tracing::warn!(upload = %row.id, %error, "cannot end a stale upload"),
            }
        }
        Ok(expired)
    }

    async fn expire_one(self: &Arc<Self>, row: &UploadRow, before: Timestamp) -> Result<bool> {
        let Some(session) = self.find(&row.repository, &row.owner, row.id).await?.filter(|session| session.progressed() < before)
        else {
            return Ok(false);
        };
        let Some(upload) = self.take(session).await? else { return Ok(false) };
        upload.cancel().await.map(|()| true)
    }

    /// Ends sessions that have been open for so long and never got a byte; answers how many. There is nothing of them but their place in memory.
    fn drop_empty(&self, idle: Duration) -> usize {
        let mut dropped = 0;
        self.sessions.lock().retain(|_, session| {
            if session.idle() < idle {
                return true;
            }
            let Ok(mut state) = session.state.try_lock() else { return true };
            if !state.is_empty() || state.ended {
                return true;
            }
            state.ended = true;
            self.count_down();
            dropped += 1;
            false
        });
        dropped
    }

    /// Removes a session and its bytes. The bytes are the session's for as long as the index has its row: once they are a blob's, they stay.
    async fn discard(&self, session: &Session, state: &mut State) -> Result<()> {
        self.unload(session, state);
        if !state.recorded {
            self.count_down();
            return self.blobs.delete(vec![session.location.clone()]).await.map(drop);
        }
        if self.index.upload(session.id).await?.is_some() {
            // The bytes go first: on a full disk the index needs their room.
            self.blobs.delete(vec![session.location.clone()]).await?;
            if self.index.delete_upload(session.id).await? {
                self.count_down();
            }
        }
        Ok(())
    }

    /// One session more, if there is a place for it.
    fn count_up(&self) -> bool {
        let more = |open: usize| (open < self.limit).then_some(open + 1);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// One session less.
    fn count_down(&self) {
        let less = |open: usize| Some(open.saturating_sub(1));
        let _ = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Files, Sqlite};

    async fn uploads(root: &std::path::Path, limit: usize) -> Arc<Uploads> {
        let (index, blobs) = (Sqlite::open(root).unwrap(), Files::open(root, false).unwrap());
        let options = Options { uploads: limit, ..Options::default() };
        Arc::new(Uploads::new(Arc::new(index), Arc::new(blobs), 0, &options, Timestamp::now()))
    }

    #[tokio::test]
    async fn sessions_that_got_nothing_make_room_for_others() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = uploads(folder.path(), 2).await;
        let begin = || uploads.begin(&"a".parse().unwrap(), &"".into(), Algorithm::Sha256);
        let (used, _empty) = (begin().unwrap(), begin().unwrap());
        assert!(begin().is_none());
        let mut upload = uploads.take(used.clone()).await.unwrap().unwrap();
        upload.write("x".into()).await.unwrap();
        upload.pause().await.unwrap();
        uploads.drop_empty(Duration::ZERO);
        assert_eq!(uploads.open(), 1);
        assert!(uploads.take(used).await.unwrap().is_some(), "one with bytes stays");
        assert!(begin().is_some());
    }

    #[tokio::test]
    async fn one_owner_leaves_room_for_others() {
        let folder = tempfile::tempdir().unwrap();
        let (index, blobs) = (Sqlite::open(folder.path()).unwrap(), Files::open(folder.path(), false).unwrap());
        let options = Options { uploads_of_one: 2, ..Options::default() };
        let uploads = Uploads::new(Arc::new(index), Arc::new(blobs), 0, &options, Timestamp::now());
        let begin = |owner: &str| uploads.begin(&"a".parse().unwrap(), &owner.into(), Algorithm::Sha256);
        assert!(begin("alice").is_some() && begin("alice").is_some());
        assert!(begin("alice").is_none() && begin("bob").is_some() && begin("").is_some());
    }

    #[tokio::test]
    async fn a_finished_request_leaves_a_session_that_the_index_knows() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = uploads(folder.path(), 2).await;
        let session = uploads.begin(&"a".parse().unwrap(), &"".into(), Algorithm::Sha512).unwrap();
        assert_eq!(uploads.index.upload(session.id).await.unwrap(), None);
        let mut upload = uploads.take(session.clone()).await.unwrap().unwrap();
        upload.write("x".into()).await.unwrap();
        upload.pause().await.unwrap();
        let row = uploads.index.upload(session.id).await.unwrap().unwrap();
        assert_eq!(row.offset, 0, "nothing of it is synced yet");
        let hasher = Hasher::restore(&row.state.unwrap()).unwrap();
        assert!(hasher.digest(Algorithm::Sha512).is_some(), "what it must answer for is noted");
    }
}
