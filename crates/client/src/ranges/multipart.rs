//! Answers of several parts (RFC 9110, section 14.6), as they come in.

use std::ops::Range;

use bytes::{Buf, Bytes};

/// Bytes of a boundary with the head of the part behind it, at most.
const MAX_HEAD: usize = 4 << 10;
/// Characters of a boundary at most (RFC 2046, section 5.1.1).
const MAX_BOUNDARY: usize = 70;

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// Where the bytes of an answer, or of a part of it, lie in the blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ContentRange {
    /// The bytes.
    pub(super) range: Range<u64>,
    /// Of how many; `None` when the server does not say.
    pub(super) total: Option<u64>,
}

impl ContentRange {
    /// Reads the value of a `Content-Range` field with bytes in it (RFC 9110, section 14.4).
    pub(super) fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
        let (unit, rest) = text.trim().split_once(' ')?;
        let (range, total) = rest.trim_start().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        let total = if total == "*" { None } else { Some(number(total)?) };
        let is_right = unit.eq_ignore_ascii_case("bytes") && first <= last && total.is_none_or(|total| last < total);
        Some(Self { range: first..last.checked_add(1).filter(|_| is_right)?, total })
    }
}

/// What comes next in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A part begins.
    Part(ContentRange),
    /// Bytes of the part.
    Bytes(Bytes),
    /// More is to be [fed](Parts::feed).
    More,
    /// All parts were there.
    End,
}

/// Reads parts out of bytes that come in any pieces.
#[derive(Debug)]
pub(super) struct Parts {
    /// With the two hyphens in front.
    delimiter: Vec<u8>,
    /// The beginning of a boundary and the head behind it.
    head: Vec<u8>,
    /// Not looked at yet.
    rest: Bytes,
    /// Bytes that the part still has.
    left: u64,
    /// Parts that began.
    parts: u64,
    ended: bool,
}

enum Head {
    Part(ContentRange),
    End,
}

impl Parts {
    /// For an answer of this `Content-Type`; `None` when that is not of several parts.
    pub(super) fn new(content_type: &str) -> Option<Result<Self, Malformed>> {
        let mut fields = content_type.split(';');
        if !fields.next()?.trim().eq_ignore_ascii_case("multipart/byteranges") {
            return None;
        }
        let named = |field: &str| {
            let (name, value) = field.trim().split_once('=')?;
            name.eq_ignore_ascii_case("boundary").then(|| value.trim_matches('"').to_owned())
        };
        let boundary = fields.find_map(named).filter(|boundary| {
            let is_character = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
            (1..=MAX_BOUNDARY).contains(&boundary.len()) && boundary.bytes().all(is_character) && !boundary.ends_with(' ')
        });
        let Some(boundary) = boundary else { return Some(Err(Malformed("several parts without a boundary"))) };
        let delimiter = [b"--", boundary.as_bytes()].concat();
        Some(Ok(Self { delimiter, head: Vec::new(), rest: Bytes::new(), left: 0, parts: 0, ended: false }))
    }

    /// Gives it the next bytes of the answer, once it asked for [more](Event::More).
    pub(super) fn feed(&mut self, bytes: Bytes) {
        self.rest = bytes;
    }

    /// What comes next.
    pub(super) fn next(&mut self) -> Result<Event, Malformed> {
        if self.ended {
            return Ok(Event::End);
        }
        if self.rest.is_empty() {
            return Ok(Event::More);
        }
        if self.left > 0 {
            let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.rest.len());
            self.left -= length as u64;
            return Ok(Event::Bytes(self.rest.split_to(length)));
        }
        let before = self.head.len();
        let length = self.rest.len().min(MAX_HEAD - before);
        self.head.extend_from_slice(&self.rest[..length]);
        let Some((end, head)) = self.head()? else {
            self.rest.advance(length);
            return if self.head.len() < MAX_HEAD { Ok(Event::More) } else { Err(Malformed("a part with an endless head")) };
        };
        // What was there before was not enough, so the end lies behind it.
        self.rest.advance(end - before);
        self.head.clear();
        match head {
            Head::End => {
                self.ended = true;
                Ok(Event::End)
            }
            Head::Part(part) => {
                self.left = part.range.end - part.range.start;
                self.parts += 1;
                Ok(Event::Part(part))
            }
        }
    }

    /// Reads a boundary and the head of a part, when all of it is there, and says how long it is.
    fn head(&self) -> Result<Option<(usize, Head)>, Malformed> {
        // Each boundary but the first belongs to a line of its own; some servers begin one for the first as well.
        let start = match (self.head.starts_with(b"\r\n"), self.parts) {
            (true, _) => 2,
            (false, 0) => 0,
            (false, _) if self.head.len() < 2 => return Ok(None),
            (false, _) => return Err(Malformed("a part that is longer than it says")),
        };
        let after = start + self.delimiter.len();
        let Some(mark) = self.head.get(after..after + 2) else { return Ok(None) };
        if self.head[start..after] != self.delimiter {
            return Err(Malformed("something else than a boundary between parts"));
        }
        if mark == b"--" {
            return Ok(Some((after + 2, Head::End)));
        }
        let padding = self.head[after..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let line = after + padding;
        let Some(end) = self.head[line..].windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return Ok(None) };
        let fields = std::str::from_utf8(&self.head[line..line + end]).map_err(|_| Malformed("a part whose head is no text"))?;
        let mut found = None;
        let mut lines = fields.split("\r\n");
        if lines.next() != Some("") {
            return Err(Malformed("a boundary with something behind it"));
        }
        for field in lines {
            let (name, value) = field.split_once(':').ok_or(Malformed("a part whose head is none"))?;
            if name.eq_ignore_ascii_case("content-range") && found.replace(value).is_some() {
                return Err(Malformed("a part in two places"));
            }
        }
        let part = found.and_then(ContentRange::parse).ok_or(Malformed("a part that does not say where it lies"))?;
        Ok(Some((line + end + 4, Head::Part(part))))
    }
}

#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (kind, answer) = data.split_at(end);
    let Ok(kind) = std::str::from_utf8(kind) else { return };
    if let Some(ContentRange { range, total }) = ContentRange::parse(kind) {
        assert!(range.start < range.end && total.is_none_or(|total| range.end <= total));
    }
    let answer = Bytes::copy_from_slice(answer.get(1..).unwrap_or_default());
    // What is read does not depend on the pieces that it came in.
    let read = |step: usize| {
        let mut parts = Parts::new(kind)?.ok()?;
        let (mut rest, mut found, mut open) = (answer.clone(), Vec::new(), false);
        loop {
            match parts.next() {
                Ok(Event::Part(part)) => {
                    found.push((part, Vec::new()));
                    open = true;
                }
                Ok(Event::Bytes(bytes)) => {
                    assert!(open, "bytes of no part");
                    found.last_mut()?.1.extend_from_slice(&bytes);
                }
                Ok(Event::More) if rest.is_empty() => return Some((found, "early")),
                Ok(Event::More) => parts.feed(rest.split_to(step.min(rest.len()))),
                Ok(Event::End) => return Some((found, "end")),
                Err(Malformed(what)) => return Some((found, what)),
            }
        }
    };
    let (whole, single) = (read(usize::MAX), read(1));
    assert_eq!(whole, single);
    for (part, bytes) in whole.map(|(found, _)| found).unwrap_or_default() {
        assert!(bytes.len() as u64 <= part.range.end - part.range.start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(boundary: &str) -> Parts {
        Parts::new(&format!("multipart/byteranges; boundary={boundary}")).unwrap().unwrap()
    }

    /// Where parts begin, and their bytes.
    type Found = Vec<(u64, Vec<u8>)>;

    /// Everything in an answer that comes in pieces of these lengths; `None` when it ends early.
    fn read(mut parts: Parts, answer: &[u8], lengths: &[usize]) -> Result<Option<Found>, Malformed> {
        let (mut found, mut rest, mut lengths) = (Vec::new(), answer, lengths.iter().cycle());
        loop {
            match parts.next()? {
                Event::Part(part) => found.push((part.range.start, Vec::new())),
                Event::Bytes(bytes) => found.last_mut().unwrap().1.extend_from_slice(&bytes),
                Event::More if rest.is_empty() => return Ok(None),
                Event::More => {
                    let (piece, other) = rest.split_at((*lengths.next().unwrap()).clamp(1, rest.len()));
                    parts.feed(Bytes::copy_from_slice(piece));
                    rest = other;
                }
                Event::End => return Ok(Some(found)),
            }
        }
    }

    #[test]
    fn places_are_read_strictly() {
        let parse = |text: &str| ContentRange::parse(text).map(|found| (found.range, found.total));
        assert_eq!(parse("bytes 0-9/10"), Some((0..10, Some(10))));
        assert_eq!(parse(" Bytes 7-7/*"), Some((7..8, None)));
        for text in ["", "bytes", "bytes */10", "bytes 9-8/10", "bytes 0-10/10", "bytes +1-2/10", "items 0-1/2", "bytes 0-/9"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&format!("bytes 0-{}/*", u64::MAX)), None);
    }

    #[test]
    fn only_answers_of_several_parts_are_taken_for_such() {
        assert!(Parts::new("application/octet-stream").is_none());
        assert!(Parts::new("multipart/byteranges; charset=x; Boundary=\"a b\"").is_some_and(|parts| parts.is_ok()));
        for bad in ["", "; boundary=", "; boundary=\"\"", &format!("; boundary={}", "x".repeat(71)), "; boundary=a\u{e4}"] {
            assert!(Parts::new(&format!("multipart/byteranges{bad}")).is_some_and(|parts| parts.is_err()), "{bad}");
        }
    }

    #[test]
    fn what_is_no_part_is_refused() {
        let good = "--b\r\nContent-Type: x/y\r\nContent-Range: bytes 0-1/9\r\n\r\nab\r\n--b--\r\n";
        assert_eq!(read(parts("b"), good.as_bytes(), &[99]), Ok(Some(vec![(0, b"ab".to_vec())])));
        for bad in [
            good.replace("--b\r\n", "--c\r\n"),
            good.replace("ab\r\n", "abc\r\n"),
            good.replace("ab\r\n", "ab"),
            good.replace("Content-Range", "Content-Place"),
            good.replace("Content-Type: x/y", "Content-Range: bytes 0-1/9"),
            good.replace("--b\r\n", "--bc\r\n"),
            good.replace("Content-Type: x/y", "Content-Type"),
            good.replace("x/y", &"x".repeat(MAX_HEAD)),
        ] {
            assert!(read(parts("b"), bad.as_bytes(), &[99]).is_err(), "{bad}");
        }
        // A body that ends early is not at its end.
        for end in 0..good.len() - 4 {
            assert_eq!(read(parts("b"), &good.as_bytes()[..end], &[99]), Ok(None), "{end}");
        }
    }

    proptest! {
        #[test]
        fn parts_are_read_whatever_pieces_they_come_in(
            contents in prop::collection::vec((0_u64..1 << 40, prop::collection::vec(any::<u8>(), 1..300)), 1..5),
            lengths in prop::collection::vec(1_usize..200, 1..8),
            newline in any::<bool>(),
        ) {
            let mut answer = Vec::new();
            for (number, (offset, bytes)) in contents.iter().enumerate() {
                let first = if number > 0 || newline { "\r\n" } else { "" };
                let last = offset + bytes.len() as u64 - 1;
                answer.extend_from_slice(format!("{first}--x-y\r\nContent-Range: bytes {offset}-{last}/*\r\n\r\n").as_bytes());
                answer.extend_from_slice(bytes);
            }
            answer.extend_from_slice(b"\r\n--x-y--\r\nrest");
            prop_assert_eq!(read(parts("x-y"), &answer, &lengths), Ok(Some(contents)));
        }

        #[test]
        fn nothing_makes_it_fall_over(bytes in prop::collection::vec(any::<u8>(), 0..600), lengths in prop::collection::vec(1_usize..99, 1..4)) {
            let _ = read(parts("x"), &[b"--x\r\nContent-Range: bytes 0-3/4\r\n\r\n", bytes.as_slice()].concat(), &lengths);
            let _ = read(parts("x"), &bytes, &lengths);
        }
    }
}
