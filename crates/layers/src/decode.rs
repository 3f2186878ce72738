//! Layers decompressed, whatever they are compressed with.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use flate2::bufread::GzDecoder;

use crate::LayersError;

/// Bytes that are read from the layer at once, and decoded at once.
const BUFFER: usize = 256 * 1024;

/// Bytes that tell a compression.
const PEEK: usize = 10;

/// The largest window of a zstd frame, as a power of two: 64 MiB. What container tools write has 8 MiB at most; only `zstd --long` and
/// `--ultra -22` go beyond this, and would have a reader hold 128 MiB.
const WINDOW_LOG: u32 = 26;

/// What a layer is compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Nothing.
    None,
    /// Any number of gzip members, which may have zeros after them (RFC 1952).
    Gzip,
    /// Any number of zstd frames and skippable frames (RFC 8878), with windows of up to 64 MiB.
    Zstd,
}

/// The content of a layer, decompressed.
///
/// Errors of this reader hold a [`LayersError`]: `Compression` for what does not decompress, which includes a stream that ends early, and
/// `Stream` for what its own reader fails with.
pub struct Decoded<R: Read> {
    reader: BufReader<Decoder<R>>,
    compression: Compression,
}

/// The layer as it is stored.
type Stored<R> = BufReader<Chain<Cursor<Vec<u8>>, Source<R>>>;

enum Decoder<R: Read> {
    Plain(Stored<R>),
    Gzip(Members<R>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Stored<R>>>),
}

impl<R: Read> Decoded<R> {
    /// Reads a layer, and tells its compression by its first bytes.
    ///
    /// # Errors
    /// [`LayersError::Unsupported`] for bzip2 and xz; what the reader fails with.
    pub fn new(reader: R) -> Result<Self, LayersError> {
        let mut source = Source(reader);
        let mut start = Vec::with_capacity(PEEK);
        let failed = LayersError::stream("reading the layer");
        source.by_ref().take(PEEK as u64).read_to_end(&mut start).map_err(failed)?;
        let compression = compression(&start)?;
        let stored = BufReader::with_capacity(BUFFER, Cursor::new(start).chain(source));
        let decoder = match compression {
            Compression::None => Decoder::Plain(stored),
            Compression::Gzip => Decoder::Gzip(Members(Some(Box::new(GzDecoder::new(stored))))),
            Compression::Zstd => Decoder::Zstd(Box::new(frames(stored).map_err(undecodable)?)),
        };
        Ok(Self { reader: BufReader::with_capacity(BUFFER, decoder), compression })
    }

    /// What the layer is compressed with.
    pub fn compression(&self) -> Compression {
        self.compression
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

impl<R: Read> BufRead for Decoded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.reader.consume(amount);
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self {
            Self::Plain(stored) => stored.read(buffer),
            Self::Gzip(members) => members.read(buffer),
            Self::Zstd(frames) => frames.read(buffer),
        };
        read.map_err(|error| undecodable(error).into())
    }
}

/// Gzip members, one after the other; none once they have ended.
struct Members<R: Read>(Option<Box<GzDecoder<Stored<R>>>>);

impl<R: Read> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.0 {
            let read = member.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            if let Some(member) = self.0.take() {
                self.0 = next_member(member.into_inner())?;
            }
        }
        Ok(0)
    }
}

/// The member after one that has ended. Zeros may stand in its place, as gzip(1) has it for tapes.
fn next_member<R: Read>(mut stored: Stored<R>) -> io::Result<Option<Box<GzDecoder<Stored<R>>>>> {
    if stored.fill_buf()?.first().is_some_and(|byte| *byte != 0) {
        return Ok(Some(Box::new(GzDecoder::new(stored))));
    }
    loop {
        let rest = stored.fill_buf()?;
        match rest.len() {
            0 => return Ok(None),
            _ if rest.iter().any(|byte| *byte != 0) => {
                return Err(io::Error::other("something that is not gzip follows the gzip members"));
            }
            length => stored.consume(length),
        }
    }
}

fn frames<R: Read>(stored: Stored<R>) -> io::Result<zstd::stream::read::Decoder<'static, Stored<R>>> {
    let mut frames = zstd::stream::read::Decoder::with_buffer(stored)?;
    frames.window_log_max(WINDOW_LOG)?;
    Ok(frames)
}

/// The compression that a layer begins with. What has no magic is taken for a plain archive, whose reader will tell if it is none.
fn compression(start: &[u8]) -> Result<Compression, LayersError> {
    match start {
        [0x1f, 0x8b, 8, ..] => Ok(Compression::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Compression::Zstd),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Err(LayersError::Unsupported("xz")),
        // A file could be called `BZh1`, so the mark of the first block has to follow, or that of the end.
        [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', b'&', b'S', b'Y']
        | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, b'r', b'E', b'8', b'P', 0x90] => Err(LayersError::Unsupported("bzip2")),
        _ => Ok(Compression::None),
    }
}

/// What the decoders fail with: what the reader below them does, or content that is wrong.
fn undecodable(error: io::Error) -> LayersError {
    let ends_early = error.kind() == io::ErrorKind::UnexpectedEof;
    error
        .downcast()
        .unwrap_or_else(|error| LayersError::Compression(if ends_early { "it ends early".to_owned() } else { error.to_string() }))
}

/// The reader of the layer, whose errors can be told from those of the decoders.
struct Source<R>(R);

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read.map_err(|error| LayersError::stream("reading the layer")(error).into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::GzEncoder;
    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert_eq, proptest};
    use proptest::sample::Index;

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut member = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        member.write_all(content).unwrap();
        member.finish().unwrap()
    }

    fn zstd(content: &[u8]) -> Vec<u8> {
        let mut frame = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        frame.include_checksum(true).unwrap();
        frame.write_all(content).unwrap();
        frame.finish().unwrap()
    }

    fn skippable(length: u32) -> Vec<u8> {
        [&[0x5a, 0x2a, 0x4d, 0x18], length.to_le_bytes().as_slice(), &vec![7; length as usize]].concat()
    }

    /// A reader that gives a byte at a time, and is interrupted before each.
    struct Slow<'a>(&'a [u8], bool);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 { Err(io::ErrorKind::Interrupted.into()) } else { self.0.by_ref().take(1).read(buffer) }
        }
    }

    fn decode(layer: impl Read) -> Result<(Compression, Vec<u8>), LayersError> {
        let mut decoded = Decoded::new(layer)?;
        let mut content = Vec::new();
        decoded.read_to_end(&mut content).map_err(LayersError::stream("decoding"))?;
        Ok((decoded.compression(), content))
    }

    #[test]
    fn the_first_bytes_tell_the_compression() {
        let content = [b"tar ".as_slice(), &[0; 300_000]].concat();
        let (first, second) = content.split_at(100_000);
        let layers = [
            (content.clone(), Compression::None),
            (gzip(&content), Compression::Gzip),
            ([gzip(first), gzip(b""), gzip(second)].concat(), Compression::Gzip),
            ([gzip(&content), vec![0; 600_000]].concat(), Compression::Gzip),
            (zstd(&content), Compression::Zstd),
            ([skippable(5), zstd(first), skippable(0), zstd(second), skippable(600_000)].concat(), Compression::Zstd),
        ];
        for (layer, compression) in layers {
            assert!(decode(layer.as_slice()).unwrap() == (compression, content.clone()), "{compression:?}");
            assert!(decode(Slow(&layer, false)).unwrap().1 == content, "{compression:?}");
        }
        assert_eq!(decode([].as_slice()).unwrap(), (Compression::None, Vec::new()));
        assert_eq!(decode(b"BZh1 is a name".as_slice()).unwrap().0, Compression::None);
        for (layer, name) in [(b"BZh91AY&SY...".as_slice(), "bzip2"), (b"BZh9\x17rE8P\x90...", "bzip2"), (b"\xfd7zXZ\0...", "xz")]
        {
            assert!(matches!(decode(layer), Err(LayersError::Unsupported(told)) if told == name));
        }
    }

    #[test]
    fn what_is_cut_or_followed_by_something_else_is_no_layer() {
        let (gz, zst) = (gzip(&[7; 5000]), zstd(&[7; 5000]));
        for whole in [&gz, &zst, &[gz.clone(), gz.clone()].concat(), &[zst.clone(), zst.clone()].concat()] {
            for end in (10..whole.len()).filter(|end| *end != gz.len() && *end != zst.len()) {
                let error = decode(&whole[..end]).unwrap_err();
                assert!(matches!(&error, LayersError::Compression(why) if why == "it ends early"), "{end}: {error}");
            }
        }
        for end in 1..8 {
            assert!(decode([zst.as_slice(), &skippable(1)[..end]].concat().as_slice()).is_err(), "{end}");
        }
        let garbage: [&[&[u8]]; 4] = [&[&gz, b"x"], &[&gz, &[0; 300_000], b"x"], &[&zst, b"garbage"], &[&zst, &[0; 512]]];
        for parts in garbage {
            assert!(matches!(decode(parts.concat().as_slice()), Err(LayersError::Compression(_))));
        }
    }

    #[test]
    fn windows_are_bounded() {
        let windowed = |log: u32| {
            let mut frame = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
            frame.window_log(log).unwrap();
            frame.write_all(&[0; 1000]).unwrap();
            frame.finish().unwrap()
        };
        assert!(decode(windowed(26).as_slice()).is_ok());
        assert!(matches!(decode(windowed(27).as_slice()), Err(LayersError::Compression(_))));
    }

    #[test]
    fn a_reader_that_fails_is_told_from_a_layer_that_is_wrong() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::new(io::ErrorKind::ConnectionReset, "the line broke"))
            }
        }
        for layer in [vec![0; 4000], gzip(&[1; 4000]), zstd(&[1; 4000])] {
            let half = &layer[..layer.len() / 2];
            let error = decode(half.chain(Failing)).unwrap_err();
            assert!(
                matches!(&error, LayersError::Stream { source, .. } if source.kind() == io::ErrorKind::ConnectionReset),
                "{error:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_flipped_bit_never_goes_unseen(content in vec(any::<u8>(), 1..3000), at in any::<Index>(), bit in 0..8_u8) {
            for mut layer in [gzip(&content), zstd(&content)] {
                let at = at.index(layer.len());
                layer[at] ^= 1 << bit;
                // The first bytes tell what the layer is at all, and a header of gzip has fields that mean nothing.
                if let (Ok((Compression::Gzip | Compression::Zstd, read)), 10..) = (decode(layer.as_slice()), at) {
                    prop_assert_eq!(read, content.clone());
                }
            }
        }
    }
}
