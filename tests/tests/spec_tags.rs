//! Specification, "Listing Tags".

use wharf_tests::{Image, OCI_INDEX, OCI_MANIFEST, Repo, Response, Server, empty_index, next_link, sha256};

/// Pushes one manifest under all these tags.
#[track_caller]
fn push_tags(repo: &Repo<'_>, tags: &[&str]) {
    let manifest = empty_index();
    for tag in tags {
        repo.put(tag, OCI_INDEX, &manifest).expect(201);
    }
}

#[track_caller]
fn tags_in(answer: &Response) -> Vec<String> {
    let json = answer.json();
    let list = json["tags"].as_array().unwrap_or_else(|| panic!("no list: {}", answer.describe()));
    list.iter().map(|tag| tag.as_str().expect("a string").to_owned()).collect()
}

/// Follows the links from the first page; returns the pages.
#[track_caller]
fn pages(server: &Server, first: &Response) -> Vec<Vec<String>> {
    let mut pages = vec![tags_in(first)];
    let mut next = next_link(first);
    while let Some(target) = next {
        let answer = server.get(&target).send().expect(200);
        pages.push(tags_in(&answer));
        next = next_link(&answer);
        assert!(pages.len() <= 1_000, "the links never end");
    }
    pages
}

/// End-8a: name and tags, as JSON.
#[test]
fn the_list_has_name_and_tags() {
    let server = Server::start();
    let repo = server.repo("team/app");
    push_tags(&repo, &["v1", "latest"]);
    let answer = repo.tags("").expect(200);
    assert_eq!(answer.header("Content-Type").split(';').next(), Some("application/json"));
    assert_eq!(answer.json(), serde_json::json!({"name": "team/app", "tags": ["latest", "v1"]}));
    assert_eq!(answer.header("Docker-Distribution-Api-Version"), "registry/2.0");
    assert_eq!(next_link(&answer), None);
}

/// End-8a: in the order of their bytes, whatever the order of the pushes.
#[test]
fn tags_are_in_byte_order() {
    let server = Server::start();
    let repo = server.repo("app");
    push_tags(&repo, &["b", "a10", "a2", "B", "_", "a", "1.10", "1.9", "a-b", "a.b", "a_b", "Z", "0"]);
    let expected = ["0", "1.10", "1.9", "B", "Z", "_", "a", "a-b", "a.b", "a10", "a2", "a_b", "b"];
    assert!(expected.is_sorted());
    assert_eq!(repo.tag_list(""), expected);
}

/// End-8a, code-9: a repository that is not there is a 404.
#[test]
fn tags_of_an_unknown_repository_are_404() {
    let server = Server::start();
    server.repo("team/app").push_random("v1");
    for name in ["nobody/here", "team", "team/app/sub", "team/ap"] {
        server.repo(name).tags("").expect_error(404, "NAME_UNKNOWN");
        server.repo(name).tags("n=0").expect_error(404, "NAME_UNKNOWN");
    }
}

/// End-8a: a repository without tags has an empty list.
#[test]
fn a_repository_without_tags_has_an_empty_list() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = Image::random();
    repo.push(&image.digest, &image);
    assert_eq!(repo.tags("").expect(200).json(), serde_json::json!({"name": "app", "tags": []}));
    repo.put("v1", OCI_MANIFEST, &image.manifest).expect(201);
    repo.delete("v1").expect(202);
    assert_eq!(repo.tags("").expect(200).json(), serde_json::json!({"name": "app", "tags": []}));
}

/// End-8b: `n` tags from the beginning, and a link to the rest.
#[test]
fn n_limits_the_list() {
    let server = Server::start();
    let repo = server.repo("app");
    push_tags(&repo, &["e", "d", "c", "b", "a"]);
    let answer = repo.tags("n=2").expect(200);
    assert_eq!(tags_in(&answer), ["a", "b"]);
    assert!(next_link(&answer).is_some());
    assert_eq!(pages(&server, &answer), [vec!["a", "b"], vec!["c", "d"], vec!["e"]]);
    for n in [5, 6, 1_000] {
        let answer = repo.tags(&format!("n={n}")).expect(200);
        assert_eq!(tags_in(&answer), ["a", "b", "c", "d", "e"]);
        assert_eq!(next_link(&answer), None, "there is nothing beyond, with n={n}");
    }
    // The last page is full: nothing beyond it either.
    assert_eq!(pages(&server, &repo.tags("n=1").expect(200)).len(), 5);
}

/// End-8b: `n=0` is an empty list without a link.
#[test]
fn n_of_zero_is_an_empty_list() {
    let server = Server::start();
    let repo = server.repo("app");
    push_tags(&repo, &["a", "b"]);
    for query in ["n=0", "n=0&last=a"] {
        let answer = repo.tags(query).expect(200);
        assert_eq!(answer.json(), serde_json::json!({"name": "app", "tags": []}));
        assert_eq!(answer.get("Link"), None);
    }
}

/// End-8b: `last` begins after that tag, which need not exist, with `n` or without.
#[test]
fn last_begins_after_the_tag() {
    let server = Server::start();
    let repo = server.repo("app");
    push_tags(&repo, &["a", "b", "c", "d"]);
    assert_eq!(repo.tag_list("n=2&last=a"), ["b", "c"]);
    assert_eq!(repo.tag_list("last=b&n=2"), ["c", "d"]);
    assert_eq!(repo.tag_list("last=b"), ["c", "d"]);
    assert_eq!(repo.tag_list("last=bb"), ["c", "d"]);
    assert_eq!(repo.tag_list("last=B"), ["a", "b", "c", "d"]);
    assert!(repo.tag_list("last=d").is_empty());
    assert!(repo.tag_list("n=5&last=zzz").is_empty());
    assert_eq!(next_link(&repo.tags("n=2&last=b").expect(200)), None);
    assert_eq!(pages(&server, &repo.tags("n=1&last=b").expect(200)), [["c"], ["d"]]);
}

/// End-8b: `last` is a tag, never a position.
#[test]
fn last_is_no_index() {
    let server = Server::start();
    let repo = server.repo("app");
    push_tags(&repo, &["10", "11", "2", "a"]);
    assert_eq!(repo.tag_list("last=1"), ["10", "11", "2", "a"]);
    assert_eq!(repo.tag_list("last=2"), ["a"]);
}

/// End-8b: an `n` that is no number of tags is refused.
#[test]
fn an_invalid_n_is_400() {
    let server = Server::start();
    let repo = server.repo("app");
    push_tags(&repo, &["a"]);
    for n in ["-1", "x", "1.5", "", "0x1", "99999999999999999999999999"] {
        repo.tags(&format!("n={n}")).expect_error(400, "UNSUPPORTED");
    }
}

/// End-8b: pages stay true while tags come and go between them.
#[test]
fn paging_survives_changes() {
    let server = Server::start();
    let repo = server.repo("app");
    push_tags(&repo, &["b", "d", "f", "h"]);
    let first = repo.tags("n=2").expect(200);
    assert_eq!(tags_in(&first), ["b", "d"]);
    push_tags(&repo, &["a", "e"]);
    repo.delete("d").expect(202);
    let second = server.get(&next_link(&first).unwrap()).send().expect(200);
    assert_eq!(tags_in(&second), ["e", "f"]);
}

/// End-8b: a list never holds more than 10,000 tags at once, asked for or not; the link leads to the others.
#[test]
fn a_long_list_comes_in_pages() {
    let server = Server::start();
    let repo = server.repo("app");
    let manifest = empty_index();
    let digest = sha256(&manifest);
    let tags: Vec<_> = (0..10_050).map(|n| format!("t{n:05}")).collect();
    let mut connection = server.connect();
    for batch in tags.chunks(64) {
        let query: Vec<_> = batch.iter().map(|tag| format!("tag={tag}")).collect();
        let request = repo.put_request(&format!("{digest}?{}", query.join("&")), OCI_INDEX, &manifest);
        request.send_on(&mut connection).unwrap().expect(201);
    }
    for query in ["", "n=10000", "n=10020", "n=1000000"] {
        let pages = pages(&server, &repo.tags(query).expect(200));
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [10_000, 50], "with {query:?}");
        assert_eq!(pages.concat(), tags, "with {query:?}");
    }
}
