//! Eviction: content of upstreams gives way to newer content, the longest unused first.
//!
//! Only what is there because it was pulled can go; the index knows it from what was pushed. A lease holds here as for the collector: who was told that a blob is
//! there may be about to push a manifest that names it.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use wharf_oci::{Digest, Reference, RepositoryName};

use crate::index::{CachedContent, CachedKind};
use crate::{Result, Store, Timestamp};

/// Entries looked at a time.
const PAGE: usize = 512;
/// Entries removed in one transaction. Pushes wait for the one that is under way, so it is short.
const STEP: usize = 32;

impl Store {
    /// Evicts until what is cached fits. Answers how many blobs and manifests went.
    pub async fn evict(&self) -> Result<u64> {
        self.grew.store(false, Ordering::Relaxed);
        self.save_uses().await?;
        let mut count = 0;
        let mut excess = self.index.cached_bytes().await?.saturating_sub(self.options.upstream_cache);
        while excess > 0 {
            let page = self.index.least_used(PAGE).await?;
            let before = count;
            for step in page.chunks(STEP) {
                count += self.evict_step(step, excess).await?;
                excess = self.index.cached_bytes().await?.saturating_sub(self.options.upstream_cache);
                if excess == 0 {
                    break;
                }
            }
            // What is left is leased; it is tried again later.
            if count == before {
                self.grew.store(true, Ordering::Relaxed);
                break;
            }
        }
        if count > 0 {
            tracing::info!(count, "evicted what was not used for longest");
            self.freed.notify_one();
        }
        Ok(count)
    }

    /// Evicts as many of these as free `excess` bytes.
    async fn evict_step(&self, step: &[CachedContent], excess: u64) -> Result<u64> {
        let now = Timestamp::now();
        let mut chosen: BTreeMap<RepositoryName, Vec<CachedContent>> = BTreeMap::new();
        let mut freed = 0;
        for content in step.iter().filter(|content| !self.may_be_promised(content, now)) {
            chosen.entry(content.repository.clone()).or_default().push(content.clone());
            freed += content.size;
            if freed >= excess {
                break;
            }
        }
        let mut count = 0;
        for (repository, mut contents) in chosen {
            let digests: Vec<Vec<Digest>> = contents.iter().map(|content| content.digests.clone()).collect();
            let kept = self.uploads.active_since(&repository);
            let (condemned, marked) = self.leases.condemn(&repository, digests.iter().map(|group| &group[..]), kept);
            let mut marked = marked.into_iter();
            contents.retain(|_| marked.next() == Some(true));
            let evicted = self.index.evict(contents.clone()).await?;
            for content in &contents {
                match content.kind {
                    CachedKind::Blob => self.forget_blob(&repository, &content.digests),
                    CachedKind::Manifest => {
                        self.forget_manifest(&repository, content.digests.iter().copied().map(Reference::Digest));
                    }
                }
            }
            for (repository, tag) in evicted.tags {
                self.forget_manifest(&repository, [Reference::Tag(tag)]);
            }
            drop(condemned);
            count += evicted.count;
        }
        Ok(count)
    }

    /// Whether a server before this one may have told somebody that it is there, which nobody remembers.
    fn may_be_promised(&self, content: &CachedContent, now: Timestamp) -> bool {
        self.blanket > now && content.fetched < self.started
    }
}
