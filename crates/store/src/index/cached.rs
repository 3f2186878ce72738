//! What came from an upstream registry: where from, and how long ago it was used.

use std::fmt;

use wharf_oci::{Digest, RepositoryName};

use crate::Timestamp;

/// Where content came from. It reads `docker.io/library/alpine`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The upstream registry, as people write it: `HOST[:PORT]`.
    pub upstream: String,
    /// The repository there.
    pub repository: RepositoryName,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.upstream, self.repository)
    }
}

/// That a tag or manifest was pulled through, and not pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cached {
    /// Where it came from.
    pub origin: Origin,
    /// When the upstream last said so: for a tag, that it leads there; for a manifest, when it was fetched.
    pub checked: Timestamp,
}

/// Which kind of content something cached is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CachedKind {
    /// A blob.
    Blob,
    /// A manifest.
    Manifest,
}

/// Cached content that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// Where.
    pub repository: RepositoryName,
    /// What.
    pub digest: Digest,
    /// Of which kind.
    pub kind: CachedKind,
    /// When it was last read.
    pub at: Timestamp,
}

/// Cached content that may have to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedContent {
    /// Where.
    pub repository: RepositoryName,
    /// Of which kind.
    pub kind: CachedKind,
    /// Row id of the blob or manifest.
    pub id: i64,
    /// Every digest it is known by, SHA-256 first.
    pub digests: Vec<Digest>,
    /// Length in bytes.
    pub size: u64,
    /// When it came.
    pub fetched: Timestamp,
    /// When it was last used, as far as that was noted.
    pub used: Timestamp,
}

/// What an eviction removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Manifests and blobs.
    pub count: u64,
    /// Tags that led to these manifests, with their repositories.
    pub tags: Vec<(RepositoryName, wharf_oci::Tag)>,
}
