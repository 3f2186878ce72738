//! Archives read member by member, without losing a byte of them.

use std::io::{self, Read};

use super::header::{self, BLOCK, Block};
use super::member::{Extensions, Map, Member, Refusal, describe};
use super::pax::Records;
use super::sparse::{self, ContentMap, Extent};
use super::{Damage, MAX_EXTENSION, padding};
use crate::LayersError;

/// Bytes of headers that one member may have, its map of holes included.
const MAX_RAW: usize = 32 << 20;

/// Reads an archive as a stream.
///
/// [`next`](Self::next) gives a member, reading from this gives that member's content as it is stored, and after the last member
/// [`trailer`](Self::trailer) gives what is left. `raw` and content of each member in turn and then the trailer are the archive, byte for
/// byte. Memory is bounded by some 64 MiB for the worst archive and by a few KiB for others. Once there was an error, nothing that comes
/// after it counts.
pub struct TarReader<R> {
    reader: R,
    /// Bytes of the archive that were read.
    position: u64,
    /// Of them, those before the header of the current member.
    header: u64,
    /// Content of the current member that was not read yet.
    remaining: u64,
    /// Bytes between that content and the next header.
    padding: usize,
    /// Records that hold for all members to come.
    global: Records,
    /// What was read while looking for a member and finding none, once the archive has ended.
    end: Option<io::Cursor<Vec<u8>>>,
}

impl<R: Read> TarReader<R> {
    /// Reads an archive that is not compressed. Headers are read in blocks of 512 bytes, so the reader should be a buffered one.
    pub fn new(reader: R) -> Self {
        Self { reader, position: 0, header: 0, remaining: 0, padding: 0, global: Records::default(), end: None }
    }

    /// The next member, past what is left of the content of the former one; none at the end.
    ///
    /// The end is a block of zeros with another one or nothing after it, or the end of the stream at a block's boundary.
    ///
    /// # Errors
    /// [`LayersError::Tar`] for a damaged archive, [`LayersError::Refused`] for a member that is no file (parts of multi-volume archives,
    /// dumped directories, kinds of other vendors), and what the stream fails with.
    #[expect(clippy::should_implement_trait, reason = "an iterator could not lend itself out for the content in between")]
    pub fn next(&mut self) -> Result<Option<Member>, LayersError> {
        if self.end.is_some() {
            return Ok(None);
        }
        self.skip_content()?;
        let offset = self.position;
        let mut raw = Vec::with_capacity(2 * BLOCK);
        self.fill(&mut raw, self.padding)?;
        self.padding = 0;
        let mut extensions = Extensions::default();
        match self.find(&mut raw, &mut extensions)? {
            None => {
                self.end = Some(io::Cursor::new(raw));
                Ok(None)
            }
            Some(block) => self.member(&block, &extensions, raw, offset).map(Some),
        }
    }

    /// What is left after the last member: its padding, blocks of zeros and whatever follows them, to the end of the stream.
    pub fn trailer(&mut self) -> Trailer<'_, R> {
        Trailer(self)
    }

    /// Reads on to the header of a member, through extended headers; none at the end of the archive.
    fn find(&mut self, raw: &mut Vec<u8>, extensions: &mut Extensions) -> Result<Option<Block>, LayersError> {
        let mut dangling = false;
        loop {
            let at = self.position;
            let Some(block) = self.header(raw)? else {
                return if dangling { Err(damaged("the archive ends after an extended header", at)) } else { Ok(None) };
            };
            let kind = block[header::KIND];
            match kind {
                b'L' | b'K' | b'x' | b'X' | b'g' => {}
                // The label of a volume is no file.
                b'V' => continue,
                _ => return Ok(Some(block)),
            }
            let content = self.extension(raw, &block, at)?;
            match kind {
                b'L' => extensions.name = Some(header::text(content).to_vec()),
                b'K' => extensions.link = Some(header::text(content).to_vec()),
                b'g' => self.global.read_global(content).map_err(|what| damaged(what, at))?,
                _ => extensions.own.read(content).map_err(|what| damaged(what, at))?,
            }
            dangling |= kind != b'g';
        }
    }

    /// The next header; none at the end of the archive.
    fn header(&mut self, raw: &mut Vec<u8>) -> Result<Option<Block>, LayersError> {
        let at = self.position;
        let Some(block) = self.block(raw)? else { return Ok(None) };
        if block == [0; BLOCK] {
            let from = raw.len();
            self.fill(raw, BLOCK)?;
            return match raw[from..].iter().all(|byte| *byte == 0) {
                true => Ok(None),
                false => Err(damaged("a single block of zeros between members", at)),
            };
        }
        match header::checksum_is_right(&block) {
            true => Ok(Some(block)),
            false => Err(damaged("a header with a wrong checksum", at)),
        }
    }

    /// The content of an extended header.
    fn extension<'a>(&mut self, raw: &'a mut Vec<u8>, block: &Block, at: u64) -> Result<&'a [u8], LayersError> {
        let size = header::number(header::SIZE.of(block)).and_then(|size| usize::try_from(size).ok());
        let Some(size) = size.filter(|size| *size <= MAX_EXTENSION) else {
            return Err(damaged("an extended header of more than 1 MiB", at));
        };
        let from = raw.len();
        let whole = size + padding(size as u64);
        self.fill(raw, whole)?;
        if raw.len() - from < whole {
            return Err(damaged("the archive ends in an extended header", at));
        }
        Ok(&raw[from..from + size])
    }

    /// Puts a member together from its header, which was just read, and what stood before it.
    fn member(&mut self, block: &Block, ext: &Extensions, mut raw: Vec<u8>, offset: u64) -> Result<Member, LayersError> {
        let at = self.position - BLOCK as u64;
        let (entry, mut stored, map) = describe(block, ext, &self.global).map_err(|refusal| match refusal {
            Refusal::Damage(what) => damaged(what, at),
            Refusal::Kind(why) => LayersError::Refused { name: header::name(block), why: why.into_owned() },
        })?;
        let extents = match map {
            None => None,
            Some(Map::Known(extents)) => Some(extents),
            Some(Map::Header) => Some(self.header_map(block, &mut raw, at)?),
            Some(Map::Content) => {
                let (extents, length) = self.content_map(&mut raw, stored, at)?;
                stored -= length;
                Some(extents)
            }
        };
        let checked = extents.map(|extents| sparse::checked(extents, entry.size, stored)).transpose();
        let sparse = checked.map_err(|what| damaged(what, at))?;
        self.header = at;
        self.remaining = stored;
        self.padding = padding(stored);
        Ok(Member { entry, raw, stored, sparse, offset })
    }

    /// The map of GNU tar's old form, in the header and in blocks after it.
    fn header_map(&mut self, block: &Block, raw: &mut Vec<u8>, at: u64) -> Result<Vec<Extent>, LayersError> {
        let mut extents = Vec::new();
        let mut more = sparse::read_header(block, &mut extents).map_err(|what| damaged(what, at))?;
        while more {
            let Some(block) = self.block(raw)? else { return Err(damaged("the archive ends in a sparse map", at)) };
            more = sparse::read_block(&block, &mut extents).map_err(|what| damaged(what, at))?;
        }
        Ok(extents)
    }

    /// The map in front of the content, and how many bytes of the content it takes.
    fn content_map(&mut self, raw: &mut Vec<u8>, stored: u64, at: u64) -> Result<(Vec<Extent>, u64), LayersError> {
        let mut map = ContentMap::default();
        let mut length = 0;
        loop {
            length += BLOCK as u64;
            if length > stored {
                return Err(damaged("a sparse map that is longer than the content", at));
            }
            let Some(block) = self.block(raw)? else { return Err(damaged("the archive ends in a sparse map", at)) };
            if !map.read(&block).map_err(|what| damaged(what, at))? {
                return Ok((map.into_extents(), length));
            }
        }
    }

    /// A block; none at the end of the stream, where zeros may be left over.
    fn block(&mut self, raw: &mut Vec<u8>) -> Result<Option<Block>, LayersError> {
        let at = self.position;
        let from = raw.len();
        self.fill(raw, BLOCK)?;
        match raw[from..].first_chunk::<BLOCK>() {
            Some(block) => Ok(Some(*block)),
            None if raw[from..].iter().all(|byte| *byte == 0) => Ok(None),
            None => Err(damaged("the archive ends in a header", at)),
        }
    }

    /// Appends this many bytes, or fewer at the end of the stream.
    fn fill(&mut self, raw: &mut Vec<u8>, length: usize) -> Result<(), LayersError> {
        if raw.len() + length > MAX_RAW {
            return Err(damaged("a member with more than 32 MiB of headers", self.position));
        }
        let read = self.reader.by_ref().take(length as u64).read_to_end(raw);
        self.position += read.map_err(LayersError::stream("reading the layer"))? as u64;
        Ok(())
    }

    fn skip_content(&mut self) -> Result<(), LayersError> {
        let mut scratch = [0; 16 * 1024];
        while self.remaining > 0 {
            match self.read(&mut scratch) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => _ = read.map_err(LayersError::stream("reading the layer"))?,
            }
        }
        Ok(())
    }
}

/// The content of the current member as it is stored.
impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.remaining).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let read = self.reader.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(damaged("the archive ends in the content of a file", self.header).into());
        }
        self.position += read as u64;
        self.remaining -= read as u64;
        Ok(read)
    }
}

/// The end of an archive; see [`TarReader::trailer`].
pub struct Trailer<'a, R>(&'a mut TarReader<R>);

impl<R: Read> Read for Trailer<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let held = match &mut self.0.end {
            Some(end) => end.read(buffer)?,
            None => 0,
        };
        if held > 0 || buffer.is_empty() {
            return Ok(held);
        }
        let read = self.0.reader.read(buffer)?;
        self.0.position += read as u64;
        Ok(read)
    }
}

fn damaged(what: impl Into<Damage>, offset: u64) -> LayersError {
    LayersError::Tar { what: what.into().into_owned(), offset }
}
