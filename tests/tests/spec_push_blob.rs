//! Specification, "Pushing blobs": whole, in chunks, streamed; status and cancel.

use wharf_tests::{Config, OCI_INDEX, Server, empty_index, path_of, random, sha256, sha512, uuid_in, with_query};

const ABSENT: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000001";

/// "POST then PUT", end-4a: a session, its location with a UUID of its own.
#[test]
fn post_opens_a_session_with_a_uuid() {
    let server = Server::start();
    let repo = server.repo("team/app");
    let first = server.post(&repo.uploads_path("")).send().expect(202);
    let second = server.post(&repo.uploads_path("")).send().expect(202);
    assert_ne!(uuid_in(first.header("Location")), uuid_in(second.header("Location")));
    assert!(first.body.is_empty());
}

/// "POST then PUT": locations are relative, so that they hold behind any proxy; a configured host makes them absolute.
#[test]
fn locations_are_relative_unless_a_host_is_configured() {
    let locations = |server: &Server| {
        let repo = server.repo("app");
        let session = server.post(&repo.uploads_path("")).send().expect(202);
        let status = repo.upload_status(&path_of(session.header("Location"))).expect(204);
        let chunk = repo.patch(&path_of(session.header("Location")), 0, b"x").expect(202);
        let blob = repo.finish(&path_of(chunk.header("Location")), &sha256(b"x"), b"").expect(201);
        let manifest = repo.put("v1", OCI_INDEX, &empty_index()).expect(201);
        [session, status, chunk, blob, manifest].map(|answer| answer.header("Location").to_owned())
    };
    for location in locations(&Server::start()) {
        assert!(location.starts_with("/v2/app/"), "{location}");
    }
    let server = Server::with_config(Config::default().set("http.host", "https://registry.example.org"));
    for location in locations(&server) {
        assert!(location.starts_with("https://registry.example.org/v2/app/"), "{location}");
    }
}

/// "POST then PUT", end-6: 201 with the place of the blob.
#[test]
fn put_completes_a_blob() {
    let server = Server::start();
    let repo = server.repo("team/app");
    let blob = random(70_000);
    let location = repo.start_upload();
    let answer = repo.finish(&location, &sha256(&blob), &blob);
    server.expect_blob_at(&answer, &blob);
    assert_eq!(answer.header("Docker-Content-Digest"), sha256(&blob));
    assert!(repo.has_blob(&sha256(&blob)));
}

/// "POST then PUT": the location's own query parameters are kept beside the digest, in any order.
#[test]
fn the_digest_may_stand_anywhere_in_the_query() {
    let server = Server::start();
    let repo = server.repo("app");
    let location = repo.start_upload();
    let target = with_query(&with_query(&location, &format!("digest={}", sha256(b"x"))), "other=1");
    let answer = server.put(&target).body(b"x").send();
    server.expect_blob_at(&answer, b"x");
}

/// "POST then PUT": a digest with its colon escaped, as some clients write it.
#[test]
fn an_escaped_digest_is_understood() {
    let server = Server::start();
    let repo = server.repo("app");
    let location = repo.start_upload();
    let answer = repo.finish(&location, &sha256(b"x").replace(':', "%3A"), b"x");
    server.expect_blob_at(&answer, b"x");
}

/// "POST then PUT": a blob of no bytes is a blob.
#[test]
fn an_empty_blob_is_pushed() {
    let server = Server::start();
    let repo = server.repo("app");
    let location = repo.start_upload();
    let answer = repo.finish(&location, &sha256(b""), b"");
    server.expect_blob_at(&answer, b"");
}

/// "POST then PUT": the body may also come without a length.
#[test]
fn put_takes_a_body_without_length() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(300_000);
    let target = with_query(&repo.start_upload(), &format!("digest={}", sha256(&blob)));
    let answer = server.put(&target).chunked(blob.chunks(7_919)).send();
    server.expect_blob_at(&answer, &blob);
}

/// "API", by way of RFC 9110, section 10.1.1: who waits for the permission to send a body gets it.
#[test]
fn expect_100_continue_is_answered() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(5_000);
    let target = with_query(&repo.start_upload(), &format!("digest={}", sha256(&blob)));
    let mut connection = server.put(&target).header("Expect", "100-continue").body(&blob).send_beginning(0);
    assert_eq!(connection.read_interim().unwrap(), 100);
    connection.write(&blob).unwrap();
    let answer = connection.read_response("PUT").unwrap();
    server.expect_blob_at(&answer, &blob);
}

/// "Layer Upload De-duplication": pushing again what is there succeeds, one after the other or at the same time.
#[test]
fn the_same_blob_may_be_pushed_many_times() {
    let server = Server::start();
    let blob = random(200_000);
    let digest = sha256(&blob);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (server, blob, digest) = (&server, &blob, &digest);
            scope.spawn(move || {
                let repo = server.repo(if number % 2 == 0 { "even" } else { "odd" });
                let location = repo.start_upload();
                let answer = repo.finish(&location, digest, blob);
                server.expect_blob_at(&answer, blob);
            });
        }
    });
    server.repo("even").push_blob(&blob);
    assert!(server.repo("odd").blob(&digest).expect(200).body == blob);
}

/// "Single POST", end-4b.
#[test]
fn a_single_post_completes_a_blob() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(70_000);
    let target = repo.uploads_path(&format!("digest={}", sha256(&blob)));
    let answer = server.post(&target).header("Content-Type", "application/octet-stream").body(&blob).send();
    server.expect_blob_at(&answer, &blob);
    assert_eq!(answer.header("Docker-Content-Digest"), sha256(&blob));
}

/// "Single POST", end-4b, by SHA-512.
#[test]
fn a_single_post_takes_a_sha512_digest() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(70_000);
    let digest = sha512(&blob);
    let answer = server.post(&repo.uploads_path(&format!("digest={digest}"))).body(&blob).send();
    server.expect_blob_at(&answer, &blob);
    assert_eq!(answer.header("Docker-Content-Digest"), digest);
    assert!(repo.blob(&sha256(&blob)).expect(200).body == blob);
    let wrong = server.post(&repo.uploads_path(&format!("digest={}", sha512(b"other")))).body(&blob).send();
    wrong.expect_error(400, "DIGEST_INVALID");
}

/// "Single POST", end-4b: the body may come without a length.
#[test]
fn a_single_post_takes_a_body_without_length() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(300_000);
    let target = repo.uploads_path(&format!("digest={}", sha256(&blob)));
    let answer = server.post(&target).chunked(blob.chunks(7_919)).send();
    server.expect_blob_at(&answer, &blob);
}

/// "Single POST", end-4b: the blob of no bytes, with its length and without.
#[test]
fn a_single_post_completes_the_empty_blob() {
    let server = Server::start();
    for digest in [sha256(b""), sha512(b"")] {
        for with_length in [true, false] {
            let repo = server.repo(if with_length { "sized" } else { "chunked" });
            let request = server.post(&repo.uploads_path(&format!("digest={digest}")));
            let answer = if with_length { request.body(b"").send() } else { request.chunked([]).send() };
            server.expect_blob_at(&answer, b"");
            assert_eq!(answer.header("Docker-Content-Digest"), digest);
        }
    }
}

/// "Single POST", end-4b: a digest without a body opens a session, which takes the blob.
#[test]
fn a_post_with_a_digest_but_no_body_opens_a_session() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(1_000);
    for digest in [sha256(&blob), sha512(&blob)] {
        let answer =
            server.post(&repo.uploads_path(&format!("digest={digest}"))).header("Content-Length", "0").send().expect(202);
        let location = path_of(answer.header("Location"));
        uuid_in(&location);
        assert!(!repo.has_blob(&digest));
        server.expect_blob_at(&repo.finish(&location, &digest, &blob), &blob);
        repo.delete_blob(&digest).expect(202);
    }
}

/// "Pushing blobs": a digest that cannot be read, or of an algorithm that is not supported, is a 400 everywhere.
#[test]
fn an_invalid_digest_is_400() {
    let server = Server::start();
    let repo = server.repo("app");
    let upper = sha256(b"x").to_uppercase();
    let wrong = ["", "sha256", "sha256:", "sha256:12", "md5:9dd4e461268c8034f5c8564e155c67a6", "x:y", &upper, ABSENT];
    for digest in wrong {
        let location = repo.start_upload();
        repo.finish(&location, digest, b"x").expect_error(400, "DIGEST_INVALID");
        let post = server.post(&repo.uploads_path(&format!("digest={digest}"))).body(b"x").send();
        post.expect_error(400, "DIGEST_INVALID");
    }
    let location = repo.start_upload();
    server.put(&location).body(b"x").send().expect_error(400, "DIGEST_INVALID");
}

/// "Pushing a blob in chunks", end-5 and end-6: each chunk is a 202 that tells how far it got; a PUT closes.
#[test]
fn chunks_in_order_make_a_blob() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(100_000);
    let mut location = repo.start_upload();
    let mut end = 0;
    for chunk in blob.chunks(30_000) {
        let answer = repo.patch(&location, end, chunk).expect(202);
        end += chunk.len();
        assert_eq!(answer.header("Range"), format!("0-{}", end - 1));
        location = path_of(answer.header("Location"));
        uuid_in(&location);
    }
    let answer = repo.finish(&location, &sha256(&blob), b"");
    server.expect_blob_at(&answer, &blob);
}

/// "Pushing a blob in chunks": no least size of a chunk is announced, so one byte is a chunk.
#[test]
fn a_chunk_may_be_one_byte() {
    let server = Server::start();
    let repo = server.repo("app");
    let answer = server.post(&repo.uploads_path("")).send().expect(202);
    assert_eq!(answer.get("OCI-Chunk-Min-Length").unwrap_or("0"), "0");
    let mut location = path_of(answer.header("Location"));
    for (place, byte) in b"wharf".iter().enumerate() {
        let answer = repo.patch(&location, place, &[*byte]).expect(202);
        assert_eq!(answer.header("Range"), format!("0-{place}"));
        location = path_of(answer.header("Location"));
    }
    server.expect_blob_at(&repo.finish(&location, &sha256(b"wharf"), b""), b"wharf");
}

/// "Pushing a blob in chunks": the last chunk may come in the closing PUT, with its range or without.
#[test]
fn the_last_chunk_may_come_with_put() {
    let server = Server::start();
    let repo = server.repo("app");
    for ranged in [true, false] {
        let blob = random(10_000);
        let location = path_of(repo.patch(&repo.start_upload(), 0, &blob[..6_000]).expect(202).header("Location"));
        let target = with_query(&location, &format!("digest={}", sha256(&blob)));
        let mut put = server.put(&target).header("Content-Type", "application/octet-stream");
        if ranged {
            put = put.header("Content-Range", "6000-9999");
        }
        server.expect_blob_at(&put.body(&blob[6_000..]).send(), &blob);
    }
}

/// "Pushing a blob in chunks": a chunk whose first byte is not the next one is a 416 that changes nothing.
#[test]
fn a_chunk_out_of_order_is_416() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(3_000);
    let location = path_of(repo.patch(&repo.start_upload(), 0, &blob[..1_000]).expect(202).header("Location"));
    // A gap, a repetition, an overlap.
    for first in [2_000, 0, 500] {
        let answer = repo.patch(&location, first, &blob[first..first + 1_000]).expect(416);
        assert_eq!(answer.header("Range"), "0-999", "after a chunk at {first}");
        let status = repo.upload_status(&path_of(answer.header("Location"))).expect(204);
        assert_eq!(status.header("Range"), "0-999", "after a chunk at {first}");
    }
    repo.patch(&location, 1_000, &blob[1_000..]).expect(202);
    server.expect_blob_at(&repo.finish(&location, &sha256(&blob), b""), &blob);
}

/// "Pushing a blob in chunks": the first chunk begins at 0.
#[test]
fn a_first_chunk_not_at_zero_is_416() {
    let server = Server::start();
    let repo = server.repo("app");
    let location = repo.start_upload();
    repo.patch(&location, 1, b"ab").expect(416);
    repo.patch(&location, 0, b"abc").expect(202).expect_header("Range", "0-2");
    server.expect_blob_at(&repo.finish(&location, &sha256(b"abc"), b""), b"abc");
}

/// "Pushing a blob in chunks": a last chunk out of order is a 416, too, and the session goes on.
#[test]
fn a_last_chunk_out_of_order_is_416() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(2_000);
    let location = path_of(repo.patch(&repo.start_upload(), 0, &blob[..1_000]).expect(202).header("Location"));
    let target = with_query(&location, &format!("digest={}", sha256(&blob)));
    for (range, body) in [("1001-1999", &blob[1_001..]), ("0-999", &blob[..1_000])] {
        server.put(&target).header("Content-Range", range).body(body).send().expect(416);
        assert!(!repo.has_blob(&sha256(&blob)));
        repo.upload_status(&location).expect(204).expect_header("Range", "0-999");
    }
    let answer = server.put(&target).header("Content-Range", "1000-1999").body(&blob[1_000..]).send();
    server.expect_blob_at(&answer, &blob);
}

/// "Pushing a blob in chunks": a closing PUT without a last chunk may say where it is, but not another place, nor nonsense.
#[test]
fn the_range_of_an_empty_last_chunk_is_checked() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(1_000);
    for chunked in [false, true] {
        let location = path_of(repo.patch(&repo.start_upload(), 0, &blob).expect(202).header("Location"));
        let target = with_query(&location, &format!("digest={}", sha256(&blob)));
        let put = |range: &str| {
            let request = server.put(&target).header("Content-Range", range);
            if chunked { request.chunked([]).send() } else { request.body(b"").send() }
        };
        for malformed in ["", "x", "1000", "1000-", "1000-999", "bytes1000-1000", "bytes 1000-1000/5"] {
            put(malformed).expect_error(400, "BLOB_UPLOAD_INVALID");
        }
        for elsewhere in ["0-999", "0-0", "999-999", "1001-1001"] {
            put(elsewhere).expect_error(416, "BLOB_UPLOAD_INVALID");
        }
        assert!(!repo.has_blob(&sha256(&blob)));
        repo.upload_status(&location).expect(204).expect_header("Range", "0-999");
        if chunked {
            // A body that may be of any length is short of what it says.
            put("1000-1000").expect_error(400, "SIZE_INVALID");
        } else {
            // So some clients close their session.
            server.expect_blob_at(&put("1000-1000"), &blob);
            repo.delete_blob(&sha256(&blob)).expect(202);
        }
    }
}

/// "Pushing a blob in chunks", code-10: a range and a length that contradict each other are refused, and nothing is taken.
#[test]
fn a_chunk_of_another_length_than_its_range_is_refused() {
    let server = Server::start();
    let repo = server.repo("app");
    let location = repo.start_upload();
    for range in ["0-3", "0-5"] {
        let answer = repo.patch_request(&location, b"abcde").header("Content-Range", range).send();
        answer.expect_error(400, "SIZE_INVALID");
    }
    repo.patch(&location, 0, b"abcde").expect(202).expect_header("Range", "0-4");
    server.expect_blob_at(&repo.finish(&location, &sha256(b"abcde"), b""), b"abcde");
}

/// "Pushing a blob in chunks", code-10: a chunk without a length that is shorter or longer than its range is refused at its end. What it had within its range is
/// kept, as of any chunk that breaks, and the status says so.
#[test]
fn a_streamed_chunk_of_another_length_than_its_range_is_refused() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(100_000);
    for (last, kept) in [(59_999, 60_000), (149_999, 100_000)] {
        let location = repo.start_upload();
        let request = server.patch(&location).header("Content-Range", format!("0-{last}"));
        request.chunked(blob.chunks(9_001)).send().expect_error(400, "SIZE_INVALID");
        let status = repo.upload_status(&location).expect(204);
        assert_eq!(status.header("Range"), format!("0-{}", kept - 1));
        server.expect_blob_at(&repo.finish(&location, &sha256(&blob), &blob[kept..]), &blob);
        repo.delete_blob(&sha256(&blob)).expect(202);
    }
}

/// "Pushing a blob in chunks", code-2: what is no range is refused; the form of RFC 9110, which some clients send, is not.
#[test]
fn the_form_of_content_range_is_checked() {
    let server = Server::start();
    let repo = server.repo("app");
    let location = repo.start_upload();
    for range in [
        "a-b",
        "0",
        "-4",
        "4-0",
        "0--4",
        "99999999999999999999-99999999999999999999999",
        "bytes0-4",
        "bytes 0-4/2",
        "bytes 0-4/",
        "items 0-4/5",
        "0-4/5",
    ] {
        let answer = repo.patch_request(&location, b"abcde").header("Content-Range", range).send();
        assert_eq!(answer.status, 400, "{range:?}: {}", answer.describe());
        answer.expect_error(400, "BLOB_UPLOAD_INVALID");
    }
    repo.upload_status(&location).expect(204).expect_header("Range", "0-0");
    let answer = repo.patch_request(&location, b"abcde").header("Content-Range", "bytes 0-4/*").send().expect(202);
    assert_eq!(answer.header("Range"), "0-4");
    repo.patch_request(&location, b"fg").header("Content-Range", "Bytes 5-6/7").send().expect(202);
    server.expect_blob_at(&repo.finish(&location, &sha256(b"abcdefg"), b""), b"abcdefg");
}

/// "Pushing a blob in chunks", without range and length: a stream of unknown length is appended.
#[test]
fn a_streamed_patch_is_appended() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(500_000);
    let mut location = repo.start_upload();
    let mut end = 0;
    for piece in blob.chunks(200_000) {
        let answer = server.patch(&location).chunked(piece.chunks(4_093)).send().expect(202);
        end += piece.len();
        assert_eq!(answer.header("Range"), format!("0-{}", end - 1));
        location = path_of(answer.header("Location"));
    }
    server.expect_blob_at(&repo.finish(&location, &sha256(&blob), b""), &blob);
}

/// "Pushing a blob in chunks", without a range: a body with a length is appended, too.
#[test]
fn a_patch_without_range_is_appended() {
    let server = Server::start();
    let repo = server.repo("app");
    let location = repo.start_upload();
    let answer = repo.patch_request(&location, b"one").send().expect(202).expect_header("Range", "0-2");
    let location = path_of(answer.header("Location"));
    repo.patch_request(&location, b"two").send().expect(202).expect_header("Range", "0-5");
    server.expect_blob_at(&repo.finish(&location, &sha256(b"onetwo"), b""), b"onetwo");
}

/// "Pushing a blob in chunks", end-13: the status of an upload tells how far it got, as often as it is asked.
#[test]
fn the_status_tells_the_offset_and_disturbs_nothing() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(3_000);
    let location = repo.start_upload();
    repo.upload_status(&location).expect(204).expect_header("Range", "0-0");
    let mut end = 0;
    for chunk in blob.chunks(1_000) {
        repo.patch(&location, end, chunk).expect(202);
        end += chunk.len();
        for _ in 0..3 {
            let status = repo.upload_status(&location).expect(204);
            assert_eq!(status.header("Range"), format!("0-{}", end - 1));
            assert_eq!(uuid_in(status.header("Location")), uuid_in(&location));
        }
    }
    server.expect_blob_at(&repo.finish(&location, &sha256(&blob), b""), &blob);
}

/// "Endpoints", end-5, end-6, end-13, end-14, code-3: what is no open session is a 404, however it is addressed.
#[test]
fn an_unknown_session_is_404() {
    let server = Server::start();
    let repo = server.repo("app");
    repo.push_blob(b"so that the repository exists");
    let unknown = repo.uploads_path("") + "11111111-2222-4333-8444-555555555555";
    let closed = repo.start_upload();
    repo.finish(&closed, &sha256(b"x"), b"x").expect(201);
    for location in [&unknown, &closed] {
        repo.upload_status(location).expect_error(404, "BLOB_UPLOAD_UNKNOWN");
        repo.patch(location, 0, b"x").expect_error(404, "BLOB_UPLOAD_UNKNOWN");
        repo.finish(location, &sha256(b"x"), b"x").expect_error(404, "BLOB_UPLOAD_UNKNOWN");
        server.delete(location).send().expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    }
}

/// "Definitions", repository: a session belongs to the repository that opened it.
#[test]
fn a_session_is_not_reached_through_another_repository() {
    let server = Server::start();
    let (mine, other) = (server.repo("mine"), server.repo("other"));
    other.push_blob(b"so that the repository exists");
    let location = mine.start_upload();
    let foreign = location.replacen("/v2/mine/", "/v2/other/", 1);
    other.upload_status(&foreign).expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    other.patch(&foreign, 0, b"x").expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    other.finish(&foreign, &sha256(b"x"), b"x").expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    server.delete(&foreign).send().expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    mine.upload_status(&location).expect(204).expect_header("Range", "0-0");
}

/// "Cancel a blob upload", end-14.
#[test]
fn a_cancelled_session_is_gone() {
    let server = Server::start();
    let repo = server.repo("app");
    let location = path_of(repo.patch(&repo.start_upload(), 0, b"half").expect(202).header("Location"));
    let answer = server.delete(&location).header("Content-Length", "0").send().expect(204);
    assert!(answer.body.is_empty());
    repo.upload_status(&location).expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    repo.patch(&location, 4, b"x").expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    repo.finish(&location, &sha256(b"half"), b"").expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    server.delete(&location).send().expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    assert!(!repo.has_blob(&sha256(b"half")));
}

/// "Pushing a blob in chunks", end-4c: the algorithm of the digest is named when the session is opened.
#[test]
fn a_session_for_sha512_takes_chunks() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(20_000);
    let digest = sha512(&blob);
    let answer = server.post(&repo.uploads_path("digest-algorithm=sha512")).send().expect(202);
    let mut location = path_of(answer.header("Location"));
    for (number, chunk) in blob.chunks(9_000).enumerate() {
        location = path_of(repo.patch(&location, number * 9_000, chunk).expect(202).header("Location"));
    }
    let answer = repo.finish(&location, &digest, b"");
    server.expect_blob_at(&answer, &blob);
    assert!(repo.blob(&digest).expect(200).body == blob);
}

/// "Pushing a blob in chunks", end-4c: the digest of a session for SHA-512 is verified as any other.
#[test]
fn a_wrong_sha512_is_refused() {
    let server = Server::start();
    let repo = server.repo("app");
    let answer = server.post(&repo.uploads_path("digest-algorithm=sha512")).send().expect(202);
    let answer = repo.patch(&path_of(answer.header("Location")), 0, b"content").expect(202);
    let location = path_of(answer.header("Location"));
    repo.finish(&location, &sha512(b"other"), b"").expect_error(400, "DIGEST_INVALID");
    assert!(!repo.has_blob(&sha512(b"content")) && !repo.has_blob(&sha512(b"other")));
}

/// "Pushing a blob in chunks", end-4c: an algorithm that is not supported is a 400.
#[test]
fn an_unknown_digest_algorithm_is_400() {
    let server = Server::start();
    let repo = server.repo("app");
    for algorithm in ["md5", "sha1", "SHA256", "blake3", ""] {
        let answer = server.post(&repo.uploads_path(&format!("digest-algorithm={algorithm}"))).send();
        answer.expect_error(400, "DIGEST_INVALID");
    }
    server.post(&repo.uploads_path("digest-algorithm=sha256")).send().expect(202);
}
