//! What the store does for content of upstream registries: it takes it in, and remembers that it is used.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use parking_lot::Mutex;
use wharf_oci::{Digest, Reference, RepositoryName, Tag};

use crate::index::{BlobRecord, CachedKind, Origin, Use};
use crate::uploads::{FinishError, Upload};
use crate::{Result, Store, Timestamp};

/// Uses of cached content that the index does not know of yet.
#[derive(Default)]
pub(crate) struct Uses(Mutex<Vec<Arc<Used>>>);

/// Cached content as a reader of it holds it.
#[derive(Debug)]
pub(crate) struct Used {
    repository: RepositoryName,
    digest: Digest,
    kind: CachedKind,
    /// When it was last read, in milliseconds.
    last: AtomicI64,
    /// It is on the list already.
    noted: AtomicBool,
}

impl Used {
    pub(crate) fn new(repository: &RepositoryName, digest: Digest, kind: CachedKind) -> Arc<Self> {
        Arc::new(Self { repository: repository.clone(), digest, kind, last: AtomicI64::new(0), noted: AtomicBool::new(false) })
    }
}

impl Uses {
    /// Notes a use. Costs no more than a look at the clock when it was noted lately.
    pub(crate) fn note(&self, used: Option<&Arc<Used>>) {
        let Some(used) = used else { return };
        used.last.store(Timestamp::now().0, Ordering::Relaxed);
        if !used.noted.load(Ordering::Relaxed) && !used.noted.swap(true, Ordering::Relaxed) {
            self.0.lock().push(used.clone());
        }
    }

    /// Takes what is on the list.
    fn take(&self) -> Vec<Use> {
        let taken = std::mem::take(&mut *self.0.lock());
        let of = |used: Arc<Used>| {
            used.noted.store(false, Ordering::Relaxed);
            let at = Timestamp(used.last.load(Ordering::Relaxed));
            Use { repository: used.repository.clone(), digest: used.digest, kind: used.kind, at }
        };
        taken.into_iter().map(of).collect()
    }
}

impl Store {
    /// As [`Store::finish_upload`], for content that was fetched from an upstream. Nobody was told that it is there, so no lease is taken.
    pub async fn finish_fetch(
        &self,
        repository: &RepositoryName,
        upload: Upload,
        digest: &Digest,
        origin: &Origin,
    ) -> Result<Arc<BlobRecord>, FinishError> {
        let record = self.finish(repository, upload, digest, &origin.to_string().into(), Some(origin)).await?;
        self.grew.store(true, Ordering::Relaxed);
        Ok(record)
    }

    /// Notes that the upstream still has the same under a tag.
    pub async fn tag_checked(&self, repository: &RepositoryName, tag: &Tag) -> Result<()> {
        self.index.tag_checked(repository, tag).await?;
        self.forget_manifest(repository, [Reference::Tag(tag.clone())]);
        Ok(())
    }

    /// Removes a tag that its upstream has no longer, unless it was pushed meanwhile.
    pub async fn drop_cached_tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<bool> {
        let dropped = self.index.drop_cached_tag(repository, tag).await?;
        self.forget_manifest(repository, [Reference::Tag(tag.clone())]);
        Ok(dropped)
    }

    /// Tells the index what was used.
    pub(crate) async fn save_uses(&self) -> Result<()> {
        match self.uses.take() {
            uses if uses.is_empty() => Ok(()),
            uses => self.index.used(uses).await,
        }
    }
}
