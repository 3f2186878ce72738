//! Records of pax headers: `LENGTH KEY=VALUE\n` (POSIX.1-2017, `pax`, "pax Extended Header").

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{Damage, Extent, MAX_EXTENSION};
use crate::Time;

/// Key of an extended attribute as it is: the name follows, the value is its bytes.
pub(super) const XATTR: &[u8] = b"SCHILY.xattr.";
/// Key of an extended attribute as libarchive writes it beside the other: name with `%XX`, value in base64.
const XATTR_ENCODED: &[u8] = b"LIBARCHIVE.xattr.";
/// Keys of sparse files.
const SPARSE: &[u8] = b"GNU.sparse.";

/// Base64 of libarchive, which leaves the padding away.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true),
);

/// The records that mean something here.
#[derive(Default)]
pub(super) struct Records {
    /// The last value of each key. An empty one takes away what a global header or the member's own header says.
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Bytes of them.
    kept: usize,
    /// The map of the oldest form of sparse files, whose keys come again and again.
    pub(super) extents: Vec<Extent>,
    /// An offset whose length has not come yet.
    offset: Option<u64>,
}

impl Records {
    /// Adds the records of a header of one member.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), Damage> {
        each(bytes, |key, value| self.add(key, value))?;
        if self.offset.is_some() {
            return Err("a sparse map has an offset without a length".into());
        }
        Ok(())
    }

    /// Adds the records of a header that holds for all members after it: owner, group and time. Nobody means the others for all, and
    /// Go's readers would not see them.
    pub(super) fn read_global(&mut self, bytes: &[u8]) -> Result<(), Damage> {
        each(bytes, |key, value| if matches!(key, b"uid" | b"gid" | b"mtime") { self.keep(key, value) } else { Ok(()) })
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), Damage> {
        match key {
            b"GNU.sparse.offset" if self.offset.is_none() => self.offset = Some(decimal(key, value)?),
            b"GNU.sparse.numbytes" => {
                let offset = self.offset.take().ok_or("a sparse map has a length without an offset")?;
                self.extents.push(Extent { offset, length: decimal(key, value)? });
            }
            b"GNU.sparse.offset" => return Err("a sparse map has an offset without a length".into()),
            b"path" | b"linkpath" | b"GNU.sparse.name" if value.contains(&0) => {
                return Err(format!("the pax record {} holds a zero byte", shown(key)).into());
            }
            b"path" | b"linkpath" | b"size" | b"uid" | b"gid" | b"mtime" => self.keep(key, value)?,
            _ if [XATTR, XATTR_ENCODED, SPARSE].iter().any(|prefix| key.starts_with(prefix)) => self.keep(key, value)?,
            _ => {}
        }
        Ok(())
    }

    fn keep(&mut self, key: &[u8], value: &[u8]) -> Result<(), Damage> {
        self.kept += key.len() + value.len();
        if let Some(former) = self.values.insert(key.to_vec(), value.to_vec()) {
            self.kept -= key.len() + former.len();
        }
        if self.kept > MAX_EXTENSION { Err("pax records of more than 1 MiB".into()) } else { Ok(()) }
    }
}

/// What holds for a member: its own records before the global ones.
pub(super) struct Pax<'a> {
    pub(super) own: &'a Records,
    pub(super) global: &'a Records,
}

impl Pax<'_> {
    /// The value of a key, unless it is empty.
    pub(super) fn get(&self, key: &str) -> Option<&[u8]> {
        let value = self.own.values.get(key.as_bytes()).or_else(|| self.global.values.get(key.as_bytes()))?;
        (!value.is_empty()).then_some(value)
    }

    /// The value of a key that is a number without a sign.
    pub(super) fn number(&self, key: &str) -> Result<Option<u64>, Damage> {
        self.get(key).map(|value| decimal(key.as_bytes(), value)).transpose()
    }

    /// The value of a key that is a time.
    pub(super) fn time(&self, key: &str) -> Result<Option<Time>, Damage> {
        let read = |value| time(value).ok_or_else(|| not_a(key.as_bytes(), value, "time"));
        self.get(key).map(read).transpose()
    }

    /// The extended attributes. One that is empty is one, for readers take it so.
    pub(super) fn xattrs(&self) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Damage> {
        let mut xattrs = BTreeMap::new();
        for (key, value) in &self.own.values {
            if let Some(name) = key.strip_prefix(XATTR_ENCODED) {
                let value = BASE64.decode(value).map_err(|_| not_a(key, value, "base64"))?;
                xattrs.insert(percent_decoded(name), value);
            }
        }
        // Where both forms tell of one attribute, this one has the last word: nothing in it is encoded.
        for (key, value) in &self.own.values {
            if let Some(name) = key.strip_prefix(XATTR) {
                xattrs.insert(name.to_vec(), value.clone());
            }
        }
        if xattrs.keys().any(|name| name.is_empty() || name.contains(&0)) {
            return Err("the name of an extended attribute is empty or holds a zero byte".into());
        }
        Ok(xattrs)
    }
}

/// Appends a record. The length counts its own digits.
pub(super) fn append(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let digits = |number: usize| number.to_string().len();
    let mut length = rest + digits(rest);
    if rest + digits(length) > length {
        length = rest + digits(length);
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// Calls `with` for each record in turn.
fn each(mut bytes: &[u8], mut with: impl FnMut(&[u8], &[u8]) -> Result<(), Damage>) -> Result<(), Damage> {
    while !bytes.is_empty() {
        let (key, value, rest) = record(bytes).ok_or("a malformed pax record")?;
        with(key, value)?;
        bytes = rest;
    }
    Ok(())
}

/// Key and value of the first record, and what follows it.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(digits(&bytes[..space])?).ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    (equals > 0).then_some((&record[..equals], &record[equals + 1..], rest))
}

/// A number of decimal digits alone, at most what fits into 63 bits.
pub(super) fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = text.iter().try_fold(0_i64, |value, digit| value.checked_mul(10)?.checked_add(i64::from(digit - b'0')))?;
    u64::try_from(number).ok()
}

fn decimal(key: &[u8], value: &[u8]) -> Result<u64, Damage> {
    digits(value).ok_or_else(|| not_a(key, value, "number"))
}

/// Seconds with a sign and a fraction, of which digits past the ninth are dropped.
fn time(value: &[u8]) -> Option<Time> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(value) => (true, value),
        None => (false, value),
    };
    let point = value.iter().position(|byte| *byte == b'.').unwrap_or(value.len());
    let fraction = value.get(point + 1..).unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = i64::try_from(digits(&value[..point])?).ok()?;
    let nanoseconds = (0..9).fold(0, |sum, at| sum * 10 + fraction.get(at).map_or(0, |digit| u32::from(digit - b'0')));
    Some(match (negative, nanoseconds) {
        (false, _) => Time { seconds, nanoseconds },
        (true, 0) => Time { seconds: -seconds, nanoseconds },
        (true, _) => Time { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

/// A name in which `%XX` stands for a byte. A percent sign with anything else after it stands for itself.
fn percent_decoded(name: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            _ => {
                decoded.push(*first);
                rest = after;
            }
        }
    }
    decoded
}

fn not_a(key: &[u8], value: &[u8], what: &str) -> Damage {
    format!("the pax record {} is `{}`, which is no {what}", shown(key), shown(value)).into()
}

/// For a message: what is not UTF-8 replaced, and not all of what is long.
fn shown(text: &[u8]) -> String {
    let most = 60;
    let dots = if text.len() > most { "…" } else { "" };
    format!("{}{dots}", String::from_utf8_lossy(&text[..text.len().min(most)]).escape_debug())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn malformed_records_are_none() {
        let malformed: [&[u8]; 11] = [
            b"9 path=a",
            b"8 path=a\n",
            b"11 path=a\n",
            b"path=a\n",
            b" path=a\n",
            b"5 =a\n",
            b"4 a\n",
            b"0 \n",
            b"1 ",
            b"-9 path=a\n",
            b"\0\0\0",
        ];
        for bytes in malformed {
            assert!(Records::default().read(bytes).is_err(), "{}", bytes.escape_ascii());
        }
        assert!(Records::default().read(b"99999999999999999999 path=a\n").is_err());
        assert!(Records::default().read(b"9 path=a\n").is_ok());
        assert!(Records::default().read(b"9 path=\0\n").is_err());
    }

    #[test]
    fn times_have_signs_and_fractions() {
        let times = [
            ("0", (0, 0)),
            ("1.5", (1, 500_000_000)),
            ("-1", (-1, 0)),
            ("-0.25", (-1, 750_000_000)),
            ("7.", (7, 0)),
            ("1.0000000019", (1, 1)),
        ];
        for (text, (seconds, nanoseconds)) in times {
            assert_eq!(time(text.as_bytes()), Some(Time { seconds, nanoseconds }), "{text}");
        }
        for text in ["", "-", ".5", "1.x", "--1", "+1", "1e3", "9223372036854775808", " 1"] {
            assert_eq!(time(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn messages_stay_short() {
        let mut records = Records::default();
        let mut bytes = Vec::new();
        append(&mut bytes, b"uid", &[b'x'; 5000]);
        records.read(&bytes).unwrap();
        let pax = Pax { own: &records, global: &Records::default() };
        let message = pax.number("uid").unwrap_err();
        assert!(message.starts_with("the pax record uid is `xxx") && message.len() < 200, "{message}");
    }

    proptest! {
        #[test]
        fn records_count_their_own_digits(length in 0..1100_usize, filler in any::<u8>()) {
            let value = vec![filler; length];
            let mut bytes = Vec::new();
            append(&mut bytes, b"key", &value);
            let (key, read, rest) = record(&bytes).unwrap();
            prop_assert_eq!((key, read, rest), (b"key".as_slice(), value.as_slice(), b"".as_slice()));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
            let _ = Records::default().read(&bytes);
        }
    }
}
