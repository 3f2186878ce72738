//! Mutated input for every parser of what clients send, for a bounded time: `FUZZ_SECONDS` each, one by default.
//!
//! An input that makes a parser panic, or breaks what the parser promises, fails the test with the input itself, which
//! then belongs into that parser's own tests.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::time::{Duration, Instant};

use fastrand::Rng;
use wharf_oci::{Digest, Manifest, Reference, RepositoryName, Tag};
use wharf_registry::fuzzing;
use wharf_tests::SmallDisk;
use wharf_volumes::frame;
use wharf_volumes::server::{Server, Volume};

/// Longer inputs cost time and find nothing that shorter ones do not: the grammars have no long-range rules but lengths,
/// of which the longest is a name's 255 bytes.
const LONGEST: usize = 4096;

/// How long one parser is fed.
fn duration() -> Duration {
    let seconds = std::env::var("FUZZ_SECONDS").ok().map(|text| text.parse().expect("FUZZ_SECONDS is a number"));
    Duration::from_secs_f64(seconds.unwrap_or(1.0))
}

/// Feeds mutations of the seeds, and of each other, to `target`.
fn fuzz(seeds: &[&[u8]], target: impl Fn(&[u8])) {
    let seed = fastrand::u64(..);
    let mut random = Rng::with_seed(seed);
    let mut pool: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.to_vec()).collect();
    let end = Instant::now() + duration();
    let mut count = 0_u64;
    while count < 1000 || Instant::now() < end {
        let mut input = pool[random.usize(..pool.len())].clone();
        for _ in 0..random.usize(1..5) {
            mutate(&mut input, &pool, &mut random);
        }
        input.truncate(LONGEST);
        let outcome = catch_unwind(AssertUnwindSafe(|| target(&input)));
        assert!(outcome.is_ok(), "broken by \"{}\" (seed {seed})", input.escape_ascii());
        // The seeds stay; the rest of the pool drifts, so that mutations add up.
        if pool.len() < 256 {
            pool.push(input);
        } else if random.u8(..) == 0 {
            let place = random.usize(seeds.len()..pool.len());
            pool[place] = input;
        }
        count += 1;
    }
    println!("{count} inputs");
}

/// One change: bytes of a grammar's own alphabet rather than any, since most others are refused at once.
fn mutate(input: &mut Vec<u8>, pool: &[Vec<u8>], random: &mut Rng) {
    const ALPHABET: &[u8] = b"/:@-_.,=*+?&%\"\\{}[]<> \0\r\n019azAZ\x7f\xc3\xa9\xff";
    let byte = ALPHABET[random.usize(..ALPHABET.len())];
    let place = random.usize(..=input.len());
    match random.u8(..6) {
        0 => input.insert(place, byte),
        1 if place < input.len() => input[place] = byte,
        2 if place < input.len() => drop(input.remove(place)),
        3 if place < input.len() => input[place] ^= 1 << random.u8(..8),
        4 => {
            let other = &pool[random.usize(..pool.len())];
            let cut = random.usize(..=other.len());
            input.truncate(place);
            input.extend_from_slice(&other[cut..]);
        }
        _ => {
            let end = random.usize(place..=input.len());
            let copy = input[place..end].repeat(random.usize(1..20));
            input.splice(place..place, copy);
        }
    }
}

#[test]
fn what_callers_show_and_ask_for_is_read_without_harm() {
    use wharf_access::fuzzing;
    fuzz(
        &[
            b"Basic YTpzZWNyZXQ=",
            b"Bearer eyJhbGciOiJIUzI1NiIsImtpZCI6IjEifQ.eyJpc3MiOiJ3aGFyZiJ9.AAAA",
            b"Bearer wharf_x",
            b"Bearer eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2NpLmV4YW1wbGUifQ.AA",
        ],
        fuzzing::header,
    );
    fuzz(&[b"repository:a/b:pull,push repository(plugin):c:*", b"registry:catalog:*"], fuzzing::scope);
    fuzz(&[b"yocto/** yocto/a/b", b"*/app x/app", b"a*b*c abc"], fuzzing::pattern);
    fuzz(&[b"# ours\na:$2y$05$x\n\nb:{SHA}x\n"], fuzzing::users);
}

/// What is accepted is written as it was read.
fn reads_back<T: FromStr + ToString>(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(value) = T::from_str(text) {
        assert_eq!(value.to_string(), text);
    }
}

const SHA256: &[u8] = b"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn request_lines() {
    let seeds: [&[u8]; 8] = [
        b"/v2/",
        b"/v2/_catalog?n=10&last=a%2Fb",
        b"/v2/yocto/container-base/tags/list?n=5&last=v1",
        b"/v2/a/manifests/latest",
        b"/v2/a/manifests/sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855?tag=a&tag=b",
        b"/v2/a/blobs/uploads/?mount=sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855&from=b",
        b"/v2/a/blobs/uploads/6f1f2a1e-57fb-4a4c-8c4a-3a9f4b4d1c11?digest=sha512:00",
        b"/v2/a/referrers/sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855?artifactType=x/y",
    ];
    fuzz(&seeds, fuzzing::endpoint);
}

#[test]
fn ranges() {
    let seeds: [&[u8]; 6] =
        [b"bytes=0-99", b"bytes=-5", b"bytes=5-", b"bytes=0-0, 2-2,-1", b"0-99", b"bytes 0-18446744073709551615/*"];
    fuzz(&seeds, fuzzing::range);
}

#[test]
fn conditions() {
    let seeds: [&[u8]; 4] = [
        b"*",
        b"\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"",
        b"W/\"a\", \"b\"",
        b"Wed, 21 Oct 2015 07:28:00 GMT",
    ];
    fuzz(&seeds, fuzzing::conditional);
}

#[test]
fn names() {
    let seeds: [&[u8]; 5] = [b"yocto/container-base", b"a__b/c--d.e", b"latest", b"v1.2.3-rc_1", SHA256];
    fuzz(&seeds, |data| {
        reads_back::<RepositoryName>(data);
        reads_back::<Tag>(data);
        reads_back::<Digest>(data);
        reads_back::<Reference>(data);
    });
}

#[test]
fn manifests() {
    let manifest = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"a/b","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":2,"data":"e30="},"layers":[],"subject":{"mediaType":"x/y","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"annotations":{"a":"b"}}"#;
    let index = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0,"urls":["x"],"platform":{"architecture":"arm64","os":"linux"}}]}"#;
    fuzz(&[manifest, index, b"[[[[", b"{\"a\":"], |data| {
        for declared in ["application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json", "x/y"] {
            let _ = Manifest::parse(data, declared);
        }
    });
}

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

/// Whatever a guest sends, the server of its volumes goes on until the guest's end, answers in frames that a kernel accepts, and neither changes nor
/// tells what lies beside the folder.
#[test]
fn volume_requests() {
    // Requests can ask for all the room there is.
    let disk = SmallDisk::mount();
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let place = disk.as_ref().map_or(scratch.path().to_owned(), SmallDisk::point);
    let (inside, outside) = (place.join("inside"), place.join("outside"));
    std::fs::create_dir_all(inside.join("d")).expect("a folder");
    std::fs::write(&outside, "canary").expect("a file");
    std::os::unix::fs::symlink("../outside", inside.join("l")).expect("a link");
    let server = Server::new();
    let volume = Volume { id: 1, path: inside, read_only: false };
    server.add(&volume).expect("a volume");

    let init = request(26, 0, &body(&[(31 << 32) | 7, u64::MAX], b""));
    let look = [&init[..], &request(1, 1, b"d\0"), &request(1, 1, b"l\0"), &request(1, 2, b"f\0")].concat();
    let with = |more: &[Vec<u8>]| [&look[..], &more.concat()].concat();
    let open = request(14, 4, &body(&[2], b""));
    let seeds = [
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
    ];
    let seeds: Vec<&[u8]> = seeds.iter().map(Vec::as_slice).collect();
    fuzz(&seeds, |data| {
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
        assert_eq!(std::fs::read(&outside).expect("a file"), b"canary");
        assert_eq!(
            std::fs::read_dir(&place)
                .expect("a folder")
                .filter(|entry| entry.as_ref().is_ok_and(|e| e.file_name() != "lost+found"))
                .count(),
            2
        );
    });
}
