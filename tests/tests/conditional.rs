//! Compare-and-swap on tags: `If-Match` and `If-None-Match` on a manifest PUT, in real races.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use wharf_tests::{Image, OCI_INDEX, OCI_MANIFEST, Response, Server, empty_index, index, sha256};

fn etag(manifest: &[u8]) -> String {
    format!("\"{}\"", sha256(manifest))
}

/// The ability is announced where clients look first, and where they push.
#[test]
fn the_feature_is_announced() {
    let server = Server::start();
    let repo = server.repo("app");
    for answer in [server.get("/v2/").send(), repo.put("v2", OCI_INDEX, &empty_index())] {
        let features: Vec<_> = answer.all("Wharf-Features").iter().flat_map(|v| v.split(',')).map(str::trim).collect();
        assert!(features.contains(&"manifest-if-match"), "{}", answer.describe());
    }
    // So that clients need not guess whether a mount without `from` is understood.
    let root = server.get("/v2/").send();
    assert!(root.header("Wharf-Features").split(',').any(|name| name.trim() == "mount-from-any"), "{}", root.describe());
}

/// `If-None-Match: *` creates, and only creates; who comes late is told so as code-12.
#[test]
fn if_none_match_any_creates_only() {
    let server = Server::start();
    let repo = server.repo("app");
    let (first, second) = (empty_index(), empty_index());
    repo.put_request("v1", OCI_INDEX, &first).header("If-None-Match", "*").send().expect(201);
    let lost = repo.put_request("v1", OCI_INDEX, &second).header("If-None-Match", "*").send().expect_error(412, "DENIED");
    assert_eq!(lost.header("ETag"), etag(&first));
    assert_eq!(repo.manifest("v1").expect(200).body, first);
    assert_eq!(repo.manifest(&sha256(&second)).status, 404, "what lost left nothing behind");
    repo.delete("v1").expect(202);
    repo.put_request("v1", OCI_INDEX, &second).header("If-None-Match", "*").send().expect(201);
}

/// `If-None-Match` with a digest replaces anything but that.
#[test]
fn if_none_match_of_a_digest() {
    let server = Server::start();
    let repo = server.repo("app");
    let (first, second) = (empty_index(), empty_index());
    repo.put_request("v1", OCI_INDEX, &first).header("If-None-Match", etag(&first)).send().expect(201);
    repo.put_request("v1", OCI_INDEX, &second).header("If-None-Match", etag(&first)).send().expect(412);
    repo.put_request("v1", OCI_INDEX, &second).header("If-None-Match", etag(&second)).send().expect(201);
    assert_eq!(repo.manifest("v1").expect(200).body, second);
}

/// `If-Match` replaces what the client has seen, and nothing else.
#[test]
fn if_match_replaces_what_was_seen() {
    let server = Server::start();
    let repo = server.repo("app");
    let (first, second, third) = (empty_index(), empty_index(), empty_index());
    let put = |manifest: &[u8], seen: &str| repo.put_request("v1", OCI_INDEX, manifest).header("If-Match", seen).send();
    put(&first, &etag(&first)).expect(412);
    put(&first, "*").expect(412);
    assert_eq!(repo.manifest("v1").status, 404);
    repo.put("v1", OCI_INDEX, &first).expect(201);
    put(&second, &etag(&first)).expect(201).expect_header("ETag", &etag(&second));
    let lost = put(&third, &etag(&first)).expect(412);
    assert_eq!(lost.header("ETag"), etag(&second));
    assert_eq!(repo.manifest("v1").expect(200).body, second);
    put(&third, &format!("\"sha256:other\", {}", etag(&second))).expect(201);
    put(&first, "*").expect(201);
    assert_eq!(repo.manifest("v1").expect(200).body, first);
}

/// A condition that says nothing, or cannot be read, is a 400: never a push without condition.
#[test]
fn a_malformed_condition_is_400() {
    let server = Server::start();
    let repo = server.repo("app");
    let (there, new) = (empty_index(), empty_index());
    repo.put("v1", OCI_INDEX, &there).expect(201);
    for name in ["If-Match", "If-None-Match"] {
        for value in ["", " ", ",", ", ,", "abc", "W/", "\"x", &sha256(&there), "\"x\", y"] {
            for reference in ["v1", "v2", &sha256(&new)] {
                let answer = repo.put_request(reference, OCI_INDEX, &new).header(name, value).send();
                assert_eq!(answer.status, 400, "{name}: {value:?}: {}", answer.describe());
                answer.expect_error(400, "UNSUPPORTED");
            }
        }
    }
    assert_eq!(repo.tag_list(""), ["v1"]);
    assert_eq!(repo.manifest("v1").expect(200).body, there);
    assert_eq!(repo.manifest(&sha256(&new)).status, 404);
    // Lines of one name are one list, in which an empty line counts for nothing.
    repo.put_request("v1", OCI_INDEX, &new).header("If-Match", "").header("If-Match", etag(&there)).send().expect(201);
}

/// A tag that a proxy has called weak names the same bytes.
#[test]
fn a_weakened_tag_counts() {
    let server = Server::start();
    let repo = server.repo("app");
    let (first, second) = (empty_index(), empty_index());
    repo.put("v1", OCI_INDEX, &first).expect(201);
    let put = |name: &str, value: &str| repo.put_request("v1", OCI_INDEX, &second).header(name, format!("W/{value}")).send();
    put("If-None-Match", &etag(&first)).expect(412);
    put("If-Match", &etag(&second)).expect(412);
    put("If-Match", &etag(&first)).expect(201);
    assert_eq!(repo.manifest("v1").expect(200).body, second);
}

/// `If-None-Match` on several lines is one list, on a push and on a pull.
#[test]
fn conditions_may_come_on_several_lines() {
    let server = Server::start();
    let repo = server.repo("app");
    let (first, second) = (empty_index(), empty_index());
    repo.put("v1", OCI_INDEX, &first).expect(201);
    for lines in [[etag(&first), etag(&second)], [etag(&second), etag(&first)], ["\"x\"".to_owned(), "*".to_owned()]] {
        let [one, two] = &lines;
        let put = repo.put_request("v1", OCI_INDEX, &second);
        put.header("If-None-Match", one).header("If-None-Match", two).send().expect_error(412, "DENIED");
        let get = repo.manifest_request("GET", "v1");
        get.header("If-None-Match", one).header("If-None-Match", two).send().expect(304);
    }
    assert_eq!(repo.manifest("v1").expect(200).body, first);
}

/// `If-Match` on a pull: what is not what the client wants is a 412, with a body or, for HEAD, without.
#[test]
fn a_pull_of_something_else_is_412() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = repo.push_random("v1");
    let blob = sha256(&image.config);
    let mut connection = server.connect();
    for (path, digest) in [(repo.manifest_path("v1"), &image.digest), (repo.blob_path(&blob), &blob)] {
        for (value, status) in [
            ("\"sha256:other\"", 412),
            (&format!("\"{}\"", sha256(b"other")), 412),
            (&format!("\"{digest}\""), 200),
            (&format!("\"x\", W/\"{digest}\""), 200),
            ("*", 200),
            ("nonsense", 200),
        ] {
            for method in ["GET", "HEAD"] {
                let request = server.request(method, &path).header("If-Match", value);
                let answer = request.send_on(&mut connection).expect("an answer");
                assert_eq!(answer.status, status, "{method} {path} if {value}: {}", answer.describe());
                if status == 412 {
                    assert_eq!(answer.header("ETag"), format!("\"{digest}\""));
                }
                if method == "GET" && status == 412 {
                    answer.expect_error(412, "DENIED");
                }
            }
        }
    }
}

/// The ETag of an answer can be sent back as it is.
#[test]
fn the_etag_of_a_pull_serves_for_a_push() {
    let server = Server::start();
    let repo = server.repo("app");
    repo.push_random("v1");
    let seen = repo.manifest("v1").expect(200).header("ETag").to_owned();
    let next = empty_index();
    repo.put_request("v1", OCI_INDEX, &next).header("If-Match", &seen).send().expect(201);
    repo.put_request("v1", OCI_INDEX, &next).header("If-Match", &seen).send().expect(412);
}

/// By digest, the conditions are about that manifest.
#[test]
fn conditions_on_a_push_by_digest() {
    let server = Server::start();
    let repo = server.repo("app");
    let manifest = empty_index();
    let digest = sha256(&manifest);
    repo.put_request(&digest, OCI_INDEX, &manifest).header("If-Match", "*").send().expect(412);
    repo.put_request(&digest, OCI_INDEX, &manifest).header("If-None-Match", "*").send().expect(201);
    repo.put_request(&digest, OCI_INDEX, &manifest).header("If-None-Match", "*").send().expect(412);
    repo.put_request(&digest, OCI_INDEX, &manifest).header("If-Match", etag(&manifest)).send().expect(201);
}

/// With `tag` parameters all tags are won, or none is touched.
#[test]
fn tags_are_swapped_all_or_none() {
    let server = Server::start();
    let repo = server.repo("app");
    let (old, new) = (empty_index(), empty_index());
    repo.put("there", OCI_INDEX, &old).expect(201);
    let put = |tags: &str, name: &str, value: &str| {
        repo.put_request(&format!("{}?{tags}", sha256(&new)), OCI_INDEX, &new).header(name, value).send()
    };
    put("tag=a&tag=there&tag=b", "If-None-Match", "*").expect(412);
    put("tag=there&tag=a", "If-Match", &etag(&old)).expect(412);
    assert_eq!(repo.tag_list(""), ["there"]);
    assert_eq!(repo.manifest("there").expect(200).body, old);
    assert_eq!(repo.manifest(&sha256(&new)).status, 404, "what lost left nothing behind");
    put("tag=a&tag=b", "If-None-Match", "*").expect(201);
    put("tag=there", "If-Match", &etag(&old)).expect(201);
    assert_eq!(repo.tag_list(""), ["a", "b", "there"]);
}

/// Of many who create one tag at the same time exactly one wins, and each other learns who.
#[test]
fn of_many_creators_one_wins() {
    const CREATORS: usize = 12;
    let server = Server::start();
    let repo = server.repo("app");
    for round in 0..10 {
        let tag = format!("round-{round}");
        let barrier = Barrier::new(CREATORS);
        let answers: Vec<(Vec<u8>, Response)> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..CREATORS)
                .map(|_| {
                    scope.spawn(|| {
                        let manifest = empty_index();
                        barrier.wait();
                        let answer = repo.put_request(&tag, OCI_INDEX, &manifest).header("If-None-Match", "*").send();
                        (manifest, answer)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(_, answer)| answer.status == 201);
        assert_eq!(won.len(), 1, "winners of round {round}");
        assert_eq!(repo.manifest(&tag).expect(200).body, won[0].0);
        for (manifest, answer) in lost {
            assert_eq!(answer.expect(412).header("ETag"), etag(&won[0].0));
            assert_eq!(repo.manifest(&sha256(&manifest)).status, 404, "what lost left nothing behind");
        }
    }
}

/// Many builds add their architecture to one index, each reading it, adding, and writing it back on the condition that it
/// is still the one read: no addition is lost, though the races are.
#[test]
fn concurrent_merges_lose_nothing() {
    const BUILDS: usize = 8;
    const ROUNDS: usize = 4;
    let server = Server::start();
    let repo = server.repo("app");
    repo.put("multi", OCI_INDEX, &index(&[])).expect(201);
    let (barrier, races_lost) = (Barrier::new(BUILDS), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for build in 0..BUILDS {
            let (repo, barrier, races_lost) = (&repo, &barrier, &races_lost);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let image = Image::random();
                    repo.push_blobs(&image);
                    repo.put(&image.digest, OCI_MANIFEST, &image.manifest).expect(201);
                    barrier.wait();
                    loop {
                        let seen = repo.manifest("multi").expect(200);
                        let mut merged = seen.json();
                        let children = merged["manifests"].as_array_mut().unwrap();
                        children.push(image.descriptor(&format!("arch-{build}-{round}")));
                        let merged = merged.to_string().into_bytes();
                        let put = repo.put_request("multi", OCI_INDEX, &merged).header("If-Match", seen.header("ETag"));
                        match put.send() {
                            won if won.status == 201 => break,
                            lost => {
                                lost.expect(412);
                                races_lost.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    }
                }
            });
        }
    });
    let merged = repo.manifest("multi").expect(200).json();
    let mut found: Vec<_> = merged["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|child: &Value| child["platform"]["architecture"].as_str().unwrap().to_owned())
        .collect();
    found.sort();
    let expected: Vec<_> = (0..BUILDS).flat_map(|b| (0..ROUNDS).map(move |r| format!("arch-{b}-{r}"))).collect();
    assert_eq!(found, expected);
    assert!(races_lost.load(Ordering::Relaxed) > 0, "nobody ever lost, so nothing was tried");
}
