//! Specification, "Pushing Manifests": references, types, what a manifest may name, its size.

use serde_json::{Value, json};
use wharf_tests::{
    CODES, Config, DOCKER_LIST, DOCKER_MANIFEST, EMPTY_JSON, Image, OCI_CONFIG, OCI_EMPTY, OCI_INDEX, OCI_LAYER, OCI_MANIFEST,
    Server, descriptor, empty_index, index, path_of, random, sha256, sha512,
};

/// What a manifest may weigh: 4 MiB.
const LIMIT: usize = 4 * 1024 * 1024;

fn bytes(manifest: &Value) -> Vec<u8> {
    manifest.to_string().into_bytes()
}

/// An index without children, of exactly `size` bytes.
fn index_of_size(size: usize) -> Vec<u8> {
    let build = |padding: usize| {
        bytes(&json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "annotations": {"pad": "x".repeat(padding)}}))
    };
    let manifest = build(size - build(0).len());
    assert_eq!(manifest.len(), size);
    manifest
}

/// "Pushing Manifests", end-7a: by tag; 201 with a location that leads to the manifest, and its digest.
#[test]
fn a_manifest_is_pushed_by_tag() {
    let server = Server::start();
    let repo = server.repo("team/app");
    let image = Image::random();
    let answer = repo.push("v1", &image);
    assert_eq!(answer.header("Docker-Content-Digest"), image.digest);
    assert_eq!(answer.header("ETag"), format!("\"{}\"", image.digest));
    assert_eq!(server.get(&path_of(answer.header("Location"))).send().expect(200).body, image.manifest);
    assert_eq!(repo.manifest("v1").expect(200).body, image.manifest);
    assert_eq!(repo.manifest(&image.digest).expect(200).body, image.manifest);
}

/// "Pushing Manifests", end-7a: by digest; no tag comes to be.
#[test]
fn a_manifest_is_pushed_by_digest() {
    let server = Server::start();
    let repo = server.repo("team/app");
    let image = Image::random();
    let answer = repo.push(&image.digest, &image);
    assert_eq!(answer.header("Docker-Content-Digest"), image.digest);
    assert_eq!(server.get(&path_of(answer.header("Location"))).send().expect(200).body, image.manifest);
    assert!(repo.tag_list("").is_empty());
}

/// "Pushing Manifests": a manifest pushed by digest must have that digest.
#[test]
fn a_manifest_of_another_digest_is_refused() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = Image::random();
    repo.push_blobs(&image);
    for digest in [sha256(b"other"), sha512(b"other")] {
        repo.put(&digest, OCI_MANIFEST, &image.manifest).expect_error(400, "DIGEST_INVALID");
        assert_eq!(repo.manifest(&digest).status, 404);
    }
    assert_eq!(repo.manifest(&image.digest).status, 404);
}

/// "Pushing Manifests": a digest of SHA-512 is answered with that digest, and the manifest is found by it.
#[test]
fn a_manifest_is_pushed_by_sha512() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = Image::random();
    let digest = sha512(&image.manifest);
    let answer = repo.push(&digest, &image);
    assert_eq!(answer.header("Docker-Content-Digest"), digest);
    assert_eq!(server.get(&path_of(answer.header("Location"))).send().expect(200).body, image.manifest);
    assert_eq!(repo.manifest(&digest).expect(200).body, image.manifest);
    assert_eq!(repo.head_manifest(&digest).expect(200).header("Content-Length"), image.manifest.len().to_string());
}

/// "Pushing Manifests": algorithms that are not supported are refused, not ignored.
#[test]
fn a_manifest_by_an_unknown_algorithm_is_refused() {
    let server = Server::start();
    let repo = server.repo("app");
    let manifest = empty_index();
    for digest in ["md5:9dd4e461268c8034f5c8564e155c67a6", "sha256:12", "x:y"] {
        let answer = repo.put(digest, OCI_INDEX, &manifest);
        assert_eq!(answer.status, 400, "{digest}: {}", answer.describe());
    }
}

/// "Pushing Manifests": the bytes are kept as they came, white space, order of members and all.
#[test]
fn a_manifest_keeps_its_bytes() {
    let server = Server::start();
    let repo = server.repo("app");
    let text = format!(
        "\n{{ \"manifests\" :\t[ ],\r\n  \"mediaType\": \"{OCI_INDEX}\",\n\n \"x-unknown\": {{\"b\":1.50,\"a\":\"\\u00e9é\"}}, \"schemaVersion\":2 }}\n \n"
    );
    repo.put("v1", OCI_INDEX, text.as_bytes()).expect(201).expect_header("Docker-Content-Digest", &sha256(text.as_bytes()));
    assert_eq!(repo.manifest("v1").expect(200).body, text.as_bytes());
}

/// "Pushing Manifests": parameters of the content type are ignored, and not given back.
#[test]
fn parameters_of_the_type_are_ignored() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = Image::random();
    repo.push_blobs(&image);
    for (tag, parameters) in [("a", "; charset=utf-8"), ("b", ";charset=\"utf-8\"; x=y")] {
        repo.put(tag, &format!("{OCI_MANIFEST}{parameters}"), &image.manifest).expect(201);
        assert_eq!(repo.manifest(tag).expect(200).header("Content-Type"), OCI_MANIFEST);
    }
}

/// "Pushing Manifests": the member `mediaType` and the content type say the same.
#[test]
fn two_different_types_are_refused() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = Image::random();
    repo.push_blobs(&image);
    for media_type in [OCI_INDEX, DOCKER_MANIFEST, "application/json"] {
        repo.put("v1", media_type, &image.manifest).expect_error(400, "MANIFEST_INVALID");
    }
    assert_eq!(repo.manifest("v1").status, 404);
}

/// "Pushing Manifests": the member `mediaType` may be missing.
#[test]
fn a_manifest_without_media_type_is_accepted() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = Image::random();
    repo.push_blobs(&image);
    let mut manifest: Value = serde_json::from_slice(&image.manifest).unwrap();
    manifest.as_object_mut().unwrap().remove("mediaType");
    repo.put("v1", OCI_MANIFEST, &bytes(&manifest)).expect(201);
    let answer = repo.manifest("v1").expect(200);
    assert_eq!(answer.body, bytes(&manifest));
    assert_eq!(answer.header("Content-Type"), OCI_MANIFEST);
}

/// "Definitions", manifest: a document of a type nobody here knows is kept and given back as that type.
#[test]
fn an_unknown_type_is_accepted() {
    let server = Server::start();
    let repo = server.repo("app");
    let media_type = "application/vnd.example.thing.v3+json";
    for manifest in [
        json!({"mediaType": media_type, "things": [1, 2]}),
        json!({"things": {"layers": "no list"}}),
        // Members that mean something in other kinds may mean anything here.
        json!({"config": {"a": 1}}),
        json!({"config": "text"}),
        json!({"layers": "x"}),
        json!({"layers": [1, 2]}),
        json!({"layers": [{"digest": "blake3:00"}]}),
        json!({"annotations": {"a": 1}}),
        json!({"manifests": {"a": 1}}),
        json!({"subject": "text", "blobs": 7}),
        json!({"artifactType": 7}),
        json!({"artifactType": "x".repeat(1_000)}),
        json!({"schemaVersion": 1}),
        json!({"schemaVersion": "1.0", "fsLayers": []}),
    ] {
        let answer = repo.put("v1", media_type, &bytes(&manifest));
        assert_eq!(answer.status, 201, "{manifest}: {}", answer.describe());
        assert_eq!(answer.get("OCI-Subject"), None);
        let answer = repo.manifest("v1").expect(200);
        assert_eq!(answer.body, bytes(&manifest));
        assert_eq!(answer.header("Content-Type"), media_type);
    }
}

/// "Definitions", manifest: what a document of an unknown type names in the usual way is kept for it, and must be there.
#[test]
fn an_unknown_type_keeps_what_it_names() {
    let server = Server::start();
    let repo = server.repo("app");
    let layer = random(100);
    let manifest = json!({
        "config": {"a": 1},
        "layers": [descriptor(OCI_LAYER, &layer)],
        "manifests": "none",
        "subject": descriptor(OCI_MANIFEST, b"subject"),
    });
    let media_type = "application/vnd.example.thing.v3+json";
    let answer = repo.put("v1", media_type, &bytes(&manifest)).expect_error(404, "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(answer.error_digests(), [sha256(&layer)].into());
    repo.push_blob(&layer);
    let answer = repo.put("v1", media_type, &bytes(&manifest)).expect(201);
    assert_eq!(answer.header("OCI-Subject"), sha256(b"subject"));
    repo.delete_blob(&sha256(&layer)).expect_error(405, "UNSUPPORTED");
    assert_eq!(repo.referrers(&sha256(b"subject")).expect(200).json()["manifests"][0]["mediaType"], media_type);
}

/// "Pushing Manifests": without a type in the header, or with one that says nothing, the manifest's own counts, or what it is by its form.
#[test]
fn a_manifest_without_content_type_is_accepted() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = Image::random();
    repo.push_blobs(&image);
    let mut unnamed: Value = serde_json::from_slice(&image.manifest).unwrap();
    unnamed.as_object_mut().unwrap().remove("mediaType");
    let list = json!({"schemaVersion": 2, "manifests": []});
    let put = |declared: Option<&str>, manifest: &[u8]| {
        let request = server.put(&repo.manifest_path("v1"));
        match declared {
            Some(declared) => request.header("Content-Type", declared).body(manifest).send(),
            None => request.body(manifest).send(),
        }
    };
    put(None, &image.manifest).expect(201);
    assert_eq!(repo.manifest("v1").expect(200).header("Content-Type"), OCI_MANIFEST);
    for declared in [None, Some("application/octet-stream"), Some("application/json")] {
        for (manifest, expected) in [(&unnamed, OCI_MANIFEST), (&list, OCI_INDEX)] {
            put(declared, &bytes(manifest)).expect(201);
            let answer = repo.manifest("v1").expect(200);
            assert_eq!(answer.header("Content-Type"), expected, "{declared:?}");
            assert_eq!(answer.body, bytes(manifest));
        }
        for neither in
            [json!({}), json!({"layers": []}), json!({"config": descriptor(OCI_CONFIG, &image.config), "manifests": []})]
        {
            put(declared, &bytes(&neither)).expect_error(400, "MANIFEST_INVALID");
        }
    }
}

/// "Definitions", digest: config, layers and children may be named by SHA-512, and are held by it.
#[test]
fn content_named_by_sha512_is_found_and_held() {
    let server = Server::start();
    let repo = server.repo("app");
    let by_sha512 =
        |media_type: &str, content: &[u8]| json!({"mediaType": media_type, "digest": sha512(content), "size": content.len()});
    let (config, layer) = (random(100), random(200));
    let image = bytes(&json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": by_sha512(OCI_CONFIG, &config),
        "layers": [by_sha512(OCI_LAYER, &layer)],
    }));
    let answer = repo.put("v1", OCI_MANIFEST, &image).expect_error(404, "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(answer.error_digests(), [sha512(&config), sha512(&layer)].into());
    for blob in [&config, &layer] {
        repo.finish(&repo.start_upload(), &sha512(blob), blob).expect(201);
    }
    repo.put("v1", OCI_MANIFEST, &image).expect(201);
    assert_eq!(repo.manifest("v1").expect(200).body, image);
    for blob in [&config, &layer] {
        for digest in [sha256(blob), sha512(blob)] {
            repo.delete_blob(&digest).expect_error(405, "UNSUPPORTED");
            assert!(repo.blob(&digest).expect(200).body == *blob);
        }
    }
    let list = index(&[by_sha512(OCI_MANIFEST, &image)]);
    repo.put("list", OCI_INDEX, &list).expect(201);
    let absent = index(&[by_sha512(OCI_MANIFEST, b"absent")]);
    let answer = repo.put("list", OCI_INDEX, &absent).expect_error(404, "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(answer.error_digests(), [sha512(b"absent")].into());
    assert_eq!(repo.manifest("list").expect(200).body, list);
    // Once nothing names them, either digest removes a blob.
    repo.delete(&sha256(&list)).expect(202);
    repo.delete(&sha256(&image)).expect(202);
    repo.delete_blob(&sha512(&config)).expect(202);
    repo.delete_blob(&sha256(&layer)).expect(202);
    for blob in [&config, &layer] {
        assert!(!repo.has_blob(&sha256(blob)) && !repo.has_blob(&sha512(blob)));
    }
}

/// "Definitions", legacy manifests: Docker's schema 2 and its list.
#[test]
fn docker_schema_2_is_accepted() {
    let server = Server::start();
    let repo = server.repo("app");
    let (config, layer) = (repo.push_blob(b"{\"os\":\"linux\"}"), repo.push_blob(b"layer"));
    let manifest = bytes(&json!({
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": 14, "digest": config},
        "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": 5, "digest": layer}],
    }));
    repo.put("image", DOCKER_MANIFEST, &manifest).expect(201);
    let mut child = descriptor(DOCKER_MANIFEST, &manifest);
    child["platform"] = json!({"architecture": "arm64", "os": "linux"});
    let list = bytes(&json!({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [child]}));
    repo.put("list", DOCKER_LIST, &list).expect(201);
    for (tag, media_type, expected) in [("image", DOCKER_MANIFEST, manifest), ("list", DOCKER_LIST, list)] {
        let answer = repo.manifest(tag).expect(200);
        assert_eq!(answer.body, expected);
        assert_eq!(answer.header("Content-Type"), media_type);
    }
}

/// "Definitions", legacy manifests: Docker's schema 1 is no longer taken.
#[test]
fn docker_schema_1_is_refused() {
    let server = Server::start();
    let repo = server.repo("app");
    let manifest =
        bytes(&json!({"schemaVersion": 1, "name": "app", "tag": "v1", "fsLayers": [], "history": [], "signatures": []}));
    for media_type in
        ["application/vnd.docker.distribution.manifest.v1+json", "application/vnd.docker.distribution.manifest.v1+prettyjws"]
    {
        repo.put("v1", media_type, &manifest).expect_error(400, "MANIFEST_INVALID");
    }
    assert_eq!(repo.manifest("v1").status, 404);
}

/// "Pushing Manifests": the list of blobs, and of children, may be empty.
#[test]
fn empty_lists_are_accepted() {
    let server = Server::start();
    let repo = server.repo("app");
    repo.push_blob(EMPTY_JSON);
    let image = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(OCI_EMPTY, EMPTY_JSON), "layers": []});
    repo.put("image", OCI_MANIFEST, &bytes(&image)).expect(201);
    repo.put("index", OCI_INDEX, &index(&[])).expect(201);
    assert_eq!(repo.manifest("image").expect(200).body, bytes(&image));
    assert_eq!(repo.manifest("index").expect(200).body, index(&[]));
}

/// "Push": a manifest that names blobs which are not there is refused, and the answer says which.
#[test]
fn missing_blobs_are_named() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = Image::with_layers(&[100, 200, 300]);
    repo.push_blob(&image.layers[1]);
    let answer = repo.put("v1", OCI_MANIFEST, &image.manifest).expect_error(404, "MANIFEST_BLOB_UNKNOWN");
    let missing = [&image.config, &image.layers[0], &image.layers[2]].map(|blob| sha256(blob));
    assert_eq!(answer.error_codes().len(), 3);
    assert_eq!(answer.error_digests(), missing.into());
    assert_eq!(repo.manifest("v1").status, 404);
    assert_eq!(repo.manifest(&image.digest).status, 404);
    repo.push("v1", &image);
}

/// "Definitions", repository: blobs of another repository do not count.
#[test]
fn blobs_of_another_repository_are_missing() {
    let server = Server::start();
    let image = server.repo("one").push_random("v1");
    let other = server.repo("two");
    let answer = other.put("v1", OCI_MANIFEST, &image.manifest).expect_error(404, "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(answer.error_digests().len(), 2);
}

/// "Push": an index that names manifests which are not there is refused as well.
#[test]
fn missing_children_are_named() {
    let server = Server::start();
    let repo = server.repo("app");
    let (there, absent) = (repo.push_random("there"), Image::random());
    // A blob is no manifest, even of the same bytes.
    repo.push_blob(&absent.manifest);
    let list = index(&[there.descriptor("amd64"), absent.descriptor("arm64")]);
    let answer = repo.put("list", OCI_INDEX, &list).expect_error(404, "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(answer.error_digests(), [absent.digest.clone()].into());
    repo.push(&absent.digest, &absent);
    repo.put("list", OCI_INDEX, &list).expect(201);
}

/// "Push", what a registry may reject: an index with missing children is accepted where the configuration says so.
#[test]
fn sparse_indexes_are_a_setting() {
    let server = Server::with_config(Config::default().set("validation.manifests.indexes.platforms", "none"));
    let repo = server.repo("app");
    let there = repo.push_random("there");
    let list = index(&[there.descriptor("amd64"), Image::random().descriptor("arm64")]);
    repo.put("list", OCI_INDEX, &list).expect(201);
    assert_eq!(repo.manifest("list").expect(200).body, list);
    // The setting is about indexes: an image stays whole.
    repo.put("image", OCI_MANIFEST, &Image::random().manifest).expect_error(404, "MANIFEST_BLOB_UNKNOWN");
}

/// "Push", what a registry may reject: layers that are to be fetched elsewhere need not be here.
#[test]
fn foreign_layers_need_not_be_there() {
    let server = Server::start();
    let repo = server.repo("app");
    let config = repo.push_blob(b"{\"os\":\"linux\"}");
    let layer = |media_type: &str, urls: Option<&str>| {
        let mut layer = descriptor(media_type, &random(64));
        if let Some(url) = urls {
            layer["urls"] = json!([url]);
        }
        layer
    };
    let image = |layer: &Value| {
        let config = json!({"mediaType": OCI_CONFIG, "digest": config, "size": 14});
        bytes(&json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer]}))
    };
    for elsewhere in [
        layer(OCI_LAYER, Some("https://example.org/layer")),
        layer("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", None),
        layer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", None),
    ] {
        repo.put("v1", OCI_MANIFEST, &image(&elsewhere)).expect(201);
    }
    repo.put("v1", OCI_MANIFEST, &image(&layer(OCI_LAYER, None))).expect_error(404, "MANIFEST_BLOB_UNKNOWN");
}

/// "Pushing Manifests": four megabytes are accepted.
#[test]
fn a_manifest_of_4_mib_is_accepted() {
    let server = Server::start();
    let repo = server.repo("app");
    let manifest = index_of_size(LIMIT);
    repo.put("v1", OCI_INDEX, &manifest).expect(201);
    assert!(repo.manifest("v1").expect(200).body == manifest);
    let streamed = index_of_size(LIMIT - 1);
    repo.put_request("v2", OCI_INDEX, b"").chunked(streamed.chunks(65_536)).send().expect(201);
    assert!(repo.manifest("v2").expect(200).body == streamed);
}

/// "Pushing Manifests": one byte more is a 413, whether the length was announced or not.
#[test]
fn a_larger_manifest_is_413() {
    let server = Server::start();
    let repo = server.repo("app");
    let manifest = index_of_size(LIMIT + 1);
    repo.put("v1", OCI_INDEX, &manifest).expect_error_among(413, &CODES);
    repo.put_request("v1", OCI_INDEX, b"").chunked(manifest.chunks(65_536)).send().expect_error_among(413, &CODES);
    assert_eq!(repo.manifest("v1").status, 404);
    assert_eq!(repo.manifest(&sha256(&manifest)).status, 404);
}

/// "Definitions", tag: a tag is moved by a push; what it named before stays, by its digest.
#[test]
fn a_push_moves_the_tag() {
    let server = Server::start();
    let repo = server.repo("app");
    let (first, second) = (repo.push_random("latest"), repo.push_random("latest"));
    assert_eq!(repo.manifest("latest").expect(200).body, second.manifest);
    assert_eq!(repo.manifest(&first.digest).expect(200).body, first.manifest);
    assert_eq!(repo.tag_list(""), ["latest"]);
}

/// "Definitions", tag: many tags name one manifest, and pushing again what is there is a 201 again.
#[test]
fn a_manifest_may_be_pushed_many_times() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = repo.push_random("a");
    repo.put("b", OCI_MANIFEST, &image.manifest).expect(201);
    repo.put("a", OCI_MANIFEST, &image.manifest).expect(201);
    repo.put(&image.digest, OCI_MANIFEST, &image.manifest).expect(201);
    assert_eq!(repo.tag_list(""), ["a", "b"]);
}

/// "Pulling manifests": a manifest is served as what it was pushed as, so the same bytes cannot be pushed as something else as well.
#[test]
fn a_manifest_has_one_media_type() {
    let server = Server::start();
    let repo = server.repo("app");
    repo.put("a", "application/vnd.example.a+json", b"{}").expect(201);
    let refused = repo.put("b", "application/vnd.example.b+json", b"{}");
    refused.expect_error(400, "MANIFEST_INVALID");
    assert_eq!(repo.manifest("a").expect(200).header("Content-Type"), "application/vnd.example.a+json");
    assert_eq!(repo.tag_list(""), ["a"]);
    repo.delete(&sha256(b"{}")).expect(202);
    repo.put("b", "application/vnd.example.b+json", b"{}").expect(201);
    assert_eq!(repo.manifest("b").expect(200).header("Content-Type"), "application/vnd.example.b+json");
}
