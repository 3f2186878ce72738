//! Where the bytes of a layer go.

use std::io::Write;

use sha2::{Digest as _, Sha256};
use wharf_oci::Digest;

use crate::LayersError;

/// A layer's bytes that are hashed and counted while they are written.
#[derive(Debug)]
pub(super) struct Output<W> {
    out: W,
    hasher: Sha256,
    offset: u64,
    /// Pieces are small: they are written several at a time.
    waiting: Vec<u8>,
}

/// Bytes that are written at a time, at least.
const AT_A_TIME: usize = 256 << 10;

impl<W: Write> Output<W> {
    pub fn new(out: W) -> Self {
        Self { out, hasher: Sha256::new(), offset: 0, waiting: Vec::with_capacity(2 * AT_A_TIME) }
    }

    /// Bytes of the layer so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Adds bytes to the layer.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), LayersError> {
        self.hasher.update(bytes);
        self.offset += bytes.len() as u64;
        if bytes.len() < AT_A_TIME {
            self.waiting.extend_from_slice(bytes);
            if self.waiting.len() < AT_A_TIME {
                return Ok(());
            }
            return self.write_waiting();
        }
        self.write_waiting()?;
        self.out.write_all(bytes).map_err(LayersError::stream(WRITING))
    }

    fn write_waiting(&mut self) -> Result<(), LayersError> {
        // Cleared whatever happens: nothing is written twice.
        let written = self.out.write_all(&self.waiting);
        self.waiting.clear();
        written.map_err(LayersError::stream(WRITING))
    }

    /// Writes what is left. The layer's digest and size.
    pub fn finish(mut self) -> Result<(Digest, u64), LayersError> {
        self.write_waiting()?;
        self.out.flush().map_err(LayersError::stream(WRITING))?;
        Ok((super::sha256(self.hasher), self.offset))
    }
}

const WRITING: &str = "writing the layer";
