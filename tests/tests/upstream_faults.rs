//! What a client sees of an upstream that fails: what is here as long as it is here, else the truth, and never a wrong or short body with a proper end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use wharf_tests::{
    Config, Fault, Image, OCI_MANIFEST, Program, Proxy, Reply, Repo, Request, Server, USER_SECRET, Upstream, eventually, random,
    sha256,
};

fn pushed(repo: &Repo<'_>, tag: &str, layers: &[usize]) -> Image {
    let image = Image::with_layers(layers);
    repo.push(tag, &image);
    image
}

/// A wharf whose `yocto/*` is `library/*` there.
fn puller(address: SocketAddr) -> Server {
    let entry = format!("yocto/* -> http://{address}/library/*");
    Server::launch(Program::Wharf, Config::default().set("wharf.upstreams", json!([entry])))
}

/// Nothing is left of an upload.
#[track_caller]
fn assert_nothing_kept(wharf: &Server, repo: &Repo<'_>, digest: &str) {
    let stored = wharf.get(&repo.blob_path(digest)).header("Cache-Control", "only-if-cached").send();
    stored.expect_error(404, "BLOB_UNKNOWN");
    eventually("no file of it is left", || wharf.blob_files().is_empty());
}

#[test]
fn one_killed_in_the_middle_of_a_blob_leaves_no_blob_and_no_proper_end() {
    let upstream = Upstream::start();
    let image = pushed(&upstream.repo("library/alpine"), "3", &[3_000_000]);
    let wharf = upstream.puller("1h");
    let repo = wharf.repo("yocto/alpine");
    let (layer, digest) = (image.layers[0].clone(), sha256(&image.layers[0]));
    let cut = layer.clone();
    upstream.answers(move |asked| match (asked.is("GET", "/blobs/"), asked.header("range")) {
        (true, None) => Some(Reply::new(200).body(cut.clone()).cut(1_000_000)),
        (true, Some(_)) => Some(Reply::close()),
        _ => None,
    });
    repo.manifest("3").expect(200);
    let answer = wharf.get(&repo.blob_path(&digest)).try_send();
    assert!(answer.is_err(), "a short body has no proper end: {}", answer.map(|answer| answer.describe()).unwrap_or_default());
    assert_nothing_kept(&wharf, &repo, &digest);
    assert!(wharf.log().contains("did not come to its end"), "{}", wharf.log());
    upstream.open();
    assert!(repo.blob(&digest).expect(200).body == layer);
    upstream.shut();
    assert!(repo.blob(&digest).expect(200).body == layer);
}

#[test]
fn a_connection_that_breaks_is_taken_up_again() {
    let upstream = Upstream::start();
    let image = pushed(&upstream.repo("library/alpine"), "3", &[3_000_000]);
    let wire = Proxy::start(upstream.address(), [Fault::CutAnswerAt(1_500_000)]);
    let wharf = puller(wire.address());
    let repo = wharf.repo("yocto/alpine");
    let digest = sha256(&image.layers[0]);
    assert!(repo.blob(&digest).expect(200).body == image.layers[0]);
    let ranges = upstream.asked().iter().filter(|asked| asked.is("GET", &digest) && asked.header("range").is_some()).count();
    assert_eq!(ranges, 1, "it went on where it was");
}

#[test]
fn wrong_bytes_are_neither_kept_nor_given_out_as_a_whole() {
    for length in [3_000, 100_000, 3_000_000] {
        let upstream = Upstream::start();
        let image = pushed(&upstream.repo("library/alpine"), "3", &[length]);
        let wharf = upstream.puller("1h");
        let repo = wharf.repo("yocto/alpine");
        let digest = sha256(&image.layers[0]);
        let mut wrong = image.layers[0].clone();
        wrong[length / 2] ^= 1;
        upstream.answers(move |asked| asked.is("GET", "/blobs/").then(|| Reply::new(200).body(wrong.clone())));
        // Of a small one it may be known before the answer has begun.
        if let Ok(answer) = wharf.get(&repo.blob_path(&digest)).try_send() {
            answer.expect_error(502, "UPSTREAM_INVALID");
        }
        assert_nothing_kept(&wharf, &repo, &digest);
        upstream.open();
        assert!(repo.blob(&digest).expect(200).body == image.layers[0]);
    }
}

#[test]
fn a_wrong_manifest_is_refused() {
    let upstream = Upstream::start();
    let image = pushed(&upstream.repo("library/alpine"), "3", &[100]);
    let wharf = upstream.puller("1h");
    let repo = wharf.repo("yocto/alpine");
    let other = Image::random().manifest;
    upstream.answers(move |asked| {
        let reply = Reply::new(200).header("Content-Type", OCI_MANIFEST).body(other.clone());
        asked.is("GET", "/manifests/").then_some(reply)
    });
    repo.manifest(&image.digest).expect_error(502, "UPSTREAM_INVALID");
    upstream.answers(|asked| {
        asked.is("GET", "/manifests/").then(|| Reply::new(200).header("Content-Type", "text/html").body("<html>sign in</html>"))
    });
    repo.manifest("3").expect_error(502, "UPSTREAM_INVALID");
    upstream.open();
    assert!(repo.manifest("3").expect(200).body == image.manifest);
}

#[test]
fn one_that_is_gone_is_told_of_unless_the_answer_is_here() {
    let upstream = Upstream::start();
    let image = pushed(&upstream.repo("library/alpine"), "3", &[100]);
    let wharf = upstream.puller("1ms");
    let repo = wharf.repo("yocto/alpine");
    assert_eq!(repo.manifest("3").expect(200).get("Warning"), None);
    upstream.shut();
    for _ in 0..3 {
        let stale = repo.manifest("3").expect(200);
        assert!(stale.header("Warning").starts_with("111 "), "{}", stale.describe());
        assert!(stale.body == image.manifest);
        assert!(repo.head_manifest("3").expect(200).get("Warning").is_some());
    }
    assert!(upstream.count("HEAD", "/manifests/3") <= 3, "it is left alone for a while");
    // By its digest it cannot be old.
    assert_eq!(repo.manifest(&image.digest).expect(200).get("Warning"), None);
    let told = repo.manifest("4").expect_error(502, "UPSTREAM_UNAVAILABLE");
    let message = told.json()["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains(&upstream.address().to_string()), "{message}");
    repo.blob(&sha256(b"another")).expect_error(502, "UPSTREAM_UNAVAILABLE");
    assert!(wharf.log().contains("did not give what it was asked for"), "{}", wharf.log());
}

#[test]
fn one_that_is_asked_too_often_is_left_alone_and_its_pause_is_passed_on() {
    let upstream = Upstream::start();
    let image = pushed(&upstream.repo("library/alpine"), "3", &[100]);
    let wharf = upstream.puller("1ms");
    let repo = wharf.repo("yocto/alpine");
    repo.manifest("3").expect(200);
    upstream.answers(|_| Some(Reply::new(429).header("Retry-After", "30").body("too many")));
    let stale = repo.manifest("3").expect(200);
    assert!(stale.header("Warning").starts_with("111 ") && stale.body == image.manifest, "{}", stale.describe());
    let asked = upstream.asked().len();
    for reference in ["4", "5"] {
        let busy = repo.manifest(reference).expect_error(429, "TOOMANYREQUESTS");
        let pause: u64 = busy.header("Retry-After").parse().expect("seconds");
        assert!((25..=30).contains(&pause), "{pause}");
    }
    let busy = repo.blob(&sha256(b"another")).expect_error(429, "TOOMANYREQUESTS");
    assert!(busy.get("Retry-After").is_some());
    repo.manifest("3").expect(200);
    assert_eq!(upstream.asked().len(), asked, "it asked to be left alone");
}

#[test]
fn credentials_decide() {
    let upstream = Upstream::start();
    let image = pushed(&upstream.repo("library/alpine"), "3", &[100]);
    upstream.answers(|asked| {
        let challenge = || {
            Reply::new(401)
                .header("WWW-Authenticate", "Basic realm=\"r\"")
                .body(r#"{"errors":[{"code":"UNAUTHORIZED","message":"who"}]}"#)
        };
        (asked.header("authorization") != Some(USER_SECRET)).then(challenge)
    });
    let with = |user: &str, password: &str| {
        let mut entry = upstream.entry("1h");
        (entry["username"], entry["password"]) = (json!(user), json!(password));
        Server::launch(Program::Wharf, Config::default().set("wharf.upstreams", json!([entry])))
    };
    let right = with("user", "secret");
    assert!(right.repo("yocto/alpine").manifest("3").expect(200).body == image.manifest);
    assert!(right.repo("yocto/alpine").blob(&sha256(&image.layers[0])).expect(200).body == image.layers[0]);
    let wrong = with("user", "wr0ng-passw0rd");
    for server in [&wrong, &upstream.puller("1h")] {
        let repo = server.repo("yocto/alpine");
        repo.manifest("3").expect_error(502, "UPSTREAM_DENIED");
        repo.blob(&sha256(&image.layers[0])).expect_error(502, "UPSTREAM_DENIED");
    }
    assert!(!wrong.log().contains("wr0ng-passw0rd") && !right.log().contains("secret"), "{}", wrong.log());
}

#[test]
fn an_authfile_will_do() {
    let upstream = Upstream::start();
    let image = pushed(&upstream.repo("library/alpine"), "3", &[100]);
    upstream.answers(|asked| {
        let refused = Reply::new(401).header("WWW-Authenticate", "Basic realm=\"r\"");
        (asked.header("authorization") != Some(USER_SECRET)).then_some(refused)
    });
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("auth.json");
    let auths = json!({"auths": {upstream.address().to_string(): {"auth": USER_SECRET.trim_start_matches("Basic ")}}});
    std::fs::write(&file, auths.to_string()).expect("write it");
    let mut entry = upstream.entry("1h");
    entry["authfile"] = json!(file);
    let wharf = Server::launch(Program::Wharf, Config::default().set("wharf.upstreams", json!([entry])));
    assert!(wharf.repo("yocto/alpine").manifest("3").expect(200).body == image.manifest);
}

/// An upstream with one blob, whose second half it keeps back until it is told.
struct Halting {
    address: SocketAddr,
    go: mpsc::Sender<()>,
}

impl Halting {
    fn start(blob: Vec<u8>, half: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let (go, told) = mpsc::channel();
        thread::spawn(move || {
            let Some(Ok(mut stream)) = listener.incoming().next() else { return };
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", blob.len()).as_bytes());
            let _ = stream.write_all(&blob[..half]);
            let _ = told.recv();
            let _ = stream.write_all(&blob[half..]);
            let _ = told.recv();
        });
        Self { address, go }
    }
}

#[test]
fn bytes_are_handed_on_as_they_come() {
    let blob = random(2_000_000);
    let upstream = Halting::start(blob.clone(), 1_200_000);
    let wharf = puller(upstream.address);
    let path = format!("/v2/yocto/alpine/blobs/{}", sha256(&blob));
    // One has all that came, one waits for a range that has come, and one for one that has not.
    let begun = Instant::now();
    let mut whole = ask(&wharf, &path, None);
    let mut early = [0; 1_190_000];
    whole.read_exact(&mut early).expect("what has come");
    assert!(early[..] == blob[..early.len()]);
    let first = body_of(&wharf, &path, "bytes=1000000-1099999");
    assert!(first == blob[1_000_000..1_100_000]);
    assert!(begun.elapsed() < Duration::from_secs(10));
    let late = {
        let address = wharf.address();
        thread::spawn(move || Request::new(address, "GET", &path).header("Range", "bytes=-100").send().expect(206).body)
    };
    thread::sleep(Duration::from_millis(100));
    assert!(!late.is_finished(), "its bytes have not come");
    upstream.go.send(()).expect("go on");
    assert!(late.join().expect("its answer") == blob[blob.len() - 100..]);
    let mut rest = vec![0; blob.len() - early.len()];
    whole.read_exact(&mut rest).expect("the rest");
    assert!(rest[..] == blob[early.len()..]);
}

/// Asks and reads the head of the answer.
fn ask(wharf: &Server, path: &str, range: Option<&str>) -> std::net::TcpStream {
    let mut stream = std::net::TcpStream::connect(wharf.address()).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
    let range = range.map(|range| format!("Range: {range}\r\n")).unwrap_or_default();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: wharf\r\n{range}\r\n").as_bytes()).expect("ask");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    assert!(head.starts_with("HTTP/1.1 20"), "{head}");
    stream
}

fn body_of(wharf: &Server, path: &str, range: &str) -> Vec<u8> {
    wharf.get(path).header("Range", range).send().expect(206).body
}

#[test]
fn who_goes_away_does_not_stop_what_others_wait_for() {
    let blob = random(2_000_000);
    let upstream = Halting::start(blob.clone(), 1_200_000);
    let wharf = puller(upstream.address);
    let path = format!("/v2/yocto/alpine/blobs/{}", sha256(&blob));
    drop(ask(&wharf, &path, None));
    let mut stays = ask(&wharf, &path, None);
    thread::sleep(Duration::from_millis(50));
    upstream.go.send(()).expect("go on");
    let mut all = vec![0; blob.len()];
    stays.read_exact(&mut all).expect("all of it");
    assert!(all == blob);
}

#[test]
fn what_all_have_left_is_fetched_to_its_end() {
    let blob = random(2_000_000);
    let upstream = Halting::start(blob.clone(), 1_200_000);
    let wharf = puller(upstream.address);
    let path = format!("/v2/yocto/alpine/blobs/{}", sha256(&blob));
    drop(ask(&wharf, &path, None));
    upstream.go.send(()).expect("go on");
    eventually("it is here", || wharf.get(&path).header("Cache-Control", "only-if-cached").send().status == 200);
    assert!(wharf.get(&path).send().expect(200).body == blob);
}
