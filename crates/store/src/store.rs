//! The store: blobs and index under one roof, with the rules that keep them true to each other.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use wharf_oci::{Algorithm, Digest, Reference, RepositoryName};

use crate::cache::{Answer, Hot, blob_key, manifest_key};
use crate::cached::{Used, Uses};
use crate::collect::Collected;
use crate::index::{
    BlobDeletion, BlobRecord, CachedKind, Index, ManifestDeletion, ManifestRecord, NewBlob, NewManifest, Origin, Page, Place,
    PutOutcome, Referrer, Sqlite, Totals,
};
use crate::leases::Leases;
use crate::uploads::{FinishError, Upload, UploadId, Uploads};
use crate::{BlobStore, Content, Files, Kept, Options, Result, StoreError, Timestamp};

/// Blobs up to this size are answered from memory; above it a file costs less than the copy.
const SMALL: u64 = 32 << 10;
/// How long an answer about free space holds.
const SPACE_CHECKED: Duration = Duration::from_millis(500);

/// What background work did since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Collections that came to their end.
    pub collections: u64,
    /// Bytes that they deleted.
    pub freed_bytes: u64,
    /// Blobs that were read again.
    pub scrubbed: u64,
    /// Times that background work failed. It is tried again.
    pub failures: u64,
}

/// A blob, opened.
#[derive(Clone, Debug)]
pub struct Blob {
    /// What is known of it.
    pub record: Arc<BlobRecord>,
    /// Its bytes.
    pub content: Content,
    /// What its reader makes of it.
    pub kept: Arc<Kept>,
    /// How its use is noted, when it is cached.
    pub(crate) used: Option<Arc<Used>>,
}

/// A manifest, found.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The manifest as it was pushed, under the digest it was asked for by.
    pub record: Arc<ManifestRecord>,
    /// What its reader makes of it.
    pub kept: Arc<Kept>,
    /// How its use is noted, when it is cached.
    pub(crate) used: Option<Arc<Used>>,
}

/// See the crate's documentation for what a store promises.
pub struct Store {
    pub(crate) index: Arc<dyn Index>,
    pub(crate) blobs: Arc<dyn BlobStore>,
    pub(crate) options: Options,
    pub(crate) leases: Leases,
    pub(crate) uploads: Arc<Uploads>,
    pub(crate) hot: Hot,
    pub(crate) started: Timestamp,
    /// The same on the clock that is never set back.
    opened: Instant,
    /// Until then every row counts as leased, because the leases of the server before this one are not known.
    pub(crate) blanket: Timestamp,
    pub(crate) collecting: tokio::sync::Mutex<()>,
    pub(crate) last_collection: Mutex<Option<(Timestamp, Collected)>>,
    pub(crate) done: Mutex<Done>,
    pub(crate) swept: std::sync::atomic::AtomicBool,
    pub(crate) freed: Notify,
    pub(crate) uses: Uses,
    /// Something was cached, and there may be too much of it now.
    pub(crate) grew: AtomicBool,
    space: Mutex<Option<(Instant, Option<u64>)>>,
}

impl Store {
    /// Opens the embedded store, SQLite and files, under `root`, which must exist and be locked ([`crate::lock`]).
    pub async fn open(root: &Path, options: Options) -> Result<Self> {
        let index = Sqlite::open(root)?;
        let files = Files::open(root, index.knows_blobs()?)?;
        Self::new(Arc::new(index), Arc::new(files), options).await
    }

    /// A store over any index and blob store.
    pub async fn new(index: Arc<dyn Index>, blobs: Arc<dyn BlobStore>, options: Options) -> Result<Self> {
        let started = Timestamp::now();
        // A server notes regularly that it is alive, so none of its leases runs longer than this.
        let blanket = match index.last_beat().await? {
            None => started,
            Some(beat) if beat <= started => beat.after(options.lease + options.beat()),
            Some(_) => started.after(options.lease),
        };
        let open = usize::try_from(index.open_uploads().await?).unwrap_or(usize::MAX);
        Ok(Self {
            leases: Leases::new(options.lease),
            uploads: Arc::new(Uploads::new(index.clone(), blobs.clone(), open, &options, started)),
            hot: Hot::new(options.cache),
            index,
            blobs,
            options,
            started,
            opened: Instant::now(),
            blanket,
            collecting: tokio::sync::Mutex::default(),
            last_collection: Mutex::default(),
            done: Mutex::default(),
            swept: false.into(),
            freed: Notify::new(),
            uses: Uses::default(),
            // There may be too much from before, or less may be allowed now.
            grew: true.into(),
            space: Mutex::default(),
        })
    }

    /// Notes that leases are given from now on, which the next start has to honour. To be called before the first request; a collection alone gives none, and
    /// must not put off the end of those of the last server.
    pub async fn note_alive(&self) -> Result<()> {
        match self.index.beat().await {
            // What is stored can be served and deleted all the same.
            Err(StoreError::Full) => {
                tracing::warn!("the disk is full");
                Ok(())
            }
            noted => noted,
        }
    }

    /// As [`Store::blob`], for a caller that may push: what it is told exists stays for a lease's time.
    pub async fn leased_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<Blob>> {
        #[cfg(feature = "planted")]
        if crate::planted::Planted::Lease.is_on() {
            return self.blob(repository, digest).await;
        }
        // Only what is there gets a lease, or asking for what is not would cost memory; and after the lease it must be there still.
        if self.blob(repository, digest).await?.is_none() {
            return Ok(None);
        }
        let taken = self.leases.take(repository, digest).await;
        let blob = self.blob(repository, digest).await?;
        if blob.is_none() {
            self.leases.give_back(repository, digest, taken);
        }
        Ok(blob)
    }

    /// As [`Store::manifest`], for a caller that may push: what it is told exists stays for a lease's time.
    pub async fn leased_manifest(&self, repository: &RepositoryName, reference: &Reference) -> Result<Option<Manifest>> {
        // A tag may move in between; then the lease is on what it pointed at, and is taken once more.
        let mut leased = None;
        loop {
            let Some(manifest) = self.manifest(repository, reference).await? else { return Ok(None) };
            let digest = manifest.record.digest;
            if leased == Some(digest) {
                return Ok(Some(manifest));
            }
            let _ = self.leases.take(repository, &digest).await;
            leased = Some(digest);
        }
    }

    /// The blob, opened and of the right length, if the repository holds it.
    pub async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<Blob>> {
        let seen = match blob_key(repository, digest, |key| self.hot.get(key)) {
            Ok(Answer::Blob(blob)) if is_whole(&blob.content, blob.record.size) => {
                self.uses.note(blob.used.as_ref());
                return Ok(Some(blob));
            }
            Ok(_) => None,
            Err(seen) => Some(seen),
        };
        // A blob may be collected and pushed again between the look into the index and the opening of its file: then there is a newer place.
        for _ in 0..3 {
            let Some(record) = self.index.blob(repository, digest).await? else { return Ok(None) };
            if let Some(content) = self.open_blob(&record).await? {
                let used = record.cached.then(|| Used::new(repository, record.sha256, CachedKind::Blob));
                self.uses.note(used.as_ref());
                let blob = Blob { record: Arc::new(record), content, kept: Arc::default(), used };
                if let Some(seen) = seen {
                    blob_key(repository, digest, |key| self.hot.keep(key, Answer::Blob(blob.clone()), seen));
                }
                return Ok(Some(blob));
            }
            if self.index.blob(repository, digest).await?.as_ref() == Some(&record) {
                return Err(self.damage(&record, "its file is gone or has another length").await);
            }
        }
        Ok(None)
    }

    /// The content, in memory when it is small; `None` when its file is gone or has another length.
    async fn open_blob(&self, record: &BlobRecord) -> Result<Option<Content>> {
        let location = match &record.place {
            Place::Index(bytes) => return self.memory(record, bytes.clone()).await,
            Place::Store(location) => location,
        };
        let Some(content) = self.blobs.open(location, record.size).await? else { return Ok(None) };
        let Content::File { file, size } = &content else { return Ok(Some(content)) };
        if *size > SMALL {
            return Ok(Some(content));
        }
        let (file, mut bytes) = (file.clone(), vec![0; usize::try_from(*size).unwrap_or_default()]);
        let read =
            tokio::task::spawn_blocking(move || std::os::unix::fs::FileExt::read_exact_at(&*file, &mut bytes, 0).map(|()| bytes));
        let bytes = read.await.map_err(|_| StoreError::Stopped)?.map_err(|error| StoreError::io("reading a blob", error))?;
        self.memory(record, bytes.into()).await
    }

    /// Bytes that were read, if they are the blob's. Few enough that looking costs nothing.
    async fn memory(&self, record: &BlobRecord, bytes: Bytes) -> Result<Option<Content>> {
        if Digest::sha256(&bytes) != record.sha256 {
            return Err(self.damage(record, "its bytes have another digest").await);
        }
        Ok(Some(Content::Memory(bytes)))
    }

    /// Whether a blob's bytes are there, as many as there should be.
    async fn is_there(&self, record: &BlobRecord) -> Result<bool> {
        match &record.place {
            Place::Index(_) => Ok(true),
            Place::Store(location) => Ok(self.blobs.open(location, record.size).await?.is_some()),
        }
    }

    /// Puts a damaged blob aside and says so.
    pub(crate) async fn damage(&self, record: &BlobRecord, what: &str) -> StoreError {
        let location = record.place.location();
        let at = location.map_or("in the index", |location| &location.0);
        tracing::error!(digest = %record.sha256, location = at, what, "a blob is damaged: it is put aside and refused; push it again to heal it");
        let aside = async {
            self.index.damaged(record).await?;
            match location {
                Some(location) => self.blobs.quarantine(location).await,
                None => Ok(()),
            }
        };
        if let Err(error) = aside.await {
            tracing::error!(%error, "cannot put a damaged blob aside");
        }
        self.hot.clear();
        StoreError::Damaged { digest: record.sha256, what: what.to_owned() }
    }

    /// Up to `limit` repositories that hold a blob, sorted by name.
    pub async fn holders(&self, digest: &Digest, limit: usize) -> Result<Vec<RepositoryName>> {
        self.index.holders(digest, limit).await
    }

    /// Links a blob that `from`, or any repository, holds into `repository`, with a lease; `None` when there is none.
    pub async fn mount(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        from: Option<&RepositoryName>,
        actor: &Arc<str>,
    ) -> Result<Option<Arc<BlobRecord>>> {
        let taken = self.leases.take(repository, digest).await;
        let Some(record) = self.index.mount(repository, digest, from, actor).await? else {
            // Anybody may ask for anything: what is not there must not cost memory.
            self.leases.give_back(repository, digest, taken);
            return Ok(None);
        };
        #[cfg(feature = "planted")]
        if crate::planted::Planted::Mount.is_on() {
            self.leases.give_back(repository, digest, taken);
        }
        // A mount promises what an upload would: look before saying yes.
        if self.is_there(&record).await? {
            return Ok(Some(Arc::new(record)));
        }
        self.damage(&record, "its file is gone or has another length").await;
        Ok(None)
    }

    /// Removes a blob from a repository.
    pub async fn delete_blob(&self, repository: &RepositoryName, digest: &Digest, actor: &Arc<str>) -> Result<BlobDeletion> {
        let deletion = self.index.delete_blob(repository, digest, actor).await?;
        if let BlobDeletion::Deleted { digests } = &deletion {
            self.forget_blob(repository, digests);
            self.freed.notify_one();
        }
        Ok(deletion)
    }

    pub(crate) fn forget_blob(&self, repository: &RepositoryName, digests: &[Digest]) {
        for digest in digests {
            blob_key(repository, digest, |key| self.hot.forget(key));
        }
    }

    pub(crate) fn forget_manifest(&self, repository: &RepositoryName, references: impl IntoIterator<Item = Reference>) {
        for reference in references {
            manifest_key(repository, &reference, |key| self.hot.forget(key));
        }
    }

    /// The manifest under a tag or digest.
    pub async fn manifest(&self, repository: &RepositoryName, reference: &Reference) -> Result<Option<Manifest>> {
        let seen = match manifest_key(repository, reference, |key| self.hot.get(key)) {
            Ok(Answer::Manifest(manifest)) => {
                self.uses.note(manifest.used.as_ref());
                return Ok(Some(manifest));
            }
            Ok(Answer::Blob(_)) => return Ok(None),
            Err(seen) => seen,
        };
        let Some(record) = self.index.manifest(repository, reference).await? else { return Ok(None) };
        let used = record.cached.as_ref().map(|_| Used::new(repository, record.digest, CachedKind::Manifest));
        self.uses.note(used.as_ref());
        let manifest = Manifest { record: Arc::new(record), kept: Arc::default(), used };
        manifest_key(repository, reference, |key| self.hot.keep(key, Answer::Manifest(manifest.clone()), seen));
        Ok(Some(manifest))
    }

    /// Stores a manifest and moves its tags, all or nothing.
    pub async fn put_manifest(&self, manifest: NewManifest) -> Result<PutOutcome> {
        let (repository, sha256) = (manifest.repository.clone(), manifest.sha256);
        // Of what came from an upstream nobody relies on anything.
        let is_pushed = manifest.origin.is_none();
        let taken = if is_pushed { Some(self.leases.take(&repository, &sha256).await) } else { None };
        let tags = manifest.tags.clone().into_iter().map(Reference::Tag);
        let names: Vec<_> = tags.chain([manifest.sha256, manifest.sha512].map(Reference::Digest)).collect();
        let outcome = self.index.put_manifest(manifest).await?;
        match outcome {
            PutOutcome::Stored => self.forget_manifest(&repository, names),
            _ => taken.into_iter().for_each(|taken| self.leases.give_back(&repository, &sha256, taken)),
        }
        if !is_pushed {
            self.grew.store(true, Ordering::Relaxed);
        }
        Ok(outcome)
    }

    /// Removes a tag, or a manifest with its tags.
    pub async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        actor: &Arc<str>,
    ) -> Result<ManifestDeletion> {
        let deletion = self.index.delete_manifest(repository, reference, actor).await?;
        if let ManifestDeletion::Deleted { digests, tags } = &deletion {
            let digests = digests.iter().copied().map(Reference::Digest);
            self.forget_manifest(repository, digests.chain(tags.iter().cloned().map(Reference::Tag)));
        }
        Ok(deletion)
    }

    /// Whether anything was ever pushed to the repository and something of it is left.
    pub async fn repository_exists(&self, repository: &RepositoryName) -> Result<bool> {
        self.index.repository_exists(repository).await
    }

    /// Tags in byte order after `after`; `None` for an unknown repository.
    pub async fn tags(&self, repository: &RepositoryName, after: Option<&str>, limit: usize) -> Result<Option<Page<String>>> {
        self.index.tags(repository, after, limit).await
    }

    /// Repositories that hold a manifest, in byte order after `after`.
    pub async fn repositories(&self, after: Option<&str>, limit: usize) -> Result<Page<String>> {
        self.index.repositories(after, limit).await
    }

    /// Manifests about `subject`, by digest, after `after`: at most `limit`, and of those as many as weigh `room` bytes, but one at least.
    pub async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
        limit: usize,
        room: usize,
    ) -> Result<Page<Referrer>> {
        self.index.referrers(repository, subject, artifact_type, after, limit, room).await
    }

    /// Opens an upload session that will answer for `algorithm`; `None` when there are too many.
    pub async fn begin_upload(
        &self,
        repository: &RepositoryName,
        owner: &Arc<str>,
        algorithm: Algorithm,
    ) -> Result<Option<Upload>> {
        self.check_space().await?;
        let Some(session) = self.uploads.begin(repository, owner, algorithm) else { return Ok(None) };
        self.uploads.take(session).await
    }

    /// Bytes that a session has received; `None` when the owner has no such session in the repository. Disturbs nobody who writes to it.
    pub async fn upload_offset(&self, repository: &RepositoryName, owner: &str, id: UploadId) -> Result<Option<u64>> {
        Ok(self.uploads.find(repository, owner, id).await?.map(|session| session.offset()))
    }

    /// The right to write to a session of the owner; who had it until now loses it.
    pub async fn take_upload(&self, repository: &RepositoryName, owner: &str, id: UploadId) -> Result<Option<Upload>> {
        match self.uploads.find(repository, owner, id).await? {
            Some(session) => self.uploads.take(session).await,
            None => Ok(None),
        }
    }

    /// Refuses with [`StoreError::Full`] when less than the reserve is free. Asked before and while bytes are taken.
    pub async fn check_space(&self) -> Result<()> {
        let is_enough = |free: Option<u64>| free.is_none_or(|free| free >= self.options.min_free);
        // Only good news is believed for a while: space that came back is used at once.
        let known = *self.space.lock();
        if known.is_some_and(|(at, free)| at.elapsed() < SPACE_CHECKED && is_enough(free)) {
            return Ok(());
        }
        let free = self.blobs.free_space().await?;
        *self.space.lock() = Some((Instant::now(), free));
        if is_enough(free) { Ok(()) } else { Err(StoreError::Full) }
    }

    /// Bytes that can still be written; `None` when there is no such limit.
    pub async fn free_space(&self) -> Result<Option<u64>> {
        self.blobs.free_space().await
    }

    /// Ends an upload: verifies it against `digest`, makes it durable and links it into its repository, with a lease.
    pub async fn finish_upload(
        &self,
        repository: &RepositoryName,
        upload: Upload,
        digest: &Digest,
        actor: &Arc<str>,
    ) -> Result<Arc<BlobRecord>, FinishError> {
        self.finish(repository, upload, digest, actor, None).await
    }

    /// As [`Store::finish_upload`]; with an origin for content that nobody pushed, without a lease.
    pub(crate) async fn finish(
        &self,
        repository: &RepositoryName,
        mut upload: Upload,
        digest: &Digest,
        actor: &Arc<str>,
        origin: Option<&Origin>,
    ) -> Result<Arc<BlobRecord>, FinishError> {
        let verified = match upload.verify(digest).await {
            Err(FinishError::Store(StoreError::Full)) => return Err(self.give_up(upload).await.into()),
            verified => verified?,
        };
        if origin.is_none() {
            let _ = self.leases.take(repository, digest).await;
            let _ = self.leases.take(repository, &verified.sha256).await;
        }
        let new = NewBlob {
            repository: repository.clone(),
            sha256: verified.sha256,
            alias: (digest.algorithm() != Algorithm::Sha256).then_some(*digest),
            size: verified.size,
            place: verified.place,
            // Whether or not the session is known to be recorded: a row that outlived it would in time take the blob's bytes along.
            upload: Some(upload.id()),
            actor: actor.clone(),
            origin: origin.cloned(),
        };
        let record = match self.index.commit_blob(new.clone()).await {
            Err(StoreError::Full) => return Err(self.give_up(upload).await.into()),
            record => record?,
        };
        // The index has taken the session over, whatever comes of the rest.
        let record = self.sound_record(record, &new).await;
        let keep_file = record.as_ref().is_ok_and(|record| record.place == new.place && record.place.location().is_some());
        self.forget_blob(repository, &[*digest, verified.sha256]);
        upload.close(keep_file).await;
        Ok(record.map(Arc::new)?)
    }

    /// Looks whether the older copy of content that was pushed again is what it should be. If not, what has just been verified takes its place.
    async fn sound_record(&self, record: BlobRecord, new: &NewBlob) -> Result<BlobRecord> {
        if record.place == new.place || self.is_there(&record).await? {
            return Ok(record);
        }
        let damaged = self.damage(&record, "its file is gone or has another length").await;
        let healed = self.index.commit_blob(new.clone()).await?;
        if healed.place == new.place { Ok(healed) } else { Err(damaged) }
    }

    /// Ends an upload that there is no room for, so that its bytes do not keep the disk full until it expires.
    pub async fn give_up(&self, upload: Upload) -> StoreError {
        match upload.cancel().await {
            Ok(()) | Err(StoreError::Full) => StoreError::Full,
            Err(error) => error,
        }
    }

    /// Sums over everything. Reads whole tables: for reports, not for requests.
    pub async fn totals(&self) -> Result<Totals> {
        self.index.totals().await
    }

    /// Open upload sessions.
    pub fn open_uploads(&self) -> usize {
        self.uploads.open()
    }

    /// Leases in force, about.
    pub fn leases(&self) -> usize {
        self.leases.len()
    }

    /// What background work did since the start.
    pub fn done(&self) -> Done {
        *self.done.lock()
    }

    /// The last collection, and when it ended.
    pub fn last_collection(&self) -> Option<(Timestamp, Collected)> {
        self.last_collection.lock().clone()
    }

    /// Whether the store can be read and written now.
    pub async fn check(&self) -> Result<()> {
        self.index.check().await?;
        self.blobs.free_space().await.map(drop)
    }

    /// Repositories where an upload has made progress within a lease's time, and since when there were such without a pause: their leases last longer.
    pub(crate) async fn uploading(&self) -> Result<HashMap<RepositoryName, Instant>> {
        let now = Timestamp::now();
        let noted = self.index.uploading(now, now.before(self.options.lease)).await?;
        let mut uploading = self.uploads.active();
        // Nobody went on with these here; all leases that are known are younger than they are.
        for repository in noted {
            uploading.entry(repository).or_insert(self.opened);
        }
        Ok(uploading)
    }

    /// Stops: syncs unfinished uploads, so that they go on after the next start, and closes the index.
    pub async fn close(&self) {
        self.uploads.settle(true).await;
        if let Err(error) = self.save_uses().await {
            tracing::warn!(%error, "cannot note what was used");
        }
        if self.leases.len() > 0
            && let Err(error) = self.index.beat().await
        {
            tracing::warn!(%error, "cannot note the time of the stop");
        }
        self.index.close().await;
    }
}

/// Whether cached content still has its length. A file can be cut from outside while it is held open.
fn is_whole(content: &Content, size: u64) -> bool {
    match content {
        Content::Memory(_) => true,
        Content::File { file, .. } => file.metadata().is_ok_and(|metadata| metadata.len() == size),
    }
}
