//! Specification, "Pulling blobs", what a registry should do with `Range` (RFC 9110, section 14), and validators.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use wharf_tests::{Framing, Part, Repo, Response, Server, parts, random, sha256};

/// GET of a blob with a `Range`.
fn ranged(server: &Server, repo: &Repo<'_>, digest: &str, range: &str) -> Response {
    server.get(&repo.blob_path(digest)).header("Range", range).send()
}

/// One range of `blob`, inclusive.
fn part(blob: &[u8], first: usize, last: usize) -> Part {
    Part { first, last, size: blob.len(), bytes: blob[first..=last].to_vec() }
}

fn header(ranges: &[(usize, usize)]) -> String {
    let list: Vec<_> = ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect();
    format!("bytes={}", list.join(","))
}

/// Asks for all these ranges at once and holds every byte of the answer against the blob.
#[track_caller]
fn expect_ranges(server: &Server, repo: &Repo<'_>, blob: &[u8], ranges: &[(usize, usize)]) {
    let mut connection = server.connect();
    let request = server.get(&repo.blob_path(&sha256(blob))).header("Range", header(ranges));
    let answer = request.send_on(&mut connection).unwrap().expect(206);
    assert!(answer.header("Content-Type").starts_with("multipart/byteranges"), "{}", answer.describe());
    assert_eq!(answer.framing, Framing::Length(answer.body.len() as u64));
    let found = parts(&answer);
    assert_eq!(found.len(), ranges.len());
    for (found, (first, last)) in found.iter().zip(ranges) {
        assert!(*found == part(blob, *first, *last), "other bytes or places at {first}-{last}");
    }
    // The length was exact: the next answer begins where this one ended.
    server.get("/v2/").send_on(&mut connection).unwrap().expect(200);
}

/// One range: 206, its place, its bytes, and the same headers as the whole.
#[test]
fn a_single_range() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(10_000);
    let digest = repo.push_blob(&blob);
    for (first, last) in [(0, 0), (0, 99), (5_000, 7_499), (9_999, 9_999), (0, 9_999)] {
        let answer = ranged(&server, &repo, &digest, &header(&[(first, last)])).expect(206);
        assert_eq!(answer.header("Content-Range"), format!("bytes {first}-{last}/10000"));
        assert_eq!(answer.framing, Framing::Length((last - first + 1) as u64));
        assert!(answer.body == blob[first..=last]);
        assert_eq!(answer.header("Docker-Content-Digest"), digest);
        assert_eq!(answer.header("ETag"), format!("\"{digest}\""));
        assert_eq!(answer.header("Content-Type"), "application/octet-stream");
    }
}

/// From an offset to the end; an end beyond the blob's means the blob's.
#[test]
fn an_open_range() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(10_000);
    let digest = repo.push_blob(&blob);
    for (range, first) in [("bytes=0-", 0), ("bytes=9999-", 9_999), ("bytes=4321-", 4_321), ("bytes=4321-10000", 4_321)] {
        let answer = ranged(&server, &repo, &digest, range).expect(206);
        assert_eq!(parts(&answer), [part(&blob, first, 9_999)], "{range}");
    }
    let answer = ranged(&server, &repo, &digest, "bytes=1-18446744073709551615").expect(206);
    assert_eq!(parts(&answer), [part(&blob, 1, 9_999)]);
}

/// The last bytes; more than there are means all.
#[test]
fn a_suffix_range() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(10_000);
    let digest = repo.push_blob(&blob);
    for (range, first) in [("bytes=-1", 9_999), ("bytes=-500", 9_500), ("bytes=-10000", 0), ("bytes=-20000", 0)] {
        let answer = ranged(&server, &repo, &digest, range).expect(206);
        assert_eq!(parts(&answer), [part(&blob, first, 9_999)], "{range}");
    }
}

/// Large blobs: an interrupted pull goes on where it broke, and the halves make the whole.
#[test]
fn an_interrupted_pull_is_resumed() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(20 << 20);
    let digest = repo.push_blob(&blob);
    let answer = ranged(&server, &repo, &digest, "bytes=0-12345677").expect(206);
    let rest = ranged(&server, &repo, &digest, "bytes=12345678-").expect(206);
    assert!([answer.body, rest.body].concat() == blob);
}

/// Whatever an answer holds of a blob, it says of which, and that it may be kept for ever.
#[test]
fn every_answer_about_a_blob_names_it_and_may_be_kept() {
    let server = Server::start();
    let repo = server.repo("app");
    let digest = repo.push_blob(&random(10_000));
    let get = || server.get(&repo.blob_path(&digest));
    let head = || server.head(&repo.blob_path(&digest));
    let known = format!("\"{digest}\"");
    for (answer, status) in [
        (get().send(), 200),
        (head().send(), 200),
        (get().header("Range", "bytes=5-9").send(), 206),
        (get().header("Range", "bytes=5-9,0-0").send(), 206),
        (get().header("If-None-Match", &known).send(), 304),
        (head().header("If-None-Match", &known).send(), 304),
    ] {
        let answer = answer.expect(status);
        assert_eq!(answer.header("Docker-Content-Digest"), digest);
        assert_eq!(answer.header("ETag"), known);
        assert_eq!(answer.header("Cache-Control"), "max-age=31536000, immutable");
        assert_eq!(answer.header("Accept-Ranges"), "bytes");
    }
}

/// Several ranges, in the order asked for, which need not be theirs in the blob; adjacent ones are not joined.
#[test]
fn several_ranges_in_the_order_asked() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(10_000);
    repo.push_blob(&blob);
    expect_ranges(&server, &repo, &blob, &[(0, 9), (20, 29)]);
    expect_ranges(&server, &repo, &blob, &[(9_990, 9_999), (0, 0), (5_000, 5_999), (17, 17)]);
    expect_ranges(&server, &repo, &blob, &[(0, 9), (10, 19), (20, 29)]);
}

/// Suffix and open ranges among several, and blanks after the commas.
#[test]
fn several_ranges_of_every_form() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(10_000);
    let digest = repo.push_blob(&blob);
    let answer = ranged(&server, &repo, &digest, "bytes=10-19, -5 ,9900-9909,\t0-0").expect(206);
    let expected = [(10, 19), (9_995, 9_999), (9_900, 9_909), (0, 0)].map(|(first, last)| part(&blob, first, last));
    assert_eq!(parts(&answer), expected);
}

/// 1,024 ranges in one request, as a client fetching an image in chunks asks.
#[test]
fn a_thousand_ranges() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(4 << 20);
    repo.push_blob(&blob);
    let ranges: Vec<_> = (0..1_024).map(|n| (n * 4_000 + n % 7, n * 4_000 + 100 + n % 3_000)).collect();
    expect_ranges(&server, &repo, &blob, &ranges);
}

/// 4,096 ranges in one request.
#[test]
fn four_thousand_ranges() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(1 << 20);
    repo.push_blob(&blob);
    let ranges: Vec<_> = (0..4_096).map(|n| (n * 250, n * 250 + n % 200)).collect();
    expect_ranges(&server, &repo, &blob, &ranges);
}

/// Far more ranges than that are a 400, whereupon clients merge theirs and ask again.
#[test]
fn too_many_ranges_are_400() {
    let server = Server::start();
    let repo = server.repo("app");
    let digest = repo.push_blob(&random(1 << 20));
    let ranges: Vec<_> = (0..10_000).map(|n| (n * 100, n * 100 + 9)).collect();
    let answer = ranged(&server, &repo, &digest, &header(&ranges));
    assert_eq!(answer.status, 400, "{}", answer.describe());
}

/// 32 KiB of header fields are accepted.
#[test]
fn large_headers_are_accepted() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(100);
    let path = repo.blob_path(&repo.push_blob(&blob));
    let mut request = server.get(&path);
    for number in 0..8 {
        request = request.header(&format!("X-Padding-{number}"), "x".repeat(4_080));
    }
    assert_eq!(request.send().expect(200).body, blob);
    assert_eq!(server.get(&path).header("X-Padding", "x".repeat(32_768)).send().expect(200).body, blob);
}

/// Nothing of what was asked for exists: 416, with the size there is.
#[test]
fn what_cannot_be_is_416() {
    let server = Server::start();
    let repo = server.repo("app");
    let digest = repo.push_blob(&random(10_000));
    for range in ["bytes=10000-", "bytes=10000-10001", "bytes=-0", "bytes=10000-,20000-30000", "bytes=99999999999999999999-"] {
        let answer = ranged(&server, &repo, &digest, range).expect(416);
        assert_eq!(answer.header("Content-Range"), "bytes */10000", "{range}");
    }
    let empty = repo.push_blob(b"");
    for range in ["bytes=0-", "bytes=0-0"] {
        assert_eq!(ranged(&server, &repo, &empty, range).expect(416).header("Content-Range"), "bytes */0");
    }
}

/// Among several ranges those that cannot be are left out.
#[test]
fn impossible_ranges_among_others_are_left_out() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(10_000);
    let digest = repo.push_blob(&blob);
    let answer = ranged(&server, &repo, &digest, "bytes=5-9,10000-,0-0").expect(206);
    assert_eq!(parts(&answer), [part(&blob, 5, 9), part(&blob, 0, 0)]);
    let answer = ranged(&server, &repo, &digest, "bytes=20000-,5-9").expect(206);
    assert_eq!(parts(&answer), [part(&blob, 5, 9)]);
}

/// Ranges that ask for more than the whole blob, by repeating it, are refused: that is an attack, not a client.
#[test]
fn overlapping_ranges_beyond_the_size_are_416() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(10_000);
    let digest = repo.push_blob(&blob);
    for range in ["bytes=0-,0-", "bytes=0-9999,0-0", "bytes=0-6000,4000-9999", &header(&vec![(0, 9_999); 1_000])] {
        let answer = ranged(&server, &repo, &digest, range).expect_error(416, "UNSUPPORTED");
        assert!(answer.json()["errors"][0]["message"].as_str().unwrap().contains("overlap"), "{}", answer.describe());
    }
    // Overlap alone is none.
    expect_ranges(&server, &repo, &blob, &[(0, 99), (50, 149)]);
}

/// A unit that is not bytes is ignored; what cannot be read yields no part of the blob.
#[test]
fn what_is_no_range_is_ignored() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(1_000);
    let digest = repo.push_blob(&blob);
    for range in ["items=0-1", "0-1", "byte=0-1", "none"] {
        let answer = ranged(&server, &repo, &digest, range).expect(200);
        assert!(answer.body == blob, "{range}");
    }
    for range in ["bytes=", "bytes=a-b", "bytes=5-2", "bytes=1", "bytes=-", "bytes=--5", "bytes=0-1-2", "bytes=0x0-0x1"] {
        let answer = ranged(&server, &repo, &digest, range);
        assert!([200, 400, 416].contains(&answer.status), "{range}: {}", answer.describe());
        assert!(answer.status != 200 || answer.body == blob, "{range}");
    }
}

/// The unit is the same in any case.
#[test]
fn the_unit_is_read_in_any_case() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(1_000);
    let digest = repo.push_blob(&blob);
    for range in ["Bytes=0-1", "BYTES=0-1", "bYtEs=0-1"] {
        assert_eq!(parts(&ranged(&server, &repo, &digest, range)), [part(&blob, 0, 1)], "{range}");
    }
}

/// Two `Range` lines are no list of ranges: neither counts.
#[test]
fn two_ranges_on_two_lines_are_none() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(1_000);
    let digest = repo.push_blob(&blob);
    let ask = |name: &str, first: &str, second: &str| {
        let request = server.get(&repo.blob_path(&digest)).header("Range", "bytes=0-1");
        if name == "Range" { request.header(name, second) } else { request.header(name, first).header(name, second) }.send()
    };
    let known = format!("\"{digest}\"");
    for second in ["bytes=2-3", "bytes=0-1", "bytes=5000-", "x"] {
        assert!(ask("Range", "", second).expect(200).body == blob, "{second}");
    }
    assert!(ask("If-Range", &known, "\"other\"").expect(200).body == blob);
}

/// `If-Range`: the part if the blob is still the one meant, else the whole.
#[test]
fn if_range_guards_the_part() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(1_000);
    let digest = repo.push_blob(&blob);
    let ask = |validator: &str| {
        server.get(&repo.blob_path(&digest)).header("Range", "bytes=10-19").header("If-Range", validator).send()
    };
    assert_eq!(parts(&ask(&format!("\"{digest}\"")).expect(206)), [part(&blob, 10, 19)]);
    let weak = format!("W/\"{digest}\"");
    for other in ["\"sha256:other\"", &weak, "Sat, 01 Jan 2022 00:00:00 GMT"] {
        assert!(ask(other).expect(200).body == blob, "{other}");
    }
}

/// `Range` is for GET: HEAD tells of the whole.
#[test]
fn head_takes_no_notice_of_a_range() {
    let server = Server::start();
    let repo = server.repo("app");
    let digest = repo.push_blob(&random(1_000));
    let answer = server.head(&repo.blob_path(&digest)).header("Range", "bytes=0-9").send().expect(200);
    assert_eq!(answer.header("Content-Length"), "1000");
    assert_eq!(answer.get("Content-Range"), None);
}

/// `If-None-Match`: what the client has is not sent again, blob or manifest, GET or HEAD.
#[test]
fn what_the_client_has_is_304() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = repo.push_random("v1");
    let blob = sha256(&image.config);
    let mut connection = server.connect();
    for (path, digest) in [
        (repo.blob_path(&blob), &blob),
        (repo.manifest_path("v1"), &image.digest),
        (repo.manifest_path(&image.digest), &image.digest),
    ] {
        for method in ["GET", "HEAD"] {
            for known in [format!("\"{digest}\""), format!("\"x\", \"{digest}\""), format!("W/\"{digest}\""), "*".to_owned()] {
                let request = server.request(method, &path).header("If-None-Match", &known);
                let answer = request.send_on(&mut connection).unwrap().expect(304);
                assert_eq!(answer.header("ETag"), format!("\"{digest}\""));
                assert!(["0", ""].contains(&answer.get("Content-Length").unwrap_or("")), "{}", answer.describe());
            }
            let request = server.request(method, &path).header("If-None-Match", "\"sha256:other\"");
            request.send_on(&mut connection).unwrap().expect(200);
        }
    }
}

/// `If-None-Match`: a tag that has moved is sent.
#[test]
fn a_moved_tag_is_no_304() {
    let server = Server::start();
    let repo = server.repo("app");
    let first = repo.push_random("latest");
    let ask = || repo.manifest_request("GET", "latest").header("If-None-Match", format!("\"{}\"", first.digest)).send();
    ask().expect(304);
    let second = repo.push_random("latest");
    assert_eq!(ask().expect(200).body, second.manifest);
}

/// `If-None-Match` comes before `Range`.
#[test]
fn a_known_blob_is_304_with_a_range_too() {
    let server = Server::start();
    let repo = server.repo("app");
    let digest = repo.push_blob(&random(1_000));
    let request = server.get(&repo.blob_path(&digest)).header("Range", "bytes=0-9");
    request.header("If-None-Match", format!("\"{digest}\"")).send().expect(304);
}
