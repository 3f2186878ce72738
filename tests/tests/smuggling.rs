//! Requests hidden in others, raw on the wire: each is refused and ends its connection, or has exactly one answer, and what was hidden in it has none. (More of the
//! kind is in wire.rs.)
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::io::ErrorKind;

use wharf_tests::Scene;

/// What is hidden: answered by itself it is a 404.
const HIDDEN: &str = "GET /v2/hidden/tags/list HTTP/1.1\r\nHost: h\r\n\r\n";
/// What comes openly behind everything else.
const NEXT: &str = "GET /v2/ HTTP/1.1\r\nHost: h\r\n\r\n";

/// The statuses of all answers until the connection ends. `whole` are the requests that any reader sees, to whose answers the client waits before it says that
/// nothing more comes.
fn answers(scene: &Scene, bytes: &[u8], whole: usize) -> Vec<u16> {
    let mut connection = scene.server.connect();
    connection.accept_older();
    connection.write(bytes).unwrap();
    let mut statuses = Vec::new();
    loop {
        if statuses.len() == whole {
            connection.finish_writing();
        }
        match connection.read_response("GET") {
            Ok(answer) => statuses.push(answer.status),
            Err(error) if [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset].contains(&error.kind()) => return statuses,
            Err(error) => panic!("{statuses:?}, then {error}: {}", bytes.escape_ascii()),
        }
    }
}

/// Sends what `make` puts in the place of an upload to it; answers must be one of these lists.
#[track_caller]
fn expect(scene: &Scene, what: &str, request: &str, lists: &[&[u16]]) {
    let location = scene.repo().start_upload();
    let bytes = request.replace("{upload}", &location);
    let most = lists.iter().map(|list| list.len()).max().unwrap();
    let found = answers(scene, bytes.as_bytes(), most);
    assert!(lists.contains(&found.as_slice()), "{what}: {found:?}, not one of {lists:?}");
    scene.server.delete(&location).send();
}

/// The head of a request with a body, with these lines.
fn patch(lines: &str) -> String {
    format!("PATCH {{upload}} HTTP/1.1\r\nHost: h\r\n{lines}\r\n\r\n")
}

#[test]
fn a_length_and_a_transfer_encoding() {
    let scene = Scene::new();
    // The whole is one body by the length, and by the encoding a body that is empty.
    let body = format!("0\r\n\r\n{HIDDEN}");
    for lines in [
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked", body.len()),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {}", body.len()),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\nConnection: keep-alive", body.len()),
    ] {
        expect(&scene, &lines, &format!("{}{body}{NEXT}", patch(&lines)), &[&[202], &[400]]);
    }
    // And the other way round.
    let body = format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len());
    let lines = "Content-Length: 4\r\nTransfer-Encoding: chunked";
    expect(&scene, lines, &format!("{}{body}{NEXT}", patch(lines)), &[&[202], &[400]]);
}

#[test]
fn a_transfer_encoding_that_some_overlook() {
    let scene = Scene::new();
    let body = format!("0\r\n\r\n{HIDDEN}");
    for lines in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        "Transfer-Encoding: x\r\nTransfer-encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunkedx",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding: chunked\x0b",
        "Transfer-Encoding: chunked\0",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        " Transfer-Encoding: chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding:\n chunked",
        "X: y\rTransfer-Encoding: chunked",
        "Transfer_Encoding: chunked\r\nTransfer-Encoding: cow",
        "Transfer-Encoding: chunked, cow",
    ] {
        let lines = format!("{lines}\r\nContent-Length: {}", body.len());
        expect(&scene, &lines, &format!("{}{body}{NEXT}", patch(&lines)), &[&[400]]);
    }
    let old = format!(
        "PATCH {{upload}} HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n{body}{NEXT}"
    );
    expect(&scene, "HTTP/1.0", &old, &[&[400]]);
}

#[test]
fn lengths_that_are_said_twice() {
    let scene = Scene::new();
    let length = HIDDEN.len();
    for lines in [
        format!("Content-Length: 0\r\nContent-Length: {length}"),
        format!("Content-Length: {length}\r\nContent-Length: 0"),
        format!("Content-Length: {length}, 0"),
        format!("Content-Length: {length}\r\nContent-Length: x"),
        format!("Content-Length: 0\r\n content-length: {length}"),
        format!("Content-Length:\r\n {length}"),
        format!("Content-Length : {length}"),
        format!("Content-Length: 0{length}x"),
        format!("Content-Length: -0\r\nContent-Length: {length}"),
    ] {
        expect(&scene, &lines, &format!("{}{HIDDEN}{NEXT}", patch(&lines)), &[&[400]]);
    }
    // Twice the same is the same, or refused; by all it is the body.
    let lines = format!("Content-Length: {length}\r\nContent-Length: {length}");
    expect(&scene, &lines, &format!("{}{HIDDEN}{NEXT}", patch(&lines)), &[&[202, 200], &[400]]);
    let lines = format!("X_Content-Length: 0\r\nContent-Length: 00{length}");
    expect(&scene, &lines, &format!("{}{HIDDEN}{NEXT}", patch(&lines)), &[&[202, 200], &[400]]);
}

#[test]
fn line_feeds_alone() {
    let scene = Scene::new();
    let length = HIDDEN.len();
    // A recipient may take one for the end of a line in a head (RFC 9112, section 2.2), and then does so everywhere in it.
    expect(&scene, "a head", &format!("GET /v2/ HTTP/1.1\nHost: h\n\n{NEXT}"), &[&[200, 200], &[400]]);
    let lines = format!("X: y\nContent-Length: {length}");
    expect(&scene, "a field within a field", &format!("{}{HIDDEN}{NEXT}", patch(&lines)), &[&[202, 200], &[400]]);
    // Never in a chunked body, where it would be a part of an extension to some.
    for body in [
        format!("3\nabc\r\n0\r\n\r\n{HIDDEN}"),
        format!("3\r\nabc\n0\r\n\r\n{HIDDEN}"),
        format!("3;x\nabc\r\n0\r\n\r\n{HIDDEN}"),
        format!("3;\n{:x}\r\nabc\r\n0\r\n\r\n{HIDDEN}", length),
        format!("3\r\nabc\r\n0\n\r\n{HIDDEN}"),
        format!("3\r\nabc\r\n0\r\n\n{HIDDEN}"),
        format!("3\r\rabc\r\n0\r\n\r\n{HIDDEN}"),
        format!("3\r\nabcX\n0\r\n\r\n{HIDDEN}"),
    ] {
        let request = format!("{}{body}", patch("Transfer-Encoding: chunked"));
        expect(&scene, &body, &request, &[&[400], &[202]]);
    }
}

#[test]
fn sizes_of_chunks() {
    let scene = Scene::new();
    let chunked = |body: &str| format!("{}{body}{NEXT}", patch("Transfer-Encoding: chunked"));
    for size in [
        "10000000000000003",
        "fffffffffffffffff",
        "ffffffffffffffff0000000000000003",
        "-3",
        "+3",
        "0x3",
        " 3",
        "3 3",
        "3_0",
        "",
        ";x",
        "g",
        "\u{663}",
    ] {
        expect(&scene, size, &chunked(&format!("{size}\r\nabc\r\n0\r\n\r\n")), &[&[400]]);
    }
    // Beyond what there is, it never ends: the rest is body, and with it the connection.
    for size in ["ffffffffffffffff", "7fffffffffffffff", "ffff"] {
        let location = scene.repo().start_upload();
        let request = chunked(&format!("{size}\r\nabc\r\n0\r\n\r\n")).replace("{upload}", &location);
        let found = answers(&scene, request.as_bytes(), 0);
        assert!(found.is_empty() || found == [400], "{size}: {found:?}");
        scene.cancel(&location);
    }
    // Extensions mean nothing, in bounds.
    for body in ["3;a=b\r\nabc\r\n0;c=\"d e\"\r\n\r\n", "3 ;a\r\nabc\r\n000\r\n\r\n", "0000000003\r\nabc\r\n0\r\n\r\n"] {
        expect(&scene, body, &chunked(body), &[&[202, 200]]);
    }
    let endless = format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(100_000));
    expect(&scene, "an endless extension", &chunked(&endless), &[&[400]]);
}

#[test]
fn what_comes_behind_a_body() {
    let scene = Scene::new();
    expect(&scene, "garbage", &format!("{}abc\0\x01garbage\r\n\r\n{NEXT}", patch("Content-Length: 3")), &[&[202, 400]]);
    expect(&scene, "empty lines", &format!("{}abc\r\n\r\n{NEXT}", patch("Content-Length: 3")), &[&[202, 200], &[202, 400]]);
    expect(
        &scene,
        "a body nobody asked for",
        &format!("GET /v2/ HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{HIDDEN}{NEXT}", HIDDEN.len()),
        &[&[200, 200], &[200]],
    );
    let chunk = format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len());
    expect(
        &scene,
        "the same in chunks",
        &format!("GET /v2/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{NEXT}"),
        &[&[200, 200], &[200]],
    );
    expect(&scene, "a close", &format!("GET /v2/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n{HIDDEN}"), &[&[200]]);
    let both = "Connection: close\r\nConnection: keep-alive";
    expect(&scene, both, &format!("GET /v2/ HTTP/1.1\r\nHost: h\r\n{both}\r\n\r\n{HIDDEN}"), &[&[200]]);
    expect(&scene, "HTTP/1.0", &format!("GET /v2/ HTTP/1.0\r\nHost: h\r\n\r\n{HIDDEN}"), &[&[200]]);
    expect(
        &scene,
        "an upgrade",
        &format!(
            "GET /v2/ HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n{NEXT}"
        ),
        &[&[200, 200], &[200]],
    );
    let tunnel = answers(&scene, format!("CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n{HIDDEN}").as_bytes(), 2);
    assert!(tunnel.first().is_some_and(|status| (400..=405).contains(status)), "{tunnel:?}");
}

#[test]
fn lines_of_requests() {
    let scene = Scene::new();
    for line in [
        "GET  /v2/ HTTP/1.1",
        "GET\t/v2/\tHTTP/1.1",
        "GET /v2/ HTTP/1.1 ",
        "GET /v2/\0 HTTP/1.1",
        "GET\0 /v2/ HTTP/1.1",
        "GET /v2/ a HTTP/1.1",
        "GET /v2/\r HTTP/1.1",
        "GET /v2/",
        "GET /v2/ HTTP/1",
        "GET /v2/ HTTP/1.1x",
        "GET /v2/ http/1.1",
        "GET /v2/ HTTP/01.1",
        "G\x7fT /v2/ HTTP/1.1",
        "GET http://[/v2/ HTTP/1.1",
    ] {
        expect(&scene, line, &format!("{line}\r\nHost: h\r\n\r\n{NEXT}"), &[&[400]]);
    }
    // Where it comes from another place than it is for, only the path counts; it is one request all the same.
    for line in ["GET http://elsewhere/v2/ HTTP/1.1", "GET http://elsewhere:99/v2/ HTTP/1.1", "GET https://h/v2/ HTTP/1.1"] {
        expect(&scene, line, &format!("{line}\r\nHost: h\r\n\r\n{NEXT}"), &[&[200, 200]]);
    }
    expect(
        &scene,
        "an asterisk",
        &format!("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n{NEXT}"),
        &[&[404, 200], &[405, 200], &[400, 200]],
    );
}
