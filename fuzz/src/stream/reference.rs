//! Another reading of a stream of requests, by the rules of RFC 9112 and with none of the server's code.
//!
//! Of what the RFC leaves to a recipient it allows what the server allows: a line feed alone at the end of a line of the head (section 2.2), empty lines
//! before a request, a length beside a transfer encoding, after which the connection ends (section 6.1), and equal lengths said twice (section 6.3).
//! All else that is not to the letter ends the reading.

/// What a stream holds.
#[derive(Debug)]
pub(super) struct Seen {
    /// The methods of the requests that are there from beginning to end.
    pub(super) whole: Vec<String>,
    /// The method of what comes behind them and is no whole request, where there is something; GET where it is not to be read. It has one answer
    /// at most, and nothing is answered after it.
    pub(super) part: Option<String>,
    /// How it ends.
    pub(super) end: End,
}

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// More might come.
    Open,
    /// Nothing that comes is a request any more.
    Closed,
}

/// Why there is no further request.
enum Stop {
    /// It ends early.
    Early,
    /// It is malformed.
    Malformed,
}

/// A request's head.
struct Head {
    method: String,
    body: Framing,
    closes: bool,
}

enum Framing {
    Length(u64),
    Chunked,
}

/// Reads a stream.
pub(super) fn read(stream: &[u8]) -> Seen {
    let mut whole = Vec::new();
    let mut rest = stream;
    loop {
        while let Some(more) = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n")) {
            rest = more;
        }
        if rest.is_empty() {
            return Seen { whole, part: None, end: End::Open };
        }
        let (head, after) = match head(rest) {
            Ok(read) => read,
            Err(stop) => return Seen { whole, part: Some("GET".to_owned()), end: stop.end() },
        };
        match body(&head.body, after) {
            Ok(after) => rest = after,
            Err(stop) => return Seen { whole, part: Some(head.method), end: stop.end() },
        }
        whole.push(head.method);
        if head.closes {
            return Seen { whole, part: None, end: End::Closed };
        }
    }
}

impl Stop {
    fn end(&self) -> End {
        match self {
            Self::Early => End::Open,
            Self::Malformed => End::Closed,
        }
    }
}

/// A line of the head, and what follows it.
fn head_line(bytes: &[u8]) -> Result<(&[u8], &[u8]), Stop> {
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(Stop::Early)?;
    let line = &bytes[..end];
    Ok((line.strip_suffix(b"\r").unwrap_or(line), &bytes[end + 1..]))
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn head(bytes: &[u8]) -> Result<(Head, &[u8]), Stop> {
    let (line, mut rest) = head_line(bytes)?;
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else { return Err(Stop::Malformed) };
    if !is_token(method) || target.is_empty() || target.iter().any(|byte| *byte < 0x21 || *byte == 0x7f) {
        return Err(Stop::Malformed);
    }
    let is_newer = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return Err(Stop::Malformed),
    };
    let (mut lengths, mut codings, mut options) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let (line, after) = head_line(rest)?;
        rest = after;
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or(Stop::Malformed)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if !is_token(name) || line[colon..].iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f) {
            return Err(Stop::Malformed);
        }
        let items = || value.split(|byte| *byte == b',').map(|item| item.trim_ascii().to_ascii_lowercase());
        match name.to_ascii_lowercase().as_slice() {
            b"content-length" => lengths.push(value),
            b"transfer-encoding" => codings.extend(items()),
            b"connection" => options.extend(items()),
            _ => {}
        }
    }
    let has = |option: &[u8]| options.iter().any(|found| found == option);
    let mut closes = has(b"close") || (!is_newer && !has(b"keep-alive"));
    let body = match (codings.last(), lengths.first()) {
        (Some(last), length) => {
            if !is_newer || last != b"chunked" {
                return Err(Stop::Malformed);
            }
            closes |= length.is_some();
            Framing::Chunked
        }
        (None, Some(length)) => {
            let number = |text: &[u8]| {
                let digits = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
                digits.and_then(|text| text.parse::<u64>().ok()).ok_or(Stop::Malformed)
            };
            let first = number(length)?;
            for other in &lengths[1..] {
                if number(other)? != first {
                    return Err(Stop::Malformed);
                }
            }
            Framing::Length(first)
        }
        (None, None) => Framing::Length(0),
    };
    Ok((Head { method: String::from_utf8_lossy(method).into_owned(), body, closes }, rest))
}

/// What follows a body.
fn body<'a>(framing: &Framing, bytes: &'a [u8]) -> Result<&'a [u8], Stop> {
    match framing {
        Framing::Length(length) => usize::try_from(*length).ok().and_then(|length| bytes.get(length..)).ok_or(Stop::Early),
        Framing::Chunked => chunks(bytes),
    }
}

/// A line in a chunked body, which ends with both characters, and neither of them is in it.
fn chunk_line(bytes: &[u8]) -> Result<(&[u8], &[u8]), Stop> {
    let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')).ok_or(Stop::Early)?;
    match bytes[end..] {
        [b'\r'] => Err(Stop::Early),
        [b'\r', b'\n', ..] => Ok((&bytes[..end], &bytes[end + 2..])),
        _ => Err(Stop::Malformed),
    }
}

fn chunks(mut bytes: &[u8]) -> Result<&[u8], Stop> {
    loop {
        let (line, rest) = chunk_line(bytes)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (size, after) = line.split_at(digits);
        let blanks = after.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        if !matches!(after.get(blanks), None | Some(b';')) {
            return Err(Stop::Malformed);
        }
        let size = std::str::from_utf8(size).ok().and_then(|size| u64::from_str_radix(size, 16).ok()).ok_or(Stop::Malformed)?;
        if size == 0 {
            bytes = rest;
            break;
        }
        let size = usize::try_from(size).map_err(|_| Stop::Early)?;
        bytes = match rest.get(size..).ok_or(Stop::Early)? {
            [b'\r', b'\n', after @ ..] => after,
            [] | [b'\r'] => return Err(Stop::Early),
            _ => return Err(Stop::Malformed),
        };
    }
    // Trailers are fields, and the end is an empty line.
    loop {
        let (line, rest) = chunk_line(bytes)?;
        bytes = rest;
        if line.is_empty() {
            return Ok(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart() {
        for (stream, whole, part, end) in [
            ("", 0, false, End::Open),
            ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", 1, false, End::Open),
            ("GET / HTTP/1.1\r\nHost: h\r\n\r\n\r\nGET / HTTP/1.1\nHost: h\n\nGET", 2, true, End::Open),
            ("GET / HTTP/1.0\r\n\r\nGET / HTTP/1.1\r\n\r\n", 1, false, End::Closed),
            ("GET / HTTP/1.1\r\nConnection: x, Close\r\n\r\nGET / HTTP/1.1\r\n\r\n", 1, false, End::Closed),
            ("PUT / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n", 2, false, End::Open),
            ("PUT / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc", 0, true, End::Open),
            ("PUT / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 0, true, End::Closed),
            ("PUT / HTTP/1.1\r\nContent-Length : 3\r\n\r\nabc", 0, true, End::Closed),
            ("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nA: b\r\n\r\nGET", 1, true, End::Open),
            ("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", 0, true, End::Closed),
            ("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked, x\r\n\r\n0\r\n\r\n", 0, true, End::Closed),
            (
                "PUT / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
                1,
                false,
                End::Closed,
            ),
        ] {
            let seen = read(stream.as_bytes());
            assert_eq!((seen.whole.len(), seen.part.is_some(), seen.end), (whole, part, end), "{stream:?}");
        }
    }
}
