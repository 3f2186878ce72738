//! What makes a cut zstd layer zstd:chunked: its table of contents, the tar-split by which the archive is put together again from files, and
//! the footer that says where both lie. All three are skippable frames after the content.
//!
//! Where a file's content lies is known only once the pieces before it were compressed. So what was handed in waits, as steps, until its
//! pieces were written.

mod header;
mod tar_split;
mod zstd_text;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io::Write;
use std::mem;

use crc::Table as CrcTable;
use sha2::{Digest as _, Sha256};
use wharf_oci::Digest;

use self::tar_split::TarSplit;
use self::zstd_text::ZstdText;
use super::encode::{Content, Stored};
use super::output::Output;
use super::{crc64, sha256};
use crate::annotation::{CHUNKED_PREFIXES, MANIFEST_CHECKSUM, MANIFEST_POSITION, TARSPLIT_POSITION};
use crate::toc::{EntryError, TocEntry, TocKind, ZEROS};
use crate::{Entry, Kind, LayersError};

/// Bytes of a table of contents at most: clients refuse longer ones.
const TOC_MAX: u64 = 150 << 20;
/// About what an entry for a chunk takes in it.
const CHUNK_LENGTH: u64 = 250;
/// Bytes without a header that make one segment of the tar-split.
const SEGMENT: usize = 64 << 10;

/// The frames' magic number, that of pzstd, which all decoders pass over.
const FRAME_MAGIC: [u8; 4] = 0x184D_2A50_u32.to_le_bytes();
/// What the footer ends with.
const FOOTER_MAGIC: &[u8; 8] = b"GNUlInUx";

/// Why an archive cannot be described by a table of contents.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undescribed {
    /// A member that the table has no words for.
    #[error("{name}: {source}")]
    Entry {
        /// The member.
        name: String,
        /// What is wrong with it.
        source: EntryError,
    },
    /// The archive has a file with holes, which a table does not.
    #[error("{name} is stored with holes")]
    Sparse {
        /// The member.
        name: String,
    },
    /// The archive has two members of one name.
    #[error("{name} is in the archive twice")]
    Twice {
        /// The member.
        name: String,
    },
    /// A header that is for several members, or that readers may take for something else.
    #[error("the header of {name} is not one that all readers understand alike")]
    Header {
        /// The member.
        name: String,
    },
    /// More files and chunks than clients take in a table.
    #[error("it has more files than a table of contents takes")]
    TooLong,
}

/// The table in the making.
#[derive(Debug)]
pub(super) struct Table {
    /// The parts; none once it turned out that there is to be no table.
    parts: Option<Box<Parts>>,
    undescribed: Option<Undescribed>,
}

#[derive(Debug)]
struct Parts {
    steps: VecDeque<Step>,
    /// The member whose content is being handed in.
    taking: Option<Taking>,
    /// Bytes that are no content, since the last member.
    tail: Vec<u8>,
    /// The member whose pieces are being written.
    open: Option<Open>,
    toc: ZstdText,
    is_first: bool,
    split: TarSplit,
    /// The start of the SHA-256 of each name, without what does not matter in it.
    names: HashSet<[u8; 16]>,
}

/// What was handed in, in order.
#[derive(Debug)]
enum Step {
    /// A member's header.
    Member(Box<TocEntry>, Vec<u8>),
    /// Further bytes that are no content.
    Raw(Vec<u8>),
    /// A piece of headers.
    Headers,
    /// A piece of content of this length.
    Content(u64),
    /// The end of a member; with hashes of its content if that is more than one piece.
    End(Option<Whole>),
}

/// A member's content as it is handed in.
#[derive(Debug)]
struct Taking {
    name: String,
    size: u64,
    taken: u64,
    whole: Option<Hashing>,
}

struct Hashing {
    sha256: Sha256,
    crc64: crc::Digest<'static, u64, CrcTable<16>>,
}

impl std::fmt::Debug for Hashing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hashing")
    }
}

/// What is said of a file's content as a whole.
#[derive(Clone, Copy, Debug)]
struct Whole {
    digest: Digest,
    crc64: u64,
}

/// A member whose pieces are being written.
#[derive(Debug)]
struct Open {
    entry: TocEntry,
    chunks: Vec<Chunk>,
    crc64: u64,
    end: u64,
}

#[derive(Debug)]
struct Chunk {
    offset: u64,
    length: u64,
    sha256: [u8; 32],
    zeros: bool,
}

impl Table {
    pub fn new() -> Result<Self, LayersError> {
        let mut toc = ZstdText::new()?;
        toc.line().extend_from_slice(br#"{"version":1,"entries":["#);
        Ok(Self {
            parts: Some(Box::new(Parts {
                steps: VecDeque::new(),
                taking: None,
                tail: Vec::new(),
                open: None,
                toc,
                is_first: true,
                split: TarSplit::new()?,
                names: HashSet::new(),
            })),
            undescribed: None,
        })
    }

    /// A member begins; see [`LayerWriter::member`](super::LayerWriter::member).
    pub fn member(&mut self, raw: &[u8], entry: &Entry) {
        let Some(parts) = &mut self.parts else { return };
        if let Err(why) = parts.member(raw, entry) {
            self.give_up(why);
        }
    }

    /// Bytes that are no content.
    pub fn raw(&mut self, bytes: &[u8]) {
        let Some(parts) = &mut self.parts else { return };
        parts.tail.extend_from_slice(bytes);
        // Always of one length, however the bytes come.
        while parts.tail.len() >= SEGMENT {
            let rest = parts.tail.split_off(SEGMENT);
            parts.steps.push_back(Step::Raw(mem::replace(&mut parts.tail, rest)));
        }
    }

    /// A piece of headers was handed to be compressed.
    pub fn headers(&mut self) {
        if let Some(parts) = &mut self.parts {
            parts.steps.push_back(Step::Headers);
        }
    }

    /// A piece of content was; `is_whole` when it is all of the content.
    pub fn content(&mut self, piece: &[u8], is_whole: bool) {
        let Some(parts) = &mut self.parts else { return };
        parts.steps.push_back(Step::Content(piece.len() as u64));
        if let Some(taking) = &mut parts.taking {
            taking.taken += piece.len() as u64;
            if !is_whole {
                let whole = taking.whole.get_or_insert_with(|| Hashing { sha256: Sha256::new(), crc64: crc64::digest() });
                whole.sha256.update(piece);
                whole.crc64.update(piece);
            }
        }
    }

    /// The content of the current member, if there is one, is complete.
    pub fn end_member(&mut self) {
        let Some(parts) = &mut self.parts else { return };
        if let Some(taking) = parts.taking.take() {
            if taking.taken != taking.size {
                return self.give_up(Undescribed::Sparse { name: taking.name });
            }
            let whole = taking.whole.map(|whole| Whole { digest: sha256(whole.sha256), crc64: whole.crc64.finalize() });
            parts.steps.push_back(Step::End(whole));
        }
    }

    /// The foremost piece was written, at this offset of the layer.
    pub fn written(&mut self, offset: u64, piece: &Stored) -> Result<(), LayersError> {
        let Some(parts) = &mut self.parts else { return Ok(()) };
        while let Some(step) = parts.steps.pop_front() {
            match step {
                Step::Headers => break,
                Step::Content(length) => {
                    let end = offset + piece.length;
                    if let (Some(open), Some(content)) = (&mut parts.open, &piece.content) {
                        open.add(offset, end, length, content);
                    }
                    break;
                }
                step => parts.take(step)?,
            }
        }
        if parts.length() > TOC_MAX {
            self.give_up(Undescribed::TooLong);
        }
        Ok(())
    }

    /// Writes the frames after all pieces were written, and says in the annotations where they are. Why they are not there if they are not.
    pub fn finish<W: Write>(
        mut self,
        out: &mut Output<W>,
        annotations: &mut BTreeMap<String, String>,
    ) -> Result<Option<Undescribed>, LayersError> {
        let Some(mut parts) = self.parts.take() else { return Ok(self.undescribed) };
        while let Some(step) = parts.steps.pop_front() {
            parts.take(step)?;
        }
        let tail = mem::take(&mut parts.tail);
        parts.split.segment(&tail)?;
        let split = parts.split.finish()?;
        let mut toc = parts.toc;
        let end = format!(r#"],"tarSplitDigest":"{}"}}"#, Digest::sha256(&split.compressed));
        toc.line().extend_from_slice(end.as_bytes());
        let toc = toc.finish()?;

        let toc_offset = frame(out, &toc.compressed)?;
        let split_offset = frame(out, &split.compressed)?;
        let (toc_length, split_length) = (toc.compressed.len() as u64, split.compressed.len() as u64);
        let mut footer = Vec::with_capacity(64);
        for number in [toc_offset, toc_length, toc.length, 1, split_offset, split_length, split.length] {
            footer.extend_from_slice(&number.to_le_bytes());
        }
        footer.extend_from_slice(FOOTER_MAGIC);
        frame(out, &footer)?;
        for prefix in CHUNKED_PREFIXES {
            let mut say = |name, value| annotations.insert(format!("{prefix}{name}"), value);
            say(MANIFEST_CHECKSUM, Digest::sha256(&toc.compressed).to_string());
            say(MANIFEST_POSITION, format!("{toc_offset}:{toc_length}:{}:1", toc.length));
            say(TARSPLIT_POSITION, format!("{split_offset}:{split_length}:{}", split.length));
        }
        Ok(None)
    }

    fn give_up(&mut self, why: Undescribed) {
        self.parts = None;
        self.undescribed = Some(why);
    }
}

impl Parts {
    fn member(&mut self, raw: &[u8], entry: &Entry) -> Result<(), Undescribed> {
        let name = || String::from_utf8_lossy(&entry.name).into_owned();
        let mut described = TocEntry::of(entry).map_err(|source| Undescribed::Entry { name: name(), source })?;
        let raw = match self.tail.is_empty() {
            true => raw.to_vec(),
            false => [mem::take(&mut self.tail).as_slice(), raw].concat(),
        };
        header::complete(&mut described, &raw).ok_or_else(|| Undescribed::Header { name: name() })?;
        if !self.names.insert(name_hash(&entry.name)) {
            return Err(Undescribed::Twice { name: name() });
        }
        let size = if entry.kind == Kind::Regular { entry.size } else { 0 };
        self.taking = Some(Taking { name: described.name.clone(), size, taken: 0, whole: None });
        self.steps.push_back(Step::Member(Box::new(described), raw));
        Ok(())
    }

    /// Takes a step that is no piece.
    fn take(&mut self, step: Step) -> Result<(), LayersError> {
        match step {
            Step::Member(entry, raw) => {
                self.split.segment(&raw)?;
                self.open = Some(Open { entry: *entry, chunks: Vec::new(), crc64: 0, end: 0 });
            }
            Step::Raw(bytes) => self.split.segment(&bytes)?,
            Step::End(whole) => {
                if let Some(open) = self.open.take() {
                    self.end(open, whole)?;
                }
            }
            Step::Headers | Step::Content(_) => {}
        }
        Ok(())
    }

    /// Writes the entry of a member that is complete.
    fn end(&mut self, open: Open, whole: Option<Whole>) -> Result<(), LayersError> {
        let Open { mut entry, chunks, crc64, end } = open;
        let crc64 = whole.map_or(crc64, |whole| whole.crc64);
        self.split.file(&entry.name, entry.size, (!chunks.is_empty()).then_some(crc64))?;
        let Some(first) = chunks.first() else { return self.write(&entry) };
        entry.digest = whole.map_or_else(|| sha256_text(&first.sha256), |whole| whole.digest.to_string());
        entry.offset = first.offset;
        entry.end_offset = end;
        if chunks.len() == 1 {
            return self.write(&entry);
        }
        let mut further = TocEntry::chunk(&entry.name);
        let mut at = 0;
        for (index, chunk) in chunks.iter().enumerate() {
            let entry = if index == 0 { &mut entry } else { &mut further };
            entry.offset = chunk.offset;
            entry.chunk_size = chunk.length;
            entry.chunk_offset = at;
            entry.chunk_digest = sha256_text(&chunk.sha256);
            entry.chunk_type = if chunk.zeros { ZEROS.to_owned() } else { String::new() };
            at += chunk.length;
            if index == 0 {
                self.write(entry)?;
            } else {
                self.write(&further)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, entry: &TocEntry) -> Result<(), LayersError> {
        let line = self.toc.line();
        if !mem::replace(&mut self.is_first, false) {
            line.push(b',');
        }
        serde_json::to_writer(line, &entry.written()).map_err(|error| LayersError::Toc(error.to_string()))?;
        self.toc.end_line()
    }

    /// Bytes of the table so far, with what waits for its file to end.
    fn length(&self) -> u64 {
        let chunks = self.open.as_ref().map_or(0, |open| open.chunks.len() as u64);
        self.toc.length() + chunks * CHUNK_LENGTH
    }
}

impl Open {
    fn add(&mut self, offset: u64, end: u64, length: u64, content: &Content) {
        debug_assert_eq!(self.entry.kind, TocKind::Reg);
        self.chunks.push(Chunk { offset, length, sha256: content.sha256, zeros: content.zeros });
        self.crc64 = content.crc64;
        self.end = end;
    }
}

/// Writes a skippable frame. Where its content lies.
fn frame<W: Write>(out: &mut Output<W>, content: &[u8]) -> Result<u64, LayersError> {
    // Compressed from at most 150 MiB of text, or a footer.
    let length = u32::try_from(content.len()).map_err(|_| LayersError::Toc("it is too long for a frame".to_owned()))?;
    out.write(&FRAME_MAGIC)?;
    out.write(&length.to_le_bytes())?;
    let offset = out.offset();
    out.write(content)?;
    Ok(offset)
}

fn sha256_text(hash: &[u8; 32]) -> String {
    format!("sha256:{}", hex::encode(hash))
}

/// What tells the name of a member from others, as readers of tar-split clean it: without empty parts and single dots.
fn name_hash(name: &[u8]) -> [u8; 16] {
    let mut hasher = Sha256::new();
    for part in name.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".") {
        hasher.update(b"/");
        hasher.update(part);
    }
    let hash: [u8; 32] = hasher.finalize().into();
    let mut start = [0; 16];
    start.copy_from_slice(&hash[..16]);
    start
}
