//! The catalog of repositories, `/v2/_catalog`, which the specification leaves to registries and clients rely on.

use wharf_tests::{OCI_INDEX, Response, Server, empty_index, next_link, random, sha256};

#[track_caller]
fn names(answer: &Response) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.describe());
    let json = answer.json();
    let list = json["repositories"].as_array().unwrap_or_else(|| panic!("no list: {}", answer.describe()));
    list.iter().map(|name| name.as_str().expect("a string").to_owned()).collect()
}

fn catalog(server: &Server, query: &str) -> Response {
    server.get(&format!("/v2/_catalog{query}")).send()
}

/// Puts one small manifest into each repository.
fn create(server: &Server, repositories: &[&str]) {
    for name in repositories {
        server.repo(name).put("v1", OCI_INDEX, &empty_index()).expect(201);
    }
}

/// An empty registry has an empty list.
#[test]
fn an_empty_catalog_is_a_list() {
    let server = Server::start();
    let answer = catalog(&server, "").expect(200);
    assert_eq!(answer.json(), serde_json::json!({"repositories": []}));
    assert_eq!(answer.header("Content-Type").split(';').next(), Some("application/json"));
}

/// Every repository, in the order of the bytes of its name.
#[test]
fn repositories_are_in_byte_order() {
    let server = Server::start();
    create(&server, &["b", "a/b", "a-b", "a", "a0", "a/b/c", "0"]);
    let expected = ["0", "a", "a-b", "a/b", "a/b/c", "a0", "b"];
    assert!(expected.is_sorted());
    let answer = catalog(&server, "");
    assert_eq!(names(&answer), expected);
    assert_eq!(next_link(&answer), None);
}

/// Pages by `n` and `last`, and links that lead through all of them.
#[test]
fn the_catalog_comes_in_pages() {
    let server = Server::start();
    let expected: Vec<_> = (0..25).map(|n| format!("team/app-{n:02}")).collect();
    create(&server, &expected.iter().map(String::as_str).collect::<Vec<_>>());
    for n in [1, 7, 24] {
        let mut answer = catalog(&server, &format!("?n={n}"));
        let mut found = names(&answer);
        assert_eq!(found.len(), n);
        while let Some(target) = next_link(&answer) {
            answer = server.get(&target).send();
            let page = names(&answer);
            assert!(!page.is_empty() && page.len() <= n, "a page of {} with n={n}", page.len());
            found.extend(page);
            assert!(found.len() <= 25, "the links never end");
        }
        assert_eq!(found, expected, "with n={n}");
    }
    for n in [25, 26, 100_000] {
        let answer = catalog(&server, &format!("?n={n}"));
        assert_eq!(names(&answer), expected);
        assert_eq!(next_link(&answer), None, "with n={n}");
    }
    assert_eq!(names(&catalog(&server, "?last=team/app-22")), ["team/app-23", "team/app-24"]);
    assert_eq!(names(&catalog(&server, "?last=team%2Fapp-22&n=1")), ["team/app-23"]);
    assert!(names(&catalog(&server, "?last=zzz")).is_empty());
}

/// `n=0` is an empty list without a link; what is no number is refused.
#[test]
fn n_is_checked() {
    let server = Server::start();
    create(&server, &["a"]);
    let answer = catalog(&server, "?n=0");
    assert!(names(&answer).is_empty());
    assert_eq!(answer.get("Link"), None);
    for n in ["-1", "x", "1.5"] {
        catalog(&server, &format!("?n={n}")).expect_error(400, "UNSUPPORTED");
    }
}

/// A repository is listed while it holds a manifest: blobs and open uploads alone do not make one.
#[test]
fn only_repositories_with_manifests_are_listed() {
    let server = Server::start();
    server.repo("blobs-only").push_blob(&random(10));
    server.repo("upload-only").start_upload();
    let manifest = empty_index();
    let repo = server.repo("app");
    repo.put(&sha256(&manifest), OCI_INDEX, &manifest).expect(201);
    assert_eq!(names(&catalog(&server, "")), ["app"]);
    repo.delete(&sha256(&manifest)).expect(202);
    assert!(names(&catalog(&server, "")).is_empty());
    repo.put("v1", OCI_INDEX, &manifest).expect(201);
    assert_eq!(names(&catalog(&server, "")), ["app"]);
    repo.delete("v1").expect(202);
    assert_eq!(names(&catalog(&server, "")), ["app"], "without a tag it still holds the manifest");
}
