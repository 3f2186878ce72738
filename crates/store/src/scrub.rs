//! Reading blobs again now and then, because disks forget.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wharf_oci::{Algorithm, Digest, Hasher};

use crate::index::{BlobRecord, Place};
use crate::{Content, Result, Store, Timestamp};

/// Blobs verified in one turn.
const TURN: usize = 64;
/// Bytes read at a time.
const PIECE: usize = 256 << 10;
/// Times that a blob which cannot be read is read again before it counts as damaged.
const READ_AGAIN: u32 = 3;
/// Rest before each.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// What a turn of scrubbing found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Blobs whose content was right.
    pub sound: u64,
    /// Blobs that were put aside.
    pub damaged: u64,
}

/// What became of reading one blob again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scrub {
    /// It is what it should be.
    Sound,
    /// It is not, and was put aside.
    Damaged,
    /// It was collected meanwhile.
    Gone,
}

impl Store {
    /// Verifies some of the blobs that were not verified for the longest time; none when all were, within the configured time.
    pub async fn scrub_once(&self) -> Result<Scrubbed> {
        let Some(every) = self.options.scrub_every else { return Ok(Scrubbed::default()) };
        let mut scrubbed = Scrubbed::default();
        for record in self.index.unverified(Timestamp::now().before(every), TURN).await? {
            match self.scrub(&record, self.options.scrub_rate.max(1)).await {
                Ok(Scrub::Sound) => {
                    self.index.verified(&record).await?;
                    scrubbed.sound += 1;
                }
                Ok(Scrub::Damaged) => scrubbed.damaged += 1,
                Ok(Scrub::Gone) => {}
                // That it cannot be opened now says nothing of its content, and must not keep the others from being verified.
                Err(error) => tracing::warn!(digest = %record.sha256, %error, "cannot verify a blob"),
            }
        }
        self.done.lock().scrubbed += scrubbed.sound + scrubbed.damaged;
        Ok(scrubbed)
    }

    /// Reads a blob at no more than `rate` bytes a second, and puts it aside when it is not what it should be.
    pub(crate) async fn scrub(&self, record: &BlobRecord, rate: u64) -> Result<Scrub> {
        if self.is_sound(record, rate).await? {
            return Ok(Scrub::Sound);
        }
        // It may have been collected while it was read.
        if !self.is_known(record).await? {
            return Ok(Scrub::Gone);
        }
        self.damage(record, "found by reading it again").await;
        Ok(Scrub::Damaged)
    }

    /// Whether the blob is still where it was found.
    async fn is_known(&self, record: &BlobRecord) -> Result<bool> {
        match record.place.location() {
            Some(location) => Ok(self.index.unknown_locations(vec![location.clone()]).await?.is_empty()),
            None => Ok(true),
        }
    }

    /// Whether a blob's bytes are those that it should have.
    pub(crate) async fn is_sound(&self, record: &BlobRecord, rate: u64) -> Result<bool> {
        let location = match &record.place {
            Place::Index(bytes) => return Ok(Digest::sha256(bytes) == record.sha256),
            Place::Store(location) => location,
        };
        let Some(content) = self.blobs.open(location, record.size).await? else { return Ok(false) };
        let hashed = match content {
            Content::Memory(bytes) => {
                let mut hasher = Hasher::new(Algorithm::Sha256);
                hasher.update(&bytes);
                Ok(hasher)
            }
            Content::File { file, size } => hash_patiently(&file, size, rate).await,
        };
        match hashed {
            Ok(hasher) => Ok(hasher.digest(Algorithm::Sha256) == Some(record.sha256)),
            Err(error) => {
                tracing::error!(digest = %record.sha256, %error, "a blob cannot be read");
                Ok(false)
            }
        }
    }
}

/// As [`hash_slowly`], again when the disk says that it cannot be read: a disk or a network that fails for a moment is no damage, and what is put aside
/// has to be pushed again by somebody.
async fn hash_patiently(file: &Arc<File>, size: u64, rate: u64) -> io::Result<Hasher> {
    let mut left = READ_AGAIN;
    loop {
        match hash_slowly(file, size, rate).await {
            Err(error) if left > 0 && error.kind() != io::ErrorKind::UnexpectedEof => {
                tracing::warn!(%error, "a blob cannot be read; it is tried again");
                left -= 1;
                tokio::time::sleep(READ_AGAIN_AFTER).await;
            }
            hashed => return hashed,
        }
    }
}

/// Hashes a file at no more than `rate` bytes a second. Piece by piece, so that dropping it ends it soon: a stop does not wait for a whole blob.
async fn hash_slowly(file: &Arc<File>, size: u64, rate: u64) -> io::Result<Hasher> {
    let (begun, mut offset) = (Instant::now(), 0);
    let (mut hasher, mut buffer) = (Hasher::new(Algorithm::Sha256), vec![0; PIECE]);
    while offset < size {
        let file = file.clone();
        let count;
        (hasher, buffer, count) = tokio::task::spawn_blocking(move || {
            let count = file.read_at(&mut buffer, offset)?;
            hasher.update(&buffer[..count]);
            io::Result::Ok((hasher, buffer, count))
        })
        .await
        .map_err(io::Error::other)??;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        offset += count as u64;
        #[expect(clippy::cast_precision_loss, reason = "a pause need not be exact")]
        let planned = Duration::from_secs_f64(offset as f64 / rate as f64);
        tokio::time::sleep(planned.saturating_sub(begun.elapsed())).await;
    }
    Ok(hasher)
}
