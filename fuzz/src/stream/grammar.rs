//! Requests as clients send them, and as nobody should.

use fastrand::Rng;

/// SHA-256 of `abc`, which is there.
const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
/// SHA-256 of nothing at all, which is not.
const NOTHING: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// An index of nothing.
const INDEX: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
/// One that names what is not there.
const DANGLING: &str = r#"{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"layers":[]}"#;
/// A request in a place where there should be none.
const INNER: &str = "GET /v2/smuggled/tags/list HTTP/1.1\r\nHost: h\r\n\r\n";

const FIELDS: &[&str] = &[
    "Accept: application/vnd.oci.image.index.v1+json, */*;q=0.1",
    "Accept: text/html",
    "Authorization: Basic YTpi",
    "Authorization: Bearer a.b.c",
    "Connection: close",
    "Connection: keep-alive, Upgrade",
    "Content-Encoding: gzip",
    "Content-Range: 0-2",
    "Content-Range: bytes 0-2/*",
    "Content-Range: 5-3",
    "Content-Type: application/vnd.oci.image.index.v1+json",
    "Content-Type: application/vnd.oci.image.manifest.v1+json",
    "Content-Type: a/b; c=\"d\"",
    "Cookie: a=b",
    "Expect: 100-continue",
    "Expect: 200-ok",
    "Host: other",
    "If-Match: *",
    "If-Match: \"x\"",
    "If-None-Match: *",
    "If-None-Match: W/\"sha256:x\", \"y\"",
    "If-Modified-Since: Wed, 21 Oct 2015 07:28:00 GMT",
    "If-Range: \"x\"",
    "Range: bytes=0-0",
    "Range: bytes=0-0,2-2,-1",
    "Range: bytes=9-",
    "TE: trailers",
    "Trailer: X-A",
    "Transfer-Encoding: gzip, chunked",
    "Upgrade: h2c",
    "X-Folded: a\r\n b",
    "X-Forwarded-For: 10.0.0.1",
    "X-Request-Id: abc",
    "X-Space : a",
    "X-Empty:",
];

/// A few requests in a row.
pub(super) fn stream(random: &mut Rng) -> Vec<u8> {
    let mut stream = Vec::new();
    for _ in 0..random.usize(1..6) {
        stream.extend(request(random));
        if random.u8(..30) == 0 {
            stream.extend(pick(random, &["\r\n", "\n", "\r", "\0", "GET", INNER]).as_bytes());
        }
    }
    stream
}

fn pick<'a>(random: &mut Rng, choices: &[&'a str]) -> &'a str {
    choices[random.usize(..choices.len())]
}

fn request(random: &mut Rng) -> Vec<u8> {
    let name = pick(random, &["app", "app", "other", "team/deep/er", "a..b", "%2e%2e", "UPPER"]);
    let digest = pick(random, &[ABC, ABC, NOTHING, "sha256:ba", "sha512:00", "md5:x"]);
    let reference = pick(random, &["v1", "v1", "latest", ABC, NOTHING, "..", ""]);
    let (method, target, content) = match random.u8(..16) {
        0 => ("GET", "/v2/".to_owned(), ""),
        1 => ("GET", format!("/v2/{name}/manifests/{reference}"), ""),
        2 => ("HEAD", format!("/v2/{name}/manifests/{reference}"), ""),
        3 => ("GET", format!("/v2/{name}/blobs/{digest}"), ""),
        4 => ("HEAD", format!("/v2/{name}/blobs/{digest}"), ""),
        5 => ("GET", format!("/v2/{name}/tags/list?n={}&last={reference}", random.u8(..3)), ""),
        6 => ("GET", format!("/v2/_catalog?n={}", random.u8(..3)), ""),
        7 => ("GET", format!("/v2/{name}/referrers/{digest}?artifactType=a/b"), ""),
        8 => ("POST", format!("/v2/{name}/blobs/uploads/"), ""),
        9 => ("POST", format!("/v2/{name}/blobs/uploads/?digest={digest}"), "abc"),
        10 => ("POST", format!("/v2/{name}/blobs/uploads/?mount={digest}&from={}", pick(random, &["app", "other", ".."])), ""),
        11 => ("PATCH", "{upload}".to_owned(), "abc"),
        12 => ("PUT", format!("{{upload}}?digest={digest}"), pick(random, &["abc", "", INNER])),
        13 => (pick(random, &["GET", "DELETE"]), "{upload}".to_owned(), ""),
        14 => ("PUT", format!("/v2/{name}/manifests/{reference}"), pick(random, &[INDEX, DANGLING, "{", "[[[["])),
        _ => ("DELETE", format!("/v2/{name}/{}/{reference}", pick(random, &["manifests", "blobs"])), ""),
    };
    let method =
        if random.u8(..20) == 0 { pick(random, &["GET", "PUT", "OPTIONS", "CONNECT", "TRACE", "get", "PRI"]) } else { method };
    let target = match random.u8(..40) {
        0 => format!("http://elsewhere{target}"),
        1 => format!("{target}#fragment"),
        2 => "*".to_owned(),
        3 => format!("/{target}"),
        _ => target,
    };
    let version =
        if random.u8(..25) == 0 { pick(random, &["HTTP/1.0", "HTTP/2.0", "HTTP/1.2", "HTTP/1.1 "]) } else { "HTTP/1.1" };
    let end = if random.u8(..25) == 0 { "\n" } else { "\r\n" };
    let mut fields = Vec::new();
    if random.u8(..20) != 0 {
        fields.push("Host: h".to_owned());
    }
    for _ in 0..random.usize(..4) {
        fields.push(pick(random, FIELDS).to_owned());
    }
    if target.contains("/blobs/sha") && random.bool() {
        fields.push(pick(random, &["Range: bytes=0-0", "Range: bytes=0-0,2-2", "Range: bytes=-2", "Range: bytes=9-"]).to_owned());
    }
    if content == INDEX {
        fields.push("Content-Type: application/vnd.oci.image.index.v1+json".to_owned());
    }
    let content = if random.u8(..15) == 0 { INNER } else { content };
    let body = framed(random, content, &mut fields);
    random.shuffle(&mut fields);
    let mut bytes = format!("{method} {target} {version}{end}").into_bytes();
    for field in fields {
        bytes.extend(format!("{field}{end}").as_bytes());
    }
    bytes.extend(end.as_bytes());
    bytes.extend(body);
    bytes
}

/// The body as it is sent, with the fields that say how long it is, or say something else.
fn framed(random: &mut Rng, content: &str, fields: &mut Vec<String>) -> Vec<u8> {
    let length = content.len();
    let mut field = |text: String| fields.push(text);
    match random.u8(..16) {
        0..6 => {
            if length > 0 || random.bool() {
                field(format!("Content-Length: {length}"));
            }
            return content.as_bytes().to_vec();
        }
        6 => field(format!("Content-Length: {}", random.usize(..length + 3))),
        7 => {
            field(format!("Content-Length: {length}"));
            field(format!("Content-Length: {}", random.usize(length..length + 2)));
        }
        8 => {
            let wrong = pick(random, &["+3", "-1", "0x3", "3, 3", "3 3", "", "99999999999999999999", "003"]);
            field(format!("Content-Length: {wrong}"));
        }
        9 => field(format!("Content-Length : {length}")),
        10 => {
            field(format!("Content-Length: {length}"));
            field("Transfer-Encoding: chunked".to_owned());
        }
        11 => {
            field(format!(
                "Transfer-Encoding: {}",
                pick(random, &["identity", "chunked, identity", "xchunked", "chunked, chunked", ""])
            ));
        }
        12 => {
            field("Transfer-Encoding: chunked".to_owned());
            field(format!("transfer-encoding: {}", pick(random, &["chunked", "identity", "x"])));
        }
        _ => field(
            pick(random, &["Transfer-Encoding: chunked", "Transfer-Encoding: CHUNKED", "Transfer-Encoding:chunked "]).to_owned(),
        ),
    }
    if !fields.iter().any(|field| field.to_ascii_lowercase().contains("chunked")) {
        return content.as_bytes().to_vec();
    }
    let size = match random.u8(..12) {
        0 => format!("{length:x};a=b;c=\"d\""),
        1 => format!("{length:x} "),
        2 => format!("000000000000000000000{length:x}"),
        3 => pick(random, &["fffffffffffffffff", "10000000000000000", "-1", "0x3", "", "g", "7fffffffffffffff"]).to_owned(),
        4 => format!("{:x}", length + 1),
        _ => format!("{length:x}"),
    };
    let line = if random.u8(..15) == 0 { pick(random, &["\n", "\r", "\n\r", ";\n\r\n"]) } else { "\r\n" };
    let last = match random.u8(..12) {
        0 => "0\r\nX-A: b\r\n\r\n",
        1 => "0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        2 => "0\r\n",
        3 => "0\n\n",
        4 => "00;x\r\n\r\n",
        _ => "0\r\n\r\n",
    };
    let chunk = if length > 0 || random.u8(..10) == 0 { format!("{size}{line}{content}{line}") } else { String::new() };
    format!("{chunk}{last}").into_bytes()
}
