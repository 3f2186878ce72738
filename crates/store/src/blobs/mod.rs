//! Where the bytes of blobs are.

mod files;
mod folder_sync;

use std::fs::File;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Result, Timestamp};

pub use files::Files;
pub(crate) use files::MARK;

/// The place of one stored object. New for every upload and never used again, so deleting an old object cannot hit a newer one with the same content.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location(pub String);

/// Content to be served: memory or a file. Others (a stream, a redirect) join when an engine needs them.
#[derive(Clone, Debug)]
pub enum Content {
    /// All of it.
    Memory(Bytes),
    /// An open file of exactly `size` bytes at the time it was opened.
    File {
        /// Open for reading.
        file: Arc<File>,
        /// Length in bytes.
        size: u64,
    },
}

/// Keeps objects. It knows nothing of digests, repositories or who asks; the index does.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// A place for a new object. Nothing is stored yet.
    fn allocate(&self) -> Location;

    /// Begins to write the object at a place from [`BlobStore::allocate`], or goes on after its first `length` bytes, which must have been
    /// synced ([`Staging::sync`]) before; what lies behind them is cut off. `None` when fewer bytes are there.
    async fn stage(&self, location: &Location, length: u64) -> Result<Option<Box<dyn Staging>>>;

    /// Opens an object of `size` bytes. `None` when it is not there or has another length: it is damaged, and never served.
    async fn open(&self, location: &Location, size: u64) -> Result<Option<Content>>;

    /// Removes objects, finished or not; one that is not there counts as removed. Frees their space. Answers those that could not be removed.
    async fn delete(&self, locations: Vec<Location>) -> Result<Vec<Location>>;

    /// Puts a damaged object aside, where it is neither served nor collected. It counts as removed.
    async fn quarantine(&self, location: &Location) -> Result<()>;

    /// Some of the objects made before `before`, finished or not, and where to go on; `None` after the last. It begins with an empty text, and what it answers
    /// means something to this store alone. For finding what nobody refers to.
    async fn scan(&self, before: Timestamp, from: String) -> Result<(Vec<Location>, Option<String>)>;

    /// Bytes that can still be written; `None` when there is no such limit.
    async fn free_space(&self) -> Result<Option<u64>>;
}

/// Takes bytes that are read back.
pub type Feed = Box<dyn FnMut(&[u8]) + Send>;

/// An object being written.
#[async_trait]
pub trait Staging: Send + Sync {
    /// Appends. After an error the object's end is unknown and nothing but deleting it is allowed.
    async fn write(&mut self, bytes: Bytes) -> Result<()>;

    /// Makes all that was written durable, the object's name included. After this it can be opened. After an error nothing but deleting it is allowed: a
    /// second attempt would succeed without the bytes that the first one lost.
    async fn sync(&mut self) -> Result<()>;

    /// The file that grows by what is written, open for reading; `None` where an unfinished object cannot be read.
    fn file(&self) -> Option<Arc<File>>;

    /// Reads what was written from its start, calling `each` in order.
    async fn read_back(&mut self, each: Feed) -> Result<()>;
}
