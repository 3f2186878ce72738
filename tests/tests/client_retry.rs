//! What is tried again, when, and what is not.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;
use tempfile::TempDir;
use wharf_tests::{Config, Fault, Program, Proxy, Ran, Reply, Scripted, Server, Wharf, image_of, random, write_layout};

/// Pushes an image with a layer of this size to this address.
fn push(folder: &Path, address: SocketAddr, size: usize) -> Ran {
    let image = image_of(json!({"architecture": "amd64", "os": "linux"}), json!({}), vec![random(size)]);
    write_layout(&folder.join("app-oci"), &[("latest", &image)]);
    let wharf = Wharf::new(folder).env("CONTAINER_REGISTRY_URL", &address.to_string()).env("WHARF_STALL", "1");
    wharf.run(&["push", "app-oci", "--tag", "t"])
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A registry that answers the first `times` requests for tags with this, and then well; a look at it through `wharf tags`.
fn tags(times: usize, reply: impl Fn() -> Reply + Send + Sync + 'static) -> (Ran, Vec<Duration>) {
    let count = AtomicUsize::new(0);
    let server = Scripted::start(move |asked| match asked.target.as_str() {
        "/v2/" => Reply::new(200),
        _ if count.fetch_add(1, Ordering::SeqCst) < times => reply(),
        _ => Reply::new(200).body(r#"{"name":"yocto/app","tags":["t"]}"#),
    });
    let folder = folder();
    let wharf = Wharf::new(folder.path()).env("CONTAINER_REGISTRY_URL", &server.address().to_string());
    let ran = wharf.env("WHARF_STALL", "1").run(&["tags", "app"]);
    let asked: Vec<_> = server.asked().iter().filter(|asked| asked.is("GET", "/tags/list")).map(|asked| asked.at).collect();
    (ran, asked.windows(2).map(|pair| pair[1] - pair[0]).collect())
}

#[test]
fn a_pause_that_the_registry_asks_for_is_kept_in_both_forms() {
    let (ran, pauses) = tags(1, || Reply::new(429).header("Retry-After", "2").body("slow down"));
    ran.expect(0)
        .says("answered 429 Too Many Requests")
        .says("slow down")
        .says("trying GET /v2/yocto/app/tags/list again in 2.0 s");
    assert!(pauses.len() == 1 && pauses[0] >= Duration::from_secs(2) && pauses[0] < Duration::from_secs(4), "{pauses:?}");
    // A date has whole seconds: three from now is more than two away, less what this test takes.
    let (ran, pauses) = tags(1, || {
        let date = httpdate(SystemTime::now() + Duration::from_secs(3));
        Reply::new(503).header("Retry-After", date)
    });
    ran.expect(0).says("answered 503");
    assert!(pauses.len() == 1 && pauses[0] >= Duration::from_millis(1000) && pauses[0] < Duration::from_secs(5), "{pauses:?}");
}

#[test]
fn a_registry_that_asks_for_too_much_time_is_not_waited_for() {
    let (ran, pauses) = tags(9, || Reply::new(429).header("Retry-After", "3600").body("toomanyrequests"));
    ran.expect(1).says("toomanyrequests").says("it asks to wait for 3600 s").is_silent_on("again in");
    assert_eq!(pauses, []);
}

/// An IMF-fixdate (RFC 9110, section 5.6.7).
fn httpdate(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let date = wharf_tests::run_tool("date", &["-u", "-d", &format!("@{seconds}"), "+%a, %d %b %Y %H:%M:%S GMT"], None);
    date.trim().to_owned()
}

#[test]
fn passing_failures_are_tried_again_with_growing_pauses() {
    for status in [408, 500, 502, 503, 504] {
        let (ran, pauses) = tags(3, move || Reply::new(status));
        ran.expect(0).says(&format!("answered {status}")).says("again in");
        assert_eq!(pauses.len(), 3, "{status}");
        // Between half and all of 0.25, 0.5 and 1 s, and what the exchange itself takes.
        for (pause, least) in pauses.iter().zip([125, 250, 500]) {
            assert!(*pause >= Duration::from_millis(least), "{status}: {pauses:?}");
        }
        assert!(pauses[2] > pauses[0], "{status}: {pauses:?}");
    }
}

#[test]
fn lasting_failures_are_told_at_once() {
    for (status, said) in [
        (400, "answered 400 Bad Request to GET /v2/yocto/app/tags/list: no (SOME_CODE)"),
        (403, "does not allow GET /v2/yocto/app/tags/list: no (SOME_CODE)"),
        (404, "Image not found"),
        (501, "answered 501"),
        (507, "its disk is full"),
    ] {
        let (ran, pauses) = tags(9, move || Reply::new(status).body(r#"{"errors":[{"code":"SOME_CODE","message":"no"}]}"#));
        ran.expect(1).says(said).is_silent_on("again in");
        assert_eq!(pauses, [], "{status}");
    }
}

#[test]
fn a_failure_that_does_not_pass_ends_after_some_attempts() {
    let begun = Instant::now();
    let (ran, pauses) = tags(99, || Reply::new(503));
    ran.expect(1).says("answered 503 Service Unavailable to GET /v2/yocto/app/tags/list");
    assert_eq!(pauses.len(), 6);
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[test]
fn refusals_of_uploads_are_not_tried_again() {
    for (status, said) in [(403, "does not allow POST"), (507, "its disk is full"), (413, "a proxy in front")] {
        let server = Scripted::start(move |asked| match (asked.method.as_str(), asked.target.as_str()) {
            ("GET", "/v2/") => Reply::new(200),
            ("HEAD", _) => Reply::new(404),
            _ => Reply::new(status),
        });
        let folder = folder();
        push(folder.path(), server.address(), 400_000).expect(1).says(said).is_silent_on("again in");
        assert_eq!(server.count("PUT", "/manifests/"), 0, "nothing is tagged");
    }
}

/// A proxy that limits the size of requests answers before it has read them.
#[test]
fn a_refusal_in_mid_upload_is_heard() {
    for (status, said) in [(413, "a proxy in front"), (507, "its disk is full")] {
        let server = Scripted::start(move |asked| match asked.method.as_str() {
            "GET" if asked.target == "/v2/" => Reply::new(200),
            "HEAD" => Reply::new(404),
            "POST" => Reply::new(202).header("Location", "/v2/yocto/app/blobs/uploads/1"),
            _ => Reply::new(status).early(),
        });
        let folder = folder();
        push(folder.path(), server.address(), 80 << 20).expect(1).says(said).is_silent_on("again in");
    }
}

/// What can no longer succeed is not gone on with.
#[test]
fn the_first_blob_that_fails_stops_the_others() {
    let image = image_of(json!({"architecture": "amd64", "os": "linux"}), json!({}), vec![random(300_000), random(400_000)]);
    let refused = wharf_tests::sha256(&image.layers[0]).replace(':', "%3A");
    let sends = AtomicUsize::new(0);
    let server = Scripted::start(move |asked| match (asked.method.as_str(), asked.target.as_str()) {
        // So that each upload says at once which blob it is for.
        ("GET", "/v2/") => Reply::new(200).header("Wharf-Features", "mount-from-any"),
        ("HEAD", _) => Reply::new(404),
        ("POST", target) if target.contains(&refused) => {
            wharf_tests::eventually("the other blob is on its way", || sends.load(Ordering::SeqCst) > 0);
            Reply::new(403)
        }
        ("POST", target) if target.contains("mount=") => Reply::new(202).header("Location", "/v2/yocto/app/blobs/uploads/1"),
        ("PATCH", _) => {
            sends.fetch_add(1, Ordering::SeqCst);
            Reply::hang()
        }
        _ => Reply::new(201),
    });
    let folder = folder();
    write_layout(&folder.path().join("app-oci"), &[("latest", &image)]);
    let wharf = Wharf::new(folder.path()).env("CONTAINER_REGISTRY_URL", &server.address().to_string());
    let begun = Instant::now();
    wharf.fails(&["push", "app-oci", "--tag", "t"]).says("does not allow POST");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!((server.count("PATCH", ""), server.count("PUT", "")), (1, 0));
}

/// Where blobs are given out by redirect, HEAD is answered by one as well; a registry that moved says something else.
#[test]
fn a_redirect_may_say_that_a_blob_is_there() {
    for (status, code) in [(307, 0), (302, 0), (301, 1), (308, 1)] {
        let server = Scripted::start(move |asked| match (asked.method.as_str(), asked.target.as_str()) {
            ("GET", "/v2/") => Reply::new(200),
            ("HEAD", target) if target.contains("/blobs/") => Reply::new(status).header("Location", "http://store.example/x"),
            ("GET" | "HEAD", _) => Reply::new(404),
            ("PUT", _) => Reply::new(201).header("Wharf", "1"),
            _ => Reply::new(500),
        });
        let folder = folder();
        let image = image_of(json!({"architecture": "amd64", "os": "linux"}), json!({}), vec![random(300_000)]);
        write_layout(&folder.path().join("app-oci"), &[("latest", &image)]);
        let wharf = Wharf::new(folder.path()).env("CONTAINER_REGISTRY_URL", &server.address().to_string());
        let mut ran = wharf.command(&["push", "app-oci", "--tag", "t"]);
        if code == 0 {
            // This one forgets the tag, which nobody needs to wait for.
            let mut child = ran.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().expect("push");
            wharf_tests::eventually("the manifest is pushed", || server.count("PUT", "/manifests/t") > 0);
            child.kill().expect("end it");
            child.wait().expect("wait for it");
            assert_eq!(server.count("POST", ""), 0);
        } else {
            wharf.fails(&["push", "app-oci", "--tag", "t"]).says("it redirects to http://store.example/x");
        }
    }
}

/// A server that stops reading in the middle of a blob.
#[test]
fn a_stalled_upload_is_broken_off_and_goes_on() {
    let server = Server::launch(Program::Wharf, Config::default());
    let proxy = Proxy::start(server.address(), [Fault::StallAt(20 << 20)]);
    let folder = folder();
    let begun = Instant::now();
    push(folder.path(), proxy.address(), 64 << 20).expect(0).says("did not go on within 1 s; trying sha256:").says("again in");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!(proxy.happened(), 1);
    assert_eq!(server.repo("yocto/app").tag_list(""), ["t"]);
}

#[test]
fn a_question_without_an_answer_is_asked_again() {
    let (ran, pauses) = tags(1, Reply::hang);
    ran.expect(0).says("did not go on within 1 s");
    assert_eq!(pauses.len(), 1);
    // The head comes, the rest does not.
    let (ran, pauses) = tags(1, || Reply::new(200).body(r#"{"name":"#).length(40).header("X-Slow", "1"));
    ran.expect(0).says("did not go on within 1 s");
    assert_eq!(pauses.len(), 1);
}

#[test]
fn nobody_there_is_told_at_once() {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let folder = folder();
    let begun = Instant::now();
    let ran = push(folder.path(), address, 1000).expect(1);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    ran.says(&format!("Registry not responding at http://{address}")).says("start` starts it").is_silent_on("again in");
}

#[test]
fn a_registry_that_is_busy_at_first_is_asked_again() {
    let count = AtomicUsize::new(0);
    let server = Scripted::start(move |asked| match asked.target.as_str() {
        "/v2/" if count.fetch_add(1, Ordering::SeqCst) < 2 => Reply::new(503),
        "/v2/" => Reply::new(200),
        _ => Reply::new(200).body(r#"{"tags":["t"]}"#),
    });
    let folder = folder();
    let wharf = Wharf::new(folder.path()).env("CONTAINER_REGISTRY_URL", &server.address().to_string());
    wharf.ok(&["tags", "app"]).says("again in");
}

#[test]
fn a_registry_that_keeps_nothing_is_given_up() {
    let server = Scripted::start(|asked| match asked.method.as_str() {
        "GET" if asked.target == "/v2/" => Reply::new(200),
        "HEAD" => Reply::new(404),
        "POST" => Reply::new(202).header("Location", "/v2/yocto/app/blobs/uploads/1"),
        "PATCH" => Reply::new(202).header("Location", "/v2/yocto/app/blobs/uploads/1").header("Range", "0-0"),
        _ => Reply::new(204).header("Location", "/v2/yocto/app/blobs/uploads/1").header("Range", "0-0"),
    });
    let folder = folder();
    push(folder.path(), server.address(), 400_000).expect(1).says("kept nothing");
    assert!(server.count("PATCH", "/") < 10);
}

#[test]
fn a_strange_limit_is_refused() {
    for value in ["soon", "0", "-1", "1e9", "NaN"] {
        let folder = folder();
        let ran = Wharf::new(folder.path()).env("WHARF_STALL", value).fails(&["list"]);
        ran.says(&format!("WHARF_STALL is `{value}`, expected a number of seconds"));
    }
}
