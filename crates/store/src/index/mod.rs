//! The index: everything a registry knows but the bytes of its blobs.

mod cached;
mod sqlite;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use wharf_oci::{Digest, Manifest, Reference, RepositoryName, SavedState, Tag};

use crate::{Location, Result, Timestamp, UploadId};

pub use cached::{Cached, CachedContent, CachedKind, Evicted, Origin, Use};
pub use sqlite::Sqlite;
pub(crate) use sqlite::{APPLICATION_ID, SCHEMA_VERSION, digest};

/// Where a blob's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the index itself: few bytes, which are not worth an object of their own.
    Index(Bytes),
    /// In the blob store.
    Store(Location),
}

impl Place {
    /// The object's place, if there is an object.
    pub fn location(&self) -> Option<&Location> {
        match self {
            Self::Index(_) => None,
            Self::Store(location) => Some(location),
        }
    }
}

/// A blob that a repository holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobRecord {
    /// SHA-256 of the content, whatever digest it was asked for by.
    pub sha256: Digest,
    /// Length in bytes.
    pub size: u64,
    /// Where the bytes are.
    pub place: Place,
    /// It is in this repository because it was pulled through, and nobody pushed it.
    pub cached: bool,
}

impl BlobRecord {
    #[cfg(test)]
    pub(crate) fn for_test(size: u64) -> Self {
        Self { sha256: Digest::sha256(b""), size, place: Place::Store(Location("000/x".into())), cached: false }
    }
}

/// A verified blob to be linked into a repository.
#[derive(Clone, Debug)]
pub struct NewBlob {
    /// The repository.
    pub repository: RepositoryName,
    /// SHA-256 of the content.
    pub sha256: Digest,
    /// Another digest of the same content by which it was pushed.
    pub alias: Option<Digest>,
    /// Length in bytes.
    pub size: u64,
    /// Where the bytes are, synced, or the bytes for the index to keep.
    pub place: Place,
    /// The upload session that ends with this, if the index knows it.
    pub upload: Option<UploadId>,
    /// Who pushes, for the change log.
    pub actor: Arc<str>,
    /// Where it came from, when nobody pushed it.
    pub origin: Option<Origin>,
}

/// What became of a request to remove a blob from a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobDeletion {
    /// Removed from the repository. The bytes go when no repository holds them.
    Deleted {
        /// Every digest it was known by.
        digests: Vec<Digest>,
    },
    /// The repository does not hold it.
    Unknown,
    /// A manifest of the repository names it.
    InUse,
}

/// A manifest as it was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestRecord {
    /// Digest: SHA-256, or the digest it was asked for by.
    pub digest: Digest,
    /// Media type, as declared when it was pushed.
    pub media_type: String,
    /// The exact bytes.
    pub bytes: Bytes,
    /// Where the tag that it was asked for by, or the manifest itself, came from; `None` when it was pushed.
    pub cached: Option<Cached>,
}

/// A precondition on what a tag or digest names now (RFC 9110, sections 13.1.1 and 13.1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Must name one of these; `None` for anything at all.
    Match(Option<Vec<Digest>>),
    /// Must name none of these; `None` for nothing at all.
    NoneMatch(Option<Vec<Digest>>),
}

impl Condition {
    /// Whether it holds when a manifest with these digests (SHA-256 and SHA-512) is named, or none.
    pub fn holds(&self, current: Option<&[Digest; 2]>) -> bool {
        let among = |list: &Option<Vec<Digest>>| {
            current.is_some_and(|current| list.as_ref().is_none_or(|list| list.iter().any(|digest| current.contains(digest))))
        };
        match self {
            Self::Match(list) => among(list),
            Self::NoneMatch(list) => !among(list),
        }
    }
}

/// A manifest to be stored, with the tags it gets, in one step.
#[derive(Clone, Debug)]
pub struct NewManifest {
    /// The repository.
    pub repository: RepositoryName,
    /// The exact bytes.
    pub bytes: Bytes,
    /// The bytes, read.
    pub manifest: Arc<Manifest>,
    /// SHA-256 of the bytes.
    pub sha256: Digest,
    /// SHA-512 of the bytes.
    pub sha512: Digest,
    /// Tags that point at it afterwards.
    pub tags: Vec<Tag>,
    /// Preconditions, on each tag, or without tags on the manifest itself. To them a tag that came from an upstream is what it is, and also nothing.
    pub conditions: Vec<Condition>,
    /// Whether an index may name manifests that the repository does not hold.
    pub sparse: bool,
    /// Who pushes, for the change log.
    pub actor: Arc<str>,
    /// Where it came from, when nobody pushed it. It may then name what the repository does not hold (yet), and tags that were pushed are left as they are.
    pub origin: Option<Origin>,
}

/// What became of a manifest push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// Stored, and every tag points at it.
    Stored,
    /// Nothing was changed: these are named by the manifest and the repository does not hold them.
    Missing(Vec<Digest>),
    /// Nothing was changed: the same bytes are stored under this media type already, and whoever asks for them goes by that.
    OtherMediaType(String),
    /// Nothing was changed: a precondition failed; what is named now instead, if anything.
    ConditionFailed(Option<Digest>),
}

/// What became of a request to delete a tag or a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestDeletion {
    /// Deleted. For a manifest: every digest it was known by, and the tags that pointed at it.
    Deleted {
        /// Digests that no longer answer; empty when only a tag went.
        digests: Vec<Digest>,
        /// Tags that no longer answer.
        tags: Vec<Tag>,
    },
    /// There is no such tag or manifest.
    Unknown,
    /// There is no such repository.
    UnknownRepository,
}

/// One page of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// In order.
    pub items: Vec<T>,
    /// Whether more come after the last of these.
    pub more: bool,
}

/// A manifest that is about another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its artifact type.
    pub artifact_type: Option<String>,
    /// Its annotations as JSON text.
    pub annotations: Option<String>,
}

impl Referrer {
    /// Bytes that it takes in a listing at most.
    pub fn weight(&self) -> usize {
        // Digest, size and names of members take less than 256. A media type is written as it is; an artifact type may need escapes of six characters each.
        let artifact_type = self.artifact_type.as_ref().map_or(0, |text| text.len() * 6);
        256 + self.media_type.len() + artifact_type + self.annotations.as_ref().map_or(0, String::len)
    }
}

/// An upload session between requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadRow {
    /// Its id.
    pub id: UploadId,
    /// The repository it is for.
    pub repository: RepositoryName,
    /// Who opened it.
    pub owner: Arc<str>,
    /// Where its bytes are.
    pub location: Location,
    /// Bytes that are synced.
    pub offset: u64,
    /// Hash state after these bytes; `None` at their beginning.
    pub state: Option<SavedState>,
    /// When it was opened.
    pub created: Timestamp,
    /// When bytes last came.
    pub progressed: Timestamp,
}

/// One entry of the change log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Position in the log; ascending, never reused.
    pub sequence: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What: `blob.link`, `blob.delete`, `manifest.put`, `manifest.delete`, `tag.put`, `tag.delete`, `collect.manifest`, `collect.blob`, `blob.damaged`; of what
    /// comes from an upstream `cache.blob`, `cache.manifest`, `cache.tag`, `evict.blob`, `evict.manifest`, `evict.tag`.
    pub action: String,
    /// Where.
    pub repository: String,
    /// The tag, when it is about one.
    pub tag: Option<String>,
    /// The content it is about.
    pub digest: Option<Digest>,
}

/// Sums over the whole store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Repositories that hold a manifest.
    pub repositories: u64,
    /// Tags.
    pub tags: u64,
    /// Manifests, counted once per repository.
    pub manifests: u64,
    /// Blobs, counted once.
    pub blobs: u64,
    /// Bytes of all blobs, counted once.
    pub blob_bytes: u64,
    /// Open upload sessions.
    pub uploads: u64,
    /// Bytes that wait for the end of a lease or the grace, as of the collector's last look at each repository.
    pub held_bytes: u64,
}

/// A manifest that nothing holds: no tag, no index that is held, no subject that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnheldManifest {
    /// Row id, for [`Index::collect_manifests`].
    pub id: i64,
    /// SHA-256.
    pub sha256: Digest,
    /// SHA-512.
    pub sha512: Digest,
    /// Since when.
    pub since: Timestamp,
    /// Length in bytes.
    pub size: u64,
}

/// A blob that no manifest of its repository names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnnamedBlob {
    /// Row id of the blob, for [`Index::collect_blobs`].
    pub id: i64,
    /// Every digest it is known by, SHA-256 first.
    pub digests: Vec<Digest>,
    /// Length in bytes.
    pub size: u64,
    /// How many repositories hold it, this one included.
    pub held_by: u64,
}

/// Something of the index to be put right ([`crate::Repair`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mend {
    /// A blob whose bytes the index keeps, and which are not those: it is damaged.
    PutAside {
        /// SHA-256.
        digest: Digest,
    },
    /// A blob that is here is held by a repository that names it.
    Link {
        /// The repository.
        repository: RepositoryName,
        /// The blob.
        digest: Digest,
    },
    /// A manifest with other bytes than its digest says goes, with its tags.
    RemoveManifest {
        /// The repository.
        repository: RepositoryName,
        /// SHA-256.
        digest: Digest,
    },
    /// What is noted of a manifest is what its bytes say.
    Derive {
        /// The repository.
        repository: RepositoryName,
        /// SHA-256.
        digest: Digest,
    },
    /// A tag without a manifest goes.
    RemoveTag {
        /// The repository.
        repository: RepositoryName,
        /// The tag.
        tag: Tag,
    },
    /// Rows that belong to rows that are gone go; repositories without a name get one.
    RemoveOrphans,
    /// Counts of repositories are those of their content.
    Recount,
    /// What lookups go by is made anew.
    Reindex,
}

/// Keeps the index. Every method is one transaction: seen whole or not at all. A method that changes something returns after its change is durable, where it
/// does not say otherwise.
#[async_trait]
pub trait Index: Send + Sync + 'static {
    /// Notes a new upload session; nothing happens when it is known. Outlives this process; may be lost with the machine's power.
    async fn open_upload(&self, row: UploadRow) -> Result<()>;
    /// Notes the progress of a session; nothing happens when it is not known (any more). Outlives this process; may be lost with the machine's power.
    async fn save_upload(&self, row: UploadRow) -> Result<()>;
    /// The session as last saved.
    async fn upload(&self, id: UploadId) -> Result<Option<UploadRow>>;
    /// Forgets a session. Answers whether it was known: if so, its bytes are nobody's now.
    async fn delete_upload(&self, id: UploadId) -> Result<bool>;
    /// How many sessions it knows.
    async fn open_uploads(&self) -> Result<u64>;
    /// Sessions without progress since `before`, the oldest first.
    async fn idle_uploads(&self, before: Timestamp, limit: usize) -> Result<Vec<UploadRow>>;
    /// Repositories with a session opened before `opened` that progressed after `progressed`.
    async fn uploading(&self, opened: Timestamp, progressed: Timestamp) -> Result<Vec<RepositoryName>>;

    /// Links a blob into a repository, and ends its upload session. Answers the record in force: when the content was there already, that is the older one and
    /// the new bytes are superfluous.
    async fn commit_blob(&self, blob: NewBlob) -> Result<BlobRecord>;
    /// The blob, if the repository holds it and it is not known to be damaged.
    async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<BlobRecord>>;
    /// Up to `limit` repositories that hold a blob which is not known to be damaged, sorted by name.
    async fn holders(&self, digest: &Digest, limit: usize) -> Result<Vec<RepositoryName>>;
    /// Links a blob that `from` (anybody, when `None`) holds into another repository; `None` when it does not hold it.
    async fn mount(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        from: Option<&RepositoryName>,
        actor: &Arc<str>,
    ) -> Result<Option<BlobRecord>>;
    /// Removes a blob from a repository.
    async fn delete_blob(&self, repository: &RepositoryName, digest: &Digest, actor: &Arc<str>) -> Result<BlobDeletion>;

    /// Stores a manifest and moves its tags.
    async fn put_manifest(&self, manifest: NewManifest) -> Result<PutOutcome>;
    /// The manifest under a tag or digest.
    async fn manifest(&self, repository: &RepositoryName, reference: &Reference) -> Result<Option<ManifestRecord>>;
    /// Removes a tag, or a manifest with its tags.
    async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        actor: &Arc<str>,
    ) -> Result<ManifestDeletion>;

    /// Whether anything was ever pushed to the repository.
    async fn repository_exists(&self, repository: &RepositoryName) -> Result<bool>;
    /// Tags in byte order after `after`; `None` for an unknown repository.
    async fn tags(&self, repository: &RepositoryName, after: Option<&str>, limit: usize) -> Result<Option<Page<String>>>;
    /// Repositories that hold a manifest, in byte order after `after`.
    async fn repositories(&self, after: Option<&str>, limit: usize) -> Result<Page<String>>;
    /// Manifests with this subject, by digest, after `after`: at most `limit`, and of those as many as weigh `room` bytes, but one at least.
    async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
        limit: usize,
        room: usize,
    ) -> Result<Page<Referrer>>;
    /// Changes after a position, in order.
    async fn changes(&self, after: i64, limit: usize) -> Result<Vec<Change>>;
    /// Sums over everything. Not for a request path: it reads whole tables.
    async fn totals(&self) -> Result<Totals>;

    /// Repositories that may hold something to collect, after `after` by name.
    async fn collectable_repositories(
        &self,
        due: Option<Timestamp>,
        after: Option<&RepositoryName>,
        limit: usize,
    ) -> Result<Vec<RepositoryName>>;
    /// Works out which manifests of a repository nothing holds, notes since when, and answers them. With `dry_run` nothing is noted.
    async fn unheld_manifests(&self, repository: &RepositoryName, dry_run: bool) -> Result<Vec<UnheldManifest>>;
    /// Deletes those of these manifests that still nothing holds.
    async fn collect_manifests(&self, repository: &RepositoryName, manifests: Vec<UnheldManifest>) -> Result<u64>;
    /// Blobs that no manifest of the repository names, or only `assumed_gone` ones; after row `after`.
    async fn unnamed_blobs(
        &self,
        repository: &RepositoryName,
        assumed_gone: Vec<i64>,
        after: i64,
        limit: usize,
    ) -> Result<Vec<UnnamedBlob>>;
    /// Unlinks those of these blobs that still no manifest of the repository names. Blobs that no repository holds any more are forgotten and their bytes
    /// doomed. Answers how many were unlinked.
    async fn collect_blobs(&self, repository: &RepositoryName, blobs: Vec<UnnamedBlob>) -> Result<u64>;
    /// Says when the collector should look at a repository again, `None` when something changes in it, and how many bytes wait in it for the end of a lease or the
    /// grace. Forgets the repository when it is empty.
    async fn collected(
        &self,
        repository: &RepositoryName,
        started: Timestamp,
        again: Option<Timestamp>,
        held_bytes: u64,
    ) -> Result<()>;
    /// Bytes that nothing refers to any more: places after `after`, in order, and lengths.
    async fn doomed(&self, after: Option<&Location>, limit: usize) -> Result<Vec<(Location, u64)>>;
    /// Takes places off the list of [`Index::doomed`]. May be undone by a loss of power.
    async fn buried(&self, locations: Vec<Location>) -> Result<()>;
    /// Those of these places that neither a blob nor an upload session nor the list of the doomed knows.
    async fn unknown_locations(&self, locations: Vec<Location>) -> Result<Vec<Location>>;

    /// Notes that the upstream still has the same under a tag that came from it. May be lost with the machine's power.
    async fn tag_checked(&self, repository: &RepositoryName, tag: &Tag) -> Result<()>;
    /// Removes a tag if it came from an upstream. Answers whether it did.
    async fn drop_cached_tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<bool>;
    /// Notes when cached content was used. May be lost with the machine's power.
    async fn used(&self, uses: Vec<Use>) -> Result<()>;
    /// Bytes of everything that is here only because it was pulled. Not for a request path: it reads whole tables.
    async fn cached_bytes(&self) -> Result<u64>;
    /// Cached content, the longest unused first.
    async fn least_used(&self, limit: usize) -> Result<Vec<CachedContent>>;
    /// Removes those of these that are still cached and were not used meanwhile, with the tags that lead to them.
    async fn evict(&self, content: Vec<CachedContent>) -> Result<Evicted>;

    /// Blobs that were not verified since `before`, the longest first.
    async fn unverified(&self, before: Timestamp, limit: usize) -> Result<Vec<BlobRecord>>;
    /// Notes that a blob's content was found right.
    async fn verified(&self, record: &BlobRecord) -> Result<()>;
    /// Notes that a blob's content is wrong: it is refused from now on, until the same content is pushed again.
    async fn damaged(&self, record: &BlobRecord) -> Result<()>;

    /// Puts something right, if another look within the transaction shows that it is wrong. Answers what was done, in words; `None` when nothing had to be.
    async fn mend(&self, mend: Mend) -> Result<Option<String>>;

    /// Notes that the server is alive.
    async fn beat(&self) -> Result<()>;
    /// Notes that a collection over everything that was due has ended.
    async fn collection_ended(&self) -> Result<()>;
    /// When the last such collection ended.
    async fn last_collection(&self) -> Result<Option<Timestamp>>;
    /// When the server that used this index before was last alive.
    async fn last_beat(&self) -> Result<Option<Timestamp>>;
    /// Forgets changes older than this.
    async fn trim_changes(&self, keep: Duration) -> Result<()>;
    /// Whether the index can be read and written now.
    async fn check(&self) -> Result<()>;
    /// Waits for what was begun and releases everything.
    async fn close(&self);
}
