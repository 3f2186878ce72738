//! Specification, "Content Management": deletes of tags, manifests and blobs.

use wharf_tests::{Config, Image, OCI_INDEX, OCI_MANIFEST, Server, empty_index, index, random, sha256, sha512};

const ABSENT: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000001";

/// "Deleting tags", end-9: the tag is gone, its siblings and the manifest stay.
#[test]
fn a_tag_is_deleted_alone() {
    let server = Server::start();
    let repo = server.repo("team/app");
    let image = repo.push_random("v1");
    repo.put("latest", OCI_MANIFEST, &image.manifest).expect(201);
    let other = repo.push_random("v2");
    repo.delete("v1").expect(202);
    repo.manifest("v1").expect_error(404, "MANIFEST_UNKNOWN");
    repo.head_manifest("v1").expect(404);
    assert_eq!(repo.manifest("latest").expect(200).body, image.manifest);
    assert_eq!(repo.manifest(&image.digest).expect(200).body, image.manifest);
    assert_eq!(repo.manifest("v2").expect(200).body, other.manifest);
    assert_eq!(repo.tag_list(""), ["latest", "v2"]);
    assert!(image.blobs().all(|blob| repo.has_blob(&sha256(blob))));
}

/// "Deleting tags": the last tag of a manifest takes nothing else with it.
#[test]
fn the_last_tag_leaves_the_manifest() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = repo.push_random("v1");
    repo.delete("v1").expect(202);
    assert_eq!(repo.manifest(&image.digest).expect(200).body, image.manifest);
    repo.put("v1", OCI_MANIFEST, &image.manifest).expect(201);
    assert_eq!(repo.manifest("v1").expect(200).body, image.manifest);
}

/// "Deleting Manifests", end-9: the manifest is gone with every tag that named it; nothing else is.
#[test]
fn a_manifest_is_deleted_with_its_tags() {
    let server = Server::start();
    let repo = server.repo("team/app");
    let image = repo.push_random("v1");
    repo.put("latest", OCI_MANIFEST, &image.manifest).expect(201);
    let other = repo.push_random("v2");
    repo.delete(&image.digest).expect(202);
    for reference in ["v1", "latest", &image.digest] {
        repo.manifest(reference).expect_error(404, "MANIFEST_UNKNOWN");
        repo.head_manifest(reference).expect(404);
    }
    assert_eq!(repo.manifest("v2").expect(200).body, other.manifest);
    assert_eq!(repo.tag_list(""), ["v2"]);
}

/// "Deleting Manifests": of one repository, not of another that has the same.
#[test]
fn a_manifest_is_deleted_from_one_repository() {
    let server = Server::start();
    let (one, two) = (server.repo("one"), server.repo("two"));
    let image = one.push_random("v1");
    two.push("v1", &image);
    one.delete(&image.digest).expect(202);
    assert_eq!(two.manifest("v1").expect(200).body, image.manifest);
    assert_eq!(one.manifest(&image.digest).status, 404);
}

/// "Deleting Manifests", by SHA-512.
#[test]
fn a_manifest_is_deleted_by_sha512() {
    let server = Server::start();
    let repo = server.repo("app");
    let manifest = empty_index();
    let digest = sha512(&manifest);
    repo.put(&format!("{digest}?tag=v1"), OCI_INDEX, &manifest).expect(201);
    repo.delete(&digest).expect(202);
    for reference in ["v1", &digest, &sha256(&manifest)] {
        repo.manifest(reference).expect_error(404, "MANIFEST_UNKNOWN");
    }
}

/// "Deleting tags", "Deleting Manifests": what is not there, or not any more, is a 404.
#[test]
fn deleting_what_is_not_there_is_404() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = repo.push_random("v1");
    repo.delete("v2").expect_error(404, "MANIFEST_UNKNOWN");
    repo.delete(ABSENT).expect_error(404, "MANIFEST_UNKNOWN");
    repo.delete("v1").expect(202);
    repo.delete("v1").expect_error(404, "MANIFEST_UNKNOWN");
    repo.delete(&image.digest).expect(202);
    repo.delete(&image.digest).expect_error(404, "MANIFEST_UNKNOWN");
}

/// "Deleting Manifests": a repository that is not there is a 404.
#[test]
fn deleting_from_an_unknown_repository_is_404() {
    let server = Server::start();
    server.repo("team/app").push_random("v1");
    let repo = server.repo("team");
    repo.delete("v1").expect_error(404, "NAME_UNKNOWN");
    repo.delete(ABSENT).expect_error(404, "NAME_UNKNOWN");
    repo.delete_blob(ABSENT).expect_error(404, "NAME_UNKNOWN");
}

/// "Deleting Manifests": a child of an index may go; the index stays, as it was.
#[test]
fn a_child_of_an_index_may_be_deleted() {
    let server = Server::start();
    let repo = server.repo("app");
    let (first, second) = (Image::random(), Image::random());
    repo.push(&first.digest, &first);
    repo.push(&second.digest, &second);
    let list = index(&[first.descriptor("amd64"), second.descriptor("arm64")]);
    repo.put("list", OCI_INDEX, &list).expect(201);
    repo.delete(&first.digest).expect(202);
    assert_eq!(repo.manifest("list").expect(200).body, list);
    assert_eq!(repo.manifest(&first.digest).status, 404);
    assert_eq!(repo.manifest(&second.digest).expect(200).body, second.manifest);
}

/// "Deleting Blobs", end-10.
#[test]
fn a_blob_is_deleted() {
    let server = Server::start();
    let repo = server.repo("app");
    let (gone, stays) = (repo.push_blob(&random(10_000)), repo.push_blob(&random(10_000)));
    repo.delete_blob(&gone).expect(202);
    repo.blob(&gone).expect_error_among(404, &["BLOB_UNKNOWN", "NAME_UNKNOWN"]);
    assert!(!repo.has_blob(&gone));
    repo.blob(&stays).expect(200);
}

/// "Deleting Blobs": what is not there, or not any more, is a 404.
#[test]
fn deleting_an_unknown_blob_is_404() {
    let server = Server::start();
    let repo = server.repo("app");
    repo.push_random("v1");
    let digest = repo.push_blob(&random(100));
    repo.delete_blob(ABSENT).expect_error(404, "BLOB_UNKNOWN");
    repo.delete_blob(&digest).expect(202);
    repo.delete_blob(&digest).expect_error(404, "BLOB_UNKNOWN");
}

/// "Deleting Blobs": of one repository, not of another that has the same.
#[test]
fn a_blob_is_deleted_from_one_repository() {
    let server = Server::start();
    let (one, two) = (server.repo("one"), server.repo("two"));
    let blob = random(10_000);
    let digest = one.push_blob(&blob);
    two.push_blob(&blob);
    one.delete_blob(&digest).expect(202);
    assert!(!one.has_blob(&digest));
    assert!(two.blob(&digest).expect(200).body == blob);
}

/// "Deleting Blobs": a blob that a manifest of the repository names stays until the manifest is gone.
#[test]
fn a_blob_in_use_is_not_deleted() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = repo.push_random("v1");
    for blob in image.blobs() {
        repo.delete_blob(&sha256(blob)).expect_error(405, "UNSUPPORTED");
        assert!(repo.blob(&sha256(blob)).expect(200).body == *blob);
    }
    // Untagged, it is still a manifest of the repository.
    repo.delete("v1").expect(202);
    repo.delete_blob(&sha256(&image.config)).expect_error(405, "UNSUPPORTED");
    repo.delete(&image.digest).expect(202);
    repo.delete_blob(&sha256(&image.config)).expect(202);
    assert!(!repo.has_blob(&sha256(&image.config)));
}

/// "Deleting Blobs": what was deleted can be pushed again, and is what it was.
#[test]
fn what_was_deleted_can_be_pushed_again() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = repo.push_random("v1");
    for _ in 0..3 {
        repo.delete(&image.digest).expect(202);
        for blob in image.blobs() {
            repo.delete_blob(&sha256(blob)).expect(202);
        }
        // Nothing remembered may pass for what is gone.
        repo.put("v1", OCI_MANIFEST, &image.manifest).expect_error(404, "MANIFEST_BLOB_UNKNOWN");
        repo.push("v1", &image);
        assert_eq!(repo.manifest("v1").expect(200).body, image.manifest);
        for blob in image.blobs() {
            assert!(repo.blob(&sha256(blob)).expect(200).body == *blob);
        }
    }
}

/// "Deleting tags", "Deleting Manifests", "Deleting Blobs": switched off, each is a 405, and deletes nothing.
#[test]
fn deletes_can_be_disabled() {
    // A configuration that says nothing means no, as it does for distribution.
    for config in [Config::default().set("storage.delete.enabled", false), Config::default().unset("storage.delete")] {
        let server = Server::with_config(config);
        let repo = server.repo("app");
        let image = repo.push_random("v1");
        let loose = repo.push_blob(&random(100));
        repo.delete("v1").expect_error(405, "UNSUPPORTED");
        repo.delete(&image.digest).expect_error(405, "UNSUPPORTED");
        repo.delete_blob(&loose).expect_error(405, "UNSUPPORTED");
        assert_eq!(repo.manifest("v1").expect(200).body, image.manifest);
        assert!(repo.has_blob(&loose));
        // An upload is cancelled all the same.
        server.delete(&repo.start_upload()).send().expect(204);
    }
}

/// Read-only operation: whatever writes is a 405, whatever reads goes on.
#[test]
fn a_read_only_registry_refuses_writes() {
    let mut server = Server::start();
    let image = server.repo("app").push_random("v1");
    let open = server.repo("app").start_upload();
    server.restart_with(Config::default().set("storage.maintenance.readonly.enabled", true));
    let repo = server.repo("app");
    let layer = sha256(&image.layers[0]);
    server.post(&repo.uploads_path("")).send().expect_error(405, "UNSUPPORTED");
    server.post(&repo.uploads_path(&format!("digest={}", sha256(b"x")))).body(b"x").send().expect_error(405, "UNSUPPORTED");
    let mount = server.repo("other").uploads_path(&format!("mount={layer}&from=app"));
    server.post(&mount).send().expect_error(405, "UNSUPPORTED");
    repo.patch(&open, 0, b"x").expect_error(405, "UNSUPPORTED");
    repo.finish(&open, &sha256(b"x"), b"x").expect_error(405, "UNSUPPORTED");
    repo.put("v2", OCI_MANIFEST, &image.manifest).expect_error(405, "UNSUPPORTED");
    repo.delete("v1").expect_error(405, "UNSUPPORTED");
    repo.delete(&image.digest).expect_error(405, "UNSUPPORTED");
    repo.delete_blob(&layer).expect_error(405, "UNSUPPORTED");
    assert_eq!(repo.tag_list(""), ["v1"]);
    assert_eq!(repo.manifest("v1").expect(200).body, image.manifest);
    assert!(repo.blob(&layer).expect(200).body == image.layers[0]);
}
