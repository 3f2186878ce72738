//! Where a registry keeps what was pushed to it: blobs in a [`BlobStore`], everything else in an [`Index`], and [`Store`] over both with
//! the rules that keep them true to each other.
//!
//! What a caller may rely on:
//!
//! * What [`Store`] has acknowledged is durable: the blob's file and folder are synced and the index transaction is committed and synced.
//! * A blob can be read only if its digest was verified while it was written, and its length is checked again whenever it is opened.
//! * A manifest, its tags and its place among the referrers of its subject become visible in one step, or not at all.
//! * Collection runs beside pushes. What a caller was told exists ([`Store::leased_blob`], [`Store::mount`], a finished upload) stays for a lease's time.
//! * What came from an upstream is kept for as long as there is room for it, and never replaces what was pushed.
//! * Memory does not grow with the size of a blob, and nothing is scanned before the store can answer.
pub mod backup;
mod blobs;
mod cache;
mod cached;
mod check;
mod collect;
#[doc(hidden)]
pub mod conformance;
mod error;
mod evict;
mod index;
mod kept;
mod leases;
pub mod lock;
mod maintain;
mod options;
#[cfg(feature = "planted")]
mod planted;
mod repair;
mod scrub;
mod store;
mod time;
mod uploads;

pub use blobs::{BlobStore, Content, Feed, Files, Location, Staging};
pub use check::{CheckError, Finding, Kind, Report, Seen, Watcher, check};
pub use collect::{CollectOptions, Collected, Held, Progress};
pub use error::{Result, StoreError};
pub use index::{
    BlobDeletion, BlobRecord, Cached, CachedContent, CachedKind, Change, Condition, Evicted, Index, ManifestDeletion,
    ManifestRecord, Mend, NewBlob, NewManifest, Origin, Page, Place, PutOutcome, Referrer, Sqlite, Totals, UnheldManifest,
    UnnamedBlob, UploadRow, Use,
};
pub use kept::Kept;
pub use options::Options;
pub use repair::Repair;
pub use scrub::Scrubbed;
pub use store::{Blob, Done, Manifest, Store};
pub use time::Timestamp;
pub use uploads::{FinishError, NotAnUploadId, Upload, UploadId};
