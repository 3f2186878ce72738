//! Clients that are slow, silent, stuck or many: each is given up in time, and costs what it costs and no more.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use wharf_tests::{
    Config, DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Program, Request, Server, eventually, path_of, random, sha256,
    with_query,
};

/// Times short enough for a test, far enough from what a busy machine takes.
fn config() -> Config {
    Config::default().set("wharf.timeouts.header", "1s").set("wharf.timeouts.body", "1s")
}

fn server() -> Server {
    Server::launch(Program::Wharf, config())
}

/// The connection's rest, and how long it took the server to close it.
#[track_caller]
fn closed_after(connection: &mut wharf_tests::Connection) -> (Vec<u8>, Duration) {
    let begun = Instant::now();
    let rest = match connection.read_to_end() {
        Ok(rest) => rest,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Vec::new(),
        Err(error) => panic!("not closed: {error}"),
    };
    (rest, begun.elapsed())
}

fn about_a_second(time: Duration) -> bool {
    (Duration::from_millis(700)..Duration::from_secs(6)).contains(&time)
}

/// A client that connects and says nothing, or half a head, even one that drips, is given up; one that just idles between requests too.
#[test]
fn silent_and_idle_connections_are_closed() {
    let server = server();
    let mut silent = server.connect();
    let mut half = server.connect();
    half.write(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-A: ").expect("half a head");
    let mut idle = server.connect();
    server.get("/v2/").send_on(&mut idle).expect("an answer").expect(200);
    let (rest, time) = closed_after(&mut silent);
    assert!(rest.is_empty() && about_a_second(time), "{time:?} {rest:?}");
    for connection in [&mut half, &mut idle] {
        let (rest, time) = closed_after(connection);
        assert!(time < Duration::from_secs(5), "{time:?}");
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&rest));
    }
    let mut dripping = server.connect();
    let begun = Instant::now();
    while dripping.write(b"G").is_ok() && begun.elapsed() < Duration::from_secs(8) {
        sleep(Duration::from_millis(200));
    }
    assert!(begun.elapsed() < Duration::from_secs(6), "each byte is no new second");
    // A request within the time is served on the same connection, again and again.
    let mut steady = server.connect();
    for _ in 0..4 {
        sleep(Duration::from_millis(400));
        server.get("/v2/").send_on(&mut steady).expect("an answer").expect(200);
    }
}

/// A body without progress ends the request and its connection, and keeps the session with what came.
#[test]
fn a_stalled_upload_keeps_its_session() {
    let server = server();
    let repo = server.repo("app");
    let blob = random(500_000);
    for with_length in [true, false] {
        let location = repo.start_upload();
        let request = server.patch(&location);
        let request = if with_length { request.body(&blob) } else { request.chunked([blob.as_slice()]) };
        let mut stalled = request.send_beginning(200_000);
        let (rest, time) = closed_after(&mut stalled);
        assert!(about_a_second(time), "{time:?}");
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&rest));
        repo.upload_status(&location).expect(204).expect_header("Range", "0-199999");
        let next = path_of(repo.patch(&location, 200_000, &blob[200_000..]).expect(202).header("Location"));
        repo.finish(&next, &sha256(&blob), b"").expect(201);
        repo.delete_blob(&sha256(&blob)).expect(202);
    }
    // Slow is not stalled.
    let location = repo.start_upload();
    let mut slow = server.patch(&location).body(&blob).send_beginning(100_000);
    for part in blob[100_000..].chunks(100_000) {
        sleep(Duration::from_millis(500));
        slow.write(part).expect("a part");
    }
    slow.read_response("PATCH").expect("an answer").expect(202).expect_header("Range", "0-499999");
    // A manifest that stalls leaves nothing either.
    let mut manifest = repo.put_request("v1", "a/b", &blob).send_beginning(1_000);
    assert!(about_a_second(closed_after(&mut manifest).1));
}

/// Who asks for a large blob and reads nothing is given up; who reads slowly is not.
#[test]
fn a_reader_that_does_not_read_is_given_up() {
    let server = server();
    let repo = server.repo("app");
    let blob = random(40_000_000);
    let digest = repo.push_blob(&blob);
    let request = server.get(&repo.blob_path(&digest));
    let mut stuck = request.send_beginning(0);
    let mut slow = request.send_beginning(0);
    let mut read = 0;
    for _ in 0..8 {
        sleep(Duration::from_millis(450));
        let mut buffer = vec![0; 1_500_000];
        slow.read_some(&mut buffer).expect("what was asked for");
        read += buffer.len();
    }
    let (rest, _) = closed_after(&mut stuck);
    assert!(rest.len() < blob.len(), "all of it came to who did not read for three seconds");
    // The head was among what was read.
    let mut rest = vec![0; blob.len() - read];
    slow.read_some(&mut rest).expect("the slow one gets everything");
}

/// A second request on the same upload takes over from one that is stuck, at once.
#[test]
fn a_second_request_takes_a_stalled_upload_over() {
    let server = Server::launch(Program::Wharf, Config::default());
    let repo = server.repo("app");
    let blob = random(400_000);
    let location = repo.start_upload();
    let mut stuck = server.patch(&location).body(&blob).send_beginning(150_000);
    eventually("what was sent is there", || repo.upload_status(&location).get("Range") == Some("0-149999"));
    let begun = Instant::now();
    let next = path_of(repo.patch(&location, 150_000, &blob[150_000..300_000]).expect(202).header("Location"));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // The first one is told, and whatever it still sends is not taken.
    let _ = stuck.write(&blob[150_000..]);
    if let Ok(answer) = stuck.read_response("PATCH") {
        answer.expect_error(409, "BLOB_UPLOAD_INVALID");
    }
    repo.finish(&next, &sha256(&blob), &blob[300_000..]).expect(201);
    assert!(repo.blob(&sha256(&blob)).expect(200).body == blob);
}

/// Uploads that nobody goes on with expire, with their bytes, also those of before a restart; one that goes on does not.
#[test]
fn unfinished_uploads_expire() {
    let config = config().set("wharf.uploads.expire", "2s");
    let mut server = Server::launch(Program::Wharf, config);
    let begin = |server: &Server| {
        let repo = server.repo("app");
        path_of(repo.patch(&repo.start_upload(), 0, &random(100_000)).expect(202).header("Location"))
    };
    let before = begin(&server);
    server.restart();
    let (left, empty) = (begin(&server), server.repo("app").start_upload());
    let repo = server.repo("app");
    let (mut busy, mut sent) = (repo.start_upload(), 0);
    let begun = Instant::now();
    loop {
        let chunk = random(50_000);
        busy = path_of(repo.patch(&busy, sent, &chunk).expect(202).header("Location"));
        sent += chunk.len();
        let gone = [&before, &left, &empty].iter().all(|location| repo.upload_status(location).status == 404);
        if gone && begun.elapsed() > Duration::from_secs(3) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "unfinished uploads are still there");
        sleep(Duration::from_millis(300));
    }
    repo.upload_status(&busy).expect(204);
    assert_eq!(server.blob_files().len(), 1, "the bytes went with the sessions");
}

/// An upload that came whole but cannot be finished, because the older copy of its content cannot be looked at, is over all the same: neither its session nor its
/// bytes stay.
#[test]
fn an_upload_that_cannot_be_finished_leaves_no_session() {
    let debug = TcpListener::bind("127.0.0.1:0").and_then(|probe| probe.local_addr()).expect("a free port");
    let config = Config::default()
        .with_files()
        .set("wharf.limits.uploads", 1)
        .set("http.debug.addr", debug.to_string())
        .set("http.debug.prometheus.enabled", true)
        .set("http.debug.prometheus.path", "/metrics");
    let server = Server::launch(Program::Wharf, config);
    let open = || -> String {
        let metrics = Request::new(debug, "GET", "/metrics").send().expect(200);
        let text = String::from_utf8(metrics.body).expect("text");
        let found = text.lines().find_map(|line| line.strip_prefix("wharf_uploads_open "));
        found.expect("the number of sessions").to_owned()
    };
    let repo = server.repo("app");
    let blob = random(300_000);
    let digest = repo.push_blob(&blob);
    let file = server.blob_files().remove(0);
    let aside = file.with_extension("aside");
    // A link to itself is opened by nobody, not even by root, and is not "not there".
    std::fs::rename(&file, &aside).and_then(|()| std::os::unix::fs::symlink(&file, &file)).expect("a file that cannot be opened");
    let files = server.blob_files();
    for form in ["POST", "PUT", "PATCH", "PUT of nothing more"] {
        let mut session = None;
        let answer = if form == "POST" {
            server.post(&repo.uploads_path(&format!("digest={digest}"))).body(&blob).send()
        } else {
            let mut location = repo.start_upload();
            assert_eq!(open(), "1", "{form}");
            let sent = match form {
                "PUT" => 0,
                "PATCH" => 100_000,
                _ => blob.len(),
            };
            if sent > 0 {
                location = path_of(repo.patch(&location, 0, &blob[..sent]).expect(202).header("Location"));
            }
            session = Some(location.clone());
            repo.finish(&location, &digest, &blob[sent..])
        };
        assert_eq!(answer.status, 500, "{form}: {}", answer.describe());
        assert_eq!(open(), "0", "{form}");
        if let Some(location) = session {
            repo.upload_status(&location).expect_error(404, "BLOB_UPLOAD_UNKNOWN");
        }
        assert_eq!(server.blob_files(), files, "{form}");
    }
    std::fs::rename(&aside, &file).expect("the file in its place again");
    repo.push_blob(&blob);
    assert_eq!((open().as_str(), server.blob_files()), ("0", vec![file]));
    assert!(repo.blob(&digest).expect(200).body == blob);
}

/// A stop waits for the upload that is under way, takes no new connection meanwhile, and closes the idle ones at once.
#[test]
fn a_stop_waits_for_an_upload_and_takes_nothing_new() {
    let mut server = Server::launch(Program::Wharf, Config::default());
    let repo = server.repo("app");
    let blob = random(300_000);
    let target = with_query(&repo.start_upload(), &format!("digest={}", sha256(&blob)));
    let mut idle = server.connect();
    server.get("/v2/").send_on(&mut idle).expect("an answer").expect(200);
    let mut running = server.put(&target).header("Expect", "100-continue").body(&blob).send_beginning(0);
    assert_eq!(running.read_interim().expect("the go-ahead"), 100);
    running.write(&blob[..100_000]).expect("a part");
    server.ask_to_stop();
    assert!(closed_after(&mut idle).1 < Duration::from_secs(5), "an idle connection is closed");
    eventually("new connections are refused", || server.get("/v2/").try_send().is_err());
    for part in blob[100_000..].chunks(50_000) {
        sleep(Duration::from_millis(200));
        running.write(part).expect("the server still takes the rest");
    }
    assert_eq!(running.read_response("PUT").expect("the answer").status, 201);
    let begun = Instant::now();
    assert_eq!(server.wait().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5));
    server.restart();
    assert!(server.repo("app").blob(&sha256(&blob)).expect(200).body == blob);
}

/// What does not end within the drain time is cut off.
#[test]
fn a_stop_does_not_wait_for_ever() {
    let mut server = Server::launch(Program::Wharf, Config::default().set("http.draintimeout", "1s"));
    let repo = server.repo("app");
    let blob = random(300_000);
    let location = repo.start_upload();
    let _stuck = server.patch(&location).body(&blob).send_beginning(100_000);
    eventually("what was sent is there", || repo.upload_status(&location).get("Range") == Some("0-99999"));
    let begun = Instant::now();
    let status = server.terminate();
    assert!(status.success(), "{status}");
    assert!(about_a_second(begun.elapsed()), "{:?}", begun.elapsed());
    server.restart();
    // What was never answered may be lost, the session not; it says how far it is.
    let repo = server.repo("app");
    let range = repo.upload_status(&location).expect(204).header("Range").to_owned();
    let kept = if range == "0-99999" { 100_000 } else { 0 };
    assert_eq!(range, format!("0-{}", kept.max(1) - 1));
    repo.finish(&location, &sha256(&blob), &blob[kept..]).expect(201);
}

/// Anonymous memory of the server's process, in KiB.
fn anonymous_memory(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("the process's status");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("RssAnon");
    line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number")
}

/// Names, tags, digests, methods and addresses that are never the same leave nothing behind in memory: metrics and caches are bounded.
#[test]
fn ever_new_names_do_not_grow_memory() {
    let server = server();
    let mut connection = server.connect();
    let mut ask = |number: usize| {
        let unknown = sha256(&number.to_le_bytes());
        let requests = [
            server.get(&format!("/v2/name{number}/manifests/tag{number}")),
            server.head(&format!("/v2/name{number}/blobs/{unknown}")),
            server.request(&format!("METHOD{number}"), &format!("/v2/name{number}/tags/list")),
            server.get(&format!("/path{number}/{number}")),
        ];
        for request in requests {
            let request = request.header("User-Agent", format!("agent/{number}")).header("X-Request-Id", number.to_string());
            if request.send_on(&mut connection).is_err() {
                connection = server.connect();
            }
        }
    };
    (0..1_000).for_each(&mut ask);
    let before = anonymous_memory(&server);
    (1_000..4_000).for_each(&mut ask);
    let after = anonymous_memory(&server);
    assert!(after < before + 6 * 1024, "from {before} KiB to {after} KiB");
}

/// The most anonymous memory that the server's process has while `work` is done, in KiB.
fn most_memory(server: &Server, work: impl FnOnce()) -> usize {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = most.max(anonymous_memory(server));
                sleep(Duration::from_millis(1));
            }
            most
        });
        work();
        done.store(true, Ordering::Relaxed);
        watching.join().expect("the watching thread")
    })
}

/// JSON of about 4 MiB: as many items as fit between `head` and `tail`.
fn large_json(head: &str, item: impl Fn(usize) -> String, tail: &str) -> Vec<u8> {
    let mut json = head.to_owned();
    for number in 0.. {
        let item = item(number);
        if json.len() + item.len() + tail.len() >= 4 << 20 {
            break;
        }
        json += &item;
        json.push(',');
    }
    json.pop();
    (json + tail).into_bytes()
}

/// A manifest takes about the room of its text, also one that is nothing but small values: eight at once, of every member that is looked at and some that
/// are not.
#[test]
fn large_manifests_take_no_more_memory_than_their_text() {
    let all = |text: &'static str| move |_: usize| text.to_owned();
    let descriptor = |number: usize| format!(r#"{{"digest":"{}"}}"#, sha256(&number.to_le_bytes()));
    let text = |start: &str, end: &str| format!("{start}{}{end}", "x".repeat(4_000_000)).into_bytes();
    let bodies = [
        (OCI_MANIFEST, large_json(r#"{"fsLayers":["#, all("0"), "]}")),
        (OCI_MANIFEST, large_json(r#"{"schemaVersion":["#, all("[]"), "]}")),
        (OCI_MANIFEST, large_json(r#"{"x":["#, all("{}"), "]}")),
        (OCI_INDEX, large_json(r#"{"manifests":["#, all("{}"), "]}")),
        (OCI_INDEX, large_json(r#"{"manifests":["#, descriptor, "]}")),
        (DOCKER_LIST, large_json(r#"{"layers":["#, all("0"), "]}")),
        (DOCKER_MANIFEST, large_json(r#"{"config":{"digest":"x","urls":["#, all(r#""""#), "]}}")),
        (OCI_INDEX, large_json(r#"{"subject":0,"annotations":{"#, all(r#""a":"""#), "}}")),
        (OCI_INDEX, text(r#"{"subject":""#, r#""}"#)),
        (OCI_INDEX, text(r#"{"subject":{"digest":""#, r#""}}"#)),
    ];
    for (media_type, body) in &bodies {
        // A server of its own for each: what an allocator keeps for the next one is not the question.
        let server = Server::launch(Program::Wharf, Config::default());
        let repo = server.repo("app");
        repo.put("v1", media_type, b"{").expect(400);
        let before = anonymous_memory(&server);
        let most = most_memory(&server, || {
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| repo.put("v1", media_type, body).expect(400));
                }
            });
        });
        let text = String::from_utf8_lossy(&body[..40]);
        assert!(most < before + 64 * 1024, "{text}…: from {before} KiB to {most} KiB");
    }
}
