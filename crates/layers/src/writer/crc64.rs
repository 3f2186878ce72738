//! CRC-64 of the ISO polynomial, by which tar-split knows the content of files.

use crc::{CRC_64_GO_ISO, Crc, Digest, Table};

static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_GO_ISO);

/// The checksum of these bytes.
pub(super) fn of(bytes: &[u8]) -> u64 {
    CRC.checksum(bytes)
}

/// A checksum of bytes that come in portions.
pub(super) fn digest() -> Digest<'static, u64, Table<16>> {
    CRC.digest()
}
