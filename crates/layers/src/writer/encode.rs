//! How one piece is compressed.

use libdeflater::{CompressionLvl, Compressor};
use sha2::{Digest as _, Sha256};

use super::{Form, crc64};
use crate::LayersError;

/// A piece to compress.
#[derive(Debug)]
pub(super) struct Job {
    /// Its bytes in the archive.
    pub data: Vec<u8>,
    /// Whether it is content of a file, by whose own hashes a table of contents knows it.
    pub is_content: bool,
}

/// A piece that was compressed.
#[derive(Debug)]
pub(super) struct Done {
    /// Its bytes in the layer.
    pub stored: Vec<u8>,
    /// The start of their SHA-256.
    pub identity: [u8; 8],
    /// Of content in a zstd:chunked layer: what a table of contents says of it.
    pub content: Option<Content>,
}

/// What a table of contents says of a piece of content.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub sha256: [u8; 32],
    pub crc64: u64,
    pub zeros: bool,
}

/// Compresses pieces, each by itself: the same bytes become the same bytes, whatever came before them.
pub(super) struct Encoder {
    kind: Kind,
    /// Room for the longest piece yet.
    room: Vec<u8>,
    /// What the last piece of nothing but zeros became, and how long it was.
    zeros: Option<(usize, Vec<u8>, Option<Content>)>,
    /// Whether pieces of content are hashed for a table of contents.
    hashes: bool,
}

enum Kind {
    Gzip { deflate: Compressor, stored: Compressor },
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Encoder {
    /// An encoder for a compressed form; none for a plain archive.
    pub fn new(form: Form) -> Result<Option<Self>, LayersError> {
        let kind = match form {
            Form::Gzip { level } => {
                let lvl = |level| CompressionLvl::new(level).map_err(|_| LayersError::Level { form: "gzip", level });
                Kind::Gzip { deflate: Compressor::new(lvl(level)?), stored: Compressor::new(lvl(0)?) }
            }
            Form::ZstdChunked { level } | Form::Zstd { level } => {
                let refused = LayersError::Level { form: "zstd", level };
                if !zstd::compression_level_range().contains(&level) {
                    return Err(refused);
                }
                Kind::Zstd(zstd::bulk::Compressor::new(level).map_err(|_| refused)?)
            }
            Form::Plain => return Ok(None),
        };
        Ok(Some(Self { kind, room: Vec::new(), zeros: None, hashes: matches!(form, Form::ZstdChunked { .. }) }))
    }

    /// Compresses a piece.
    pub fn encode(&mut self, job: Job) -> Result<Done, LayersError> {
        let zeros = job.data.iter().all(|byte| *byte == 0);
        if zeros
            && let Some((length, stored, content)) = &self.zeros
            && *length == job.data.len()
        {
            let content = content.clone().filter(|_| job.is_content);
            return Ok(Done { identity: identity(stored), stored: stored.clone(), content });
        }
        let stored = self.compress(&job.data)?;
        let content = (self.hashes && (job.is_content || zeros)).then(|| Content {
            sha256: Sha256::digest(&job.data).into(),
            crc64: crc64::of(&job.data),
            zeros,
        });
        if zeros {
            self.zeros = Some((job.data.len(), stored.clone(), content.clone()));
        }
        Ok(Done { identity: identity(&stored), stored, content: content.filter(|_| job.is_content) })
    }

    fn compress(&mut self, data: &[u8]) -> Result<Vec<u8>, LayersError> {
        match &mut self.kind {
            Kind::Gzip { deflate, stored } => {
                let compressor = if looks_random(data) { stored } else { deflate };
                let bound = compressor.gzip_compress_bound(data.len());
                if self.room.len() < bound {
                    self.room.resize(bound, 0);
                }
                // Without a time and of an unknown system, as this library writes the header.
                let length = compressor.gzip_compress(data, &mut self.room);
                let length = length.map_err(|_| LayersError::Compression("a piece does not fit its bound".to_owned()))?;
                Ok(self.room[..length].to_vec())
            }
            Kind::Zstd(compressor) => {
                let bound = zstd::zstd_safe::compress_bound(data.len());
                if self.room.len() < bound {
                    self.room.resize(bound, 0);
                }
                let length = compressor.compress_to_buffer(data, self.room.as_mut_slice());
                let length = length.map_err(LayersError::stream("compressing a piece"))?;
                Ok(self.room[..length].to_vec())
            }
        }
    }
}

/// The first bytes of the SHA-256.
fn identity(stored: &[u8]) -> [u8; 8] {
    let hash: [u8; 32] = Sha256::digest(stored).into();
    let mut identity = [0; 8];
    identity.copy_from_slice(&hash[..8]);
    identity
}

/// Whether all bytes are as frequent as in random ones, judged by samples. What is compressed already looks like that, and would cost as
/// much time as all else for nothing.
fn looks_random(data: &[u8]) -> bool {
    const SAMPLE: usize = 2048;
    if data.len() < 4 * SAMPLE {
        return false;
    }
    let mut counts = [0_u32; 256];
    let middle = data.len() / 2;
    for start in [0, middle / 2, middle, data.len() - SAMPLE] {
        for byte in &data[start..start + SAMPLE] {
            counts[usize::from(*byte)] += 1;
        }
    }
    // For random bytes the sum of squares is near n²/256 + n; code and text have several times as much.
    let squares: u64 = counts.iter().map(|count| u64::from(*count) * u64::from(*count)).sum();
    let n = 4 * SAMPLE as u64;
    squares * 256 < (n * n / 100) * 112
}
