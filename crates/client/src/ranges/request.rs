//! Which of the wanted ranges one request asks for.

use std::fmt::Write;
use std::ops::Range;

/// Ranges that lie no farther apart are asked for as one: a part of an answer has a head of about a hundred bytes, and costs the server a step.
const GAP: u64 = 256;
/// The same where each range is a request of its own, with a round trip of its own.
const GAP_ALONE: u64 = 64 << 10;
/// Bytes of the header field's value at most: servers and proxies take 8 KiB for a field.
const LENGTH: usize = 7 << 10;

/// How many ranges a request asks for, from many to a single one; at the end of it comes the whole blob, for which no range is asked.
///
/// Registries and object stores differ in what they take, and in how they refuse: by a 400 or 416, or by sending everything.
const STEPS: [usize; 5] = [500, 62, 7, 1, 0];

/// Bytes that are asked for when these ranges of a blob are wanted, ascending and without overlap: they, and what lies between those that are
/// so near each other that they are asked for as one. Where many ranges at once are not taken it is more.
pub fn bytes_asked(wanted: impl IntoIterator<Item = Range<u64>>) -> u64 {
    let (mut bytes, mut last) = (0, None);
    for range in wanted {
        let from = last.filter(|end| range.start - end <= GAP).unwrap_or(range.start);
        bytes += range.end - from;
        last = Some(range.end);
    }
    bytes
}

/// A place on the way down from many ranges at once to none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Step(pub(super) usize);

/// What one request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// The value of `Range`; without, the whole is asked for.
    pub(super) header: Option<String>,
    /// Ranges in it.
    pub(super) ranges: usize,
}

impl Step {
    /// The next one down, as long as there is one.
    pub(super) fn down(self) -> Option<Self> {
        (self.0 + 1 < STEPS.len()).then_some(Self(self.0 + 1))
    }

    fn most(self) -> usize {
        STEPS.get(self.0).copied().unwrap_or(0)
    }

    /// The request for the first of `wanted`, which are ascending and inside a blob of `size` bytes.
    pub(super) fn request<'a>(self, wanted: impl IntoIterator<Item = &'a Range<u64>>, size: u64) -> Request {
        let most = self.most();
        let gap = if most == 1 { GAP_ALONE } else { GAP };
        let mut header = String::from("bytes=");
        let (mut ranges, mut open) = (0, None::<Range<u64>>);
        let write = |header: &mut String, range: &Range<u64>| {
            let separator = if header.ends_with('=') { "" } else { "," };
            // Writing to a string does not fail.
            let _ = write!(header, "{separator}{}-{}", range.start, range.end - 1);
        };
        for range in wanted {
            open = Some(match open.take() {
                Some(before) if range.start - before.end <= gap => before.start..range.end,
                None => range.clone(),
                Some(before) => {
                    write(&mut header, &before);
                    ranges += 1;
                    if ranges >= most || header.len() >= LENGTH {
                        break;
                    }
                    range.clone()
                }
            });
        }
        if let Some(last) = open {
            if ranges == 0 && last == (0..size) {
                return Request { header: None, ranges: 1 };
            }
            write(&mut header, &last);
            ranges += 1;
        }
        Request { header: (most > 0).then_some(header), ranges }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(step: usize, wanted: &[Range<u64>]) -> Option<String> {
        Step(step).request(wanted, 1_000_000).header
    }

    fn header_of_one(step: usize, wanted: Range<u64>) -> Option<String> {
        header(step, std::slice::from_ref(&wanted))
    }

    #[test]
    fn ranges_are_written_as_the_protocol_has_them_and_near_ones_joined() {
        let wanted = [0..10, 10 + GAP..500, 501 + GAP..502 + GAP, 200_000..300_000];
        assert_eq!(header(0, &wanted).as_deref(), Some("bytes=0-499,757-757,200000-299999"));
        assert_eq!(header(3, &wanted).as_deref(), Some("bytes=0-757"));
        assert_eq!(header(4, &wanted), None);
        assert_eq!(Step(0).request(&wanted, 1_000_000).ranges, 3);
    }

    #[test]
    fn what_is_asked_for_is_counted() {
        let wanted = [0..10, 10 + GAP..500, 501 + GAP..502 + GAP, 200_000..300_000];
        assert_eq!(bytes_asked(wanted), 500 + 1 + 100_000);
        assert_eq!(bytes_asked(std::iter::once(7..9)), 2);
        assert_eq!(bytes_asked([]), 0);
    }

    #[test]
    fn the_whole_is_no_range_and_its_end_is_one() {
        assert_eq!(header_of_one(0, 0..1_000_000), None);
        assert_eq!(header_of_one(0, 5..1_000_000).as_deref(), Some("bytes=5-999999"));
    }

    #[test]
    fn a_request_stays_within_what_servers_take() {
        let wanted: Vec<_> = (0..4_000).map(|n| n * 1_000_000_000..n * 1_000_000_000 + 5).collect();
        for (step, most) in STEPS.iter().enumerate() {
            let request = Step(step).request(&wanted, u64::MAX);
            assert!(request.ranges <= (*most).max(1), "{} for {most}", request.ranges);
            assert!(request.header.as_ref().is_none_or(|header| header.len() < 8_000));
            assert_eq!(request.header.is_some(), *most > 0);
        }
        assert_eq!(Step(STEPS.len() - 1).down(), None);
    }
}
