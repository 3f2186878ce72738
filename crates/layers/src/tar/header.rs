//! A header block: where its fields lie and how they are read.

/// Bytes of a block.
pub(super) const BLOCK: usize = 512;

/// A block.
pub(super) type Block = [u8; BLOCK];

/// A field: its first byte in the header, and how many it has.
#[derive(Clone, Copy)]
pub(super) struct Field(pub(super) usize, pub(super) usize);

pub(super) const NAME: Field = Field(0, 100);
pub(super) const MODE: Field = Field(100, 8);
pub(super) const UID: Field = Field(108, 8);
pub(super) const GID: Field = Field(116, 8);
pub(super) const SIZE: Field = Field(124, 12);
pub(super) const MTIME: Field = Field(136, 12);
pub(super) const CHECKSUM: Field = Field(148, 8);
pub(super) const KIND: usize = 156;
pub(super) const LINK: Field = Field(157, 100);
pub(super) const MAGIC: Field = Field(257, 8);
pub(super) const MAJOR: Field = Field(329, 8);
pub(super) const MINOR: Field = Field(337, 8);
pub(super) const PREFIX: Field = Field(345, 155);

/// star: the prefix is shorter, for times follow it, and the block ends with the name of the format.
const STAR_PREFIX: Field = Field(345, 131);
const STAR_TRAILER: Field = Field(508, 4);

/// GNU tar: times lie where ustar has the prefix.
const GNU_TIMES: [Field; 2] = [Field(345, 12), Field(357, 12)];

impl Field {
    /// Its bytes.
    pub(super) fn of(self, block: &Block) -> &[u8] {
        &block[self.0..self.0 + self.1]
    }

    /// Its bytes up to the first zero.
    pub(super) fn text(self, block: &Block) -> &[u8] {
        text(self.of(block))
    }
}

/// Who wrote a header.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    V7,
    Ustar,
    Star,
    Gnu,
}

/// The format of a header, by its magic.
pub(super) fn format(block: &Block) -> Format {
    match MAGIC.of(block) {
        b"ustar  \0" => Format::Gnu,
        magic if magic.starts_with(b"ustar\0") && STAR_TRAILER.of(block) == b"tar\0" => Format::Star,
        magic if magic.starts_with(b"ustar\0") => Format::Ustar,
        _ => Format::V7,
    }
}

/// The name, with the prefix of the formats that have one.
pub(super) fn name(block: &Block) -> Vec<u8> {
    let prefix = match format(block) {
        Format::V7 => &[],
        Format::Ustar => PREFIX.text(block),
        Format::Star => STAR_PREFIX.text(block),
        // Go before 1.8 wrote a prefix under the magic of GNU tar, and such layers are still about.
        Format::Gnu if GNU_TIMES.iter().any(|time| number(time.of(block)).is_none()) => PREFIX.text(block),
        Format::Gnu => &[],
    };
    match prefix {
        [] => NAME.text(block).to_vec(),
        prefix => [prefix, b"/", NAME.text(block)].concat(),
    }
}

/// Whether the checksum is right: the sum of all bytes with its own field as spaces, which some writers took of signed bytes.
pub(super) fn checksum_is_right(block: &Block) -> bool {
    let mut sealed = *block;
    sealed[CHECKSUM.0..CHECKSUM.0 + CHECKSUM.1].fill(b' ');
    let unsigned = || sealed.iter().map(|byte| i32::from(*byte)).sum::<i32>();
    let signed = || sealed.iter().map(|byte| i32::from(*byte as i8)).sum::<i32>();
    octal(CHECKSUM.of(block)).is_some_and(|sum| sum == i64::from(unsigned()) || sum == i64::from(signed()))
}

/// What stands before the first zero.
pub(super) fn text(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A number: octal digits, or base 256 with the highest bit set, as GNU tar began. An empty field is 0.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => base256(field),
        _ => octal(field),
    }
}

/// Two's complement, whose highest bit is the mark and whose second highest is the sign.
fn base256(field: &[u8]) -> Option<i64> {
    let negative = field[0] & 0x40 != 0;
    let flip = if negative { 0xff } else { 0 };
    let mut value: i64 = 0;
    for (at, byte) in field.iter().enumerate() {
        let byte = if at == 0 { (byte ^ flip) & 0x7f } else { byte ^ flip };
        value = value.checked_mul(256)?.checked_add(i64::from(byte))?;
    }
    Some(if negative { !value } else { value })
}

/// Octal digits up to a space or a zero; both may stand in front as well.
fn octal(field: &[u8]) -> Option<i64> {
    let blank = |byte: &u8| matches!(byte, 0 | b' ');
    let mut value: i64 = 0;
    for byte in field.iter().skip_while(|byte| blank(byte)).take_while(|byte| !blank(byte)) {
        match byte {
            b'0'..=b'7' => value = value.checked_mul(8)?.checked_add(i64::from(byte - b'0'))?,
            _ => return None,
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(fields: &[(Field, &[u8])]) -> Block {
        let mut block = [0; BLOCK];
        for (field, bytes) in fields {
            block[field.0..field.0 + bytes.len()].copy_from_slice(bytes);
        }
        block
    }

    #[test]
    fn numbers_of_all_writers() {
        let numbers: [(&[u8], Option<i64>); 14] = [
            (b"0000644\0", Some(0o644)),
            (b"  644 \0 ", Some(0o644)),
            (b"\x00644 77", Some(0o644)),
            (b"77777777", Some(0o77777777)),
            (b"", Some(0)),
            (b"        ", Some(0)),
            (b"0008\0", None),
            (b"-1\0", None),
            (b"777777777777777777777777", None),
            (b"\x80\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", Some(i64::MIN)),
        ];
        for (field, value) in numbers {
            assert_eq!(number(field), value, "{}", field.escape_ascii());
        }
    }

    #[test]
    fn prefixes_lie_where_each_format_has_them() {
        let name = |magic: &[u8], more: &[(Field, &[u8])]| {
            let fields = [&[(NAME, b"name".as_slice()), (MAGIC, magic), (PREFIX, b"a/prefix")], more].concat();
            String::from_utf8(name(&block(&fields))).unwrap()
        };
        assert_eq!(name(b"ustar\x0000", &[]), "a/prefix/name");
        assert_eq!(name(b"", &[]), "name");
        assert_eq!(name(b"ustar  \0", &[]), "a/prefix/name");
        let times: [(Field, &[u8]); 2] = [(GNU_TIMES[0], b"00000000001\0"), (GNU_TIMES[1], b"00000000001\0")];
        assert_eq!(name(b"ustar  \0", &times), "name");
        let long = [b'p'; 155];
        assert_eq!(name(b"ustar\x0000", &[(PREFIX, &long)]).len(), 160);
        assert_eq!(name(b"ustar\x0000", &[(PREFIX, &long), (STAR_TRAILER, b"tar\0")]).len(), 136);
    }

    #[test]
    fn checksums_of_unsigned_and_signed_bytes() {
        let of: [fn(&u8) -> i64; 2] = [|byte| i64::from(*byte), |byte| i64::from(*byte as i8)];
        for of in of {
            let mut sealed = block(&[(NAME, "ü".as_bytes()), (CHECKSUM, &[b' '; 8])]);
            let sum = sealed.iter().map(of).sum::<i64>();
            sealed[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            assert!(checksum_is_right(&sealed));
            sealed[0] ^= 1;
            assert!(!checksum_is_right(&sealed));
        }
    }
}
