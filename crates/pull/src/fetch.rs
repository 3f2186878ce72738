//! One blob from the registry into the layout's staging folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::{Mutex, mpsc};
use wharf_client::{ClientError, Observer, Registry, size};
use wharf_layers::assemble::{Part, remote_of, rest_of};
use wharf_layers::piece::ListPlace;
use wharf_oci::{Descriptor, Digest, Found, Layout, RepositoryName, look};

use crate::build::{Build, BuildError, Origin};
use crate::older::OlderLayers;

/// Chunks that are received ahead of the disk.
const AHEAD: usize = 4;
/// Blobs of the layout up to this size are compared with their digest before they count as there: it takes no time.
const SMALL: u64 = 1 << 20;

/// Where the bytes of blobs came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Had {
    /// Over the network.
    pub received: u64,
    /// Out of the layout.
    pub local: u64,
    /// From an earlier attempt.
    pub resumed: u64,
}

impl Had {
    /// Whether the layout had everything.
    pub fn is_nothing(&self) -> bool {
        self.received == 0 && self.resumed == 0
    }

    /// Adds another's.
    pub fn add(&mut self, other: Self) {
        self.received += other.received;
        self.local += other.local;
        self.resumed += other.resumed;
    }
}

impl std::fmt::Display for Had {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} received", size(self.received))?;
        if self.resumed > 0 {
            write!(f, ", {} from an earlier attempt", size(self.resumed))?;
        }
        if self.local > 0 {
            write!(f, ", {} from the layout", size(self.local))?;
        }
        Ok(())
    }
}

/// Why a blob is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// What the registry, or the way there, did. What was received before is kept, and the next attempt goes on from there.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The disk.
    #[error("cannot write {}", .0.display())]
    File(PathBuf, #[source] std::io::Error),
    /// A thread ended that was to write it.
    #[error("a blob was not written")]
    Thread,
}

impl FetchError {
    /// Whether the disk has no room for it.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::File(_, error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
    }
}

/// Fetches the blobs of one image.
pub struct Fetcher<'a> {
    /// The registry.
    pub registry: &'a Registry,
    /// The repository there.
    pub repository: &'a RepositoryName,
    /// The layout, if it is there.
    pub folder: &'a Path,
    /// Where blobs wait to become part of it.
    pub staging: &'a Path,
    /// Layers that it has.
    pub older: Arc<OlderLayers>,
    /// Where new layers tell their pieces.
    pub lists: BTreeMap<Digest, ListPlace>,
    /// Blobs that were received into the staging folder in this run.
    pub staged: BTreeSet<Digest>,
    /// Blobs that are there are to be read, whatever their size.
    pub verify: bool,
    /// Other processes use the staging folder, too.
    pub is_shared: bool,
    /// Who is told.
    pub observer: Arc<dyn Observer>,
    /// One layer at a time is planned: that is what takes memory.
    pub planning: Mutex<()>,
}

/// How a blob is put together.
struct Plan {
    parts: Vec<Part<usize>>,
    origins: Vec<Origin>,
    /// Bytes that were received to make it.
    received: u64,
}

/// A blob as it was put together.
struct Outcome {
    is_right: bool,
    had: Had,
}

/// What a blob is called in the staging folder.
pub fn partial(digest: &Digest) -> String {
    digest.to_string().replace(':', "-")
}

impl Fetcher<'_> {
    /// Sees to it that a blob is whole and right in the staging folder, or in the layout already.
    pub async fn fetch(&self, blob: &Descriptor) -> Result<Had, FetchError> {
        if self.is_there(blob).await? {
            return Ok(Had { local: blob.size, ..Had::default() });
        }
        self.observer.receives(&blob.digest, blob.size);
        let fetched = self.fetch_missing(blob).await;
        match &fetched {
            Ok(had) => self.observer.received(&blob.digest, blob.size, had),
            Err(_) => self.observer.failed(&blob.digest),
        }
        fetched
    }

    /// Whether the layout has it. A large one of the right length is taken for what it should be.
    async fn is_there(&self, blob: &Descriptor) -> Result<bool, FetchError> {
        let has = look(&Layout::blob_path(self.folder, &blob.digest)).is_ok_and(|found| found == Found::File(blob.size));
        if !has || (blob.size > SMALL && !self.verify) {
            return Ok(has);
        }
        let (folder, descriptor) = (self.folder.to_owned(), blob.clone());
        let read = move || Layout::open(&folder).and_then(|layout| layout.verify(&descriptor)).is_ok();
        let is_right = tokio::task::spawn_blocking(read).await.map_err(|_| FetchError::Thread)?;
        if !is_right {
            self.observer.warns(&format!("{} in the layout differs from its digest, and is fetched again", blob.digest));
        }
        Ok(is_right)
    }

    async fn fetch_missing(&self, blob: &Descriptor) -> Result<Had, FetchError> {
        let path = self.staging.join(partial(&blob.digest));
        let _alone = if self.is_shared { Some(alone(path.clone()).await?) } else { None };
        if self.is_shared && self.is_there(blob).await? {
            // Another process brought it in while this one waited, and the file is one that was made to wait.
            let _ = fs::remove_file(&path);
            return Ok(Had { local: blob.size, ..Had::default() });
        }
        let whole = |received| Plan { parts: vec![Part::Remote { offset: 0, length: blob.size }], origins: Vec::new(), received };
        let plan = if length(&path, blob.size) == blob.size { None } else { self.plan(blob).await? };
        let first = self.build(blob, &path, plan.unwrap_or_else(|| whole(0))).await?;
        if first.is_right {
            return Ok(first.had);
        }
        remove(&path, self.is_shared)?;
        let wrong = || ClientError::Content { origin: self.registry.address().origin(), digest: blob.digest };
        if first.had.local == 0 && first.had.resumed == 0 {
            return Err(wrong().into());
        }
        let from = if first.had.local > 0 { "pieces of the layout" } else { "an earlier attempt" };
        self.observer.warns(&format!("{} was not right with {from}, and is fetched whole", blob.digest));
        let second = self.build(blob, &path, whole(first.had.received)).await?;
        if second.is_right {
            return Ok(second.had);
        }
        remove(&path, self.is_shared)?;
        Err(wrong().into())
    }

    /// How a layer is put together from those that the layout has; `None` when it is to be fetched whole.
    async fn plan(&self, blob: &Descriptor) -> Result<Option<Plan>, FetchError> {
        let Some(place) = self.lists.get(&blob.digest).filter(|_| !self.older.is_empty()) else { return Ok(None) };
        let _one = self.planning.lock().await;
        let mut list = BytesMut::new();
        let mut ranges = self.registry.ranges(self.repository, blob, [place.range()]);
        while let Some((_, bytes)) = ranges.next().await? {
            list.extend_from_slice(&bytes);
        }
        let received = ranges.received();
        let (older, blob, place) = (self.older.clone(), blob.clone(), place.clone());
        let planned = tokio::task::spawn_blocking(move || older.plan(&blob, &place, list.freeze()));
        let (parts, origins) = planned.await.map_err(|_| FetchError::Thread)?;
        Ok(Some(Plan { parts, origins, received }))
    }

    /// Puts a blob together from where an earlier attempt ended, and says whether it has its digest.
    async fn build(&self, blob: &Descriptor, path: &Path, plan: Plan) -> Result<Outcome, FetchError> {
        let done = length(path, blob.size);
        if done == 0 {
            // What is longer than the blob is none of it.
            remove(path, self.is_shared)?;
        }
        let parts = rest_of(&plan.parts, done);
        let is_file = |id: &usize| matches!(plan.origins.get(*id), Some(Origin::File(_)));
        let local = parts.iter().map(|part| match part {
            Part::Local { id, length, .. } if is_file(id) => *length,
            _ => 0,
        });
        let mut had = Had { received: plan.received, local: local.sum(), resumed: done };
        if self.staged.contains(&blob.digest) {
            had = Had { received: had.received + done, resumed: 0, ..had };
        }
        let mut ranges = self.registry.ranges(self.repository, blob, remote_of(&parts));
        let (sender, receiver) = mpsc::channel::<Bytes>(AHEAD);
        let (origins, digest, observer) = (plan.origins, blob.digest, self.observer.clone());
        let build = Build { path: path.to_owned(), done, parts, origins, digest, observer };
        let building = tokio::task::spawn_blocking(move || build.run(receiver));
        let received = async {
            while let Some((_, bytes)) = ranges.next().await? {
                // Who does not take it any more says why in the end.
                if sender.send(bytes).await.is_err() {
                    break;
                }
            }
            Ok::<_, ClientError>(())
        };
        let received = received.await;
        had.received += ranges.received();
        drop((sender, ranges));
        let built = building.await.map_err(|_| FetchError::Thread)?;
        match (received, built) {
            (Err(error), _) => Err(error.into()),
            (_, Ok(found)) => Ok(Outcome { is_right: found == blob.digest, had }),
            (_, Err(BuildError::File(error))) => Err(FetchError::File(path.to_owned(), error)),
            (_, Err(BuildError::Origin)) => Ok(Outcome { is_right: false, had }),
            (_, Err(BuildError::Ended)) => Err(FetchError::Thread),
        }
    }
}

/// Waits until no other process fetches into this file, which is made where it is not there.
async fn alone(path: PathBuf) -> Result<File, FetchError> {
    let waited = tokio::task::spawn_blocking(move || {
        let failed = |error| FetchError::File(path.clone(), error);
        loop {
            let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
            file.lock().map_err(failed)?;
            // Whoever had it before may have put it in its place, and the name means another file now, or none.
            let same = fs::metadata(&path).ok().zip(file.metadata().ok());
            if same.is_some_and(|(named, own)| named.ino() == own.ino()) {
                return Ok(file);
            }
        }
    });
    waited.await.map_err(|_| FetchError::Thread)?
}

/// Bytes of a blob of `size` bytes that an earlier attempt left.
fn length(path: &Path, size: u64) -> u64 {
    match look(path) {
        Ok(Found::File(length)) if length <= size => length,
        _ => 0,
    }
}

/// Empties a file where it is there: another process may wait for it by its name.
fn remove(path: &Path, is_shared: bool) -> Result<(), FetchError> {
    let removed = match is_shared {
        true => File::options().write(true).open(path).and_then(|file| file.set_len(0)),
        false => fs::remove_file(path),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(FetchError::File(path.to_owned(), error)),
        _ => Ok(()),
    }
}
