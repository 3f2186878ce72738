//! The owner's ways to a collection: `wharf gc`, with a running server and without, and the control socket.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;
use wharf_tests::{Config, Image, Program, Server, eventually};

/// A server that collects on demand only.
fn server(lease: &str) -> Server {
    let config = Config::default()
        .with_files()
        .set("wharf.collection.interval", "never")
        .set("wharf.collection.lease", lease)
        .set("wharf.collection.grace", "1h");
    Server::launch(Program::Wharf, config)
}

/// `wharf gc` asks the running server, and does it itself where none runs.
#[test]
fn wharf_gc_collects_online_and_offline() {
    let mut server = server("500ms");
    let images = [Image::random(), Image::random()];
    server.repo("first").push(&images[0].digest, &images[0]);
    server.repo("second").push_random("stays");
    let json = |server: &Server, arguments: &[&str]| -> Value {
        let output = server.gc(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
    };
    sleep(Duration::from_millis(700));
    let report = json(&server, &["--dry-run"]);
    assert_eq!((&report["manifests"], &report["held"][0]["by"]), (&0.into(), &"grace".into()), "{report}");
    let text = String::from_utf8(server.gc(&["--dry-run", "--now"]).stdout).expect("text");
    assert!(text.contains("2 blobs"), "{text}");
    assert_eq!(server.blob_files().len(), 4);
    assert_eq!(json(&server, &["--now"])["files"], 2);
    assert_eq!(server.repo("first").manifest(&images[0].digest).status, 404);

    server.repo("first").push(&images[1].digest, &images[1]);
    server.terminate();
    let report = json(&server, &["--now"]);
    let held = report["held"].as_array().expect("a list").iter().find(|entry| entry["digest"] == images[1].digest);
    assert_eq!(held.map(|entry| &entry["by"]), Some(&"lease".into()), "{report}");
    assert_eq!(json(&server, &[])["files"], 0);
    eventually("the leases of the stopped server have run out", || json(&server, &["--dry-run", "--now"])["files"] == 2);
    assert_eq!(server.blob_files().len(), 4);
    assert_eq!(json(&server, &["--now"])["files"], 2);
    assert_eq!(server.blob_files().len(), 2);
    server.restart();
    assert_eq!(server.repo("first").manifest(&images[1].digest).status, 404);
    assert_eq!(server.repo("second").tag_list(""), ["stays"]);
}

/// The socket is the owner's alone, and knows nothing else.
#[test]
fn the_control_socket_is_the_owners() {
    let server = server("1h");
    let mode = fs::metadata(server.root().join("control.sock")).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for target in ["/collect", "/v2/collect", "/status"] {
        assert_eq!(server.post(target).send().status, 404, "{target} is for the owner's socket");
    }
    assert_eq!(server.ask_owner("GET", "/status")[0]["pid"], server.pid());
}
