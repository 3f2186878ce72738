//! The end of a layer's file, which tells what is before it, and that it is whole.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crc::{CRC_32_ISCSI, Crc, Table};

use super::BLOCK;

/// CRC-32C, which EROFS wants too.
pub(crate) static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// Bytes of a footer.
const LENGTH: usize = 64;
/// What it begins with. The last digit goes up whenever what is written changes, and with it each layer is made again.
const MAGIC: [u8; 12] = *b"wharf layer1";
/// Records that are read at most: more than an image may have files.
const ENTRIES_MAX: u64 = 1 << 30;

/// What the footer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    /// Bytes of contents, whole blocks; the records begin there.
    pub data: u64,
    /// Bytes of records.
    pub entries: u64,
    /// CRC-32C of the records.
    pub checksum: u32,
}

impl Footer {
    /// The bytes of the footer.
    pub fn encode(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..12].copy_from_slice(&MAGIC);
        bytes[12..20].copy_from_slice(&self.data.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.entries.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.checksum.to_le_bytes());
        let checksum = CRC32C.checksum(&bytes[..LENGTH - 4]);
        bytes[LENGTH - 4..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads the footer of a layer's file; none if this is not one, or not a whole one.
    pub fn read(file: &File) -> io::Result<Option<Self>> {
        let length = file.metadata()?.len();
        let Some(at) = length.checked_sub(LENGTH as u64) else { return Ok(None) };
        let mut bytes = [0; LENGTH];
        file.read_exact_at(&mut bytes, at)?;
        Ok(Self::decode(&bytes).filter(|footer| footer.data.checked_add(footer.entries) == Some(at)))
    }

    fn decode(bytes: &[u8; LENGTH]) -> Option<Self> {
        let (data, rest) = bytes[12..].split_first_chunk()?;
        let (entries, rest) = rest.split_first_chunk()?;
        let (checksum, _) = rest.split_first_chunk()?;
        let own = bytes.last_chunk()?;
        let footer = Self {
            data: u64::from_le_bytes(*data),
            entries: u64::from_le_bytes(*entries),
            checksum: u32::from_le_bytes(*checksum),
        };
        let right = bytes.starts_with(&MAGIC)
            && u32::from_le_bytes(*own) == CRC32C.checksum(&bytes[..LENGTH - 4])
            && footer.data.is_multiple_of(BLOCK)
            && footer.entries <= ENTRIES_MAX;
        right.then_some(footer)
    }
}

/// Reads the records of a layer's file; none if they are not what was written.
pub(crate) fn read_entries(file: &File, footer: &Footer) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; usize::try_from(footer.entries).unwrap_or_default()];
    file.read_exact_at(&mut bytes, footer.data)?;
    Ok((CRC32C.checksum(&bytes) == footer.checksum).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_footer_reads_back_and_no_flipped_bit_goes_unseen() {
        let footer = Footer { data: 8192, entries: 3, checksum: 7 };
        let bytes = footer.encode();
        assert_eq!(Footer::decode(&bytes), Some(footer));
        for bit in 0..LENGTH * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Footer::decode(&bytes), None, "{bit}");
        }
    }

    #[test]
    fn a_file_that_was_cut_is_none() {
        let mut file = tempfile::tempfile().unwrap();
        let footer = Footer { data: 4096, entries: 2, checksum: CRC32C.checksum(b"ab") };
        file.write_all(&[[1; 4096].as_slice(), b"ab", &footer.encode()].concat()).unwrap();
        assert_eq!(Footer::read(&file).unwrap(), Some(footer));
        assert_eq!(read_entries(&file, &footer).unwrap().unwrap(), b"ab");
        for length in [0, 63, 64, 4096, 4096 + 65] {
            file.set_len(length).unwrap();
            assert_eq!(Footer::read(&file).unwrap(), None, "{length}");
        }
    }
}
