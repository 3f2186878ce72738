//! Layers, written from archives that come part by part.

mod chunked;
mod crc64;
mod encode;
mod output;
mod pipeline;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::mem;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use wharf_oci::{Algorithm, Descriptor, Digest, media_type};

use self::chunked::Table;
pub use self::chunked::Undescribed;
use self::output::Output;
use self::pipeline::Pipeline;
use crate::annotation::{CUT, ENCODER, PIECES};
use crate::piece::ListBuilder;
use crate::{Cut, Entry, LayersError, OlderPieces};

/// Headers are a piece at this length at the latest.
const HEADERS_MAX: usize = 64 << 10;

/// What compresses to gzip, with its version.
const GZIP_ENCODER: &str = "libdeflate-1.26.1";

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A gzip member for each piece (`application/vnd.oci.image.layer.v1.tar+gzip`). Every client reads it.
    Gzip {
        /// 1, quick, to 12, small; see [`Form::GZIP`].
        level: i32,
    },
    /// zstd:chunked: a zstd frame for each piece, and a table of contents by which podman fetches the files that it lacks
    /// (`application/vnd.oci.image.layer.v1.tar+zstd`). An archive that such a table cannot describe comes out as [`Form::Zstd`].
    ZstdChunked {
        /// As zstd counts them, 1 to 22 and negative ones; see [`Form::ZSTD_CHUNKED`].
        level: i32,
    },
    /// A zstd frame for each piece.
    Zstd {
        /// As in [`Form::ZstdChunked`].
        level: i32,
    },
    /// The archive as it is (`application/vnd.oci.image.layer.v1.tar`).
    Plain,
}

impl Form {
    /// gzip at the level that is the quickest of those that come out no larger than what other tools write.
    pub const GZIP: Self = Self::Gzip { level: 5 };
    /// zstd:chunked at zstd's own default.
    pub const ZSTD_CHUNKED: Self = Self::ZstdChunked { level: 3 };

    /// The media type of layers of this form (image-spec, "Image Layer Filesystem Changeset").
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Gzip { .. } => media_type::OCI_LAYER_GZIP,
            Self::ZstdChunked { .. } | Self::Zstd { .. } => media_type::OCI_LAYER_ZSTD,
            Self::Plain => media_type::OCI_LAYER,
        }
    }

    /// What compresses pieces of this form, and how, as the annotation [`ENCODER`] has it; none for a plain archive.
    pub fn encoder(self) -> Option<String> {
        match self {
            Self::Gzip { level } => Some(format!("{GZIP_ENCODER};level={level}")),
            Self::ZstdChunked { level } | Self::Zstd { level } => {
                Some(format!("zstd-{};level={level}", zstd::zstd_safe::version_string()))
            }
            Self::Plain => None,
        }
    }

    /// The cut that suits this form.
    pub fn cut(self) -> Cut {
        match self {
            Self::ZstdChunked { .. } => Cut::FILES,
            Self::Gzip { .. } | Self::Zstd { .. } | Self::Plain => Cut::GROUPED,
        }
    }
}

/// A layer that was written.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Its media type, SHA-256 digest, size in bytes, and annotations that say how it was cut and where its pieces are listed.
    pub descriptor: Descriptor,
    /// SHA-256 digest of the archive, uncompressed: the image configuration's `rootfs.diff_ids`.
    pub diff_id: Digest,
    /// Bytes of the archive.
    pub size: u64,
    /// Pieces that it was cut into; none in a plain layer.
    pub pieces: u64,
    /// Why a layer that was to be zstd:chunked is not: it was cut and compressed all the same.
    pub undescribed: Option<Undescribed>,
}

/// Writes a layer from an archive that is handed in from its first to its last byte: for each member its header with [`member`], then its
/// content with [`content`]; at last what follows the members, with [`raw`].
///
/// The layer decompresses to exactly the bytes handed in. The same archive gives the same layer, whatever the number of threads and the
/// portions. Memory is bounded, whatever the length of files: some 20 MB, and in a zstd:chunked layer about 150 bytes for each file.
///
/// An error of the output comes out of the call that meets it, which may be a later one than that whose bytes it is about. A writer that
/// has failed, or is dropped without [`finish`], leaves behind what it wrote so far; its threads have ended by then.
///
/// [`member`]: LayerWriter::member
/// [`content`]: LayerWriter::content
/// [`raw`]: LayerWriter::raw
/// [`finish`]: LayerWriter::finish
#[derive(Debug)]
pub struct LayerWriter<W: Write> {
    form: Form,
    cut: Cut,
    diff: Sha256,
    size: u64,
    output: Output<W>,
    /// None for a plain layer.
    pipeline: Option<Pipeline>,
    list: ListBuilder,
    /// Of a zstd:chunked layer.
    table: Option<Table>,
    /// Headers and small files that wait to be a piece.
    run: Vec<u8>,
    /// Content of the current member that has not been cut yet.
    content: Vec<u8>,
    /// Whether that is more than one piece, of which the first were cut off already.
    is_cut: bool,
    /// Whether an error came out: bytes are missing from the layer since.
    has_failed: bool,
}

impl<W: Write> LayerWriter<W> {
    /// A writer of a layer of this form to `out`, which need not be buffered. `threads` of them compress; 0 stands for as many as the
    /// machine has cores. For zstd:chunked, of whose table each file is an entry, the cut has no groups, whatever `cut` says.
    pub fn new(out: W, form: Form, cut: Cut, threads: usize) -> Result<Self, LayersError> {
        Self::after(&Arc::new(OlderPieces::new(form)), out, form, cut, threads)
    }

    /// The same, taking the pieces that older layers have from there. The layer comes out as without them, sooner.
    pub fn after(older: &Arc<OlderPieces>, out: W, form: Form, cut: Cut, threads: usize) -> Result<Self, LayersError> {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let table = match form {
            Form::ZstdChunked { .. } => Some(Table::new()?),
            _ => None,
        };
        let cut = if table.is_some() { cut.without_groups() } else { cut };
        Ok(Self {
            form,
            cut,
            diff: Sha256::new(),
            size: 0,
            output: Output::new(out),
            pipeline: Pipeline::new(form, threads, older)?,
            list: ListBuilder::new(),
            table,
            run: Vec::new(),
            content: Vec::new(),
            is_cut: false,
            has_failed: false,
        })
    }

    /// Begins a member. `raw` is what the archive has between the content of the former member and that of this one: padding and all blocks
    /// of the header, extended ones as well.
    pub fn member(&mut self, raw: &[u8], entry: &Entry) -> Result<(), LayersError> {
        self.unless_failed(|writer| {
            writer.end_member()?;
            if let Some(table) = &mut writer.table {
                table.member(raw, entry);
            }
            writer.headers(raw)
        })
    }

    /// Takes the next bytes of the current member's content, as the archive has them.
    pub fn content(&mut self, bytes: &[u8]) -> Result<(), LayersError> {
        self.unless_failed(|writer| {
            if !writer.take(bytes)? {
                return Ok(());
            }
            // Several pieces are cut at a time; what is left of them is less than one.
            let full = writer.cut.max() * 4;
            let mut rest = bytes;
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(full - writer.content.len()));
                writer.content.extend_from_slice(now);
                rest = later;
                if writer.content.len() == full {
                    writer.cut_content(false)?;
                }
            }
            Ok(())
        })
    }

    /// Takes bytes of the archive that belong to no member, such as the blocks of zeros at its end.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), LayersError> {
        self.unless_failed(|writer| {
            writer.end_member()?;
            if let Some(table) = &mut writer.table {
                table.raw(bytes);
            }
            writer.headers(bytes)
        })
    }

    /// Ends the layer: all of it is written, and the output flushed. `out` stays with the caller if it was lent.
    pub fn finish(mut self) -> Result<Layer, LayersError> {
        self.unless_failed(|writer| {
            writer.end_member()?;
            writer.end_run()?;
            if let Some(pipeline) = &mut writer.pipeline {
                pipeline.hand_over();
            }
            while writer.write_batch(true)? {}
            Ok(())
        })?;
        let mut annotations = BTreeMap::new();
        let mut undescribed = None;
        if let Some(encoder) = self.form.encoder() {
            annotations.insert(ENCODER.to_owned(), encoder);
            annotations.insert(CUT.to_owned(), self.cut.to_string());
            let list = match self.form {
                Form::Gzip { .. } => self.list.as_members(),
                _ => self.list.as_frame(),
            };
            if let Some(list) = list {
                annotations.insert(PIECES.to_owned(), format!("{}:{}", self.output.offset(), list.len()));
                self.output.write(&list)?;
            }
            if let Some(table) = self.table.take() {
                undescribed = table.finish(&mut self.output, &mut annotations)?;
            }
        }
        let (digest, size) = self.output.finish()?;
        let mut descriptor = Descriptor::new(self.form.media_type(), digest, size);
        descriptor.annotations = (!annotations.is_empty()).then_some(annotations);
        let diff_id = sha256(self.diff);
        Ok(Layer { descriptor, diff_id, size: self.size, pieces: self.list.pieces(), undescribed })
    }

    /// Does something, unless it would only follow on an error.
    fn unless_failed(&mut self, step: impl FnOnce(&mut Self) -> Result<(), LayersError>) -> Result<(), LayersError> {
        if self.has_failed {
            return Err(LayersError::stream("writing the layer")(io::Error::other("it has failed before")));
        }
        // Also if `step` panics.
        self.has_failed = true;
        step(self)?;
        self.has_failed = false;
        Ok(())
    }

    /// Counts and hashes bytes of the archive. Whether they are to be cut; those of a plain layer were written.
    fn take(&mut self, bytes: &[u8]) -> Result<bool, LayersError> {
        self.diff.update(bytes);
        self.size += bytes.len() as u64;
        if self.pipeline.is_none() {
            self.output.write(bytes)?;
        }
        Ok(self.pipeline.is_some())
    }

    /// Takes bytes that are no content.
    fn headers(&mut self, mut bytes: &[u8]) -> Result<(), LayersError> {
        if !self.take(bytes)? {
            return Ok(());
        }
        while self.run.len() + bytes.len() >= HEADERS_MAX {
            let (now, later) = bytes.split_at(HEADERS_MAX.saturating_sub(self.run.len()));
            self.run.extend_from_slice(now);
            self.end_run()?;
            bytes = later;
        }
        self.run.extend_from_slice(bytes);
        Ok(())
    }

    /// Ends the content of the current member.
    fn end_member(&mut self) -> Result<(), LayersError> {
        if self.is_cut || self.content.len() > self.cut.small() {
            self.cut_content(true)?;
        } else {
            self.run.extend_from_slice(&self.content);
            self.content.clear();
            if self.cut.small() > 0 && self.run.len() >= self.cut.group() {
                self.end_run()?;
            }
        }
        self.is_cut = false;
        if let Some(table) = &mut self.table {
            table.end_member();
        }
        Ok(())
    }

    /// Makes pieces of the content that was gathered; all of it when the content ends.
    fn cut_content(&mut self, ends: bool) -> Result<(), LayersError> {
        self.end_run()?;
        let content = mem::take(&mut self.content);
        let lengths = match ends && !self.is_cut && content.len() <= self.cut.max() {
            true => vec![content.len()],
            false => self.cut.lengths(&content, ends),
        };
        let is_whole = ends && !self.is_cut && lengths.len() == 1;
        let mut start = 0;
        for length in lengths {
            let piece = &content[start..start + length];
            if let Some(table) = &mut self.table {
                table.content(piece, is_whole);
            }
            self.put(piece, true)?;
            start += length;
        }
        self.content = content;
        self.content.drain(..start);
        self.is_cut = !ends;
        Ok(())
    }

    /// Makes a piece of the headers and small files that were gathered.
    fn end_run(&mut self) -> Result<(), LayersError> {
        if self.run.is_empty() {
            return Ok(());
        }
        if let Some(table) = &mut self.table {
            table.headers();
        }
        let run = mem::take(&mut self.run);
        self.put(&run, false)?;
        self.run = run;
        self.run.clear();
        Ok(())
    }

    /// Hands a piece to the threads, and writes those that are done.
    fn put(&mut self, piece: &[u8], is_content: bool) -> Result<(), LayersError> {
        if let Some(pipeline) = &mut self.pipeline {
            pipeline.put(piece, is_content);
        }
        while self.write_batch(self.pipeline.as_ref().is_some_and(Pipeline::is_full))? {}
        Ok(())
    }

    /// Writes the foremost pieces if they are done, or waits for them. Whether there were any.
    fn write_batch(&mut self, wait: bool) -> Result<bool, LayersError> {
        let Some(pipeline) = &mut self.pipeline else { return Ok(false) };
        let Some(done) = pipeline.take(wait) else { return Ok(false) };
        let done = done?;
        let mut offset = self.output.offset();
        self.output.write(&done.stored)?;
        for piece in &done.pieces {
            self.list.push(piece.length, piece.identity);
            if let Some(table) = &mut self.table {
                table.written(offset, piece)?;
            }
            offset += piece.length;
        }
        pipeline.give_back(done);
        Ok(true)
    }
}

/// The digest that a hasher comes to.
fn sha256(hasher: Sha256) -> Digest {
    let hash: [u8; 32] = hasher.finalize().into();
    // Of the right length, so that the fallback is never taken.
    Digest::from_hash(Algorithm::Sha256, &hash).unwrap_or_else(|| Digest::sha256(&[]))
}
