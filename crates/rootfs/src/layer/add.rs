//! Layers read and kept.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use wharf_layers::tar::{Member, TarReader};
use wharf_layers::{Decoded, LayersError};
use wharf_oci::{Digest, Hasher};

use super::data::{DataWriter, Failure};
use super::footer::{CRC32C, Footer};
use super::record::{Change, Encoder, What};
use super::{BLOCK, normal};
use crate::RootfsError;

/// Bytes of contents that a layer may have: what a guest's disk has room for.
const DATA_MAX: u64 = crate::DISK_SECTORS * 512;
/// Bytes of records that are collected before they are written.
const RECORDS: usize = 256 << 10;

/// Reads a layer, compressed or not, and writes it to `file`, which is empty and at `path`. It is synced, for a footer alone does not tell
/// that what is before it has reached the disk.
pub(crate) fn write(compressed: impl Read, diff_id: &Digest, file: &mut File, path: &Path) -> Result<Footer, RootfsError> {
    let hasher = Hasher::new(diff_id.algorithm());
    let mut hashed = Hashed { reader: Decoded::new(compressed)?, hasher };
    let mut archive = TarReader::new(&mut hashed);
    let mut writer = Writer {
        path,
        data: DataWriter::new(file),
        records: Encoder::default(),
        // Beside the layer, where there has to be room for them anyhow.
        kept: tempfile::tempfile_in(path.parent().unwrap_or(path)).map_err(RootfsError::file("write", path))?,
        entries: 0,
        checksum: CRC32C.digest(),
    };
    while let Some(member) = archive.next()? {
        writer.member(&member, &mut archive)?;
    }
    let rest = io::copy(&mut archive.trailer(), &mut io::sink());
    rest.map_err(reading)?;
    let found = hashed.hasher.digest(diff_id.algorithm()).filter(|found| found != diff_id);
    if let Some(found) = found {
        return Err(RootfsError::Digest { expected: Box::new(*diff_id), found: Box::new(found) });
    }
    let (mut entries, footer) = writer.finish()?;
    let mut end = || {
        file.seek(SeekFrom::Start(footer.data))?;
        io::copy(&mut entries, file)?;
        file.write_all(&footer.encode())?;
        file.sync_all()
    };
    end().map_err(RootfsError::file("write", path))?;
    Ok(footer)
}

/// A layer that is being written.
struct Writer<'a> {
    path: &'a Path,
    data: DataWriter<'a>,
    records: Encoder,
    /// Records that were written already, in a file without a name.
    kept: File,
    entries: u64,
    checksum: crc::Digest<'static, u32, crc::Table<16>>,
}

impl Writer<'_> {
    fn member(&mut self, member: &Member, content: &mut impl Read) -> Result<(), RootfsError> {
        for mut record in normal::records(&member.entry)? {
            if let Change::File(_, What::Regular { block, size: 1.. }) = &mut record.change {
                *block = self.data.position() / BLOCK;
                self.content(member, content)?;
            }
            self.records.push(&record);
        }
        if self.records.bytes.len() >= RECORDS { self.keep() } else { Ok(()) }
    }

    fn content(&mut self, member: &Member, content: &mut impl Read) -> Result<(), RootfsError> {
        let start = self.data.position();
        let end = start.checked_add(member.entry.size).and_then(super::whole_blocks).filter(|end| *end <= DATA_MAX);
        let end = end.ok_or_else(|| {
            RootfsError::TooMuch(format!("the files of a layer take more than the {} GiB of a guest's disk", DATA_MAX >> 30))
        })?;
        let failed = |failure| match failure {
            Failure::Read(source) => reading(source).into(),
            Failure::Write(source) => RootfsError::file("write", self.path)(source),
        };
        match &member.sparse {
            None => self.data.append(content, member.stored).map_err(failed)?,
            Some(extents) => {
                for extent in extents {
                    self.data.advance(start + extent.offset).map_err(Failure::Write).map_err(failed)?;
                    self.data.append(content, extent.length).map_err(failed)?;
                }
            }
        }
        self.data.advance(end).map_err(Failure::Write).map_err(failed)
    }

    /// Puts records away.
    fn keep(&mut self) -> Result<(), RootfsError> {
        self.kept.write_all(&self.records.bytes).map_err(RootfsError::file("write", self.path))?;
        self.checksum.update(&self.records.bytes);
        self.entries += self.records.bytes.len() as u64;
        self.records.bytes.clear();
        Ok(())
    }

    /// The records, to be read from their beginning, and what the footer is to say.
    fn finish(mut self) -> Result<(File, Footer), RootfsError> {
        self.keep()?;
        let data = self.data.finish().map_err(RootfsError::file("write", self.path))?;
        self.kept.rewind().map_err(RootfsError::file("read", self.path))?;
        Ok((self.kept, Footer { data, entries: self.entries, checksum: self.checksum.finalize() }))
    }
}

/// What was read from, hashed.
struct Hashed<R> {
    reader: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

fn reading(source: io::Error) -> LayersError {
    source.downcast().unwrap_or_else(|source| LayersError::Stream { what: "reading the layer", source })
}
