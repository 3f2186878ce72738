//! HTTP itself, as clients should not speak it: refused, nothing left behind, and the server goes on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use wharf_tests::{OCI_INDEX, Response, Scene, path_of, random, sha256, with_query};

/// A length shorter than the body cuts it: the digest is of more, so it is refused; the rest is no request.
#[test]
fn a_length_that_is_too_short() {
    let scene = Scene::new();
    let blob = random(1_000);
    let location = scene.repo().start_upload();
    let target = with_query(&location, &format!("digest={}", sha256(&blob)));
    let answer = scene.server.put(&target).header("Content-Length", "400").body(&blob).send();
    answer.expect_error(400, "DIGEST_INVALID");
    assert!(!scene.repo().has_blob(&sha256(&blob)));
    scene.expect_nothing_left();
}

/// Lengths that are none, or two, or contradict the transfer encoding, are refused before the body is looked at.
#[test]
fn contradictory_lengths() {
    let scene = Scene::new();
    let location = scene.repo().start_upload();
    for framing in [
        "Content-Length: -1",
        "Content-Length: x",
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: 99999999999999999999",
        "Content-Length: 3, 4",
        "Content-Length: +0",
        "Content-Length: +3",
        "Content-Length: 0x3",
        "Content-Length: 3 3",
        "Content-Length : 3",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: ",
        "Transfer-Encoding : chunked",
    ] {
        // Read as chunked it is three bytes, read with a length it is some.
        let request = format!("PATCH {location} HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
        let answer = scene.server.raw(request.as_bytes()).unwrap();
        assert!((400..=501).contains(&answer.status), "{framing}: {}", answer.describe());
        scene.repo().upload_status(&location).expect(204).expect_header("Range", "0-0");
    }
    scene.cancel(&location);
    scene.expect_nothing_left();
}

/// A transfer encoding is not of HTTP/1.0.
#[test]
fn a_transfer_encoding_in_http_1_0() {
    let scene = Scene::new();
    let location = scene.repo().start_upload();
    let request =
        format!("PATCH {location} HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    let mut connection = scene.server.connect();
    connection.write(request.as_bytes()).unwrap();
    let answer = String::from_utf8(connection.read_to_end().unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.0 400 "), "{answer}");
    scene.repo().upload_status(&location).expect(204).expect_header("Range", "0-0");
    scene.cancel(&location);
    scene.expect_nothing_left();
}

/// With a transfer encoding, a length is refused or means nothing, and the connection ends with the answer (RFC 9112, section 6.1): whoever goes by the one and
/// whoever goes by the other, nobody takes for a request what the other took for a body.
#[test]
fn a_length_beside_a_transfer_encoding() {
    let scene = Scene::new();
    for framing in ["Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5"] {
        let location = scene.repo().start_upload();
        let patch = format!("PATCH {location} HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
        let mut connection = scene.server.connect();
        connection.write(format!("{patch}GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
        let answer = connection.read_response("PATCH").unwrap();
        let expected = match answer.status {
            202 => "0-2",
            400 => "0-0",
            _ => panic!("{framing}: {}", answer.describe()),
        };
        assert_eq!(answer.header("Connection"), "close", "{framing}");
        assert!(connection.read_to_end().unwrap().is_empty(), "{framing}");
        scene.repo().upload_status(&location).expect(204).expect_header("Range", expected);
        scene.cancel(&location);
    }
    scene.expect_nothing_left();
}

/// Heads that two readers might read differently are refused.
#[test]
fn ambiguous_heads() {
    let scene = Scene::new();
    let head = |lines: &str| format!("GET /v2/ HTTP/1.1\r\n{lines}\r\n\r\n");
    let two = "Host: a\r\nHost: b";
    let same = "Host: a\r\nhost: a";
    for lines in [
        "X-A: 1",
        two,
        same,
        "Host: a\r\nX-A: 1\r\n folded",
        "Host: a\r\n X-A: 1",
        "Host: a\r\nX-A: b\rc",
        "Host: a\r\nX-A: 1\rX-B: 2",
        "Host: a\r\nX-A: b\0c",
        "Host: a\r\nX\0A: b",
        "Host: a\r\nX A: b",
        "Host: a\r\n: b",
        "Host: a\r\nX-A",
    ] {
        let answer = scene.server.raw(head(lines).as_bytes()).unwrap();
        assert_eq!(answer.status, 400, "{lines:?}: {}", answer.describe());
    }
    for lines in ["X-A: 1", two] {
        scene.server.raw(head(lines).as_bytes()).unwrap().expect_error(400, "UNSUPPORTED");
    }
    scene.server.raw(head("Host: a").as_bytes()).unwrap().expect(200);
    scene.server.raw(head("Host: ").as_bytes()).unwrap().expect(200);
    // Before HTTP/1.1 nobody had to say whom he meant.
    for (lines, status) in [("", " 200 "), ("Host: a\r\n", " 200 "), ("Host: a\r\nHost: a\r\n", " 400 ")] {
        let mut connection = scene.server.connect();
        connection.write(format!("GET /v2/ HTTP/1.0\r\n{lines}\r\n").as_bytes()).unwrap();
        let answer = String::from_utf8(connection.read_to_end().unwrap()).unwrap();
        assert_eq!(answer.get(8..13), Some(status), "{lines:?}: {answer}");
    }
    scene.expect_nothing_left();
}

/// A head may be long, but not without end: the status says what was too long of it.
#[test]
fn endless_heads() {
    let scene = Scene::new();
    let lines = |count: usize| format!("GET /v2/ HTTP/1.1\r\nHost: h\r\n{}\r\n", "X-Field: 1\r\n".repeat(count));
    scene.server.raw(lines(90).as_bytes()).unwrap().expect(200);
    assert_eq!(scene.server.raw(lines(200).as_bytes()).unwrap().status, 431);
    let long = |length: usize| format!("GET /v2/?x={} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(length));
    scene.server.raw(long(8_000).as_bytes()).unwrap().expect(200);
    assert_eq!(scene.server.raw(long(70_000).as_bytes()).unwrap().status, 414);
    scene.expect_nothing_left();
}

/// Requests that come at once are answered in order, whatever becomes of each: what is left of a refused body is no request.
#[test]
fn requests_in_a_row() {
    let scene = Scene::new();
    let location = scene.repo().start_upload();
    let inner = "GET /v2/smuggled/tags/list HTTP/1.1\r\nHost: h\r\n\r\n";
    // As much as is in memory with its head, and more than that.
    for body in [inner.to_owned(), inner.repeat(20_000)] {
        let (length, unknown) = (body.len(), format!("PATCH {location}0 HTTP/1.1\r\nHost: h\r\n"));
        for (head, body, status) in [
            (
                format!("PATCH {location} HTTP/1.1\r\nHost: h\r\nContent-Range: 7-9\r\nContent-Length: {length}"),
                body.clone(),
                416,
            ),
            (format!("{unknown}Content-Length: {length}"), body.clone(), 404),
            (format!("{unknown}Transfer-Encoding: chunked"), format!("{length:x}\r\n{body}\r\n0\r\n\r\n"), 404),
            // A body that nobody asked for.
            (format!("GET /v2/a..b/tags/list HTTP/1.1\r\nHost: h\r\nContent-Length: {length}"), body.clone(), 400),
        ] {
            let more = "GET /v2/ HTTP/1.1\r\nHost: h\r\n\r\nHEAD /healthz HTTP/1.1\r\nHost: h\r\n\r\n";
            let mut connection = scene.server.connect();
            connection.write(format!("{head}\r\n\r\n{body}{more}").as_bytes()).unwrap();
            assert_eq!(connection.read_response("PATCH").unwrap().status, status, "{head}");
            connection
                .read_response("GET")
                .unwrap()
                .expect(200)
                .expect_header("Wharf-Features", "manifest-if-match, mount-from-any, stored-only");
            connection.read_response("HEAD").unwrap().expect(200);
        }
    }
    // One that is answered has its body thrown away as well.
    let mut connection = scene.server.connect();
    let with_body = format!("GET /v2/ HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{inner}", inner.len());
    connection.write(with_body.repeat(3).as_bytes()).unwrap();
    for _ in 0..3 {
        connection.read_response("GET").unwrap().expect(200);
    }
    scene.repo().upload_status(&location).expect(204).expect_header("Range", "0-0");
    scene.cancel(&location);
    scene.expect_nothing_left();
}

/// Who waits for the permission to send a body that is not wanted gets the refusal instead, and need not send it.
#[test]
fn a_refusal_instead_of_permission() {
    let scene = Scene::new();
    let repo = scene.repo();
    let blob = random(5_000_000);
    let location = path_of(repo.patch(&repo.start_upload(), 0, b"abc").expect(202).header("Location"));
    for (request, status) in [
        (scene.server.patch(&format!("{location}0")), 404),
        (scene.server.patch(&location).header("Content-Range", "7-5000006"), 416),
        (repo.put_request("v1", OCI_INDEX, b""), 413),
        (scene.server.put(&location), 400),
    ] {
        let request = request.header("Expect", "100-continue").body(&blob);
        let answer = request.send_beginning(0).read_response("PUT").unwrap();
        assert_eq!((answer.status, answer.interim.as_slice()), (status, [].as_slice()), "{}", answer.describe());
    }
    repo.upload_status(&location).expect(204).expect_header("Range", "0-2");
    scene.cancel(&location);
    scene.expect_nothing_left();
}

/// A chunked body with a broken chunk header is a broken body.
#[test]
fn a_malformed_chunk() {
    let scene = Scene::new();
    let location = scene.repo().start_upload();
    let target = with_query(&location, &format!("digest={}", sha256(b"abc")));
    let request = format!("PUT {target} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nZZ\r\n");
    if let Ok(answer) = scene.server.raw(request.as_bytes()) {
        assert!(answer.status >= 400, "{}", answer.describe());
    }
    assert!(!scene.repo().has_blob(&sha256(b"abc")));
    scene.cancel(&location);
    scene.expect_nothing_left();
}

/// Nothing on a connection counts behind fields that follow a last chunk, nor behind a chunked body that nobody asked for: where a line feed alone is the end of
/// the body for whoever is in front, and a part of such a field here, the two would see different requests.
#[test]
fn trailers_are_the_end() {
    let scene = Scene::new();
    let location = scene.repo().start_upload();
    let inner = "GET /v2/ HTTP/1.1\r\nHost: h\r\n\r\n";
    let hidden = "\nHEAD /v2/ HTTP/1.1\r\nHost: h\r\nContent-Length: 34\r\n\r\n";
    for (asked, end, status) in [
        (format!("PATCH {location}"), "X-A: b\r\n\r\n", 202),
        (format!("PATCH {location}0"), "X-A: b\r\n\r\n", 404),
        ("GET /v2/".to_owned(), "X-A: b\r\n\r\n", 200),
        ("GET /v2/".to_owned(), "\r\n", 200),
        (format!("PATCH {location}"), &format!("X-A: b\r\n{hidden}"), 202),
        ("GET /v2/".to_owned(), &format!("X-A: b\r\n{hidden}"), 200),
        (format!("PATCH {location}"), "\r\n", 202),
    ] {
        let request = format!("{asked} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n{end}{inner}");
        let mut connection = scene.server.connect();
        connection.write(request.as_bytes()).unwrap();
        let answer = connection.read_response("PATCH").unwrap();
        assert_eq!(answer.status, status, "{request:?}: {}", answer.describe());
        // Only a body that was read to an end that is plain to all leaves the connection open.
        if end == "\r\n" && asked.starts_with("PATCH") {
            connection.read_response("GET").unwrap().expect(200);
        } else {
            assert_eq!(answer.header("Connection"), "close", "{request:?}");
            assert!(connection.read_to_end().unwrap().is_empty(), "{request:?}");
        }
    }
    scene.cancel(&location);
    scene.expect_nothing_left();
}

/// What is not HTTP at all ends its connection, and nothing more.
#[test]
fn what_is_not_http() {
    let scene = Scene::new();
    let long_line = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(3 << 20));
    let many_fields = format!("GET /v2/ HTTP/1.1\r\nHost: h\r\n{}\r\n", "X-Field: 1\r\n".repeat(50_000));
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let refused = |answer: std::io::Result<Response>| answer.map_or(true, |a| (400..=505).contains(&a.status));
    for bytes in
        [long_line.as_bytes(), many_fields.as_bytes(), tls, b"\0\0\0\0\r\n\r\n", b"GET\r\n\r\n", b"GET /v2/ HTTP/9.9\r\n\r\n"]
    {
        assert!(refused(scene.server.raw(bytes)), "{:?}…", String::from_utf8_lossy(&bytes[..bytes.len().min(40)]));
    }
    scene.expect_nothing_left();
}
