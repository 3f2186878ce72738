//! Text that is compressed while it grows.

use crate::LayersError;

/// Text, compressed with zstd at its default level. What it becomes depends on the lines alone.
pub(super) struct ZstdText {
    encoder: zstd::stream::write::Encoder<'static, Vec<u8>>,
    waiting: Vec<u8>,
    length: u64,
}

/// Text that is complete.
pub(super) struct Compressed {
    pub compressed: Vec<u8>,
    /// Bytes of the text.
    pub length: u64,
}

/// Bytes that are compressed at a time, at least.
const AT_A_TIME: usize = 64 << 10;

impl ZstdText {
    pub fn new() -> Result<Self, LayersError> {
        let encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).map_err(LayersError::stream(COMPRESSING))?;
        Ok(Self { encoder, waiting: Vec::with_capacity(2 * AT_A_TIME), length: 0 })
    }

    /// Where the next line is to be appended.
    pub fn line(&mut self) -> &mut Vec<u8> {
        &mut self.waiting
    }

    /// Ends a line.
    pub fn end_line(&mut self) -> Result<(), LayersError> {
        if self.waiting.len() >= AT_A_TIME {
            self.compress()?;
        }
        Ok(())
    }

    /// Bytes of the text so far.
    pub fn length(&self) -> u64 {
        self.length + self.waiting.len() as u64
    }

    fn compress(&mut self) -> Result<(), LayersError> {
        use std::io::Write as _;
        self.encoder.write_all(&self.waiting).map_err(LayersError::stream(COMPRESSING))?;
        self.length += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    pub fn finish(mut self) -> Result<Compressed, LayersError> {
        self.compress()?;
        let compressed = self.encoder.finish().map_err(LayersError::stream(COMPRESSING))?;
        Ok(Compressed { compressed, length: self.length })
    }
}

impl std::fmt::Debug for ZstdText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ZstdText").field("length", &self.length).finish_non_exhaustive()
    }
}

const COMPRESSING: &str = "compressing the table of contents";
