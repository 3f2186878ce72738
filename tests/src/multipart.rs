//! Bodies of partial answers.

use crate::Response;

/// One range of a partial answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Offset of the first byte.
    pub first: usize,
    /// Offset of the last byte.
    pub last: usize,
    /// Length of the whole blob, in bytes.
    pub size: usize,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// The parts of a 206 answer, in the order sent: one for a plain answer, several for `multipart/byteranges`.
///
/// # Panics
/// When the answer deviates in any byte from the form of RFC 9110, section 14.6.
pub fn parts(response: &Response) -> Vec<Part> {
    assert_eq!(response.status, 206, "{}", response.describe());
    let kind = response.header("Content-Type");
    let Some(parameters) = kind.strip_prefix("multipart/byteranges") else {
        let (first, last, size) = content_range(response.header("Content-Range"));
        assert_eq!(response.body.len(), last - first + 1, "length of the body against Content-Range");
        return vec![Part { first, last, size, bytes: response.body.clone() }];
    };
    assert!(response.get("Content-Range").is_none(), "a multipart answer has its ranges in the parts");
    let boundary = parameters.trim().trim_start_matches(';').trim().strip_prefix("boundary=").expect("a boundary");
    let boundary = boundary.trim_matches('"');
    assert!((1..=70).contains(&boundary.len()), "boundary {boundary:?}");

    let mut rest = response.body.as_slice();
    let mut parts = Vec::new();
    // The line end belongs to the delimiter, and may be missing before the first.
    rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
    let delimiter = format!("--{boundary}");
    loop {
        rest = rest.strip_prefix(delimiter.as_bytes()).expect("a delimiter");
        if let Some(after) = rest.strip_prefix(b"--") {
            assert!(after.is_empty() || after == b"\r\n", "{} bytes after the end", after.len());
            return parts;
        }
        rest = rest.strip_prefix(b"\r\n").expect("a line end after the delimiter");
        let end = rest.windows(4).position(|w| w == b"\r\n\r\n").expect("the end of a part's header");
        let header = std::str::from_utf8(&rest[..end]).expect("a header in ASCII");
        rest = &rest[end + 4..];
        let field = |name: &str| {
            let lines = header.split("\r\n").filter_map(|line| line.split_once(':'));
            lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim().to_owned()).next()
        };
        let (first, last, size) = content_range(&field("Content-Range").expect("Content-Range in each part"));
        assert!(field("Content-Type").is_some(), "Content-Type in each part, for the whole answer has one");
        let length = last - first + 1;
        parts.push(Part { first, last, size, bytes: rest[..length].to_vec() });
        rest = rest[length..].strip_prefix(b"\r\n").expect("a line end after the part");
    }
}

fn content_range(value: &str) -> (usize, usize, usize) {
    let parse = || {
        let (range, size) = value.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()?, size.parse().ok()?))
    };
    let (first, last, size) = parse().unwrap_or_else(|| panic!("Content-Range {value:?}"));
    assert!(first <= last && last < size, "Content-Range {value:?}");
    (first, last, size)
}
