//! A guest that sends what no kernel would.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use rustix::io::Errno;
use wharf_volumes::frame;
use wharf_volumes::server::{Error, Server, Volume};

struct Guest {
    port: UnixStream,
    server: JoinHandle<Result<(), Error>>,
    folder: tempfile::TempDir,
}

const LOOKUP: u32 = 1;
const READ: u32 = 15;
const WRITE: u32 = 16;
const INIT: u32 = 26;
const GETATTR: u32 = 3;
const MKDIR: u32 = 9;

impl Guest {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (port, theirs) = UnixStream::pair().unwrap();
        let server = Server::new();
        server.add(&Volume { id: 1, path: folder.path().into(), read_only: false }).unwrap();
        let server = std::thread::spawn(move || server.serve(&theirs, &theirs));
        Self { port, server, folder }
    }

    /// Sends a message and gives the body or the error of the reply.
    fn ask(&self, volume: u32, message: &[u8]) -> Result<Vec<u8>, Errno> {
        self.send(volume, message);
        let mut header = [0; frame::HEADER];
        (&self.port).read_exact(&mut header).unwrap();
        let (length, from) = frame::parse(header).unwrap();
        assert_eq!(from, volume);
        let mut reply = vec![0; length];
        (&self.port).read_exact(&mut reply).unwrap();
        assert_eq!(reply[..4], u32::try_from(length).unwrap().to_le_bytes());
        assert_eq!(reply[8..16], 77_u64.to_le_bytes());
        match i32::from_le_bytes(reply[4..8].try_into().unwrap()) {
            0 => Ok(reply.split_off(16)),
            error => Err(Errno::from_raw_os_error(-error)),
        }
    }

    fn send(&self, volume: u32, message: &[u8]) {
        let header = frame::header(message.len(), volume);
        (&self.port).write_all(&[&header[..], message].concat()).unwrap();
    }

    /// It still answers as it should.
    fn is_well(&self) {
        let reply = self.ask(1, &message(GETATTR, 1, &[0; 16])).unwrap();
        assert_eq!(reply.len(), 104);
    }
}

fn message(opcode: u32, node: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(40 + body.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend_from_slice(&opcode.to_le_bytes());
    bytes.extend_from_slice(&77_u64.to_le_bytes());
    bytes.extend_from_slice(&node.to_le_bytes());
    bytes.extend_from_slice(&[0; 16]);
    bytes.extend_from_slice(body);
    bytes
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn names_that_are_none() {
    let guest = Guest::new();
    for name in [&b"..\0"[..], b".\0", b"\0", b"a/b\0", b"/etc\0", b"../x\0", b"no end", b""] {
        assert_eq!(guest.ask(1, &message(LOOKUP, 1, name)), Err(Errno::INVAL), "{}", name.escape_ascii());
        let made = guest.ask(1, &message(MKDIR, 1, &[&[0xff, 1, 0, 0, 0, 0, 0, 0], name].concat()));
        assert_eq!(made, Err(Errno::INVAL));
    }
    let long = [&[b'n'; 256][..], b"\0"].concat();
    assert_eq!(guest.ask(1, &message(LOOKUP, 1, &long)), Err(Errno::NAMETOOLONG));
    guest.is_well();
    assert_eq!(std::fs::read_dir(guest.folder.path()).unwrap().count(), 0);
}

#[test]
fn lengths_and_numbers_that_are_wrong() {
    let guest = Guest::new();
    // No request at all, and one of which only the number can be told.
    guest.send(1, b"");
    guest.send(1, &[0xff; 39]);
    let mut wrong = message(GETATTR, 1, &[0; 16]);
    wrong[0] += 1;
    assert_eq!(guest.ask(1, &wrong), Err(Errno::INVAL));
    assert_eq!(guest.ask(1, &message(GETATTR, 1, &[0; 15])), Err(Errno::INVAL));
    // Forgotten are those that are named, not those that are counted; nothing comes back.
    guest.send(1, &message(42, 0, &words(&[u64::from(u32::MAX), 1, 1])));
    guest.send(1, &message(2, 999, &words(&[u64::MAX])));
    guest.send(1, &message(36, 0, &words(&[5])));
    assert_eq!(guest.ask(2, &message(GETATTR, 1, &[0; 16])), Err(Errno::NODEV));
    for node in [0, 2, u64::MAX] {
        assert_eq!(guest.ask(1, &message(GETATTR, node, &[0; 16])), Err(Errno::STALE));
    }
    for opcode in [0, 7, 19, 31, 50, 52, 4096, u32::MAX] {
        assert_eq!(guest.ask(1, &message(opcode, 1, &[0; 64])), Err(Errno::NOSYS));
    }
    // More than anyone agreed on, from a handle that there is none of.
    assert_eq!(guest.ask(1, &message(READ, 1, &words(&[1, 0, u64::from(u32::MAX), 0, 0]))), Err(Errno::INVAL));
    assert_eq!(guest.ask(1, &message(READ, 1, &words(&[1, 0, 10, 0, 0]))), Err(Errno::BADF));
    assert_eq!(guest.ask(1, &message(WRITE, 1, &words(&[1, 0, 10, 0, 0]))), Err(Errno::INVAL));
    guest.is_well();
    guest.port.shutdown(Shutdown::Write).unwrap();
    guest.server.join().unwrap().unwrap();
}

#[test]
fn versions() {
    let guest = Guest::new();
    let init = |major: u64, minor: u64| guest.ask(1, &message(INIT, 0, &words(&[minor << 32 | major, u64::MAX])));
    assert_eq!(init(7, 27), Err(Errno::PROTO));
    assert_eq!(init(6, 99), Err(Errno::PROTO));
    for (minor, agreed) in [(28, 28), (37, 37), (45, 37)] {
        let reply = init(7, minor).unwrap();
        assert_eq!((reply.len(), reply[0], reply[4]), (64, 7, agreed));
    }
    // A newer kernel comes again with the older one.
    assert_eq!(init(8, 0).unwrap()[0], 7);
}

#[test]
fn what_is_no_frame_ends_it() {
    let guest = Guest::new();
    guest.is_well();
    (&guest.port).write_all(&[0xff; 8]).unwrap();
    assert!(matches!(guest.server.join().unwrap(), Err(Error::Frame)));
}

/// Killed in the middle of a message, as guests are.
#[test]
fn an_end_anywhere_is_an_end() {
    for length in [1, 8, 20] {
        let guest = Guest::new();
        (&guest.port).write_all(&[&frame::header(40, 1)[..], &[0; 40]].concat()[..length]).unwrap();
        guest.port.shutdown(Shutdown::Both).unwrap();
        guest.server.join().unwrap().unwrap();
    }
}

/// Gone before its answers are: as much an end.
#[test]
fn a_guest_that_does_not_wait_for_answers() {
    for _ in 0..20 {
        let guest = Guest::new();
        for _ in 0..200 {
            guest.send(1, &message(GETATTR, 1, &[0; 16]));
        }
        drop(guest.port);
        guest.server.join().unwrap().unwrap();
    }
}
