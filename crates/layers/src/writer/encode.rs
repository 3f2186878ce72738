//! How one piece is compressed.

use std::sync::Arc;

use libdeflater::{CompressionLvl, Compressor};
use sha2::{Digest as _, Sha256};

use super::{Form, crc64};
use crate::older::Finder;
use crate::{LayersError, OlderPieces};

/// Pieces to compress, one after the other: small ones are not worth being handed over each by itself.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Their bytes in the archive.
    pub data: Vec<u8>,
    /// How many of those each has, and whether it is content of a file, by whose own hashes a table of contents knows it.
    pub pieces: Vec<(usize, bool)>,
}

/// Pieces that were compressed.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Their bytes in the layer.
    pub stored: Vec<u8>,
    /// What each is.
    pub pieces: Vec<Stored>,
}

/// A piece that was compressed.
#[derive(Debug)]
pub(super) struct Stored {
    /// Bytes in the layer.
    pub length: u64,
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
    /// The last piece of nothing but zeros: such pieces often follow one another.
    zeros: Option<Zeros>,
    /// Whether pieces of content are hashed for a table of contents.
    hashes: bool,
    /// Where pieces may be that need not be compressed.
    older: Option<Finder>,
}

struct Zeros {
    length: usize,
    stored: Vec<u8>,
    content: Option<Content>,
}

enum Kind {
    Gzip { deflate: Compressor, stored: Compressor },
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Encoder {
    /// An encoder for a compressed form, which takes what older layers have from there; none for a plain archive.
    pub fn new(form: Form, older: &Arc<OlderPieces>) -> Result<Option<Self>, LayersError> {
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
        let older = Finder::new(older).map_err(LayersError::stream("making a decoder"))?;
        Ok(Some(Self { kind, zeros: None, hashes: matches!(form, Form::ZstdChunked { .. }), older }))
    }

    /// Compresses pieces, and puts them behind one another into `done`.
    pub fn encode(&mut self, batch: &Batch, done: &mut Done) -> Result<(), LayersError> {
        let mut data = batch.data.as_slice();
        for (length, is_content) in &batch.pieces {
            let (piece, rest) = data.split_at(*length);
            data = rest;
            let start = done.stored.len();
            let content = self.piece(piece, *is_content, &mut done.stored)?;
            let stored = &done.stored[start..];
            done.pieces.push(Stored { length: stored.len() as u64, identity: identity(stored), content });
        }
        Ok(())
    }

    fn piece(&mut self, data: &[u8], is_content: bool, out: &mut Vec<u8>) -> Result<Option<Content>, LayersError> {
        let hashes = self.hashes && is_content;
        let zeros = data.iter().all(|byte| *byte == 0);
        if zeros
            && let Some(former) = &self.zeros
            && former.length == data.len()
        {
            out.extend_from_slice(&former.stored);
            return Ok(former.content.clone().filter(|_| hashes));
        }
        let start = out.len();
        let content = (hashes || (zeros && self.hashes)).then(|| Content {
            sha256: Sha256::digest(data).into(),
            crc64: crc64::of(data),
            zeros,
        });
        let bound = self.bound(data.len());
        let hash = content.as_ref().map(|content| &content.sha256);
        if !self.older.as_mut().is_some_and(|older| older.take(data, hash, bound, out)) {
            self.compress(data, bound, out)?;
        }
        if zeros {
            self.zeros = Some(Zeros { length: data.len(), stored: out[start..].to_vec(), content: content.clone() });
        }
        Ok(content.filter(|_| hashes))
    }

    /// Bytes that so many are at most when they are compressed.
    fn bound(&mut self, length: usize) -> usize {
        match &mut self.kind {
            Kind::Gzip { deflate, .. } => deflate.gzip_compress_bound(length),
            Kind::Zstd(_) => zstd::zstd_safe::compress_bound(length),
        }
    }

    fn compress(&mut self, data: &[u8], bound: usize, out: &mut Vec<u8>) -> Result<(), LayersError> {
        let start = out.len();
        out.resize(start + bound, 0);
        let length = match &mut self.kind {
            Kind::Gzip { deflate, stored } => {
                let compressor = if looks_random(data) { stored } else { deflate };
                // Without a time and of an unknown system, as this library writes the header.
                let length = compressor.gzip_compress(data, &mut out[start..]);
                length.map_err(|_| LayersError::Compression("a piece does not fit its bound".to_owned()))?
            }
            Kind::Zstd(compressor) => {
                let length = compressor.compress_to_buffer(data, &mut out[start..]);
                length.map_err(LayersError::stream("compressing a piece"))?
            }
        };
        out.truncate(start + length);
        Ok(())
    }
}

/// The first bytes of the SHA-256.
fn identity(stored: &[u8]) -> [u8; 8] {
    let hash: [u8; 32] = Sha256::digest(stored).into();
    let mut identity = [0; 8];
    identity.copy_from_slice(&hash[..8]);
    identity
}

/// Whether all bytes are as frequent as in random ones, judged by samples. Who judges otherwise is another encoder, and names itself so. What is compressed already looks like that, and would cost as
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
    squares * 256 < (n * n / 100) * 106
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Layers name the encoder, and trust others of that name.
    #[test]
    fn the_encoder_is_the_one_it_is_said_to_be() {
        let lock = include_str!("../../../../Cargo.lock");
        let version =
            lock.split("name = \"libdeflate-sys\"\nversion = \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        assert_eq!(Form::GZIP.encoder().unwrap(), format!("libdeflate-{version};level=5"));
    }
}
