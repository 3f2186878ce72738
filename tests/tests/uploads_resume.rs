//! Uploads that are interrupted, by the network or by the server, go on where they were.

use wharf_tests::{Repo, Server, eventually, path_of, random, sha256, sha512};

/// How many bytes the session has, by its status. Nothing yet is `0-0` by custom.
#[track_caller]
fn offset(repo: &Repo<'_>, location: &str) -> usize {
    let status = repo.upload_status(location).expect(204);
    match status.header("Range").strip_prefix("0-").and_then(|end| end.parse::<usize>().ok()) {
        Some(0) => 0,
        Some(end) => end + 1,
        None => panic!("Range {:?}", status.header("Range")),
    }
}

/// Sends the rest from where the session is, closes it, and holds the blob against what was meant.
#[track_caller]
fn resume(server: &Server, location: &str, blob: &[u8], digest: &str) {
    let repo = server.repo("app");
    let from = offset(&repo, location);
    let mut location = location.to_owned();
    if from < blob.len() {
        let answer = repo.patch(&location, from, &blob[from..]).expect(202);
        assert_eq!(answer.header("Range"), format!("0-{}", blob.len() - 1));
        location = path_of(answer.header("Location"));
    }
    let answer = repo.finish(&location, digest, b"");
    server.expect_blob_at(&answer, blob);
    assert!(repo.blob(digest).expect(200).body == blob);
}

/// A PATCH that breaks, with a length, with a range, or streamed: the status tells what arrived, and the rest completes it.
#[test]
fn a_broken_patch_is_resumed() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(1_000_000);
    for form in ["length", "range", "stream"] {
        let location = repo.start_upload();
        let request = server.patch(&location);
        let request = match form {
            "length" => request.body(&blob),
            "range" => request.header("Content-Range", "0-999999").body(&blob),
            _ => request.chunked([blob.as_slice()]),
        };
        let answer = request.send_truncated(300_000);
        assert!(answer.is_none_or(|a| a.status >= 400), "half a body is no success");
        eventually("all that arrived is in the session", || offset(&repo, &location) == 300_000);
        resume(&server, &location, &blob, &sha256(&blob));
        repo.delete_blob(&sha256(&blob)).expect(202);
    }
}

/// Broken again and again, a little further each time.
#[test]
fn an_upload_survives_many_breaks() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(3_000_000);
    let location = repo.start_upload();
    let mut sent = 0;
    for part in 1..=9 {
        let from = offset(&repo, &location);
        assert!(from <= sent);
        let request = repo.patch_request(&location, &blob[from..]).header("Content-Range", format!("{from}-2999999"));
        request.send_truncated(part * 31_007);
        sent = from + part * 31_007;
        eventually("all that arrived is in the session", || offset(&repo, &location) == sent);
    }
    resume(&server, &location, &blob, &sha256(&blob));
}

/// A closing PUT that breaks does not close; the upload goes on.
#[test]
fn a_broken_put_is_resumed() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(1_000_000);
    let digest = sha256(&blob);
    let location = path_of(repo.patch(&repo.start_upload(), 0, &blob[..200_000]).expect(202).header("Location"));
    let target = wharf_tests::with_query(&location, &format!("digest={digest}"));
    let put = server.put(&target).header("Content-Range", "200000-999999").body(&blob[200_000..]);
    let answer = put.send_truncated(100_000);
    assert!(answer.is_none_or(|a| a.status >= 400), "half a body is no success");
    assert!(!repo.has_blob(&digest));
    eventually("the session is still there", || repo.upload_status(&location).status == 204);
    assert!((200_000..=300_000).contains(&offset(&repo, &location)));
    resume(&server, &location, &blob, &digest);
}

/// Asking for the status while a chunk is on its way neither waits for it nor disturbs it.
#[test]
fn the_status_does_not_disturb_a_running_patch() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(600_000);
    let location = path_of(repo.patch(&repo.start_upload(), 0, &blob[..100_000]).expect(202).header("Location"));
    let mut running =
        repo.patch_request(&location, &blob[100_000..]).header("Content-Range", "100000-599999").send_beginning(250_000);
    for _ in 0..5 {
        let told = offset(&repo, &location);
        assert!((100_000..=350_000).contains(&told), "{told}");
    }
    running.write(&blob[350_000..]).unwrap();
    running.read_response("PATCH").unwrap().expect(202).expect_header("Range", "0-599999");
    resume(&server, &location, &blob, &sha256(&blob));
}

/// A server that is stopped and started again knows its sessions, to the last acknowledged byte.
#[test]
fn a_restart_keeps_the_session() {
    let mut server = Server::start();
    let blob = random(2_000_000);
    let location = {
        let repo = server.repo("app");
        let first = repo.patch(&repo.start_upload(), 0, &blob[..700_001]).expect(202);
        path_of(repo.patch(&path_of(first.header("Location")), 700_001, &blob[700_001..1_200_007]).expect(202).header("Location"))
    };
    server.restart();
    assert_eq!(offset(&server.repo("app"), &location), 1_200_007);
    resume(&server, &location, &blob, &sha256(&blob));
}

/// A session for another algorithm keeps it over a restart, also one that has received nothing yet.
#[test]
fn a_restart_keeps_the_algorithm() {
    let mut server = Server::start();
    let blob = random(500_000);
    let open = |server: &Server| {
        let repo = server.repo("app");
        let answer = server.post(&repo.uploads_path("digest-algorithm=sha512")).send().expect(202);
        path_of(answer.header("Location"))
    };
    let (begun, empty) = (open(&server), open(&server));
    let begun = path_of(server.repo("app").patch(&begun, 0, &blob[..123_457]).expect(202).header("Location"));
    server.restart();
    resume(&server, &begun, &blob, &sha512(&blob));
    server.restart();
    let other = random(1_000);
    resume(&server, &empty, &other, &sha512(&other));
}

/// Over a restart a wrong digest is still found out.
#[test]
fn a_restart_does_not_weaken_the_check() {
    let mut server = Server::start();
    let location = {
        let repo = server.repo("app");
        path_of(repo.patch(&repo.start_upload(), 0, &random(200_000)).expect(202).header("Location"))
    };
    server.restart();
    let repo = server.repo("app");
    repo.finish(&location, &sha256(b"other"), b"").expect_error(400, "DIGEST_INVALID");
    repo.upload_status(&location).expect_error(404, "BLOB_UPLOAD_UNKNOWN");
}

/// A killed server may forget bytes that it never called durable, but not the session, and it says how far it got.
#[test]
fn a_killed_server_resumes_from_what_it_reports() {
    let mut server = Server::start();
    for round in 0..5 {
        let blob = random(3_000_000 + round);
        let (mut location, mut sent) = (server.repo("app").start_upload(), 0);
        for chunk in blob[..2_000_000].chunks(400_000).take(round + 1) {
            location = path_of(server.repo("app").patch(&location, sent, chunk).expect(202).header("Location"));
            sent += chunk.len();
        }
        server.kill();
        server.restart();
        let kept = offset(&server.repo("app"), &location);
        assert!(kept <= sent, "{kept} bytes of {sent} sent");
        resume(&server, &location, &blob, &sha256(&blob));
    }
}

/// Killed while a chunk is coming in: the same.
#[test]
fn a_server_killed_within_a_chunk_resumes() {
    let mut server = Server::start();
    let blob = random(8_000_000);
    let location = {
        let repo = server.repo("app");
        path_of(repo.patch(&repo.start_upload(), 0, &blob[..1_000_000]).expect(202).header("Location"))
    };
    let connection =
        server.patch(&location).header("Content-Range", "1000000-7999999").body(&blob[1_000_000..]).send_beginning(4_000_000);
    server.kill();
    drop(connection);
    server.restart();
    let kept = offset(&server.repo("app"), &location);
    assert!(kept <= 5_000_000, "{kept}");
    resume(&server, &location, &blob, &sha256(&blob));
}
