//! tar-split: what an archive has besides the content of its files, so that who has the files can put together the archive again. A JSON
//! object on each line: a segment of the archive as it is, or a file by name, size and CRC-64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::zstd_text::{Compressed, ZstdText};
use crate::LayersError;

/// The types of lines.
const FILE: u8 = 1;
const SEGMENT: u8 = 2;

/// A tar-split in the making.
#[derive(Debug)]
pub(super) struct TarSplit {
    text: ZstdText,
    position: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// Base64; null for a file without content.
    payload: Option<&'a str>,
    position: u64,
}

impl TarSplit {
    pub fn new() -> Result<Self, LayersError> {
        Ok(Self { text: ZstdText::new()?, position: 0 })
    }

    /// Bytes of the archive as they are; for a member, all between the content of the former one and its own.
    pub fn segment(&mut self, bytes: &[u8]) -> Result<(), LayersError> {
        let payload = STANDARD.encode(bytes);
        self.write(&Line { kind: SEGMENT, name: "", size: None, payload: Some(&payload), position: self.position })
    }

    /// The content of a member, which may be none.
    pub fn file(&mut self, name: &str, size: u64, crc64: Option<u64>) -> Result<(), LayersError> {
        let payload = crc64.map(|crc64| STANDARD.encode(crc64.to_be_bytes()));
        let size = Some(size).filter(|size| *size > 0);
        self.write(&Line { kind: FILE, name, size, payload: payload.as_deref(), position: self.position })
    }

    fn write(&mut self, line: &Line<'_>) -> Result<(), LayersError> {
        let text = self.text.line();
        serde_json::to_writer(&mut *text, line).map_err(|error| LayersError::Toc(error.to_string()))?;
        text.push(b'\n');
        self.position += 1;
        self.text.end_line()
    }

    pub fn finish(self) -> Result<Compressed, LayersError> {
        self.text.finish()
    }
}
