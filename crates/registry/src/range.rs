//! Byte ranges: what a `Range` header selects (RFC 9110, section 14), and `Content-Range` on chunks (distribution-spec, "Pushing a blob in chunks").

use std::ops::Range;

/// The unit of ranges, in whatever case (RFC 9110, section 14.1).
const UNIT: &str = "bytes";

/// What a `Range` header asks of content of a given size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// No range, or nothing that this server understands as one: everything.
    Whole,
    /// One or more ranges, none empty, all within the content, in the order asked.
    Parts(Vec<Range<u64>>),
    /// Nothing of the content, or more of it than there is.
    Unsatisfiable,
    /// More ranges than are answered at once.
    TooMany,
}

/// Reads a `Range` header.
pub(crate) fn select(header: &str, size: u64, limit: usize) -> Selection {
    let Some((unit, list)) = header.split_once('=') else { return Selection::Whole };
    if !unit.trim().eq_ignore_ascii_case(UNIT) {
        return Selection::Whole;
    }
    let mut parts = Vec::new();
    let mut any = false;
    let mut sum: u64 = 0;
    for spec in list.split(',').map(str::trim).filter(|spec| !spec.is_empty()) {
        let Some(range) = one(spec, size) else { return Selection::Whole };
        any = true;
        if !range.is_empty() {
            sum = sum.saturating_add(range.end - range.start);
            parts.push(range);
        }
        if parts.len() > limit {
            return Selection::TooMany;
        }
    }
    match (any, parts.is_empty()) {
        (false, _) => Selection::Whole,
        (true, true) => Selection::Unsatisfiable,
        // Overlapping ranges could make a small blob into an endless answer (RFC 9110, section 17.15).
        _ if sum > size => Selection::Unsatisfiable,
        _ => Selection::Parts(parts),
    }
}

/// One range, cut to the size; empty when it lies behind it, `None` when it is malformed.
fn one(spec: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = spec.split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    if first.is_empty() {
        let length = number(last)?.min(size);
        return Some(size - length..size);
    }
    let first = number(first)?;
    let end = if last.is_empty() { size } else { number(last).filter(|last| *last >= first)?.saturating_add(1).min(size) };
    Some(if first < size { first..end } else { size..size })
}

/// Decimal digits and nothing else; more than fit count as the largest number.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

/// The bytes that a chunk says it is: `first-last`, also written `bytes first-last/size` by clients that follow RFC 9110, the size being `*` when it is not
/// known. `None` when malformed.
pub(crate) fn of_chunk(header: &str) -> Option<Range<u64>> {
    let (text, size) = match header.trim().split_once([' ', '=']) {
        Some((unit, rest)) if unit.eq_ignore_ascii_case(UNIT) => match rest.trim_start().split_once('/') {
            Some((range, "*")) => (range, None),
            Some((range, size)) => (range, Some(number(size)?)),
            None => (rest.trim_start(), None),
        },
        Some(_) => return None,
        None => (header.trim(), None),
    };
    let (first, last) = text.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let fits = first <= last && last < size.unwrap_or(u64::MAX);
    fits.then(|| first..last + 1)
}

#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for size in [0, 1, 100, u64::MAX] {
        if let Selection::Parts(parts) = select(text, size, 16) {
            assert!(!parts.is_empty() && parts.len() <= 16);
            assert!(parts.iter().all(|part| part.start < part.end && part.end <= size));
        }
    }
    if let Some(range) = of_chunk(text) {
        assert!(range.start < range.end);
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a list of one range is what is meant")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(header: &str) -> Selection {
        select(header, 100, 4)
    }

    #[test]
    fn ranges_select_what_the_standard_says() {
        assert_eq!(parts("bytes=0-9"), Selection::Parts(vec![0..10]));
        assert_eq!(parts("Bytes=0-9"), Selection::Parts(vec![0..10]));
        assert_eq!(parts("bytes=90-"), Selection::Parts(vec![90..100]));
        assert_eq!(parts("bytes=90-1000"), Selection::Parts(vec![90..100]));
        assert_eq!(parts("bytes=-10"), Selection::Parts(vec![90..100]));
        assert_eq!(parts("bytes=-1000"), Selection::Parts(vec![0..100]));
        assert_eq!(parts("bytes = 0-0 , 5-6"), Selection::Parts(vec![0..1, 5..7]));
        assert_eq!(parts("bytes=0-0,200-300"), Selection::Parts(vec![0..1]));
        assert_eq!(parts("bytes=0-99999999999999999999999999"), Selection::Parts(vec![0..100]));
        for unsatisfiable in ["bytes=100-", "bytes=-0", "bytes=200-300", "bytes=0-,0-", "bytes=0-60,40-99"] {
            assert_eq!(parts(unsatisfiable), Selection::Unsatisfiable, "{unsatisfiable}");
        }
        for ignored in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "items=0-1",
            "bytesx=0-1",
            "0-1",
            "bytes=a-b",
            "bytes=5-1",
            "bytes=--1",
            "bytes=1",
            "bytes=+1-2",
            "bytes=0-1,x",
        ] {
            assert_eq!(parts(ignored), Selection::Whole, "{ignored}");
        }
        assert_eq!(parts("bytes=0-0,2-2,4-4,6-6,8-8"), Selection::TooMany);
        assert_eq!(select("bytes=0-", 0, 4), Selection::Unsatisfiable);
    }

    #[test]
    fn chunks_say_where_they_lie() {
        assert_eq!(of_chunk("0-99"), Some(0..100));
        assert_eq!(of_chunk("bytes 5-9/*"), Some(5..10));
        assert_eq!(of_chunk("Bytes 5-9/10"), Some(5..10));
        assert_eq!(of_chunk("bytes=5-9"), Some(5..10));
        for bad in [
            "",
            "-",
            "0-",
            "-5",
            "5-4",
            "a-b",
            "0-18446744073709551615",
            "0 - 1",
            "bytes0-4",
            "bytes",
            "bytes 0-4/2",
            "bytes 0-4/4",
            "bytes 0-4/",
            "bytes 0-4/x",
            "bytes */5",
            "items 0-4/5",
            "0-4/5",
        ] {
            assert_eq!(of_chunk(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_range_is_the_slice_it_names(size in 1_u64..10_000, first in 0_u64..10_000, length in 1_u64..10_000) {
            let expected = if first < size {
                Selection::Parts(vec![first..(first + length).min(size)])
            } else {
                Selection::Unsatisfiable
            };
            prop_assert_eq!(select(&format!("bytes={first}-{}", first + length - 1), size, 1), expected);
        }

        #[test]
        fn ranges_in_a_row_come_back_as_they_were(lengths in prop::collection::vec(1_u64..50, 1..40)) {
            let mut start = 0;
            let parts: Vec<_> = lengths.iter().map(|length| { let part = start..start + length; start += length + 1; part }).collect();
            let header = parts.iter().map(|part| format!("{}-{}", part.start, part.end - 1)).collect::<Vec<_>>().join(",");
            prop_assert_eq!(select(&format!("bytes={header}"), start, 40), Selection::Parts(parts));
        }
    }
}
