//! Reading a table of contents: one entry at a time, for a table may be much longer than the part of it that is wanted.

use std::fmt;
use std::io::{BufReader, Read};

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use sha2::{Digest as _, Sha256, Sha512};
use wharf_oci::{Algorithm, Digest};

use super::{Listed, TocEntry, TocKind, TocPlace};
use crate::LayersError;
use crate::piece::{Identity, Piece, PieceMap};

/// The files that the table lists, in its order. `bytes` are those of the place's range.
pub fn entries(place: &TocPlace, bytes: &[u8]) -> Result<Vec<Listed>, LayersError> {
    let mut files = Vec::new();
    for_each(place, bytes, |entry| {
        if entry.kind != TocKind::Chunk {
            files.push(entry.listed().map_err(|error| error.to_string())?);
        }
        Ok(())
    })?;
    Ok(files)
}

/// Hands over the entries of a table, one after the other, while it is decompressed; the table counts only if this returns no error. `bytes`
/// are those of the place's range.
pub fn for_each(place: &TocPlace, bytes: &[u8], mut each: impl FnMut(TocEntry) -> Result<(), String>) -> Result<(), LayersError> {
    let hash = match place.checksum.algorithm() {
        Algorithm::Sha256 => Digest::from_hash_of_any_length(&Sha256::digest(bytes)),
        Algorithm::Sha512 => Digest::from_hash_of_any_length(&Sha512::digest(bytes)),
    };
    if hash != Some(place.checksum) {
        return Err(LayersError::Toc("it has another checksum than the layer's descriptor says".to_owned()));
    }
    let damaged = |error: &dyn fmt::Display| LayersError::Toc(error.to_string());
    let decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(|error| damaged(&error))?;
    let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(64 << 10, decoder.take(place.length)));
    Table(&mut each).deserialize(&mut json).map_err(|error| damaged(&error))?;
    json.end().map_err(|error| damaged(&error))
}

/// The pieces of content that a table lists.
pub(crate) fn pieces(place: &TocPlace, bytes: &[u8], size: u64) -> Result<PieceMap, LayersError> {
    let mut pieces = Vec::new();
    // The piece that ends where the next one begins, and the end of the file that it is of.
    let mut open: Option<(u64, String)> = None;
    let mut file_end = 0;
    let mut add = |(offset, digest): (u64, String), end: u64| {
        let digest = digest.parse::<Digest>().map_err(|error| error.to_string())?;
        let length =
            end.checked_sub(offset).filter(|_| end <= size).ok_or("a chunk ends before it begins, or after the layer")?;
        if let (Ok(hash), true) = (digest.hash().try_into(), length > 0) {
            pieces.push(Piece { offset, length, identity: Identity::Content(hash) });
        }
        Ok::<_, String>(())
    };
    for_each(place, bytes, |entry| {
        let is_chunk = entry.kind == TocKind::Chunk;
        if let Some(open) = open.take() {
            add(open, if is_chunk { entry.offset } else { file_end })?;
        } else if is_chunk {
            return Err("a chunk is of no file".to_owned());
        }
        if entry.kind == TocKind::Reg {
            file_end = entry.end_offset;
        }
        let digest = if entry.chunk_digest.is_empty() { entry.digest } else { entry.chunk_digest };
        if (is_chunk || entry.kind == TocKind::Reg) && !digest.is_empty() {
            open = Some((entry.offset, digest));
        }
        Ok(())
    })?;
    if let Some(open) = open {
        add(open, file_end).map_err(LayersError::Toc)?;
    }
    pieces.sort_unstable_by_key(|piece| piece.offset);
    // Both sums are inside the layer.
    if pieces.windows(2).any(|pair| pair[0].offset + pair[0].length > pair[1].offset) {
        return Err(LayersError::Toc("its chunks overlap".to_owned()));
    }
    Ok(PieceMap::of(pieces))
}

/// The table, of which each entry is handed over.
struct Table<'a, F>(&'a mut F);

impl<'de, F: FnMut(TocEntry) -> Result<(), String>> DeserializeSeed<'de> for Table<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(TocEntry) -> Result<(), String>> Visitor<'de> for Table<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of contents")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "version" => {
                    if map.next_value::<u64>()? != 1 {
                        return Err(serde::de::Error::custom("its version is not 1"));
                    }
                }
                "entries" => map.next_value_seed(Entries(&mut *self.0))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// The list of entries.
struct Entries<'a, F>(&'a mut F);

impl<'de, F: FnMut(TocEntry) -> Result<(), String>> DeserializeSeed<'de> for Entries<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(TocEntry) -> Result<(), String>> Visitor<'de> for Entries<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(entry) = list.next_element::<TocEntry>()? {
            (self.0)(entry).map_err(serde::de::Error::custom)?;
        }
        Ok(())
    }
}
