//! The content of files, with holes where there are only zeros.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// What a file system keeps or leaves out at a time.
const BLOCK: usize = 4096;
static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// Writes bytes to their place in a file that is empty so far, and leaves out whole blocks of zeros.
pub(crate) fn write(file: &File, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let zeros = blocks(offset, bytes).take_while(|block| *block == ZEROS).count() * BLOCK;
        if zeros > 0 {
            (offset, bytes) = (offset + zeros as u64, &bytes[zeros..]);
            continue;
        }
        let length = blocks(offset, bytes).take_while(|block| *block != ZEROS).map(<[u8]>::len).sum::<usize>();
        file.write_all_at(&bytes[..length], offset)?;
        (offset, bytes) = (offset + length as u64, &bytes[length..]);
    }
    Ok(())
}

/// The bytes, cut where blocks of the file begin.
fn blocks(offset: u64, bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let into = (offset % BLOCK as u64) as usize;
    let (first, rest) = bytes.split_at(((BLOCK - into) % BLOCK).min(bytes.len()));
    std::iter::once(first).filter(|first| !first.is_empty()).chain(rest.chunks(BLOCK))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn zeros_become_holes_and_nothing_else_changes() {
        let file = tempfile::tempfile().unwrap();
        let mut content = vec![0; 1 << 20];
        content[5] = 1;
        content[300_000..301_000].fill(7);
        content[(1 << 20) - 1] = 9;
        // In pieces that begin in the middle of blocks, as an archive's reader hands them out.
        let mut offset = 0;
        for piece in content.chunks(65_535) {
            write(&file, offset, piece).unwrap();
            offset += piece.len() as u64;
        }
        file.set_len(content.len() as u64).unwrap();
        let mut read = vec![1; content.len()];
        file.read_exact_at(&mut read, 0).unwrap();
        assert!(read == content);
        let stored = file.metadata().unwrap().blocks() * 512;
        assert!(stored <= 40 * BLOCK as u64, "{stored}");
    }
}
