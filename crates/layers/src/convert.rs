//! Layers that others wrote, in a form that updates cheaply.

use std::io::{self, Read, Write};

use crate::tar::TarReader;
use crate::{Decoded, Layer, LayerWriter, LayersError};

/// Bytes that are read at once.
const BUFFER: usize = 256 << 10;

/// Writes a layer anew: the archive in it stays the same byte for byte, and so does its diff ID, which is for the caller to compare; digest
/// and size of the layer change.
///
/// # Errors
/// What does not decompress, what is no tar archive to its end, and what the output fails with.
pub fn convert<W: Write>(layer: impl Read, mut writer: LayerWriter<W>) -> Result<Layer, LayersError> {
    let mut archive = TarReader::new(Decoded::new(layer)?);
    let mut buffer = vec![0; BUFFER];
    while let Some(member) = archive.next()? {
        writer.member(&member.raw, &member.entry)?;
        copy(&mut archive, &mut buffer, |bytes| writer.content(bytes))?;
    }
    copy(&mut archive.trailer(), &mut buffer, |bytes| writer.raw(bytes))?;
    writer.finish()
}

fn copy(
    reader: &mut impl Read,
    buffer: &mut [u8],
    mut take: impl FnMut(&[u8]) -> Result<(), LayersError>,
) -> Result<(), LayersError> {
    loop {
        match reader.read(buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => take(&buffer[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(LayersError::stream("reading the layer")(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tar::{END, encode, padding};
    use crate::{Entry, Form, Kind, Time};

    /// An archive with odd padding and more than the usual at its end.
    fn archive() -> Vec<u8> {
        let mut archive = Vec::new();
        for (name, size) in [("empty", 0_u64), ("small", 700), ("large", 900_000)] {
            let entry = Entry {
                name: name.into(),
                kind: Kind::Regular,
                mode: 0o644,
                uid: 1,
                gid: 2,
                mtime: Time::default(),
                size,
                xattrs: Default::default(),
            };
            archive.extend(encode(&entry).unwrap());
            archive.extend((0..size).map(|byte| (byte * byte / 7) as u8));
            archive.resize(archive.len() + padding(size), b'x');
        }
        archive.extend(END);
        archive.extend([0; 8_000]);
        archive
    }

    #[test]
    fn the_archive_stays_the_same_whatever_the_forms() {
        let archive = archive();
        let plain = wharf_oci::Digest::sha256(&archive);
        for from in [Form::Plain, Form::GZIP, Form::ZSTD_CHUNKED] {
            let mut first = Vec::new();
            convert(archive.as_slice(), LayerWriter::new(&mut first, from, from.cut(), 1).unwrap()).unwrap();
            for to in [Form::GZIP, Form::ZSTD_CHUNKED, Form::Plain] {
                let mut second = Vec::new();
                let layer = convert(first.as_slice(), LayerWriter::new(&mut second, to, to.cut(), 2).unwrap()).unwrap();
                assert_eq!((layer.diff_id, layer.size), (plain, archive.len() as u64), "{from:?} to {to:?}");
                let mut decoded = Vec::new();
                Decoded::new(second.as_slice()).unwrap().read_to_end(&mut decoded).unwrap();
                assert!(decoded == archive, "{from:?} to {to:?}");
            }
        }
    }

    #[test]
    fn what_is_cut_off_is_no_layer() {
        let archive = archive();
        let mut out = Vec::new();
        let writer = LayerWriter::new(&mut out, Form::GZIP, Form::GZIP.cut(), 1).unwrap();
        assert!(matches!(convert(&archive[..400_000], writer), Err(LayersError::Tar { .. })));
    }
}
