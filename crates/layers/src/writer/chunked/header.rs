//! What a table of contents repeats of a tar header that an [`Entry`](crate::Entry) leaves out. Newer clients compare the two, field by field,
//! and refuse the layer if they differ.

use crate::Time;
use crate::toc::{TocEntry, TocKind, writable};

const BLOCK: usize = 512;

/// Adds what the header says: all bits of the mode, device numbers, and the times of access and change. `raw` is the padding before the
/// header and its blocks. None if the header is for more than its member, or of a kind that some readers take for another.
pub(super) fn complete(entry: &mut TocEntry, raw: &[u8]) -> Option<()> {
    let mut rest = &raw[raw.len() % BLOCK..];
    loop {
        let (block, after) = rest.split_first_chunk::<BLOCK>()?;
        let length = number(&block[124..136])?;
        match block[156] {
            // POSIX's extended header, and GNU's long names.
            kind @ (b'x' | b'L' | b'K') => {
                let length = usize::try_from(length).ok()?;
                let data = after.get(..length)?;
                if kind == b'x' {
                    records(data, entry)?;
                }
                rest = after.get(length.checked_next_multiple_of(BLOCK)?..)?;
            }
            0 | b'0'..=b'6' if after.is_empty() && (entry.kind == TocKind::Reg || length == 0) => return last(entry, block),
            _ => return None,
        }
    }
}

/// The member's own header block.
fn last(entry: &mut TocEntry, block: &[u8; BLOCK]) -> Option<()> {
    entry.mode = number(&block[100..108])?;
    if block[257..262] == *b"ustar" {
        entry.dev_major = number(&block[329..337])?;
        entry.dev_minor = number(&block[337..345])?;
        let times = match (&block[257..265], &block[508..512]) {
            (b"ustar  \0", _) => Some((345, 357)),
            (_, b"tar\0") => Some((476, 488)),
            _ => None,
        };
        if let Some((access, change)) = times {
            let time = |at: usize| match block[at] {
                0 => Some(None),
                _ => moment(number(&block[at..at + 12])?, 0).map(Some),
            };
            let (access, change) = (time(access)?, time(change)?);
            entry.accesstime = entry.accesstime.or(access);
            entry.changetime = entry.changetime.or(change);
        }
    }
    Some(())
}

/// The records of an extended header: `LENGTH KEY=VALUE`, each with a line feed at its end.
fn records(mut data: &[u8], entry: &mut TocEntry) -> Option<()> {
    while !data.is_empty() {
        let space = data.iter().position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&data[..space]).ok()?.parse().ok()?;
        let (record, rest) = data.split_at_checked(length)?;
        data = rest;
        let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        let place = match key {
            b"atime" => &mut entry.accesstime,
            b"ctime" => &mut entry.changetime,
            _ => continue,
        };
        *place = Some(time(std::str::from_utf8(value).ok()?)?);
    }
    Some(())
}

/// A time in seconds, with a fraction or without.
fn time(text: &str) -> Option<Time> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    // Before 1970 a fraction counts backwards; nobody writes that.
    let seconds = seconds.parse::<u64>().ok()?;
    let digits = fraction.get(..fraction.len().min(9))?;
    match digits {
        "" => moment(seconds, 0),
        _ => moment(seconds, digits.parse::<u32>().ok()? * 10_u32.pow(9 - digits.len() as u32)),
    }
}

fn moment(seconds: u64, nanoseconds: u32) -> Option<Time> {
    writable(Time { seconds: i64::try_from(seconds).ok()?, nanoseconds }).ok()
}

/// A number as headers have it: octal, or, with the first bit set, binary. Empty is 0.
fn number(field: &[u8]) -> Option<u64> {
    if field.first()? & 0x80 != 0 {
        // Negative numbers, which have the second bit set as well, are for times only.
        let first = u64::from(field[0] & 0x7f);
        return field[1..].iter().try_fold(first, |value, byte| Some(value.checked_mul(256)? + u64::from(*byte)));
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    match text {
        "" => Some(0),
        _ => u64::from_str_radix(text, 8).ok(),
    }
}
