//! Registries of many manners, each a small server.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wharf_oci::{Digest, media_type};

use super::*;
use crate::{Access, Address, Credentials, Patience, Silent, Tls, Verify};

/// How a server answers a request for ranges.
type Answer = dyn Fn(&[Range<u64>], usize) -> Vec<u8> + Send + Sync;

struct Server {
    registry: Registry,
    /// The ranges of each request.
    asked: Arc<Mutex<Vec<Vec<Range<u64>>>>>,
}

impl Server {
    /// A server that is told the ranges of each request and the number of the request.
    fn start(answer: impl Fn(&[Range<u64>], usize) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let asked: Arc<Mutex<Vec<Vec<Range<u64>>>>> = Arc::default();
        let (answer, log): (Arc<Answer>, _) = (Arc::new(answer), asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, log) = (answer.clone(), log.clone());
                std::thread::spawn(move || serve(stream, &*answer, &log));
            }
        });
        let patience = Patience { attempts: 3, pause: Duration::from_millis(1), ..Patience::default() };
        let tls = Tls { verify: Verify::Off, authorities: Vec::new() };
        let access = Access { address: Address { https: false, authority }, credentials: Credentials::None, tls, patience };
        Self { registry: Registry::new(access, Arc::new(Silent)).unwrap(), asked }
    }

    fn get(&self, blob: &[u8], wanted: &[Range<u64>]) -> Result<Vec<(u64, Vec<u8>)>, ClientError> {
        let descriptor = Descriptor::new(media_type::OCI_LAYER, Digest::sha256(blob), blob.len() as u64);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut ranges = self.registry.ranges(&"app".parse().unwrap(), &descriptor, wanted.iter().cloned());
            let mut found = Vec::<(u64, Vec<u8>)>::new();
            while let Some((offset, bytes)) = ranges.next().await? {
                match found.last_mut().filter(|(start, before)| start + before.len() as u64 == offset) {
                    Some((_, before)) => before.extend_from_slice(&bytes),
                    None => found.push((offset, bytes.to_vec())),
                }
            }
            Ok(found)
        })
    }

    /// Asserts that the ranges are had, after requests for so many ranges each.
    #[track_caller]
    fn gives(&self, blob: &[u8], wanted: &[Range<u64>], requests: &[usize]) {
        let found = self.get(blob, wanted).unwrap();
        let expected: Vec<_> = wanted.iter().map(|range| (range.start, slice(blob, range).to_vec())).collect();
        assert!(found == expected, "other bytes than those asked for");
        assert_eq!(self.asked.lock().unwrap().iter().map(Vec::len).collect::<Vec<_>>(), requests);
    }
}

fn serve(stream: TcpStream, answer: &Answer, log: &Mutex<Vec<Vec<Range<u64>>>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    let mut ranges = Vec::new();
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|length| length > 0) {
        let field = std::mem::take(&mut line).trim_end().to_lowercase();
        if let Some(list) = field.strip_prefix("range: bytes=") {
            let range = |text: &str| {
                let (first, last) = text.split_once('-')?;
                Some(first.parse().ok()?..last.parse::<u64>().ok()? + 1)
            };
            ranges = list.split(',').map(|text| range(text).unwrap()).collect();
        }
        if field.is_empty() {
            let ranges = std::mem::take(&mut ranges);
            let number = log.lock().unwrap().len();
            log.lock().unwrap().push(ranges.clone());
            let bytes = answer(&ranges, number);
            if bytes.is_empty() || stream.write_all(&bytes).is_err() {
                return;
            }
        }
    }
}

fn blob() -> Vec<u8> {
    (0..200_000_u32).flat_map(|n| n.to_le_bytes()).collect()
}

fn slice<'a>(blob: &'a [u8], range: &Range<u64>) -> &'a [u8] {
    &blob[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
}

fn reply(status: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn whole(blob: &[u8]) -> Vec<u8> {
    reply("200 OK", "", blob)
}

fn single(blob: &[u8], range: &Range<u64>) -> Vec<u8> {
    let place = format!("Content-Range: bytes {}-{}/{}\r\n", range.start, range.end - 1, blob.len());
    reply("206 Partial Content", &place, slice(blob, range))
}

fn several(blob: &[u8], ranges: &[Range<u64>]) -> Vec<u8> {
    let mut body = Vec::new();
    for range in ranges {
        let place = format!("Content-Range: bytes {}-{}/{}", range.start, range.end - 1, blob.len());
        body.extend_from_slice(format!("\r\n--x\r\n{place}\r\n\r\n").as_bytes());
        body.extend_from_slice(slice(blob, range));
    }
    body.extend_from_slice(b"\r\n--x--\r\n");
    reply("206 Partial Content", "Content-Type: multipart/byteranges; boundary=x\r\n", &body)
}

/// As the specification has it.
fn right(blob: &[u8], ranges: &[Range<u64>]) -> Vec<u8> {
    match ranges {
        [] => whole(blob),
        [one] => single(blob, one),
        many => several(blob, many),
    }
}

const WANTED: [Range<u64>; 4] = [3..1_000, 5_000..5_001, 300_000..500_000, 799_990..800_000];

#[test]
fn many_ranges_come_with_one_request() {
    let server = Server::start(|ranges, _| right(&blob(), ranges));
    server.gives(&blob(), &WANTED, &[4]);
}

#[test]
fn near_ranges_are_asked_for_as_one_and_given_out_as_several() {
    let server = Server::start(|ranges, _| right(&blob(), ranges));
    server.gives(&blob(), &[10..20, 30..40, 50..60, 9_000..9_100], &[2]);
}

#[test]
fn a_whole_blob_is_asked_for_without_ranges_and_its_rest_with_one() {
    let server = Server::start(|ranges, _| right(&blob(), ranges));
    server.gives(&blob(), std::slice::from_ref(&(0..800_000)), &[0]);
    server.gives(&blob(), std::slice::from_ref(&(7..800_000)), &[0, 1]);
}

#[test]
fn ranges_that_are_none_are_left_out() {
    let server = Server::start(|ranges, _| right(&blob(), ranges));
    let backwards = Range { start: 9, end: 3 };
    let found = server.get(&blob(), &[5..5, backwards, 10..20, 15..30, 799_999..800_001]).unwrap();
    assert_eq!(found, [(10, slice(&blob(), &(10..20)).to_vec())]);
}

#[test]
fn who_takes_few_ranges_is_asked_for_few() {
    let wanted: Vec<_> = (0..100).map(|n| n * 1_000..n * 1_000 + 10).collect();
    for status in ["400 Bad Request", "416 Range Not Satisfiable", "431 Too Large"] {
        let answer =
            move |ranges: &[Range<u64>], _| if ranges.len() > 90 { reply(status, "", b"") } else { right(&blob(), ranges) };
        Server::start(answer).gives(&blob(), &wanted, &[100, 62, 38]);
    }
}

#[test]
fn who_takes_one_range_alone_is_asked_one_by_one() {
    let answer = |ranges: &[Range<u64>], _| if ranges.len() > 1 { whole(&blob()) } else { right(&blob(), ranges) };
    let server = Server::start(answer);
    // The first two are near each other by the measure of a round trip.
    server.gives(&blob(), &WANTED, &[4, 4, 4, 1, 1, 1]);
}

#[test]
fn who_takes_no_ranges_sends_everything() {
    Server::start(|_, _| whole(&blob())).gives(&blob(), &WANTED, &[4, 4, 4, 1]);
    let refusing = |ranges: &[Range<u64>], _| if ranges.is_empty() { whole(&blob()) } else { reply("501 No", "", b"") };
    Server::start(refusing).gives(&blob(), &WANTED, &[4, 4, 4, 1, 0]);
    // Most of it is wanted anyway.
    Server::start(|_, _| whole(&blob())).gives(&blob(), &[0..300_000, 400_000..700_000], &[2]);
}

#[test]
fn what_was_found_out_is_known_of_the_next_blob() {
    let answer = |ranges: &[Range<u64>], _| if ranges.len() > 1 { whole(&blob()) } else { right(&blob(), ranges) };
    let server = Server::start(answer);
    server.get(&blob(), &WANTED).unwrap();
    let before = server.asked.lock().unwrap().len();
    server.get(&blob(), &WANTED).unwrap();
    assert_eq!(server.asked.lock().unwrap().len() - before, 3);
}

#[test]
fn who_answers_the_first_range_alone_is_asked_for_the_rest() {
    Server::start(|ranges, _| single(&blob(), &ranges[0])).gives(&blob(), &WANTED, &[4, 3, 2, 1]);
    let two = |ranges: &[Range<u64>], _| several(&blob(), &ranges[..ranges.len().min(2)]);
    Server::start(two).gives(&blob(), &WANTED, &[4, 2]);
}

#[test]
fn an_answer_that_stands_still_goes_on_where_it_was() {
    let server = Server::start(|ranges, number| {
        let mut answer = right(&blob(), ranges);
        answer.truncate(if number < 2 { 50_000 } else { answer.len() });
        answer
    });
    let impatient = Server { registry: impatient(&server), asked: server.asked.clone() };
    impatient.gives(&blob(), &WANTED, &[4, 2, 2]);
}

/// The same registry, of which a silence is not waited for long.
fn impatient(server: &Server) -> Registry {
    let address = server.registry.address().clone();
    let patience =
        Patience { attempts: 3, pause: Duration::from_millis(1), stall: Duration::from_millis(300), ..Patience::default() };
    let tls = Tls { verify: Verify::Off, authorities: Vec::new() };
    let access = Access { address, credentials: Credentials::None, tls, patience };
    Registry::new(access, Arc::new(Silent)).unwrap()
}

#[test]
fn lies_end_with_an_error_or_with_the_whole() {
    type Lie = fn(&[Range<u64>]) -> Vec<u8>;
    let lies: [(&str, Lie); 6] = [
        ("parts in another order", |ranges| several(&blob(), &ranges.iter().rev().cloned().collect::<Vec<_>>())),
        ("one part left out", |ranges| several(&blob(), &ranges[1..])),
        ("other parts", |_| several(&blob(), &[1_500..1_600, 600_000..600_001])),
        ("no parts", |_| several(&blob(), &[])),
        ("another range", |_| single(&blob(), &(1_000..1_010))),
        ("a part without a place", |_| reply("206 Partial Content", "", b"abc")),
    ];
    for (what, lie) in lies {
        let answer = move |ranges: &[Range<u64>], _| if ranges.is_empty() { whole(&blob()) } else { lie(ranges) };
        let found = Server::start(answer).get(&blob(), &WANTED).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(found.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() == 201_008, "{what}");
    }
    let longer = Server::start(|ranges, _| right(&[blob(), vec![0]].concat(), ranges));
    assert!(matches!(longer.get(&blob(), &WANTED), Err(ClientError::Content { .. })));
    let shorter = Server::start(|_, _| whole(&blob()[1..]));
    assert!(matches!(shorter.get(&blob(), &WANTED), Err(ClientError::Content { .. })));
    let gone = Server::start(|_, _| reply("404 Not Found", "", b""));
    assert!(matches!(gone.get(&blob(), &WANTED), Err(ClientError::Status { .. })));
    let empty = Server::start(|_, _| reply("206 Partial Content", "", b""));
    assert!(empty.get(&blob(), &WANTED).is_err());
}
