//! Specification, "Mounting a blob from another repository".

use wharf_tests::{Server, path_of, random, sha256, sha512, uuid_in};

/// "Mounting a blob from another repository", end-11: 201, and the blob is there.
#[test]
fn a_mounted_blob_is_in_the_repository() {
    let server = Server::start();
    let blob = random(50_000);
    let digest = server.repo("library/base").push_blob(&blob);
    let target = server.repo("team/app");
    assert!(!target.has_blob(&digest));
    let answer = server.post(&target.uploads_path(&format!("mount={digest}&from=library/base"))).send();
    server.expect_blob_at(&answer, &blob);
    assert_eq!(answer.header("Docker-Content-Digest"), digest);
    assert!(path_of(answer.header("Location")).starts_with("/v2/team/app/"));
    assert!(target.has_blob(&digest));
    // A name with its slash escaped means the same.
    let third = server.repo("third");
    server.post(&third.uploads_path(&format!("mount={digest}&from=library%2Fbase"))).send().expect(201);
}

/// "Mounting a blob from another repository": what was mounted stays when the source is deleted.
#[test]
fn a_mounted_blob_outlives_its_source() {
    let server = Server::start();
    let (source, target) = (server.repo("source"), server.repo("target"));
    let blob = random(1_000);
    let digest = source.push_blob(&blob);
    server.post(&target.uploads_path(&format!("mount={digest}&from=source"))).send().expect(201);
    source.delete_blob(&digest).expect(202);
    assert!(target.blob(&digest).expect(200).body == blob);
    assert!(!source.has_blob(&digest));
}

/// "Mounting a blob from another repository": what cannot be mounted becomes an upload.
#[test]
fn an_unknown_mount_opens_a_session() {
    let server = Server::start();
    let repo = server.repo("app");
    server.repo("source").push_blob(b"something else");
    let blob = random(100);
    for query in [
        format!("mount={}&from=source", sha256(&blob)),
        format!("mount={}&from=nobody/here", sha256(&blob)),
        format!("mount={}", sha256(&blob)),
    ] {
        let answer = server.post(&repo.uploads_path(&query)).send().expect(202);
        uuid_in(answer.header("Location"));
        assert!(!repo.has_blob(&sha256(&blob)));
        server.delete(&path_of(answer.header("Location"))).send().expect(204);
    }
    let answer = server.post(&repo.uploads_path(&format!("mount={}&from=source", sha256(&blob)))).send().expect(202);
    let location = path_of(answer.header("Location"));
    server.expect_blob_at(&repo.finish(&location, &sha256(&blob), &blob), &blob);
}

/// "Mounting a blob from another repository": a blob is mounted only from where it is.
#[test]
fn a_mount_from_a_repository_without_the_blob_opens_a_session() {
    let server = Server::start();
    let digest = server.repo("source").push_blob(b"content");
    server.repo("elsewhere").push_blob(b"something else");
    let repo = server.repo("app");
    // The registry may find it by itself (201) or not (202); either way it must say the truth.
    let answer = server.post(&repo.uploads_path(&format!("mount={digest}&from=elsewhere"))).send();
    match answer.status {
        201 => assert_eq!(repo.blob(&digest).expect(200).body, b"content"),
        202 => assert!(!repo.has_blob(&digest)),
        _ => panic!("{}", answer.describe()),
    }
}

/// "Mounting a blob from another repository": without `from` the blob is taken from wherever it is.
#[test]
fn a_mount_without_source_finds_the_blob() {
    let server = Server::start();
    let blob = random(1_000);
    let digest = server.repo("somewhere").push_blob(&blob);
    let answer = server.post(&server.repo("app").uploads_path(&format!("mount={digest}"))).send();
    server.expect_blob_at(&answer, &blob);
    assert_eq!(answer.header("Docker-Content-Digest"), digest);
}

/// "Mounting a blob from another repository": by SHA-512, too.
#[test]
fn a_mount_by_sha512_works() {
    let server = Server::start();
    let source = server.repo("source");
    let blob = random(1_000);
    let digest = sha512(&blob);
    source.finish(&source.start_upload(), &digest, &blob).expect(201);
    let repo = server.repo("app");
    let answer = server.post(&repo.uploads_path(&format!("mount={digest}&from=source"))).send();
    server.expect_blob_at(&answer, &blob);
    assert!(repo.has_blob(&digest));
}

/// "Pushing blobs" with "Mounting a blob from another repository": a digest that cannot be read is a 400.
#[test]
fn a_mount_of_an_invalid_digest_is_400() {
    let server = Server::start();
    let repo = server.repo("app");
    for digest in ["sha256:12", "nonsense", "md5:9dd4e461268c8034f5c8564e155c67a6"] {
        let answer = server.post(&repo.uploads_path(&format!("mount={digest}&from=source"))).send();
        answer.expect_error(400, "DIGEST_INVALID");
    }
}
