//! Files that kernels and distributions compress: `.gz`, `.xz`, `.zst`.

use std::io::{self, Read};

use flate2::read::GzDecoder;
use lzma_rust2::XzReader;

/// More than any kernel or module has; a bomb ends here.
const LARGEST: u64 = 1 << 30;

/// The content of a file that may be compressed, by its first bytes; other content comes back as it is.
///
/// # Errors
/// Damaged content, or one of more than a gibibyte.
pub fn decompressed(data: Vec<u8>) -> io::Result<Vec<u8>> {
    match data.as_slice() {
        [0x1f, 0x8b, ..] => read(GzDecoder::new(data.as_slice())),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => read(XzReader::new(data.as_slice(), true)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => read(zstd::stream::read::Decoder::new(data.as_slice())?),
        _ => Ok(data),
    }
}

fn read(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    reader.take(LARGEST + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "more than 1 GiB after decompression"));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn what_the_usual_programs_compress_comes_back() {
        let content: Vec<u8> = (0..200_000_u32).flat_map(|number| (number / 7).to_le_bytes()).collect();
        for program in ["gzip", "zstd", "xz", "xz --check=crc32 --lzma2=dict=2MiB", "xz --x86 --lzma2"] {
            let mut words = program.split(' ');
            let mut command = Command::new(words.next().unwrap());
            let command = command.args(words).arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
            let mut input = child.stdin.take().unwrap();
            let copy = content.clone();
            let writer = std::thread::spawn(move || input.write_all(&copy));
            let compressed = child.wait_with_output().unwrap().stdout;
            writer.join().unwrap().unwrap();
            assert!(compressed.len() < content.len() / 2, "{program} does not compress");
            assert_eq!(decompressed(compressed[..compressed.len() - 9].to_vec()).ok(), None, "{program}, cut off");
            assert!(decompressed(compressed).unwrap() == content, "{program}");
        }
        assert_eq!(decompressed(b"\x7fELF".to_vec()).unwrap(), b"\x7fELF");
    }
}
