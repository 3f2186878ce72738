//! Extended attributes as EROFS keeps them behind an inode (`fs/erofs/erofs_fs.h`, `erofs_xattr_ibody_header` and `erofs_xattr_entry`).

use crate::RootfsError;

/// Bytes of the header: a filter that is not used, the number of shared attributes, which is none, and seven reserved.
const HEADER: usize = 12;
/// Bytes that the number in an inode can tell: the header, then four at a time.
const MAX: usize = HEADER + (u16::MAX as usize - 1) * 4;

/// Names, or what they begin with, and the numbers that stand for that.
const PREFIXES: [(&[u8], u8); 5] =
    [(b"user.", 1), (b"system.posix_acl_access", 2), (b"system.posix_acl_default", 3), (b"trusted.", 4), (b"security.", 6)];

/// The attributes in the order that they are in. One that EROFS has no name for is left out; nothing is left of none.
pub(crate) fn encode(xattrs: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<u8>, RootfsError> {
    let mut bytes = vec![0; HEADER];
    for (name, value) in xattrs {
        let prefix = PREFIXES.iter().find_map(|(prefix, number)| Some((name.strip_prefix(*prefix)?, number)));
        let Some((rest, number)) = prefix else { continue };
        let (Ok(length), Ok(size)) = (u8::try_from(rest.len()), u16::try_from(value.len())) else { continue };
        bytes.extend_from_slice(&[length, *number]);
        bytes.extend_from_slice(&size.to_le_bytes());
        bytes.extend_from_slice(rest);
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    match bytes.len() {
        HEADER => Ok(Vec::new()),
        length if length > MAX => {
            Err(RootfsError::TooMuch(format!("the extended attributes of a file take more than {} KiB", MAX >> 10)))
        }
        _ => Ok(bytes),
    }
}

/// What an inode tells of so many bytes.
pub(crate) fn count(bytes: usize) -> u16 {
    // Bounded by `MAX`.
    if bytes == 0 { 0 } else { ((bytes - HEADER) / 4 + 1) as u16 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_told_by_prefix() {
        let of = |name: &str, value: &str| encode(&[(name.into(), value.into())]).unwrap();
        assert_eq!(of("user.ab", "c")[12..], *b"\x02\x01\x01\0abc\0");
        assert_eq!(of("system.posix_acl_access", "abcd")[12..], *b"\0\x02\x04\0abcd");
        assert_eq!(of("security.x", "")[12..], *b"\x01\x06\0\0x\0\0\0");
        assert_eq!(of("com.apple.x", "y"), b"");
        assert_eq!((count(0), count(16), count(20)), (0, 2, 3));
    }

    #[test]
    fn more_than_an_inode_can_tell_is_refused() {
        let one = |name: &str| (name.as_bytes().to_vec(), vec![0; 65_535]);
        let four: Vec<_> = ["user.a", "user.b", "user.c", "user.d"].map(one).into();
        assert!(encode(&four[..3]).is_ok());
        assert!(matches!(encode(&four), Err(RootfsError::TooMuch(_))));
    }
}
