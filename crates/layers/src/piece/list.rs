//! The list of pieces as it lies in a layer.
//!
//! Eight bytes that say what it is, then for each piece its length as a little-endian base-128 number and the eight bytes of its
//! [`Identity::Stored`]. The pieces follow one another from the start of the layer. A gzip layer carries the list in the extra fields of
//! empty members at its end (RFC 1952, section 2.3.1.1), a zstd layer in a skippable frame (RFC 8878, section 3.1.2): whoever decompresses
//! the layer passes over both.

use super::{Identity, Piece, PieceMap};
use crate::LayersError;

/// What a list begins with; the last byte is the version.
const MAGIC: &[u8; 8] = b"wharfpl\x01";
/// Bytes of a list at most. A layer with more pieces than that goes without.
pub(crate) const MAX: usize = 32 << 20;

/// An empty gzip member with an extra field, up to the length of that field; no time, no name, of an unknown system.
const MEMBER_START: [u8; 10] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255];
/// Its content, none, and the checksum and length of that.
const MEMBER_END: [u8; 10] = [3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// The name of the subfield.
const SUBFIELD: [u8; 2] = *b"WH";
/// What a subfield holds at most, so that the extra field's own length fits into two bytes.
const SUBFIELD_MAX: usize = 0xffff - 4;
/// A skippable frame that no other format is known to use: 50 is zstd:chunked's and pzstd's, 5E that of the seekable format.
const FRAME_MAGIC: [u8; 4] = 0x184D_2A57_u32.to_le_bytes();

/// A list in the making.
#[derive(Debug)]
pub(crate) struct ListBuilder {
    bytes: Vec<u8>,
    pieces: u64,
}

impl ListBuilder {
    pub(crate) fn new() -> Self {
        Self { bytes: MAGIC.to_vec(), pieces: 0 }
    }

    /// Adds the piece that follows the former ones.
    pub(crate) fn push(&mut self, length: u64, stored: [u8; 8]) {
        self.pieces += 1;
        if self.bytes.len() > MAX {
            return;
        }
        let mut rest = length;
        while rest >= 0x80 {
            self.bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.bytes.push(rest as u8);
        self.bytes.extend_from_slice(&stored);
    }

    /// Pieces so far.
    pub(crate) fn pieces(&self) -> u64 {
        self.pieces
    }

    /// The list as empty gzip members; none when it is too long.
    pub(crate) fn as_members(&self) -> Option<Vec<u8>> {
        if self.bytes.len() > MAX {
            return None;
        }
        let mut members = Vec::with_capacity(self.bytes.len() + self.bytes.len() / 1024 + 32);
        for part in self.bytes.chunks(SUBFIELD_MAX) {
            members.extend_from_slice(&MEMBER_START);
            members.extend_from_slice(&(part.len() as u16 + 4).to_le_bytes());
            members.extend_from_slice(&SUBFIELD);
            members.extend_from_slice(&(part.len() as u16).to_le_bytes());
            members.extend_from_slice(part);
            members.extend_from_slice(&MEMBER_END);
        }
        Some(members)
    }

    /// The list as a skippable zstd frame; none when it is too long.
    pub(crate) fn as_frame(&self) -> Option<Vec<u8>> {
        if self.bytes.len() > MAX {
            return None;
        }
        let mut frame = Vec::with_capacity(self.bytes.len() + 8);
        frame.extend_from_slice(&FRAME_MAGIC);
        frame.extend_from_slice(&(self.bytes.len() as u32).to_le_bytes());
        frame.extend_from_slice(&self.bytes);
        Some(frame)
    }
}

/// Reads what carries a list. The pieces end where it begins, at `offset`, or before.
pub(super) fn parse(bytes: &[u8], offset: u64) -> Result<PieceMap, LayersError> {
    let damaged = |what: &str| LayersError::Pieces(what.to_owned());
    let list = match bytes.strip_prefix(&FRAME_MAGIC) {
        Some(frame) => {
            let (length, list) = frame.split_first_chunk().ok_or_else(|| damaged("it ends early"))?;
            if u32::from_le_bytes(*length) as usize != list.len() {
                return Err(damaged("its frame has another length"));
            }
            list.to_vec()
        }
        None => members(bytes).ok_or_else(|| damaged("it is in neither a gzip member nor a zstd frame of a list"))?,
    };
    let mut rest = list.strip_prefix(MAGIC).ok_or_else(|| damaged("it is of a version that is not known here"))?;
    // A piece takes nine bytes of the list at least.
    let mut pieces = Vec::with_capacity(rest.len() / 9);
    let mut at = 0_u64;
    while !rest.is_empty() {
        let (length, after) = number(rest).ok_or_else(|| damaged("a length is none"))?;
        let (stored, after) = after.split_first_chunk().ok_or_else(|| damaged("it ends early"))?;
        rest = after;
        let end = at.checked_add(length).filter(|end| *end <= offset && length > 0);
        let end = end.ok_or_else(|| damaged("a piece is empty or reaches beyond the pieces"))?;
        pieces.push(Piece { offset: at, length, identity: Identity::Stored(*stored) });
        at = end;
    }
    Ok(PieceMap { pieces })
}

/// What the subfields of empty gzip members hold.
fn members(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut list = Vec::with_capacity(bytes.len());
    while !bytes.is_empty() {
        bytes = bytes.strip_prefix(&MEMBER_START)?;
        let (extra, rest) = bytes.split_first_chunk()?;
        let rest = rest.strip_prefix(&SUBFIELD)?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = u16::from_le_bytes(*length);
        if u16::from_le_bytes(*extra) != length.checked_add(4)? {
            return None;
        }
        let (part, rest) = rest.split_at_checked(usize::from(length))?;
        list.extend_from_slice(part);
        bytes = rest.strip_prefix(&MEMBER_END)?;
    }
    Some(list)
}

/// A base-128 number and what follows it.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(9) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}
