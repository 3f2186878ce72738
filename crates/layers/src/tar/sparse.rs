//! Maps of sparse files: where the bytes that are stored lie in the file.

use super::Damage;
use super::header::{BLOCK, Block, Field, number};
use super::pax::{Pax, digits};

/// A run of bytes of a file that is stored; holes lie between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// Bytes, at least one.
    pub length: u64,
}

/// Extents that a file may have.
pub(super) const MAX_EXTENTS: usize = 1 << 20;

/// In the header of GNU tar's old form: the first extents, whether a block with more follows, and the real size.
const FIRST: Field = Field(386, 4 * PAIR);
const MORE: usize = 482;
const REAL_SIZE: Field = Field(483, 12);
/// In the blocks that follow it.
const NEXT: Field = Field(0, 21 * PAIR);
const NEXT_MORE: usize = 504;
/// Bytes of an offset and a length.
const PAIR: usize = 24;

/// The form in which a member tells its map in pax records.
pub(super) enum Form {
    /// 0.0 or 0.1: all of it is in the records.
    Records(Vec<Extent>),
    /// 1.0: in front of the content.
    Content,
}

/// What pax records say of a sparse file; nothing if it is none.
pub(super) fn form(pax: &Pax<'_>) -> Result<Option<Form>, Damage> {
    let version = (pax.get("GNU.sparse.major"), pax.get("GNU.sparse.minor"));
    match version {
        (Some(b"1"), Some(b"0")) => return Ok(Some(Form::Content)),
        (None, None) | (Some(b"0"), Some(b"0" | b"1")) => {}
        _ => return Err("a sparse file of an unknown form".into()),
    }
    let extents = match pax.get("GNU.sparse.map") {
        Some(map) => pairs(map).ok_or("a malformed sparse map")?,
        None if pax.get("GNU.sparse.numblocks").is_some() => pax.own.extents.clone(),
        None if pax.own.extents.is_empty() && version == (None, None) => return Ok(None),
        None => return Err("a sparse file without the number of its extents".into()),
    };
    if pax.number("GNU.sparse.numblocks")?.is_some_and(|number| number != extents.len() as u64) {
        return Err("a sparse map with more or fewer extents than it says".into());
    }
    Ok(Some(Form::Records(extents)))
}

/// `OFFSET,LENGTH,OFFSET,LENGTH…`
fn pairs(map: &[u8]) -> Option<Vec<Extent>> {
    let numbers = map.split(|byte| *byte == b',').map(digits).collect::<Option<Vec<_>>>()?;
    let (pairs, rest) = numbers.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[offset, length]| Extent { offset: *offset, length: *length }).collect())
}

/// The real size that a header of the old form tells.
pub(super) fn real_size(block: &Block) -> Option<u64> {
    u64::try_from(number(REAL_SIZE.of(block))?).ok()
}

/// Adds the extents of a header of the old form; tells whether a block with more follows.
pub(super) fn read_header(block: &Block, extents: &mut Vec<Extent>) -> Result<bool, Damage> {
    read_pairs(FIRST.of(block), extents)?;
    Ok(block[MORE] != 0)
}

/// The same for a block that follows.
pub(super) fn read_block(block: &Block, extents: &mut Vec<Extent>) -> Result<bool, Damage> {
    read_pairs(NEXT.of(block), extents)?;
    Ok(block[NEXT_MORE] != 0)
}

fn read_pairs(field: &[u8], extents: &mut Vec<Extent>) -> Result<(), Damage> {
    for pair in field.chunks_exact(PAIR).take_while(|pair| pair[0] != 0) {
        let part = |bytes| number(bytes).and_then(|number| u64::try_from(number).ok()).ok_or("a malformed sparse map");
        push(extents, Extent { offset: part(&pair[..PAIR / 2])?, length: part(&pair[PAIR / 2..])? })?;
    }
    Ok(())
}

fn push(extents: &mut Vec<Extent>, extent: Extent) -> Result<(), Damage> {
    if extents.len() == MAX_EXTENTS {
        return Err("a sparse file of more than 1048576 extents".into());
    }
    extents.push(extent);
    Ok(())
}

/// Reads the map in front of the content block by block: how many extents, then an offset and a length for each, a line each.
#[derive(Default)]
pub(super) struct ContentMap {
    line: Vec<u8>,
    /// Extents that are told; none before the first line.
    count: Option<u64>,
    offset: Option<u64>,
    extents: Vec<Extent>,
}

impl ContentMap {
    /// Reads a block; tells whether another one follows.
    pub(super) fn read(&mut self, block: &Block) -> Result<bool, Damage> {
        for byte in block {
            if self.is_complete() {
                break;
            }
            match byte {
                b'\n' => self.end_line()?,
                _ if self.line.len() < BLOCK => self.line.push(*byte),
                _ => return Err("a malformed sparse map".into()),
            }
        }
        Ok(!self.is_complete())
    }

    fn is_complete(&self) -> bool {
        self.count == Some(self.extents.len() as u64)
    }

    fn end_line(&mut self) -> Result<(), Damage> {
        let number = digits(&self.line).ok_or("a malformed sparse map")?;
        self.line.clear();
        match (self.count, self.offset.take()) {
            (None, _) => self.count = Some(number),
            (Some(_), None) => self.offset = Some(number),
            (Some(_), Some(offset)) => push(&mut self.extents, Extent { offset, length: number })?,
        }
        Ok(())
    }

    /// The extents, once no block follows.
    pub(super) fn into_extents(self) -> Vec<Extent> {
        self.extents
    }
}

/// The extents that hold bytes, once they are known to ascend, to lie in the file and to have as many bytes as are stored.
pub(super) fn checked(mut extents: Vec<Extent>, size: u64, stored: u64) -> Result<Vec<Extent>, Damage> {
    let mut end = 0;
    let mut sum = 0_u64;
    for extent in &extents {
        if extent.offset < end {
            return Err("extents of a sparse file that overlap or descend".into());
        }
        end = extent.offset.saturating_add(extent.length);
        sum = sum.saturating_add(extent.length);
    }
    if end > size {
        return Err("a sparse file whose extents reach past its end".into());
    }
    if sum != stored {
        return Err(format!("a sparse file with {stored} bytes stored and extents of {sum} bytes").into());
    }
    extents.retain(|extent| extent.length > 0);
    Ok(extents)
}
