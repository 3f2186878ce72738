//! Specification, "Pushing Manifests": tags given as `tag` parameters, end-7b, and the subject of a manifest.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use wharf_tests::{Image, OCI_INDEX, OCI_MANIFEST, Response, Server, artifact, descriptor, empty_index, sha256, sha512};

/// The tags of an answer's `OCI-Tag` fields, which are lists.
fn accepted(answer: &Response) -> BTreeSet<String> {
    answer.all("OCI-Tag").iter().flat_map(|v| v.split(',')).map(|v| v.trim().to_owned()).collect()
}

fn query(tags: &[String]) -> String {
    tags.iter().map(|tag| format!("tag={tag}")).collect::<Vec<_>>().join("&")
}

/// End-7b: every tag of the request comes to be, and the answer names each; ten at least.
#[test]
fn tags_are_pushed_with_the_digest() {
    let server = Server::start();
    let repo = server.repo("team/app");
    let image = Image::random();
    repo.push_blobs(&image);
    let tags: Vec<_> = (0..12).map(|n| format!("1.{n}")).chain(["latest".to_owned()]).collect();
    let reference = format!("{}?{}", image.digest, query(&tags));
    let answer = repo.put(&reference, OCI_MANIFEST, &image.manifest).expect(201);
    assert_eq!(accepted(&answer), tags.iter().cloned().collect());
    assert_eq!(answer.header("Docker-Content-Digest"), image.digest);
    for tag in &tags {
        assert_eq!(repo.manifest(tag).expect(200).body, image.manifest, "{tag}");
    }
    assert_eq!(repo.tag_list("").len(), 13);
}

/// End-7b, by SHA-512.
#[test]
fn tags_are_pushed_with_a_sha512_digest() {
    let server = Server::start();
    let repo = server.repo("app");
    let manifest = empty_index();
    let answer = repo.put(&format!("{}?tag=a&tag=b", sha512(&manifest)), OCI_INDEX, &manifest).expect(201);
    assert_eq!(accepted(&answer), ["a".to_owned(), "b".to_owned()].into());
    assert_eq!(repo.manifest("b").expect(200).body, manifest);
}

/// End-7b: tags that exist are moved.
#[test]
fn pushed_tags_are_moved() {
    let server = Server::start();
    let repo = server.repo("app");
    let old = repo.push_random("latest");
    let manifest = empty_index();
    repo.put(&format!("{}?tag=latest&tag=new", sha256(&manifest)), OCI_INDEX, &manifest).expect(201);
    assert_eq!(repo.manifest("latest").expect(200).body, manifest);
    assert_eq!(repo.manifest(&old.digest).expect(200).body, old.manifest);
}

/// End-7b: the same tag twice is one tag; an escaped one is the one it stands for.
#[test]
fn a_repeated_tag_is_one_tag() {
    let server = Server::start();
    let repo = server.repo("app");
    let manifest = empty_index();
    let answer = repo.put(&format!("{}?tag=a&tag=a&tag=%61%2Db", sha256(&manifest)), OCI_INDEX, &manifest).expect(201);
    assert_eq!(accepted(&answer), ["a".to_owned(), "a-b".to_owned()].into());
    assert_eq!(repo.tag_list(""), ["a", "a-b"]);
}

/// End-7b: one tag outside the grammar, and nothing is pushed.
#[test]
fn an_invalid_tag_spoils_the_push() {
    let server = Server::start();
    let repo = server.repo("app");
    repo.push_random("there");
    let manifest = empty_index();
    let digest = sha256(&manifest);
    let long = "x".repeat(129);
    for wrong in ["-x", ".x", "a%2Fb", "a%20b", "", "a:b", &long] {
        let answer = repo.put(&format!("{digest}?tag=good&tag={wrong}"), OCI_INDEX, &manifest);
        assert_eq!(answer.status, 400, "{wrong:?}: {}", answer.describe());
        assert_eq!(repo.manifest(&digest).status, 404, "{wrong:?}");
        assert_eq!(repo.tag_list(""), ["there"], "{wrong:?}");
    }
}

/// End-7b: 64 tags are accepted, more are a 414 and none of them comes to be.
#[test]
fn too_many_tags_are_414() {
    let server = Server::start();
    let repo = server.repo("app");
    repo.push_random("there");
    let manifest = empty_index();
    let digest = sha256(&manifest);
    let tags: Vec<_> = (0..65).map(|n| format!("tag-number-{n:03}")).collect();
    repo.put(&format!("{digest}?{}", query(&tags)), OCI_INDEX, &manifest).expect(414);
    assert_eq!(repo.manifest(&digest).status, 404);
    assert_eq!(repo.tag_list(""), ["there"]);
    let answer = repo.put(&format!("{digest}?{}", query(&tags[..64])), OCI_INDEX, &manifest).expect(201);
    assert_eq!(accepted(&answer).len(), 64);
    assert_eq!(repo.tag_list("").len(), 65);
}

/// End-7b: the parameter belongs to a push by digest; with a tag in the path it is a 400, and nothing is pushed.
#[test]
fn tags_with_a_push_by_tag_are_refused() {
    let server = Server::start();
    let repo = server.repo("app");
    repo.push_random("there");
    let manifest = empty_index();
    for reference in ["v1?tag=v2", "v1?tag=v1", "there?tag=v2"] {
        repo.put(reference, OCI_INDEX, &manifest).expect_error(400, "UNSUPPORTED");
    }
    assert_eq!(repo.manifest(&sha256(&manifest)).status, 404);
    assert_eq!(repo.tag_list(""), ["there"]);
}

/// End-7b: without the parameter no tag is announced.
#[test]
fn no_tag_is_announced_that_was_not_asked_for() {
    let server = Server::start();
    let repo = server.repo("app");
    let manifest = empty_index();
    assert!(accepted(&repo.put(&sha256(&manifest), OCI_INDEX, &manifest).expect(201)).is_empty());
}

/// "Pushing Manifests with Subject": the answer names the subject that was taken note of.
#[test]
fn the_subject_is_confirmed() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = repo.push_random("v1");
    let manifest = artifact(Some(&descriptor(OCI_MANIFEST, &image.manifest)), Some("application/vnd.example"), &[]);
    repo.push_blob(wharf_tests::EMPTY_JSON);
    let answer = repo.put(&sha256(&manifest), OCI_MANIFEST, &manifest).expect(201);
    assert_eq!(answer.header("OCI-Subject"), image.digest);
    let answer = repo.put("by-tag", OCI_MANIFEST, &manifest).expect(201);
    assert_eq!(answer.header("OCI-Subject"), image.digest);
}

/// "Pushing Manifests with Subject": an index may have one, too.
#[test]
fn the_subject_of_an_index_is_confirmed() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = repo.push_random("v1");
    let mut list: Value = serde_json::from_slice(&empty_index()).unwrap();
    list["subject"] = descriptor(OCI_MANIFEST, &image.manifest);
    let list = list.to_string().into_bytes();
    let answer = repo.put("list", OCI_INDEX, &list).expect(201);
    assert_eq!(answer.header("OCI-Subject"), image.digest);
}

/// "Pushing Manifests with Subject": a subject by SHA-512 is confirmed as it was named.
#[test]
fn a_sha512_subject_is_confirmed() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = repo.push_random("v1");
    let digest = sha512(&image.manifest);
    let subject = json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": image.manifest.len()});
    let manifest = artifact(Some(&subject), Some("application/vnd.example"), &[]);
    repo.push_blob(wharf_tests::EMPTY_JSON);
    let answer = repo.put(&sha256(&manifest), OCI_MANIFEST, &manifest).expect(201);
    assert_eq!(answer.header("OCI-Subject"), digest);
}

/// "Push": a subject may come after what refers to it.
#[test]
fn a_subject_need_not_be_there() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = Image::random();
    let manifest = artifact(Some(&descriptor(OCI_MANIFEST, &image.manifest)), None, &[]);
    repo.push_blob(wharf_tests::EMPTY_JSON);
    let answer = repo.put("early", OCI_MANIFEST, &manifest).expect(201);
    assert_eq!(answer.header("OCI-Subject"), image.digest);
    assert_eq!(repo.manifest(&image.digest).status, 404);
    repo.push("late", &image);
    assert_eq!(repo.manifest("early").expect(200).body, manifest);
}

/// "Pushing Manifests with Subject": no subject, no confirmation.
#[test]
fn no_subject_is_confirmed_that_is_not_there() {
    let server = Server::start();
    let image = Image::random();
    assert_eq!(server.repo("app").push("v1", &image).get("OCI-Subject"), None);
}

/// "Pushing Manifests with Subject": a subject that is no descriptor makes the manifest invalid.
#[test]
fn a_malformed_subject_is_refused() {
    let server = Server::start();
    let repo = server.repo("app");
    repo.push_blob(wharf_tests::EMPTY_JSON);
    for subject in [json!("sha256:12"), json!({"digest": "sha256:12"}), json!({"mediaType": OCI_MANIFEST, "size": 1}), json!(7)] {
        let manifest = artifact(Some(&subject), None, &[]);
        let answer = repo.put("v1", OCI_MANIFEST, &manifest);
        answer.expect_error_among(400, &["MANIFEST_INVALID", "DIGEST_INVALID"]);
        assert_eq!(repo.manifest("v1").status, 404);
    }
}
