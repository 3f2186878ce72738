//! Pieces of older layers, which a newer layer takes as they are instead of compressing the same bytes again.
//!
//! A gzip member ends with the checksum and the length of its content (RFC 1952, section 2.3.1), and the table of contents of a
//! zstd:chunked layer has the hashes of content; so a piece is found without reading what is in the older layer. What is found is
//! decompressed and compared: an older layer that says something else of itself costs time, and nothing more.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use wharf_oci::Descriptor;

use crate::inflate::Inflate;
use crate::piece::{Identity, ListPlace, Piece, PieceMap};
use crate::toc::{self, TocPlace};
use crate::{Form, annotation};

/// Pieces that are remembered at most, some 60 bytes each.
const MAX_PIECES: usize = 400_000;
/// What a gzip member begins with that has none of the optional fields (RFC 1952, section 2.3).
const GZIP_START: [u8; 4] = [0x1f, 0x8b, 8, 0];
/// Bytes at its end: checksum and length.
const GZIP_TRAILER: usize = 8;

/// What a piece is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    /// CRC-32 of the content, and its length.
    Member(u32, u32),
    /// SHA-256 of the content.
    Content([u8; 32]),
}

/// Where a piece is.
#[derive(Clone, Copy, Debug)]
struct Place {
    layer: usize,
    offset: u64,
    length: u32,
}

/// The pieces of older layers.
#[derive(Debug)]
pub struct OlderPieces {
    form: Form,
    /// The layers, and where in their files they begin.
    layers: Vec<(File, u64)>,
    places: HashMap<Key, Place>,
}

impl OlderPieces {
    /// None yet, for a layer of this form.
    pub fn new(form: Form) -> Self {
        Self { form, layers: Vec::new(), places: HashMap::new() }
    }

    /// Adds those of a layer that lies in `file` from `offset` on. A layer that another encoder wrote has none, so that a layer never
    /// depends on what was there before it.
    ///
    /// # Errors
    /// What reading the file fails with; what it holds is no reason for one.
    pub fn add(&mut self, layer: &Descriptor, file: File, offset: u64) -> io::Result<()> {
        if self.form.encoder().is_none() || layer.annotation(annotation::ENCODER) != self.form.encoder().as_deref() {
            return Ok(());
        }
        let Some(pieces) = pieces(self.form, layer, &file, offset)? else { return Ok(()) };
        for piece in pieces.pieces() {
            let (Some(key), Ok(length)) = (key(piece, &file, offset)?, u32::try_from(piece.length)) else { continue };
            if self.places.len() < MAX_PIECES {
                self.places.entry(key).or_insert(Place { layer: self.layers.len(), offset: piece.offset, length });
            }
        }
        self.layers.push((file, offset));
        Ok(())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

/// The pieces of a layer by what is in them; none when it does not tell.
fn pieces(form: Form, layer: &Descriptor, file: &File, offset: u64) -> io::Result<Option<PieceMap>> {
    let read = |range: std::ops::Range<u64>| {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        file.read_exact_at(&mut bytes, offset + range.start).map(|()| bytes)
    };
    if let Form::Gzip { .. } = form {
        let Some(place) = ListPlace::of(layer) else { return Ok(None) };
        return Ok(PieceMap::parse(&place, &read(place.range())?, layer.size).ok());
    }
    let Some(place) = TocPlace::of(layer) else { return Ok(None) };
    Ok(toc::pieces(&place, &read(place.range())?, layer.size).ok())
}

/// What a piece is found by; nothing when it is too short to be one.
fn key(piece: &Piece, file: &File, offset: u64) -> io::Result<Option<Key>> {
    match piece.identity {
        Identity::Content(hash) => Ok(Some(Key::Content(hash))),
        Identity::Stored(_) if piece.length < (GZIP_START.len() + GZIP_TRAILER) as u64 => Ok(None),
        Identity::Stored(_) => {
            let mut trailer = [0; GZIP_TRAILER];
            file.read_exact_at(&mut trailer, offset + piece.offset + piece.length - GZIP_TRAILER as u64)?;
            let [a, b, c, d, e, f, g, h] = trailer;
            Ok(Some(Key::Member(u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))))
        }
    }
}

/// Finds pieces, for one thread.
pub(crate) struct Finder {
    older: Arc<OlderPieces>,
    decoder: Decoder,
    /// The content of what was found.
    content: Vec<u8>,
}

enum Decoder {
    Gzip(Inflate),
    Zstd(zstd::bulk::Decompressor<'static>),
}

impl Finder {
    /// Over these pieces; none when there is nothing to find.
    pub fn new(older: &Arc<OlderPieces>) -> io::Result<Option<Self>> {
        if older.is_empty() {
            return Ok(None);
        }
        let decoder = match older.form {
            Form::Gzip { .. } => Decoder::Gzip(Inflate::new().ok_or(io::ErrorKind::OutOfMemory)?),
            _ => Decoder::Zstd(zstd::bulk::Decompressor::new()?),
        };
        Ok(Some(Self { older: older.clone(), decoder, content: Vec::new() }))
    }

    /// Puts the piece with this content behind `out`, at most `bound` bytes, as an older layer has it stored. `hash` is SHA-256 of the
    /// content where that is known. Whether there was one.
    pub fn take(&mut self, data: &[u8], hash: Option<&[u8; 32]>, bound: usize, out: &mut Vec<u8>) -> bool {
        let key = match (&self.decoder, hash) {
            (Decoder::Gzip(_), _) => Key::Member(libdeflater::crc32(data), data.len() as u32),
            (Decoder::Zstd(_), Some(hash)) => Key::Content(*hash),
            (Decoder::Zstd(_), None) => return false,
        };
        let Some(place) = self.older.places.get(&key).copied() else { return false };
        let start = out.len();
        let length = place.length as usize;
        if length > bound {
            return false;
        }
        out.resize(start + length, 0);
        let (file, offset) = &self.older.layers[place.layer];
        let is_read = file.read_exact_at(&mut out[start..], offset + place.offset).is_ok();
        let is_same = is_read && self.decoder.holds(&out[start..], data, &mut self.content);
        if !is_same {
            out.truncate(start);
        }
        is_same
    }
}

impl Decoder {
    /// Whether a piece decompresses to `data`, and to nothing besides.
    fn holds(&mut self, stored: &[u8], data: &[u8], content: &mut Vec<u8>) -> bool {
        content.resize(data.len(), 0);
        match self {
            Self::Gzip(inflate) => stored.starts_with(&GZIP_START) && inflate.is_member(stored, content) && content == data,
            Self::Zstd(frames) => {
                frames.decompress_to_buffer(stored, content.as_mut_slice()).is_ok_and(|length| length == data.len())
                    && content == data
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::tar::{END, encode, padding};
    use crate::{Entry, Kind, Layer, LayerWriter, Time};

    const LEVELS: [(Form, Form); 2] =
        [(Form::Gzip { level: 5 }, Form::Gzip { level: 9 }), (Form::ZstdChunked { level: 3 }, Form::ZstdChunked { level: 9 })];

    /// Files of text, some of them large.
    fn files(seed: u64) -> Vec<Vec<u8>> {
        let mut random = fastrand::Rng::with_seed(seed);
        let words: Vec<_> =
            (0..400).map(|_| (0..random.usize(2..9)).map(|_| random.alphanumeric()).collect::<String>()).collect();
        [3_000, 70_000, 1_200_000, 10]
            .map(|size| {
                let mut text = String::new();
                while text.len() < size {
                    text.push_str(&words[random.usize(..words.len())]);
                    text.push(' ');
                }
                text.into_bytes()
            })
            .into()
    }

    fn write(older: OlderPieces, form: Form, files: &[Vec<u8>]) -> (Layer, Vec<u8>) {
        let mut out = Vec::new();
        let mut writer = LayerWriter::after(&Arc::new(older), &mut out, form, form.cut(), 2).unwrap();
        let mut raw = Vec::new();
        for (number, content) in files.iter().enumerate() {
            let entry = Entry {
                name: format!("file{number}").into(),
                kind: Kind::Regular,
                mode: 0o644,
                uid: 0,
                gid: 0,
                mtime: Time::default(),
                size: content.len() as u64,
                xattrs: Default::default(),
            };
            raw.extend(encode(&entry).unwrap());
            writer.member(&raw, &entry).unwrap();
            writer.content(content).unwrap();
            raw = vec![0; padding(entry.size)];
        }
        raw.extend(END);
        writer.raw(&raw).unwrap();
        let layer = writer.finish().unwrap();
        (layer, out)
    }

    fn anew(form: Form, files: &[Vec<u8>]) -> (Layer, Vec<u8>) {
        write(OlderPieces::new(form), form, files)
    }

    /// A file with other bytes before the layer, and the pieces in it.
    fn pieces_of(form: Form, layer: &Descriptor, bytes: &[u8]) -> OlderPieces {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"before").unwrap();
        file.write_all(bytes).unwrap();
        let mut older = OlderPieces::new(form);
        older.add(layer, file, 6).unwrap();
        older
    }

    #[test]
    fn pieces_are_taken_as_they_are() {
        let (before, mut after) = (files(1), files(1));
        after[1].extend(b"more");
        for (form, other) in LEVELS {
            let (mut layer, bytes) = anew(other, &before);
            let expected = anew(form, &after);
            // Those of another encoder are not.
            let (_, made) = write(pieces_of(form, &layer.descriptor, &bytes), form, &after);
            assert!(made == expected.1, "{form:?}");
            // One that claims to be this encoder shows which were taken.
            let name = form.encoder().unwrap();
            layer.descriptor.annotations.as_mut().unwrap().insert(annotation::ENCODER.to_owned(), name);
            let older = pieces_of(form, &layer.descriptor, &bytes);
            assert!(older.places.len() > 10, "{form:?}");
            let (taken, made) = write(older, form, &after);
            assert!(made != expected.1, "{form:?}");
            assert_eq!(taken.diff_id, expected.0.diff_id, "{form:?}");
            let again = anew(other, &after);
            let difference = |of: &[u8]| taken.descriptor.size.abs_diff(of.len() as u64);
            assert!(difference(&again.1) * 10 < difference(&expected.1), "{form:?}: most pieces were to be taken");
        }
    }

    #[test]
    fn a_damaged_layer_harms_nothing() {
        let files = files(2);
        for (form, _) in LEVELS {
            let (layer, bytes) = anew(form, &files);
            for step in [97, 9_001] {
                let mut damaged = bytes.clone();
                let end = damaged.len() - 40_000;
                damaged[..end].iter_mut().step_by(step).for_each(|byte| *byte ^= 1);
                let (again, made) = write(pieces_of(form, &layer.descriptor, &damaged), form, &files);
                assert!(made == bytes && again.diff_id == layer.diff_id, "{form:?}, every {step}th byte");
            }
            let short = write(pieces_of_short(form, &layer, &bytes), form, &files);
            assert!(short.1 == bytes, "{form:?}");
        }
    }

    /// The pieces of a file that lost its beginning after it was looked at.
    fn pieces_of_short(form: Form, layer: &Layer, bytes: &[u8]) -> OlderPieces {
        let older = pieces_of(form, &layer.descriptor, bytes);
        older.layers[0].0.set_len(50).unwrap();
        older
    }

    #[test]
    fn a_member_has_nothing_besides_its_content() {
        let data = files(3).remove(0);
        let mut deflate = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
        let mut member = vec![0; deflate.gzip_compress_bound(data.len())];
        let length = deflate.gzip_compress(&data, &mut member).unwrap();
        member.truncate(length);
        let mut decoder = Decoder::Gzip(Inflate::new().unwrap());
        let mut holds = |stored: &[u8]| decoder.holds(stored, &data, &mut Vec::new());
        assert!(holds(&member));
        let (body, trailer) = member.split_at(length - GZIP_TRAILER);
        let named = [&member[..3], &[8], &member[4..10], b"a name\0", &member[10..]].concat();
        let wrong: [&[u8]; 8] = [
            &[body, b"between", trailer].concat(),
            &[body, trailer, trailer].concat(),
            &[member.as_slice(), &member].concat(),
            &[body, &[0; 4], &trailer[4..]].concat(),
            &[body, &trailer[..4], &[0; 4]].concat(),
            &named,
            &body[..length - 20],
            b"",
        ];
        for (number, stored) in wrong.into_iter().enumerate() {
            assert!(!holds(stored), "{number}");
        }
        assert!(holds(&member));
    }
}
