//! Bad input gets the specification's error, leaves nothing behind, and never ends the server.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use serde_json::{Value, json};
use wharf_tests::{
    CODES, DOCKER_LIST, DOCKER_MANIFEST, EMPTY_JSON, Image, OCI_CONFIG, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST, Scene, descriptor,
    empty_index, path_of, random, sha256, with_query,
};

/// "Error Codes", code-4: a body that is not what its digest says ends the session.
#[test]
fn a_digest_mismatch_on_put() {
    let scene = Scene::new();
    let repo = scene.repo();
    let location = repo.start_upload();
    repo.finish(&location, &sha256(b"other"), &random(100_000)).expect_error(400, "DIGEST_INVALID");
    scene.expect_no_session(&location);
    assert!(!repo.has_blob(&sha256(b"other")));
    scene.expect_nothing_left();
}

/// So do chunks that are not.
#[test]
fn a_digest_mismatch_after_chunks() {
    let scene = Scene::new();
    let repo = scene.repo();
    let blob = random(100_000);
    let location = repo.start_upload();
    repo.patch(&location, 0, &blob[..60_000]).expect(202);
    repo.patch(&location, 60_000, &blob[60_000..]).expect(202);
    repo.finish(&location, &sha256(b"other"), b"").expect_error(400, "DIGEST_INVALID");
    scene.expect_no_session(&location);
    assert!(!repo.has_blob(&sha256(b"other")) && !repo.has_blob(&sha256(&blob)));
    scene.expect_nothing_left();
}

/// In a single POST there is no session to speak of.
#[test]
fn a_digest_mismatch_on_post() {
    let scene = Scene::new();
    let target = scene.repo().uploads_path(&format!("digest={}", sha256(b"other")));
    scene.server.post(&target).body(&random(100_000)).send().expect_error(400, "DIGEST_INVALID");
    assert!(!scene.repo().has_blob(&sha256(b"other")));
    scene.expect_nothing_left();
}

/// A connection that breaks in a PUT leaves the session, and nothing once that is cancelled.
#[test]
fn a_truncated_put() {
    let scene = Scene::new();
    let blob = random(500_000);
    let location = scene.repo().start_upload();
    let target = with_query(&location, &format!("digest={}", sha256(&blob)));
    let answer = scene.server.put(&target).body(&blob).send_truncated(200_000);
    assert!(answer.is_none_or(|a| a.status >= 400), "half a body is no success");
    assert!(!scene.repo().has_blob(&sha256(&blob)));
    assert!(!scene.repo().has_blob(&sha256(&blob[..200_000])));
    scene.cancel(&location);
    scene.expect_no_session(&location);
    scene.expect_nothing_left();
}

/// The same in a PATCH, with a length and without.
#[test]
fn a_truncated_patch() {
    let scene = Scene::new();
    let blob = random(500_000);
    let location = scene.repo().start_upload();
    for request in [scene.server.patch(&location).body(&blob), scene.server.patch(&location).chunked([blob.as_slice()])] {
        let answer = request.send_truncated(100_000);
        assert!(answer.is_none_or(|a| a.status >= 400), "half a body is no success");
    }
    scene.cancel(&location);
    scene.expect_nothing_left();
}

/// A single POST that breaks leaves nothing at all: nobody knows its session.
#[test]
fn a_truncated_post() {
    let scene = Scene::new();
    let blob = random(500_000);
    let target = scene.repo().uploads_path(&format!("digest={}", sha256(&blob)));
    let answer = scene.server.post(&target).body(&blob).send_truncated(200_000);
    assert!(answer.is_none_or(|a| a.status >= 400), "half a body is no success");
    assert!(!scene.repo().has_blob(&sha256(&blob)));
    scene.expect_nothing_left();
}

/// Half a manifest is none, even if that half is a manifest.
#[test]
fn a_truncated_manifest() {
    let scene = Scene::new();
    let manifest = empty_index();
    let longer = [manifest.as_slice(), b"          "].concat();
    let answer = scene.repo().put_request("v1", OCI_INDEX, &longer).send_truncated(manifest.len());
    assert!(answer.is_none_or(|a| a.status >= 400), "half a body is no success");
    scene.expect_nothing_left();
}

/// Chunks out of order are refused, and the session ends as clean as any.
#[test]
fn chunks_out_of_order() {
    let scene = Scene::new();
    let repo = scene.repo();
    let location = repo.start_upload();
    repo.patch(&location, 0, &random(1_000)).expect(202);
    repo.patch(&location, 2_000, &random(1_000)).expect(416);
    repo.patch(&location, 0, &random(1_000)).expect(416);
    repo.upload_status(&location).expect(204).expect_header("Range", "0-999");
    scene.cancel(&location);
    scene.expect_nothing_left();
}

/// Names that try to leave the storage folder, raw on the wire, in every place where a name can stand.
#[test]
fn path_tricks_in_names() {
    let scene = Scene::new();
    let manifest = empty_index();
    let digest = sha256(b"x");
    for name in [
        "..",
        "../..",
        "a/..",
        "../a",
        "a/../b",
        "a/../../b",
        "%2e%2e",
        "%2e%2e/a",
        "a/%2e%2e/b",
        "..%2f..%2fetc",
        "a%2f..%2fb",
        "a//b",
        "/a",
        "//",
        ".",
        "./a",
        "a/.",
        "a/./b",
        "%00",
        "a%00b",
        "a\\b",
        "..\\..",
        "%5c..%5c",
        "A",
        "a/B",
        "~root",
        "a;b",
        "a|b",
        "%ff%fe",
        "a%0d%0ab",
        "%252e%252e",
    ] {
        let attempts = [
            format!(
                "PUT /v2/{name}/manifests/v1 HTTP/1.1\r\nHost: h\r\nContent-Type: {OCI_INDEX}\r\nContent-Length: {}\r\n\r\n{}",
                manifest.len(),
                String::from_utf8_lossy(&manifest)
            ),
            format!("POST /v2/{name}/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"),
            format!("POST /v2/{name}/blobs/uploads/ HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"),
            format!("GET /v2/{name}/tags/list HTTP/1.1\r\nHost: h\r\n\r\n"),
            format!("GET /v2/{name}/blobs/{digest} HTTP/1.1\r\nHost: h\r\n\r\n"),
            format!("DELETE /v2/{name}/manifests/v1 HTTP/1.1\r\nHost: h\r\n\r\n"),
        ];
        for attempt in attempts {
            let answer = scene.server.raw(attempt.as_bytes()).unwrap();
            assert!([400, 404].contains(&answer.status), "{attempt:?}: {}", answer.describe());
        }
    }
    scene.expect_nothing_left();
}

/// The same in tags, digests and sessions.
#[test]
fn path_tricks_in_references() {
    let scene = Scene::new();
    let manifest = empty_index();
    for trick in ["..", "../v1", "%2e%2e", "..%2f..%2fx", "sha256:../../etc/passwd", "sha256:%2e%2e", "%00", "v1%00", ".", "a\\b"]
    {
        for (method, place) in [
            ("PUT", format!("manifests/{trick}")),
            ("GET", format!("manifests/{trick}")),
            ("GET", format!("blobs/{trick}")),
            ("DELETE", format!("blobs/{trick}")),
            ("GET", format!("blobs/uploads/{trick}")),
            ("PATCH", format!("blobs/uploads/{trick}")),
            ("PUT", format!("blobs/uploads/{trick}?digest={}", sha256(&manifest))),
            ("DELETE", format!("blobs/uploads/{trick}")),
            ("GET", format!("referrers/{trick}")),
        ] {
            let request = scene.server.request(method, &format!("/v2/app/{place}")).header("Content-Type", OCI_INDEX);
            let answer = if method == "GET" { request.send() } else { request.body(&manifest).send() };
            assert!([400, 404].contains(&answer.status), "{method} {place}: {}", answer.describe());
        }
    }
    scene.expect_nothing_left();
}

/// A mount from a name that is none is not tried.
#[test]
fn path_tricks_in_mounts() {
    let scene = Scene::new();
    for from in ["..", "../..", "%2e%2e%2fx", "UPPER", "a%00b", "a//b"] {
        let target = scene.repo().uploads_path(&format!("mount={}&from={from}", sha256(b"x")));
        let answer = scene.server.post(&target).send();
        match answer.status {
            202 => scene.cancel(&path_of(answer.header("Location"))),
            400 => assert!(answer.error_codes().iter().all(|code| CODES.contains(&code.as_str()))),
            _ => panic!("{from}: {}", answer.describe()),
        }
    }
    scene.expect_nothing_left();
}

/// A manifest over the limit is a 413, and what was read of it is gone.
#[test]
fn an_oversized_manifest() {
    let scene = Scene::new();
    let large = vec![b' '; 8 << 20];
    scene.repo().put("v1", OCI_INDEX, &large).expect(413);
    scene.repo().put_request("v1", OCI_INDEX, b"").chunked(large.chunks(1 << 20)).send().expect(413);
    // The length alone is enough: nothing of the body is waited for.
    let mut announced = scene.repo().put_request("v1", OCI_INDEX, &large).send_beginning(0);
    assert_eq!(announced.read_response("PUT").unwrap().status, 413);
    scene.expect_nothing_left();
}

/// "Error Codes", code-6: what is no JSON, or no object, is no manifest, whatever type it claims.
#[test]
fn invalid_json() {
    let scene = Scene::new();
    let deep = "[".repeat(200_000);
    for text in ["", "{", "{}}", "[]", "null", "17", "\"text\"", "{\"a\":}", "{'a':1}", "\u{feff}{}", "nonsense", &deep] {
        for media_type in [OCI_MANIFEST, OCI_INDEX] {
            let answer = scene.repo().put("v1", media_type, text.as_bytes());
            assert_eq!(answer.status, 400, "{}…: {}", text.chars().take(20).collect::<String>(), answer.describe());
            answer.expect_error(400, "MANIFEST_INVALID");
        }
    }
    scene.repo().put("v1", OCI_MANIFEST, b"{\"a\":\"\xff\xfe\"}").expect_error(400, "MANIFEST_INVALID");
    scene.expect_nothing_left();
}

/// JSON may be nested without end; whether it is taken or not, it ends nothing.
#[test]
fn deeply_nested_json() {
    let scene = Scene::new();
    let deep_object = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    for media_type in [OCI_MANIFEST, OCI_INDEX, "application/vnd.example.deep+json"] {
        let answer = scene.repo().put("v1", media_type, deep_object.as_bytes());
        assert!([201, 400].contains(&answer.status), "{}", answer.describe());
        if answer.status == 201 {
            assert!(scene.repo().manifest("v1").expect(200).body == deep_object.as_bytes());
            scene.repo().delete(&sha256(deep_object.as_bytes())).expect(202);
        }
    }
    scene.expect_nothing_left();
}

/// JSON of the wrong shape is no manifest either.
#[test]
fn json_of_the_wrong_shape() {
    let scene = Scene::new();
    let blob = descriptor(OCI_CONFIG, b"{}");
    let with = |key: &str, value: Value| {
        let mut blob = blob.clone();
        blob[key] = value;
        json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": blob, "layers": []})
    };
    let image = |config: Value, layers: Value| json!({"schemaVersion": 2, "config": config, "layers": layers});
    for manifest in [
        image(json!("text"), json!([])),
        image(blob.clone(), json!({})),
        image(blob.clone(), json!("text")),
        image(blob.clone(), json!([17])),
        with("digest", json!("sha256:12")),
        with("digest", json!("../../etc/passwd")),
        with("digest", json!(17)),
        with("size", json!("2")),
        with("size", json!(-1)),
        json!({"schemaVersion": 2, "mediaType": 17}),
    ] {
        let answer = scene.repo().put("v1", OCI_MANIFEST, manifest.to_string().as_bytes());
        answer.expect_error_among(400, &["MANIFEST_INVALID", "DIGEST_INVALID"]);
    }
    for children in [json!({}), json!("text"), json!([17]), json!([{"digest": "sha256:12"}])] {
        let list = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children});
        let answer = scene.repo().put("v1", OCI_INDEX, list.to_string().as_bytes());
        answer.expect_error_among(400, &["MANIFEST_INVALID", "DIGEST_INVALID"]);
    }
    scene.expect_nothing_left();
}

/// What is no media type is none, in the header and in the manifest, whichever of them there is.
#[test]
fn malformed_media_types() {
    let scene = Scene::new();
    let repo = scene.repo();
    let put = |declared: Option<&str>, manifest: &Value| {
        let text = manifest.to_string();
        let request = scene.server.put(&repo.manifest_path("v1")).body(text.as_bytes());
        match declared {
            Some(declared) => request.header("Content-Type", declared).send(),
            None => request.send(),
        }
    };
    let long = format!("application/{}", "x".repeat(244));
    assert_eq!(long.len(), 256);
    for wrong in ["x", "a/", "/b", "a/b/c", "a b/c", "text/<html>", "a/b\\", &long] {
        put(Some(wrong), &json!({"manifests": []})).expect_error(400, "MANIFEST_INVALID");
        for declared in [None, Some(wrong)] {
            let answer = put(declared, &json!({"mediaType": wrong, "manifests": []})).expect_error(400, "MANIFEST_INVALID");
            assert!(answer.body.len() < 1_000, "{}", answer.describe());
        }
    }
    for wrong in [json!(17), json!(["a/b"]), json!("a/b; c=d"), json!("ä/b"), json!("a/b\n"), json!("x".repeat(1 << 20))] {
        for declared in [None, Some("application/vnd.example.thing+json")] {
            let answer = put(declared, &json!({"mediaType": wrong, "manifests": []})).expect_error(400, "MANIFEST_INVALID");
            assert!(answer.body.len() < 1_000, "{}", answer.describe());
        }
    }
    scene.expect_nothing_left();
    // 255 bytes are one, and none at all means the same as no member.
    for (declared, manifest, expected) in [
        (Some(&long[..255]), json!({"mediaType": long[..255]}), &long[..255]),
        (None, json!({"mediaType": long[..255]}), &long[..255]),
        (None, json!({"mediaType": "", "manifests": []}), OCI_INDEX),
        (Some(OCI_INDEX), json!({"mediaType": "", "manifests": []}), OCI_INDEX),
        (Some(""), json!({"mediaType": OCI_INDEX, "manifests": []}), OCI_INDEX),
    ] {
        put(declared, &manifest).expect(201);
        assert_eq!(repo.manifest("v1").expect(200).header("Content-Type"), expected);
    }
}

/// An artifact type has at most 255 bytes; within them it may be what tools make of it.
#[test]
fn an_endless_artifact_type() {
    let scene = Scene::new();
    let repo = scene.repo();
    let long = "x".repeat(256);
    let list = |artifact_type: Value| json!({"schemaVersion": 2, "manifests": [], "artifactType": artifact_type}).to_string();
    for wrong in [json!(long), json!(17), json!("x".repeat(1 << 20))] {
        for media_type in [OCI_INDEX, DOCKER_LIST] {
            repo.put("v1", media_type, list(wrong.clone()).as_bytes()).expect_error(400, "MANIFEST_INVALID");
        }
    }
    scene.expect_nothing_left();
    for fine in [&long[..255], "no slash", "ä/ö", ""] {
        repo.put("v1", OCI_INDEX, list(json!(fine)).as_bytes()).expect(201);
    }
    // The media type of a config stands in for it.
    let mut config = descriptor(OCI_EMPTY, EMPTY_JSON);
    repo.push_blob(EMPTY_JSON);
    for (media_type, status) in [(&long[..255], 201), (&long[..], 400)] {
        config["mediaType"] = json!(media_type);
        let image = json!({"schemaVersion": 2, "config": config, "layers": []}).to_string();
        repo.put("v2", OCI_MANIFEST, image.as_bytes()).expect(status);
    }
}

/// An image without a config is none, neither OCI's nor Docker's.
#[test]
fn an_image_without_config() {
    let scene = Scene::new();
    for media_type in [OCI_MANIFEST, DOCKER_MANIFEST] {
        for manifest in [json!({"schemaVersion": 2, "layers": []}), json!({"schemaVersion": 2, "layers": [], "config": null})] {
            scene.repo().put("v1", media_type, manifest.to_string().as_bytes()).expect_error(400, "MANIFEST_INVALID");
        }
    }
    scene.expect_nothing_left();
}

/// A refused manifest leaves no trace, and no blob of it disappears: they can be used by the next.
#[test]
fn a_refused_manifest_spoils_nothing() {
    let scene = Scene::new();
    let repo = scene.repo();
    let image = Image::random();
    repo.push_blobs(&image);
    repo.put(&sha256(b"other"), OCI_MANIFEST, &image.manifest).expect_error(400, "DIGEST_INVALID");
    repo.put("v1", OCI_INDEX, &image.manifest).expect_error(400, "MANIFEST_INVALID");
    assert_eq!(repo.manifest(&image.digest).status, 404);
    repo.put("v1", OCI_MANIFEST, &image.manifest).expect(201);
}
