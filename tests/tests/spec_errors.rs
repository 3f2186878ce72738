//! Specification, "Error Codes", "Endpoints" and "Warnings": the form of errors, methods, routes, names.

use std::collections::BTreeSet;

use wharf_tests::{
    CODES, Image, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Response, Server, descriptor, empty_index, path_of, random, sha256,
};

const ABSENT: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000001";

/// Every error that a client can provoke here, with the status and code that it has.
fn provoke(server: &Server) -> Vec<(Response, u16, &'static str)> {
    let repo = server.repo("app");
    repo.push_random("v1");
    let nobody = server.repo("nobody");
    let session = repo.start_upload();
    let mut answers = vec![
        (repo.blob(ABSENT), 404, "BLOB_UNKNOWN"),
        (repo.upload_status(&(repo.uploads_path("") + "no-such-session")), 404, "BLOB_UPLOAD_UNKNOWN"),
        (repo.finish(&repo.start_upload(), ABSENT, b"x"), 400, "DIGEST_INVALID"),
        (repo.put("v2", OCI_MANIFEST, &Image::random().manifest), 404, "MANIFEST_BLOB_UNKNOWN"),
        (repo.put("v2", OCI_MANIFEST, b"no JSON"), 400, "MANIFEST_INVALID"),
        (repo.manifest("v2"), 404, "MANIFEST_UNKNOWN"),
        (server.repo("UPPER").tags(""), 400, "NAME_INVALID"),
        (nobody.tags(""), 404, "NAME_UNKNOWN"),
        (repo.tags("n=-1"), 400, "UNSUPPORTED"),
    ];
    let wrong_length = repo.patch_request(&session, b"x").header("Content-Range", "0-9").send();
    answers.push((wrong_length, 400, "SIZE_INVALID"));
    answers
}

/// "Error Codes": the body's form, and a code of the table for each condition.
#[test]
fn errors_have_the_specified_form_and_code() {
    let server = Server::start();
    let mut seen = BTreeSet::new();
    for (answer, status, code) in provoke(&server) {
        let answer = answer.expect_error(status, code);
        for entry in answer.json()["errors"].as_array().unwrap() {
            assert!(!entry["message"].as_str().unwrap_or("").is_empty(), "no message: {}", answer.describe());
        }
        assert!(CODES.contains(&code));
        seen.insert(code);
    }
    assert_eq!(seen.len(), 10, "of the codes that need neither accounts nor load, each once");
}

/// "Error Codes": a message is for people, and does not show where the server keeps its files.
#[test]
fn errors_do_not_tell_paths() {
    let server = Server::start();
    let root = server.root();
    for (answer, ..) in provoke(&server) {
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!text.contains(root.to_str().unwrap()), "{text}");
    }
}

/// "API", by way of RFC 9110: what is asked with HEAD is answered without a body, errors too.
#[test]
fn errors_to_head_have_no_body() {
    let server = Server::start();
    server.repo("app").push_random("v1");
    let mut connection = server.connect();
    for (path, status) in [
        ("/v2/app/manifests/v2".to_owned(), 404),
        (format!("/v2/app/blobs/{ABSENT}"), 404),
        ("/v2/UPPER/manifests/v1".to_owned(), 400),
        ("/v2/nobody/manifests/v1".to_owned(), 404),
        ("/nowhere".to_owned(), 404),
    ] {
        server.head(&path).send_on(&mut connection).unwrap().expect(status);
        server.get("/v2/").send_on(&mut connection).unwrap().expect(200);
    }
}

/// Errors carry a request id: the client's own if it is a sane one, else one of the server's.
#[test]
fn errors_carry_a_request_id() {
    let server = Server::start();
    let id = |sent: Option<&str>| {
        let mut request = server.get("/v2/nobody/tags/list");
        if let Some(sent) = sent {
            request = request.header("X-Request-Id", sent);
        }
        request.send().expect(404).header("X-Request-Id").to_owned()
    };
    assert_eq!(id(Some("build-4711.retry_2")), "build-4711.retry_2");
    assert_ne!(id(None), id(None));
    for insane in ["x".repeat(5_000), "a b\"c<script>".to_owned(), String::new()] {
        let own = id(Some(&insane));
        assert_ne!(own, insane);
        assert!(!own.is_empty() && own.len() <= 128 && own.bytes().all(|b| b.is_ascii_graphic()), "{own:?}");
    }
}

/// "Endpoints", code-13: a known place with a method it does not have is a 405 that says which it has.
#[test]
fn a_wrong_method_is_405() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = repo.push_random("v1");
    let session = repo.start_upload();
    let places: [(String, &[&str]); 8] = [
        ("/v2/".to_owned(), &["GET"]),
        (repo.blob_path(&sha256(&image.config)), &["GET", "HEAD", "DELETE"]),
        (repo.manifest_path("v1"), &["GET", "HEAD", "PUT", "DELETE"]),
        (repo.uploads_path(""), &["POST"]),
        (session.clone(), &["GET", "PATCH", "PUT", "DELETE"]),
        ("/v2/app/tags/list".to_owned(), &["GET"]),
        (repo.referrers_path(&image.digest), &["GET"]),
        ("/v2/_catalog".to_owned(), &["GET"]),
    ];
    for (path, allowed) in places {
        for method in ["POST", "PUT", "PATCH", "DELETE", "PROPFIND"] {
            if allowed.contains(&method) {
                continue;
            }
            let answer = server.request(method, &path).send().expect_error(405, "UNSUPPORTED");
            let told: BTreeSet<_> = answer.header("Allow").split(',').map(str::trim).collect();
            for method in allowed {
                assert!(told.contains(method), "{method} for {path}: {told:?}");
            }
            assert!(!told.contains(method), "{method} for {path}: {told:?}");
        }
    }
    assert_eq!(repo.manifest("v1").expect(200).body, image.manifest);
    repo.upload_status(&session).expect(204);
}

/// "Endpoints": what is no place of the interface is a 404, with any method.
#[test]
fn an_unknown_route_is_404() {
    let server = Server::start();
    server.repo("app").push_random("v1");
    for path in [
        "/",
        "/v1/",
        "/v3/",
        "/favicon.ico",
        "/v2x",
        "/v2/app",
        "/v2/app/",
        "/v2/app/blobs",
        "/v2/app/nothing/v1",
        "/v2/app/tags",
        "/v2/app/tags/list/more",
        "/v2/app/tags/other",
        "/v2/app/manifests/v1/more",
        "/v2/manifests/v1",
        "/v2/_catalog/more",
        "/v2/_unknown",
    ] {
        for method in ["GET", "PUT", "DELETE"] {
            let answer = server.request(method, path).send().expect(404);
            if path.starts_with("/v2/") && !answer.body.is_empty() {
                assert!(answer.error_codes().iter().all(|code| CODES.contains(&code.as_str())), "{}", answer.describe());
            }
        }
    }
}

/// "Pulling manifests", `<name>`, code-8: what does not match the grammar is refused, at every endpoint, and creates nothing.
#[test]
fn an_invalid_name_is_400() {
    let server = Server::start();
    let manifest = empty_index();
    let long = "a".repeat(256);
    for name in [
        "Upper", "a/Upper", "a..b", "a___b", "a._b", "a.-b", "a_-b", "-a", "a-", "_a", "a_", ".a", "a.", "a/.b", "a/-b", "a%20b",
        "a+b", "%C3%A4", "a@b", "a:b", "a~b", "a%00b", &long,
    ] {
        let repo = server.repo(name);
        repo.tags("").expect_error(400, "NAME_INVALID");
        repo.manifest("v1").expect_error(400, "NAME_INVALID");
        repo.blob(ABSENT).expect_error(400, "NAME_INVALID");
        repo.referrers(ABSENT).expect_error(400, "NAME_INVALID");
        repo.put("v1", OCI_INDEX, &manifest).expect_error(400, "NAME_INVALID");
        repo.delete("v1").expect_error(400, "NAME_INVALID");
        server.post(&repo.uploads_path("")).send().expect_error(400, "NAME_INVALID");
    }
    assert_eq!(server.get("/v2/_catalog").send().expect(200).json(), serde_json::json!({"repositories": []}));
}

/// "Pulling manifests", `<name>`: 255 bytes are a name.
#[test]
fn a_name_of_255_bytes_works() {
    let server = Server::start();
    let name = format!("{}/{}", "a".repeat(127), "b".repeat(127));
    assert_eq!(name.len(), 255);
    let image = server.repo(&name).push_random("v1");
    assert_eq!(server.repo(&name).manifest("v1").expect(200).body, image.manifest);
}

/// "Error Codes", code-14: too many open uploads are a 429 that says when to come back; one less, and it goes on.
#[test]
fn too_many_uploads_are_429() {
    const LIMIT: usize = 10_000;
    let server = Server::start();
    let path = server.repo("app").uploads_path("");
    let opened: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = server.connect();
                    let mut opened = Vec::new();
                    loop {
                        let answer = server.post(&path).send_on(&mut connection).unwrap();
                        match answer.status {
                            202 => opened.push(path_of(answer.header("Location"))),
                            _ => {
                                let answer = answer.expect_error(429, "TOOMANYREQUESTS");
                                let seconds: u64 = answer.header("Retry-After").parse().expect("seconds");
                                assert!(seconds > 0);
                                return opened;
                            }
                        }
                        assert!(opened.len() <= LIMIT, "no end");
                    }
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(opened.len(), LIMIT);
    server.delete(&opened[0]).send().expect(204);
    server.post(&path).send().expect(202);
    server.post(&path).send().expect_error(429, "TOOMANYREQUESTS");
}

/// "Warnings": there is nothing to warn of, so no answer does.
#[test]
fn nothing_warns() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = repo.push_random("v1");
    for answer in [repo.manifest("v1"), repo.tags(""), repo.blob(ABSENT), repo.referrers(&image.digest)] {
        assert!(answer.all("Warning").is_empty(), "{}", answer.describe());
    }
}

/// "API": every answer below `/v2/` names the interface, as clients from before this specification expect.
#[test]
fn every_answer_names_the_interface() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = repo.push_random("v1");
    let location = repo.start_upload();
    let blob = random(10);
    for answer in [
        server.get("/v2/").send(),
        repo.manifest("v1"),
        repo.head_manifest("v1"),
        repo.blob(&sha256(&image.config)),
        repo.tags(""),
        repo.referrers(&image.digest),
        server.get("/v2/_catalog").send(),
        repo.upload_status(&location),
        repo.patch(&location, 0, &blob),
        repo.finish(&location, &sha256(&blob), b""),
        repo.put("v2", OCI_INDEX, &empty_index()),
        repo.delete("v2"),
        repo.manifest("v2"),
        server.request("PROPFIND", "/v2/app/tags/list").send(),
    ] {
        assert_eq!(answer.get("Docker-Distribution-Api-Version"), Some("registry/2.0"), "{}", answer.describe());
    }
}

/// "Error Codes", code-5: the detail names what is missing, so that a client can push it.
#[test]
fn the_detail_of_a_missing_blob_is_its_digest() {
    let server = Server::start();
    let image = Image::random();
    let answer = server.repo("app").put("v1", OCI_MANIFEST, &image.manifest).expect_error(404, "MANIFEST_BLOB_UNKNOWN");
    assert!(answer.error_digests().contains(descriptor(OCI_CONFIG, &image.config)["digest"].as_str().unwrap()));
}
