//! Specification, "Pull": manifests, blobs, and the check for existence.

use wharf_tests::{DOCKER_MANIFEST, Framing, Image, OCI_MANIFEST, Program, Server, index, random, sha256, sha512};

const ABSENT: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000001";

/// "Determining Support", end-1.
#[test]
fn the_base_endpoint_answers_200() {
    let server = Server::start();
    let answer = server.get("/v2/").send().expect(200);
    assert_eq!(answer.header("Docker-Distribution-Api-Version"), "registry/2.0");
    assert!(answer.json().is_object());
}

/// "Pulling manifests", end-3: by tag, the bytes that were pushed, with type, digest, tag of the entity and length.
#[test]
fn a_manifest_is_pulled_by_tag() {
    let server = Server::start();
    let repo = server.repo("team/app");
    let image = repo.push_random("v1");
    let answer = repo.manifest("v1").expect(200);
    assert_eq!(answer.body, image.manifest);
    assert_eq!(answer.header("Docker-Content-Digest"), image.digest);
    assert_eq!(answer.header("Content-Type"), OCI_MANIFEST);
    assert_eq!(answer.header("ETag"), format!("\"{}\"", image.digest));
    assert_eq!(answer.framing, Framing::Length(image.manifest.len() as u64));
    assert_eq!(answer.header("Docker-Distribution-Api-Version"), "registry/2.0");
}

/// "Pulling manifests", end-3: by digest the same bytes, whether or not a tag names them.
#[test]
fn a_manifest_is_pulled_by_digest() {
    let server = Server::start();
    let repo = server.repo("team/app");
    let image = Image::random();
    repo.push(&image.digest, &image);
    let answer = repo.manifest(&image.digest).expect(200);
    assert_eq!(answer.body, image.manifest);
    assert_eq!(answer.header("Docker-Content-Digest"), image.digest);
    assert_eq!(answer.header("Content-Type"), OCI_MANIFEST);
}

/// "Pulling manifests": the type is the one it was pushed with, without parameters, and never guessed.
#[test]
fn the_type_of_a_pulled_manifest_is_the_pushed_one() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = Image::random();
    repo.push_blobs(&image);
    let text = String::from_utf8(image.manifest).unwrap().replace(OCI_MANIFEST, DOCKER_MANIFEST);
    repo.put("docker", DOCKER_MANIFEST, text.as_bytes()).expect(201);
    assert_eq!(repo.manifest("docker").expect(200).header("Content-Type"), DOCKER_MANIFEST);
    let head = repo.head_manifest("docker").expect(200);
    assert_eq!(head.header("Content-Type"), DOCKER_MANIFEST);
}

/// "Pulling manifests": a client that names no type with `Accept` takes any.
#[test]
fn an_index_is_pulled_without_accept() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = repo.push_random("one");
    let list = index(&[image.descriptor("amd64")]);
    repo.put("list", wharf_tests::OCI_INDEX, &list).expect(201);
    let answer = server.get(&repo.manifest_path("list")).send().expect(200);
    assert_eq!(answer.body, list);
    assert_eq!(answer.header("Content-Type"), wharf_tests::OCI_INDEX);
}

/// "Pulling manifests", code-7: an unknown tag or digest is a 404.
#[test]
fn an_unknown_manifest_is_404() {
    let server = Server::start();
    let repo = server.repo("app");
    repo.push_random("v1");
    repo.manifest("v2").expect_error(404, "MANIFEST_UNKNOWN");
    repo.manifest(ABSENT).expect_error(404, "MANIFEST_UNKNOWN");
}

/// "Pushing Manifests": pulling from a repository that is not there is a 404.
#[test]
fn an_unknown_repository_is_404() {
    let server = Server::start();
    let repo = server.repo("nobody/here");
    repo.manifest("latest").expect_error_among(404, &["NAME_UNKNOWN", "MANIFEST_UNKNOWN"]);
    repo.manifest(ABSENT).expect_error_among(404, &["NAME_UNKNOWN", "MANIFEST_UNKNOWN"]);
    repo.blob(ABSENT).expect_error_among(404, &["NAME_UNKNOWN", "BLOB_UNKNOWN"]);
}

/// "Definitions", repository: a manifest of one repository is not in another.
#[test]
fn a_manifest_of_another_repository_is_404() {
    let server = Server::start();
    let image = server.repo("one").push_random("v1");
    let other = server.repo("two");
    other.push_random("v2");
    other.manifest("v1").expect_error(404, "MANIFEST_UNKNOWN");
    other.manifest(&image.digest).expect_error(404, "MANIFEST_UNKNOWN");
}

/// "Pulling manifests": a reference is a tag or a digest; what is neither names nothing.
#[test]
fn a_reference_that_is_neither_tag_nor_digest_is_refused() {
    let server = Server::start();
    let repo = server.repo("app");
    repo.push_random("v1");
    let long = "a".repeat(129);
    for reference in ["-v1", ".v1", "v1:v1", "v1@v1", "sha256:", "sha256:abc", "v%201", "v1%00", "v1%2Fv1", &long] {
        let answer = repo.manifest(reference);
        assert!([400, 404].contains(&answer.status), "{reference}: {}", answer.describe());
        let answer = repo.put(reference, OCI_MANIFEST, b"{}");
        assert!([400, 404].contains(&answer.status), "PUT {reference}: {}", answer.describe());
    }
    assert_eq!(repo.tag_list(""), ["v1"]);
}

/// "Pulling manifests": a tag has at most 128 characters, of letters, digits, `.`, `_` and `-`.
#[test]
fn every_tag_of_the_grammar_works() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = Image::random();
    repo.push_blobs(&image);
    let long = "x".repeat(128);
    for tag in ["v1", "V1", "_", "0", "1.2.3-rc.1_x86-64", "A", "latest", &long] {
        repo.put(tag, OCI_MANIFEST, &image.manifest).expect(201);
        assert_eq!(repo.manifest(tag).expect(200).body, image.manifest, "{tag}");
    }
}

/// "Pulling blobs", end-2.
#[test]
fn a_blob_is_pulled_by_digest() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(100_000);
    let digest = repo.push_blob(&blob);
    let answer = repo.blob(&digest).expect(200);
    assert!(answer.body == blob, "other bytes than those pushed");
    assert_eq!(answer.header("Docker-Content-Digest"), digest);
    assert_eq!(answer.framing, Framing::Length(100_000));
    assert_eq!(answer.header("ETag"), format!("\"{digest}\""));
    assert_eq!(answer.header("Content-Type"), "application/octet-stream");
    assert_eq!(answer.header("Accept-Ranges"), "bytes");
    assert_eq!(answer.header("Cache-Control"), "max-age=31536000, immutable");
}

/// "Pulling blobs": blobs of every size, around the sizes at which a server may change its ways.
#[test]
fn blobs_of_every_size_come_back() {
    let server = Server::start();
    let repo = server.repo("app");
    for size in [0, 1, 4095, 4096, 4097, 65_535, 65_536, 65_537, 1 << 20, (1 << 20) + 1, 9_999_999] {
        let blob = random(size);
        let digest = repo.push_blob(&blob);
        let answer = repo.blob(&digest).expect(200);
        assert_eq!(answer.framing, Framing::Length(size as u64));
        assert!(answer.body == blob, "a blob of {size} bytes came back altered");
        let head = server.head(&repo.blob_path(&digest)).send().expect(200);
        assert_eq!(head.header("Content-Length"), size.to_string());
    }
}

/// "Pulling blobs", code-1: an unknown digest is a 404.
#[test]
fn an_unknown_blob_is_404() {
    let server = Server::start();
    let repo = server.repo("app");
    repo.push_random("v1");
    repo.blob(ABSENT).expect_error(404, "BLOB_UNKNOWN");
}

/// "Definitions", repository: a blob of one repository is not in another.
#[test]
fn a_blob_of_another_repository_is_404() {
    let server = Server::start();
    let digest = server.repo("one").push_blob(&random(100));
    let other = server.repo("two");
    other.push_random("v1");
    other.blob(&digest).expect_error(404, "BLOB_UNKNOWN");
    assert!(!other.has_blob(&digest));
}

/// "Pulling blobs": the digest in the answer is of the body, also when SHA-512 was asked for.
#[test]
fn a_blob_is_pulled_by_sha512() {
    let server = Server::start();
    let repo = server.repo("app");
    let blob = random(5000);
    let digest = sha512(&blob);
    let location = repo.start_upload();
    repo.finish(&location, &digest, &blob).expect(201);
    let answer = repo.blob(&digest).expect(200);
    assert!(answer.body == blob);
    let told = answer.header("Docker-Content-Digest");
    assert!(told == digest || told == sha256(&blob), "{told}");
    let head = server.head(&repo.blob_path(&digest)).send().expect(200);
    assert_eq!(head.header("Content-Length"), "5000");
}

/// "Pulling blobs": what is no digest names no blob.
#[test]
fn a_malformed_digest_names_no_blob() {
    let server = Server::start();
    let repo = server.repo("app");
    let digest = repo.push_blob(b"content");
    let hex = digest.trim_start_matches("sha256:");
    let upper = format!("sha256:{}", hex.to_uppercase());
    let long = format!("{digest}00");
    for wrong in ["sha256", "sha256:", "sha256:zz", hex, &upper, &long, "md5:d41d8cd98f00b204e9800998ecf8427e"] {
        let answer = repo.blob(wrong);
        assert!([400, 404].contains(&answer.status), "{wrong}: {}", answer.describe());
        let answer = server.head(&repo.blob_path(wrong)).send();
        assert!([400, 404].contains(&answer.status), "HEAD {wrong}: {}", answer.describe());
    }
}

/// "Checking if content exists in the registry", end-3.
#[test]
fn head_tells_a_manifest_s_digest_and_size() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = repo.push_random("v1");
    for reference in ["v1", &image.digest] {
        let answer = repo.head_manifest(reference).expect(200);
        assert_eq!(answer.header("Docker-Content-Digest"), image.digest);
        assert_eq!(answer.header("Content-Length"), image.manifest.len().to_string());
        assert_eq!(answer.header("Content-Type"), OCI_MANIFEST);
        assert_eq!(answer.header("ETag"), format!("\"{}\"", image.digest));
    }
}

/// "Checking if content exists in the registry", end-2.
#[test]
fn head_tells_a_blob_s_digest_and_size() {
    let server = Server::start();
    let repo = server.repo("app");
    let digest = repo.push_blob(&random(12_345));
    let answer = server.head(&repo.blob_path(&digest)).send().expect(200);
    assert_eq!(answer.header("Docker-Content-Digest"), digest);
    assert_eq!(answer.header("Content-Length"), "12345");
    assert_eq!(answer.header("ETag"), format!("\"{digest}\""));
    assert_eq!(answer.header("Accept-Ranges"), "bytes");
}

/// "Checking if content exists in the registry": what is not there is a 404, here too.
#[test]
fn head_of_what_is_not_there_is_404() {
    let server = Server::start();
    let repo = server.repo("app");
    repo.push_random("v1");
    for path in [repo.manifest_path("v2"), repo.manifest_path(ABSENT), repo.blob_path(ABSENT)] {
        server.head(&path).send().expect(404);
    }
}

/// "API", by way of RFC 9110: an answer to HEAD has no body, found or not; the next answer follows at once.
#[test]
fn head_is_followed_by_no_body() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = repo.push_random("v1");
    let blob = sha256(&image.config);
    let mut connection = server.connect();
    for path in [repo.manifest_path("v1"), repo.blob_path(&blob), repo.manifest_path("v2"), repo.blob_path(ABSENT)] {
        server.head(&path).send_on(&mut connection).unwrap();
        // Surplus bytes would be taken for the beginning of this answer.
        let next = server.get("/v2/").send_on(&mut connection).unwrap();
        next.expect(200);
    }
}

/// "Registry Proxying": a registry that is no proxy takes no notice of `ns`.
#[test]
fn the_namespace_parameter_is_ignored() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = repo.push_random("v1");
    let answer = server.get(&(repo.manifest_path("v1") + "?ns=registry.example.org")).send().expect(200);
    assert_eq!(answer.body, image.manifest);
    let path = repo.blob_path(&sha256(&image.config)) + "?ns=registry.example.org";
    assert_eq!(server.get(&path).send().expect(200).body, image.config);
}

/// "Pulling manifests", `<name>`: every name of the grammar works.
#[test]
fn every_name_of_the_grammar_works() {
    let server = Server::start();
    let long = format!("{}/{}", "a".repeat(100), "b".repeat(100));
    let names = [
        "a",
        "0",
        "a/b",
        "a/b/c/d/e/f",
        "a.b",
        "a_b",
        "a__b",
        "a-b",
        "a--b",
        "a-----b",
        "0.1_2__3-4/x.y",
        &long,
        "manifests",
        "blobs/uploads",
        "tags/list",
        "referrers",
        "v2/app",
    ];
    for name in names {
        let repo = server.repo(name);
        let image = repo.push_random("v1");
        assert_eq!(repo.manifest("v1").expect(200).body, image.manifest, "{name}");
        assert_eq!(repo.blob(&sha256(&image.config)).expect(200).body, image.config, "{name}");
        assert_eq!(repo.tag_list(""), ["v1"], "{name}");
        if Program::under_test() == Program::Wharf {
            assert_eq!(repo.referrers(&image.digest).expect(200).json()["manifests"], serde_json::json!([]), "{name}");
        }
    }
}
