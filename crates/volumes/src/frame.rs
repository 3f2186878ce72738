//! What travels over the port: frames of a length, the number of a volume, and one FUSE message of the guest's kernel or for it.
//!
//! ```text
//! 0   u32   length of the message in bytes
//! 4   u32   volume
//! 8   …     the message, as read from or written to /dev/fuse
//! ```
//! Before a volume's first message comes one of [`OWNER`] bytes from the guest, shorter than any of FUSE: the user and the group, a u32 each, whom the
//! caller's files belong to in the guest.
//!
//! Integers are little-endian, as in the messages of every supported guest.

use crate::owner::Owner;

/// Bytes before the message.
pub const HEADER: usize = 8;

/// The most bytes that one READ or WRITE carries. Larger ones save few trips and keep the port busy for longer; the virtual disk of a guest is as good.
pub const MAX_DATA: usize = 256 << 10;

/// The most bytes of a message: [`MAX_DATA`] with its headers. The kernel wants to be read with a page more than its data.
pub const MAX_MESSAGE: usize = MAX_DATA + (8 << 10);

/// The bytes of the message that names an owner.
pub const OWNER: usize = 8;

/// The frame that names the owner of the caller's files in a volume.
#[must_use]
pub fn owner(volume: u32, owner: Owner) -> [u8; HEADER + OWNER] {
    let mut bytes = [0; HEADER + OWNER];
    bytes[..HEADER].copy_from_slice(&header(OWNER, volume));
    bytes[HEADER..HEADER + 4].copy_from_slice(&owner.uid.to_le_bytes());
    bytes[HEADER + 4..].copy_from_slice(&owner.gid.to_le_bytes());
    bytes
}

/// The owner that a message names; `None` for one of FUSE.
#[must_use]
pub fn parse_owner(message: &[u8]) -> Option<Owner> {
    let bytes: [u8; OWNER] = message.try_into().ok()?;
    let [a, b, c, d, gid @ ..] = bytes;
    Some(Owner { uid: u32::from_le_bytes([a, b, c, d]), gid: u32::from_le_bytes(gid) })
}

/// The header of a frame whose message has `length` bytes, at most [`MAX_MESSAGE`].
#[must_use]
pub fn header(length: usize, volume: u32) -> [u8; HEADER] {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    let mut bytes = [0; HEADER];
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4..].copy_from_slice(&volume.to_le_bytes());
    bytes
}

/// The length of the message, and the volume. `None` if it is longer than any message: what follows cannot be told apart any more.
#[must_use]
pub fn parse(header: [u8; HEADER]) -> Option<(usize, u32)> {
    let [a, b, c, d, volume @ ..] = header;
    let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).ok()?;
    (length <= MAX_MESSAGE).then(|| (length, u32::from_le_bytes(volume)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written() {
        assert_eq!(parse(header(40, 7)), Some((40, 7)));
        assert_eq!(parse(header(MAX_MESSAGE, u32::MAX)), Some((MAX_MESSAGE, u32::MAX)));
        assert_eq!(parse(header(MAX_MESSAGE + 1, 7)), None);
        assert_eq!(header(0x0102, 0x0304), [2, 1, 0, 0, 4, 3, 0, 0]);
        let web = Owner { uid: 33, gid: 0x0102_0304 };
        assert_eq!(parse_owner(&owner(7, web)[HEADER..]), Some(web));
        assert_eq!(parse_owner(&[0; 40]), None);
    }
}
