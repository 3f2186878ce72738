//! What comes out of a virtual machine, whose owner is whoever runs in it.

use std::fs;

use wharf_guest_protocol::{CONTROL, Event, Request, Stream, read, write};
use wharf_tests::SmallDisk;
use wharf_volumes::frame;
use wharf_volumes::server::{Server, Volume};

use super::scratch;
use crate::{Feed, LONGEST, Target};

/// Frames with messages of either side. What is read is written as it was.
pub(crate) const PROTOCOL: Target = Target {
    name: "guest-protocol",
    seeds: || {
        let framed = |messages: &[&str]| {
            let mut bytes = Vec::new();
            messages.iter().for_each(|message| write(&mut bytes, CONTROL, message.as_bytes()).expect("a vector takes all"));
            write(&mut bytes, 5, b"output").expect("a vector takes all");
            bytes
        };
        vec![
            framed(&[
                r#"{"event":"ready","kernel":"6.1","version":"0.1.0"}"#,
                r#"{"event":"failed","id":1,"message":"no","hint":null,"code":127}"#,
                r#"{"event":"done","id":2,"report":null}"#,
                r#"{"event":"credit","stream":{"process":1,"kind":"out"},"bytes":4096}"#,
            ]),
            framed(&[
                r#"{"request":"ask","id":1,"task":{"task":"wake","random":"00","unix_nanos":1}}"#,
                r#"{"request":"signal","process":1,"signal":15}"#,
            ]),
        ]
    },
    grow: None,
    longest: LONGEST,
    start: || {
        Box::new(|data| {
            let mut from = data;
            let mut written = Vec::new();
            while let Ok(Some(frame)) = read(&mut from) {
                write(&mut written, frame.channel, &frame.payload).expect("a vector takes all");
                let _ = Stream::of_channel(frame.channel).map(|stream| assert_eq!(stream.channel(), frame.channel));
                if let Ok(event) = serde_json::from_slice::<Event>(&frame.payload) {
                    let again = serde_json::to_vec(&event).expect("JSON");
                    assert_eq!(serde_json::from_slice::<Event>(&again).ok(), Some(event));
                }
                if let Ok(request) = serde_json::from_slice::<Request>(&frame.payload) {
                    let again = serde_json::to_vec(&request).expect("JSON");
                    assert_eq!(serde_json::from_slice::<Request>(&again).ok(), Some(request));
                }
            }
            assert!(data.starts_with(&written));
        })
    },
};

/// One FUSE request of a guest in its frame, as Linux' `include/uapi/linux/fuse.h` has it.
fn request(opcode: u32, node: u64, body: &[u8]) -> Vec<u8> {
    let length = 40 + body.len();
    let mut bytes = frame::header(length, 1).to_vec();
    bytes.extend_from_slice(&(length as u32).to_le_bytes());
    bytes.extend_from_slice(&opcode.to_le_bytes());
    bytes.extend_from_slice(&7_u64.to_le_bytes());
    bytes.extend_from_slice(&node.to_le_bytes());
    bytes.extend_from_slice(&[0; 16]);
    bytes.extend_from_slice(body);
    bytes
}

/// 64-bit words in little-endian order, then text.
fn body(words: &[u64], text: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<_> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.extend_from_slice(text);
    bytes
}

/// Requests that get somewhere: files made, opened, read, written, copied, moved and removed.
fn requests() -> Vec<Vec<u8>> {
    let init = request(26, 0, &body(&[(31 << 32) | 7, u64::MAX], b""));
    let look = [&init[..], &request(1, 1, b"d\0"), &request(1, 1, b"l\0"), &request(1, 2, b"f\0")].concat();
    let with = |more: &[Vec<u8>]| [&look[..], &more.concat()].concat();
    let open = request(14, 4, &body(&[2], b""));
    vec![
        with(&[
            request(35, 2, &body(&[(0o644 << 32) | 0o102, 0], b"f\0")),
            open.clone(),
            request(15, 4, &body(&[1, 0, 4096, 0, 0], b"")),
        ]),
        with(&[open, request(16, 4, &body(&[1, 5, 6, 0, 0], b"../out")), request(46, 4, &body(&[1, 0, 3], b""))]),
        with(&[
            request(27, 1, &body(&[0], b"")),
            request(44, 1, &body(&[1, 0, 4096, 0, 0], b"")),
            request(28, 1, &body(&[1, 1, 99, 0, 0], b"")),
        ]),
        with(&[request(45, 1, &body(&[2, 1], b"d\0../outside\0")), request(12, 1, &body(&[1], b"l\0m\0"))]),
        with(&[
            request(6, 1, b"s\0/etc/passwd\0"),
            request(9, 1, &body(&[0o755], b"..\0")),
            request(8, 1, &body(&[0o010_644, 0], b"p\0")),
        ]),
        with(&[request(10, 1, b"f\0"), request(11, 1, b"d\0"), request(13, 2, &body(&[3], b"hard\0")), request(5, 3, b"")]),
        with(&[
            request(4, 2, &body(&[0x1ff, 1, 77, 0, 0, 0, 0, 0, 0o777, 0, 0], b"")),
            request(3, 2, &body(&[1, 1], b"")),
            request(17, 1, b""),
        ]),
        with(&[
            request(21, 2, &body(&[5], b"user.a\0value")),
            request(22, 2, &body(&[10], b"user.a\0")),
            request(23, 2, &body(&[100], b"")),
        ]),
        with(&[
            request(47, 4, &body(&[1, 0, 4, 1, 9, 5, 0], b"")),
            request(42, 0, &body(&[2, 2, 1, 3, 1], b"")),
            request(2, 4, &body(&[1], b"")),
        ]),
    ]
}

/// Whatever a guest sends, the server of its volumes goes on until the guest's end, answers in frames that a kernel accepts, and neither changes nor
/// tells what lies beside the folder.
pub(crate) const VOLUME: Target = Target { name: "volume", seeds: requests, grow: None, longest: LONGEST, start: volumes };

fn volumes() -> Feed {
    // Requests can ask for all the room there is.
    let disk = SmallDisk::mount();
    let folder = scratch();
    let place = disk.as_ref().map_or(folder.path().to_owned(), SmallDisk::point);
    let (inside, outside) = (place.join("inside"), place.join("outside"));
    fs::create_dir_all(inside.join("d")).expect("a folder");
    fs::write(&outside, "canary").expect("a file");
    std::os::unix::fs::symlink("../outside", inside.join("l")).expect("a link");
    let server = Server::new();
    server.add(&Volume { id: 1, path: inside, read_only: false }).expect("a volume");
    Box::new(move |data| {
        let _kept = (&disk, &folder);
        let mut replies = Vec::new();
        let _ = server.serve(data, &mut replies);
        let mut rest = &replies[..];
        while let Some((header, more)) = rest.split_first_chunk() {
            let (length, _) = frame::parse(*header).expect("a frame");
            let (message, more) = more.split_at(length);
            let own = message.first_chunk().map(|length| u32::from_le_bytes(*length));
            assert_eq!(own, Some(length as u32));
            assert!(!message.windows(6).any(|text| text == b"canary"));
            rest = more;
        }
        assert_eq!(fs::read(&outside).expect("a file"), b"canary");
        let beside = fs::read_dir(&place).expect("a folder").flatten().filter(|entry| entry.file_name() != "lost+found");
        assert_eq!(beside.count(), 2);
    })
}
