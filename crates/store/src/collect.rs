//! Collection beside pushes.
//!
//! Two phases for each repository: manifests that nothing holds any more, and blobs that no manifest names. Each works in small steps, and each step stands for
//! itself: it marks what it found as condemned, so that no new lease can be had on it; lets the index check once more, in the transaction that removes it, that
//! the verdict stands; and releases the mark. A crash between two steps loses nothing but the rest of the run. Bytes are deleted last, from a list in the index.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::Serialize;
use wharf_oci::{Digest, Reference, RepositoryName};

use crate::index::{UnheldManifest, UnnamedBlob};
use crate::{Result, Store, StoreError, Timestamp};

/// Manifests or blobs removed in one transaction. Pushes wait for the one that is under way, so it is short.
const STEP: usize = 32;
/// Repositories and blobs looked up at a time.
const PAGE: usize = 256;
/// Entries listed in a report at most; the sums count all.
const LISTED: usize = 1_000;
/// When a repository is looked at again in which something is held without an end.
const LOOK_AGAIN: Duration = Duration::from_secs(24 * 3_600);

/// How to collect.
#[derive(Clone, Copy, Debug, Default)]
pub struct CollectOptions {
    /// Only tell what would go.
    pub dry_run: bool,
    /// Do not wait for the grace of manifests. Leases hold all the same.
    pub now: bool,
}

/// Something that could be collected but for a lease or the grace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Where.
    pub repository: String,
    /// What: `sha256:…`.
    pub digest: String,
    /// Its bytes.
    pub bytes: u64,
    /// `lease` or `grace`.
    pub by: &'static str,
    /// Until when, in milliseconds since 1970; `None` for ever.
    pub until: Option<i64>,
}

/// What a collection did, or with a dry run would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Repositories looked at.
    pub repositories: u64,
    /// Manifests removed.
    pub manifests: u64,
    /// Blobs removed from a repository.
    pub blobs: u64,
    /// Files deleted.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// Bytes that wait for a lease or the grace to end.
    pub held_bytes: u64,
    /// What waits, at most a thousand entries.
    pub held: Vec<Held>,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
}

/// How far a collection is.
#[derive(Clone, Debug, Serialize)]
pub struct Progress {
    /// The repository that is looked at.
    pub repository: String,
    /// Repositories done.
    pub repositories: u64,
    /// Manifests removed so far.
    pub manifests: u64,
    /// Blobs removed so far.
    pub blobs: u64,
    /// Bytes deleted so far.
    pub bytes: u64,
}

struct Run<'a> {
    store: &'a Store,
    options: CollectOptions,
    report: Collected,
    /// Repositories where uploads went on when the run began, and since when.
    uploading: HashMap<RepositoryName, Instant>,
    /// Repositories of uploads from before the start: the leases that belong to them are not known.
    inherited: HashSet<RepositoryName>,
}

impl Store {
    /// Collects. Runs beside everything else; a second call waits for the first.
    pub async fn collect(&self, options: CollectOptions, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<Collected> {
        let _alone = self.collecting.lock().await;
        let (began, now) = (Instant::now(), Timestamp::now());
        let noted = self.index.uploading(self.started, now.before(self.options.lease)).await?;
        let mut inherited = self.uploads.inherited();
        inherited.extend(noted);
        let mut run = Run { store: self, options, report: Collected::default(), uploading: self.uploading().await?, inherited };

        let due = (!options.now && !options.dry_run).then_some(now);
        let mut after = None;
        loop {
            let page = self.index.collectable_repositories(due, after.as_ref(), PAGE).await?;
            let Some(last) = page.last().cloned() else { break };
            for repository in page {
                run.repository(&repository).await?;
                let report = &run.report;
                progress(Progress {
                    repository: repository.to_string(),
                    repositories: report.repositories,
                    manifests: report.manifests,
                    blobs: report.blobs,
                    bytes: report.bytes,
                });
            }
            after = Some(last);
        }
        if !options.dry_run {
            run.bury().await?;
            if !self.swept.load(Ordering::Relaxed) {
                run.sweep().await?;
                self.swept.store(true, Ordering::Relaxed);
            }
            self.index.collection_ended().await?;
        }
        let mut report = run.report;
        report.milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        if !options.dry_run {
            *self.last_collection.lock() = Some((Timestamp::now(), report.clone()));
            let mut done = self.done.lock();
            done.collections += 1;
            done.freed_bytes += report.bytes;
            drop(done);
            if report.manifests + report.blobs + report.files > 0 {
                tracing::info!(
                    manifests = report.manifests,
                    blobs = report.blobs,
                    files = report.files,
                    bytes = report.bytes,
                    milliseconds = report.milliseconds,
                    "collected"
                );
            }
        }
        Ok(report)
    }

    /// Deletes the bytes of what was removed. Answers how many files and bytes went.
    pub(crate) async fn bury(&self) -> Result<(u64, u64)> {
        let (mut files, mut bytes, mut after) = (0, 0, None);
        loop {
            let doomed = self.index.doomed(after.as_ref(), PAGE).await?;
            let Some((last, _)) = doomed.last() else { return Ok((files, bytes)) };
            // What cannot be deleted now is tried again another time, and must not keep the rest.
            after = Some(last.clone());
            for step in doomed.chunks(STEP) {
                let pace = Instant::now();
                let left = self.blobs.delete(step.iter().map(|(location, _)| location.clone()).collect()).await?;
                let gone: Vec<_> = step.iter().filter(|(location, _)| !left.contains(location)).collect();
                files += gone.len() as u64;
                bytes += gone.iter().map(|(_, size)| size).sum::<u64>();
                self.index.buried(gone.into_iter().map(|(location, _)| location.clone()).collect()).await?;
                breathe(pace).await;
            }
        }
    }
}

/// Leaves the disk and the index to others for as long as a step took.
async fn breathe(step: Instant) {
    tokio::time::sleep(step.elapsed()).await;
}

impl Run<'_> {
    async fn repository(&mut self, repository: &RepositoryName) -> Result<()> {
        let started = Timestamp::now();
        self.report.repositories += 1;
        let mut next = Next::default();
        let before = self.report.held_bytes;
        let unheld = self.manifests(repository, started, &mut next).await?;
        self.blobs(repository, started, &unheld, &mut next).await?;
        if !self.options.dry_run {
            let held = self.report.held_bytes - before;
            match self.store.index.collected(repository, started, next.0, held).await {
                // Then it is looked at once more; what else there is to free is not to wait for that.
                Err(StoreError::Full) => {}
                noted => noted?,
            }
            self.bury().await?;
        }
        Ok(())
    }

    /// Removes manifests that nothing holds. Answers the rows that went, or with a dry run would, and those that wait.
    async fn manifests(&mut self, repository: &RepositoryName, now: Timestamp, next: &mut Next) -> Result<Unheld> {
        let (mut ripe, mut unheld) = (Vec::new(), Unheld::default());
        for manifest in self.store.index.unheld_manifests(repository, self.options.dry_run).await? {
            let until =
                if self.options.now { Some(now) } else { self.store.options.grace.map(|grace| manifest.since.after(grace)) };
            if until.is_some_and(|until| until <= now) {
                ripe.push(manifest);
            } else {
                self.hold(repository, &manifest.sha256, manifest.size, "grace", until, next);
                unheld.waiting.push(manifest.id);
            }
        }
        for step in ripe.chunks(STEP) {
            let pace = Instant::now();
            let gone = self.manifest_step(repository, now, step, next).await?;
            unheld.waiting.extend(step.iter().map(|manifest| manifest.id).filter(|id| !gone.contains(id)));
            unheld.gone.extend(gone);
            breathe(pace).await;
        }
        Ok(unheld)
    }

    async fn manifest_step(
        &mut self,
        repository: &RepositoryName,
        now: Timestamp,
        step: &[UnheldManifest],
        next: &mut Next,
    ) -> Result<Vec<i64>> {
        let (mut free, kept) = (Vec::new(), self.kept(repository));
        for manifest in step {
            match self.leased(repository, &[manifest.sha256, manifest.sha512], now, kept) {
                Some(until) => self.hold(repository, &manifest.sha256, manifest.size, "lease", Some(until), next),
                None => free.push(manifest.clone()),
            }
        }
        if self.options.dry_run || free.is_empty() {
            self.report.manifests += free.len() as u64;
            return Ok(free.iter().map(|manifest| manifest.id).collect());
        }
        let digests: Vec<_> = free.iter().map(|manifest| [manifest.sha256, manifest.sha512]).collect();
        let (condemned, marked) = self.store.leases.condemn(repository, digests.iter().map(|pair| &pair[..]), kept);
        let mut marked = marked.into_iter();
        free.retain(|_| marked.next() == Some(true));
        let ids = free.iter().map(|manifest| manifest.id).collect();
        self.report.manifests += self.store.index.collect_manifests(repository, free).await?;
        self.store.forget_manifest(repository, digests.into_iter().flatten().map(Reference::Digest));
        drop(condemned);
        Ok(ids)
    }

    /// Removes blobs that no manifest of the repository names.
    async fn blobs(&mut self, repository: &RepositoryName, now: Timestamp, unheld: &Unheld, next: &mut Next) -> Result<()> {
        let mut assumed_gone = if self.options.dry_run { unheld.gone.clone() } else { Vec::new() };
        let (mut after, mut seen) = (0, HashSet::new());
        loop {
            let page = self.store.index.unnamed_blobs(repository, assumed_gone.clone(), after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            seen.extend(page.iter().map(|blob| blob.id));
            for step in page.chunks(STEP) {
                let pace = Instant::now();
                self.blob_step(repository, now, step, next).await?;
                breathe(pace).await;
            }
        }
        if unheld.waiting.is_empty() {
            return Ok(());
        }
        // What only manifests in their grace name waits with them.
        assumed_gone.extend(&unheld.waiting);
        after = 0;
        loop {
            let page = self.store.index.unnamed_blobs(repository, assumed_gone.clone(), after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.id;
            let waiting = page.iter().filter(|blob| blob.held_by == 1 && !seen.contains(&blob.id));
            self.report.held_bytes += waiting.map(|blob| blob.size).sum::<u64>();
        }
    }

    async fn blob_step(
        &mut self,
        repository: &RepositoryName,
        now: Timestamp,
        step: &[UnnamedBlob],
        next: &mut Next,
    ) -> Result<()> {
        let (mut free, kept) = (Vec::new(), self.kept(repository));
        for blob in step {
            match (self.leased(repository, &blob.digests, now, kept), blob.digests.first()) {
                (Some(until), Some(digest)) => self.hold(repository, digest, blob.size, "lease", Some(until), next),
                _ => free.push(blob.clone()),
            }
        }
        if self.options.dry_run {
            self.report.blobs += free.len() as u64;
            for blob in free.iter().filter(|blob| blob.held_by == 1) {
                self.report.files += 1;
                self.report.bytes += blob.size;
            }
            return Ok(());
        }
        if free.is_empty() {
            return Ok(());
        }
        #[cfg(feature = "planted")]
        if crate::planted::Planted::Unlink.is_on() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.report.blobs += self.store.index.collect_blobs(repository, free.clone()).await?;
            return Ok(());
        }
        let (condemned, marked) = self.store.leases.condemn(repository, free.iter().map(|blob| &blob.digests[..]), kept);
        let mut marked = marked.into_iter();
        free.retain(|_| marked.next() == Some(true));
        let digests: Vec<_> = free.iter().flat_map(|blob| blob.digests.clone()).collect();
        self.report.blobs += self.store.index.collect_blobs(repository, free).await?;
        self.store.forget_blob(repository, &digests);
        drop(condemned);
        Ok(())
    }

    async fn bury(&mut self) -> Result<()> {
        let (files, bytes) = self.store.bury().await?;
        self.report.files += files;
        self.report.bytes += bytes;
        Ok(())
    }

    /// Deletes files from before the start that nothing refers to: what a crash left behind between writing and committing.
    async fn sweep(&mut self) -> Result<()> {
        let store = self.store;
        let mut cursor = Some(String::new());
        while let Some(from) = cursor {
            let (found, next) = store.blobs.scan(store.started, from).await?;
            cursor = next;
            // Times of files lag behind the clock, which may be set back as well: what is being written now may pass for old. But that is known here, and once it is
            // not, the index knows it.
            let open = store.uploads.locations();
            for batch in found.chunks(PAGE) {
                let mut stray = store.index.unknown_locations(batch.to_vec()).await?;
                stray.retain(|location| !open.contains(location));
                let count = stray.len();
                let left = store.blobs.delete(stray).await?;
                self.report.files += (count - left.len()) as u64;
            }
        }
        Ok(())
    }

    /// Since when uploads have gone on in a repository.
    fn kept(&self, repository: &RepositoryName) -> Option<Instant> {
        self.store.uploads.active_since(repository).or_else(|| self.uploading.get(repository).copied())
    }

    /// Until when a lease protects this content; `None` when it does not.
    fn leased(
        &self,
        repository: &RepositoryName,
        digests: &[Digest],
        now: Timestamp,
        kept: Option<Instant>,
    ) -> Option<Timestamp> {
        let store = self.store;
        if self.inherited.contains(repository) {
            return Some(now.after(store.options.lease));
        }
        if store.blanket > now {
            return Some(store.blanket);
        }
        digests.iter().filter_map(|digest| store.leases.remaining(repository, digest, kept)).max().map(|left| now.after(left))
    }

    fn hold(
        &mut self,
        repository: &RepositoryName,
        digest: &Digest,
        bytes: u64,
        by: &'static str,
        until: Option<Timestamp>,
        next: &mut Next,
    ) {
        self.report.held_bytes += bytes;
        if self.report.held.len() < LISTED {
            let until = until.map(|until| until.0);
            self.report.held.push(Held { repository: repository.to_string(), digest: digest.to_string(), bytes, by, until });
        }
        // What is held for ever by a setting is looked at again: the setting may change.
        next.at(Some(until.unwrap_or_else(|| Timestamp::now().after(LOOK_AGAIN))));
    }
}

/// Manifests of one repository that nothing holds.
#[derive(Default)]
struct Unheld {
    /// Rows that went, or would go.
    gone: Vec<i64>,
    /// Rows that wait for a lease or the grace to end.
    waiting: Vec<i64>,
}

/// When a repository is worth another look.
#[derive(Default)]
struct Next(Option<Timestamp>);

impl Next {
    fn at(&mut self, time: Option<Timestamp>) {
        self.0 = match (self.0, time) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}
