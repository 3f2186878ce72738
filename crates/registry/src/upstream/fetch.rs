//! Blobs on their way: each is fetched once, however many wait for it, and goes to its end though all of them may have left.
//!
//! Who pulls again after a broken connection finds then what was begun. A connection to the upstream that breaks is taken up again where it ended.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use wharf_client::ClientError;
use wharf_oci::{Digest, RepositoryName};
use wharf_store::{Content, FinishError, Store, Upload};

use super::failure::Failure;
use super::growing::Growing;
use super::source::Place;

/// Times that a fetch goes on after its connection broke, without a byte in between.
const RESUMES: u32 = 3;
/// Pause before that; it doubles from one to the next.
const PAUSE: Duration = Duration::from_millis(200);

/// Fetches at a time; further ones wait for their turn.
const AT_ONCE: usize = 64;
/// Fetches that have begun or wait at most; who asks for another is to come again.
const WAITING: usize = 1_000;

type Key = (RepositoryName, Digest);

/// The fetches that are going on.
pub(super) struct Fetches {
    running: Arc<Mutex<HashMap<Key, Arc<Growing>>>>,
    turns: Arc<Semaphore>,
}

impl Default for Fetches {
    fn default() -> Self {
        Self { running: Arc::default(), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Fetches {
    /// The fetch that is going on, or a new one at the first of these places that has the blob.
    pub(super) fn join(
        &self,
        runtime: &Handle,
        store: &Arc<Store>,
        key: Key,
        places: Vec<Place>,
    ) -> Result<Arc<Growing>, Failure> {
        let mut running = self.running.lock();
        if let Some(growing) = running.get(&key) {
            return Ok(growing.clone());
        }
        if running.len() >= WAITING {
            return Err(Failure::Crowded);
        }
        let growing = Arc::new(Growing::new());
        running.insert(key.clone(), growing.clone());
        let ended = Ended { running: self.running.clone(), key: key.clone(), growing: growing.clone() };
        let (store, fetched, turns) = (store.clone(), growing.clone(), self.turns.clone());
        runtime.spawn(async move {
            let _ended = ended;
            let Ok(_turn) = turns.acquire().await else { return };
            let (repository, digest) = key;
            match fetch(&store, &repository, &digest, &places, &fetched).await {
                Ok(true) => fetched.ends(),
                Ok(false) => fetched.is_unknown(),
                Err(failure) => fetched.fails(failure),
            }
        });
        Ok(growing)
    }
}

/// Takes a fetch off the table; one that was cut off has failed.
struct Ended {
    running: Arc<Mutex<HashMap<Key, Arc<Growing>>>>,
    key: Key,
    growing: Arc<Growing>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.running.lock().remove(&self.key);
        self.growing.fails_unless_decided();
    }
}

/// Fetches a blob; whether anybody has it.
async fn fetch(
    store: &Store,
    repository: &RepositoryName,
    digest: &Digest,
    places: &[Place],
    growing: &Growing,
) -> Result<bool, Failure> {
    // The last fetch may have ended between the look into the store and the one at the table.
    if let Some(blob) = store.blob(repository, digest).await? {
        growing.begins(blob.record.size);
        match blob.content {
            Content::Memory(bytes) => growing.push(bytes),
            Content::File { file, size } => growing.is_in(file, size),
        }
        return Ok(true);
    }
    let mut failure = None;
    for place in places {
        match place.blob(digest).await {
            Ok(None) => {}
            Ok(Some((size, chunks))) => {
                receive(store, repository, digest, place, size, chunks, growing).await?;
                return Ok(true);
            }
            // Whoever has it, it is the same.
            Err(failed) => failure = failure.or(Some(failed)),
        }
    }
    failure.map_or(Ok(false), Err)
}

async fn receive(
    store: &Store,
    repository: &RepositoryName,
    digest: &Digest,
    place: &Place,
    size: u64,
    mut chunks: wharf_client::Chunks,
    growing: &Growing,
) -> Result<(), Failure> {
    let origin = place.origin();
    let upload = store.begin_upload(repository, &origin.to_string().into(), digest.algorithm()).await?;
    let mut upload = upload.ok_or_else(|| Failure::Storage("too many uploads are open".into()))?;
    growing.begins(size);
    let (mut offset, mut resumes) = (0, 0);
    while let Some(chunk) = chunks.next().await {
        let error = match chunk {
            Ok(bytes) => {
                place.count(bytes.len());
                (offset, resumes) = (offset + bytes.len() as u64, 0);
                growing.push(bytes.clone());
                upload.write(bytes).await?;
                if let Some((file, written)) = upload.readable() {
                    growing.readable(file, written);
                }
                continue;
            }
            Err(error) => error,
        };
        chunks = match go_on(place, digest, size, offset, &mut resumes, error).await {
            Ok(chunks) => chunks,
            Err(error) => {
                give_up(upload).await;
                return Err(place.failed(digest, &error));
            }
        };
    }
    match store.finish_fetch(repository, upload, digest, &origin).await {
        Ok(_) => Ok(()),
        Err(FinishError::Mismatch { .. }) => Err(place.failed(digest, &place.wrong(digest))),
        Err(FinishError::Store(error)) => Err(error.into()),
    }
}

/// The rest of a blob after its connection broke, or why it is not to be had.
async fn go_on(
    place: &Place,
    digest: &Digest,
    size: u64,
    offset: u64,
    resumes: &mut u32,
    mut error: ClientError,
) -> Result<wharf_client::Chunks, ClientError> {
    loop {
        if !error.is_passing() || *resumes == RESUMES {
            return Err(error);
        }
        tokio::time::sleep(PAUSE * 2_u32.pow(*resumes)).await;
        *resumes += 1;
        match place.rest(digest, size, offset).await {
            Ok(chunks) => return Ok(chunks),
            Err(again) => error = again,
        }
    }
}

async fn give_up(upload: Upload) {
    if let Err(error) = upload.cancel().await {
        tracing::warn!(%error, "cannot remove what came of a blob; it expires");
    }
}
