//! A whole stream of requests over one connection to a registry that serves in this process.
//!
//! The bytes go out in pieces, cut at places that they themselves decide. Whatever they are, the server does not panic, answers nothing but HTTP, fails
//! at nothing (5xx), gives no more answers than there are requests by [another reading](reference) of the same bytes, ends the connection once
//! nothing more comes, and afterwards answers others.

mod grammar;
mod host;
mod reference;

use std::cell::RefCell;
use std::io;

use fastrand::Rng;
use wharf_tests::{Connection, Response};

use crate::{Feed, Target};
use host::Host;
use reference::{End, Seen};

/// What stands in an input for the place of an upload that is open.
const UPLOAD: &[u8] = b"{upload}";
/// Inputs after which a fresh server takes over, since what was pushed stays.
const RENEWED: u64 = 5_000;

pub(crate) const TARGET: Target = Target {
    name: "stream",
    seeds: || vec![b"GET /v2/ HTTP/1.1\r\nHost: h\r\n\r\n".to_vec()],
    grow: Some(grammar::stream),
    longest: 16 << 10,
    start,
};

fn start() -> Feed {
    let host = RefCell::new((Host::start(), 0));
    Box::new(move |data| {
        let mut host = host.borrow_mut();
        host.1 += 1;
        if u64::is_multiple_of(host.1, RENEWED) {
            host.0 = Host::start();
        }
        feed(&host.0, data);
    })
}

/// Feeds it a stream, and answers with what statuses it was answered.
fn feed(host: &Host, data: &[u8]) -> Vec<u16> {
    let stream = host.with_uploads(data);
    let seen = reference::read(&stream);
    let mut connection = host.connect();
    send(&mut connection, &stream);
    let answers = receive(&mut connection, &seen).unwrap_or_else(|error| panic!("{error}, where there are {seen:?}"));
    let most = seen.whole.len() + usize::from(seen.part.is_some());
    assert!(answers.len() <= most, "{answers:?}, where there are {seen:?}");
    host.check();
    answers
}

/// Sends it in pieces.
fn send(connection: &mut Connection, stream: &[u8]) {
    let mut random = Rng::with_seed(stream.iter().fold(stream.len() as u64, |hash, byte| hash.rotate_left(5) ^ u64::from(*byte)));
    let mut rest = stream;
    // Mostly in one or two pieces, as clients do; now and then byte by byte.
    let most = *random.choice(&[usize::MAX, usize::MAX, 4096, 100, 3]).unwrap_or(&usize::MAX);
    while !rest.is_empty() {
        let length = random.usize(1..=rest.len().min(most));
        let (piece, more) = rest.split_at(if most == usize::MAX && random.bool() { rest.len() } else { length });
        // The server may have had enough; its answers are still there.
        if connection.write(piece).is_err() {
            return;
        }
        rest = more;
        if most < usize::MAX {
            std::thread::yield_now();
        }
    }
}

/// Reads answers to the end of the connection, and says what they were.
fn receive(connection: &mut Connection, seen: &Seen) -> io::Result<Vec<u16>> {
    let mut answers = Vec::new();
    // Only then is it said that nothing more comes: a server may well drop a request whose client has gone.
    for method in &seen.whole {
        if let Some(response) = answer(connection, method)? {
            answers.push(response.status);
            if !ends(&response) {
                continue;
            }
        }
        return rest(connection, seen, answers);
    }
    if seen.end == End::Open {
        connection.finish_writing();
    }
    rest(connection, seen, answers)
}

/// What comes after all that was to be answered: of a part of a request its refusal.
fn rest(connection: &mut Connection, seen: &Seen, mut answers: Vec<u16>) -> io::Result<Vec<u16>> {
    connection.finish_writing();
    while let Some(response) = answer(connection, seen.part.as_deref().unwrap_or("GET"))? {
        answers.push(response.status);
    }
    Ok(answers)
}

/// The next answer; none at the end of the connection.
fn answer(connection: &mut Connection, method: &str) -> io::Result<Option<Response>> {
    match connection.read_response(method) {
        Ok(response) => {
            let own = [501, 505].contains(&response.status);
            assert!((200..500).contains(&response.status) || own, "{}", response.describe());
            Ok(Some(response))
        }
        // A connection may end with what nobody reads any more.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn ends(response: &Response) -> bool {
    response.all("Connection").iter().any(|value| value.eq_ignore_ascii_case("close"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Streams of the grammar get past the head: pushed, read, listed, deleted, and refused at every place.
    #[test]
    fn what_grows_gets_far() {
        let (host, mut random) = (Host::start(), Rng::with_seed(1));
        let statuses: BTreeSet<_> = (0..2_000).flat_map(|_| feed(&host, &grammar::stream(&mut random))).collect();
        for status in [200, 201, 202, 204, 206, 304, 400, 404, 405, 416] {
            assert!(statuses.contains(&status), "no {status} among {statuses:?}");
        }
    }
}
