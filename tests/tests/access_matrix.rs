//! Every endpoint, by every kind of caller; and that a refusal says nothing of what there is.

use serde_json::json;
use wharf_tests::{Guarded, Image, Request, Response, Server, basic, bearer, sha256};

/// What an endpoint takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    Presence,
    List,
    Pull,
    Push,
    Delete,
    Administer,
}

/// Every endpoint, with names of a repository and of content put in.
fn endpoints(name: &str, tag: &str, digest: &str) -> Vec<(Need, &'static str, String)> {
    let repository = format!("/v2/{name}");
    let upload = format!("{repository}/blobs/uploads/0b5f7a54-6a30-4d4e-9d3c-6a1b2f0c7d11");
    let at = |rest: &str| format!("{repository}/{rest}");
    vec![
        (Need::Nothing, "GET", "/healthz".to_owned()),
        (Need::Nothing, "GET", "/readyz".to_owned()),
        (Need::Nothing, "GET", "/token?service=wharf".to_owned()),
        (Need::Administer, "GET", "/metrics".to_owned()),
        (Need::Presence, "GET", "/v2/".to_owned()),
        (Need::List, "GET", "/v2/_catalog".to_owned()),
        (Need::Pull, "GET", at("tags/list")),
        (Need::Pull, "GET", at(&format!("manifests/{tag}"))),
        (Need::Pull, "HEAD", at(&format!("manifests/{digest}"))),
        (Need::Pull, "GET", at(&format!("blobs/{digest}"))),
        (Need::Pull, "HEAD", at(&format!("blobs/{digest}"))),
        (Need::Pull, "GET", at(&format!("referrers/{digest}"))),
        (Need::Push, "PUT", at(&format!("manifests/{tag}"))),
        (Need::Push, "POST", at("blobs/uploads/")),
        (Need::Push, "POST", at(&format!("blobs/uploads/?digest={digest}"))),
        (Need::Push, "POST", at(&format!("blobs/uploads/?mount={digest}&from={name}"))),
        (Need::Push, "GET", upload.clone()),
        (Need::Push, "PATCH", upload.clone()),
        (Need::Push, "PUT", format!("{upload}?digest={digest}")),
        (Need::Push, "DELETE", upload),
        (Need::Delete, "DELETE", at(&format!("manifests/{tag}"))),
        (Need::Delete, "DELETE", at(&format!("blobs/{digest}"))),
    ]
}

fn fill(server: &Server) -> Image {
    server.repo("secret/app").push_random("v1")
}

fn rules() -> serde_json::Value {
    json!([
        {"who": ["user:owner"], "may": ["pull", "push", "delete", "administer"]},
        {"who": ["user:reader"], "may": ["pull"], "repositories": ["secret/*"]},
        {"who": ["user:writer"], "may": ["pull", "push"], "repositories": ["secret/*"]},
        {"who": ["user:cleaner"], "may": ["pull", "delete"], "repositories": ["secret/*"]},
        {"who": ["user:blind"], "may": ["push", "delete"], "repositories": ["secret/*"]},
        {"who": ["user:watcher"], "may": ["administer"]},
        {"who": ["user:other"], "may": ["pull", "push", "delete"], "repositories": ["open/**"]},
        {"who": ["anonymous"], "may": ["pull"], "repositories": ["open/**"]},
    ])
}

const USERS: [&str; 7] = ["owner", "reader", "writer", "cleaner", "blind", "watcher", "other"];

/// What becomes of a request by a caller with these rights over the repository.
fn expected(need: Need, rights: &[Need], known: bool) -> u16 {
    let refused = if known { 403 } else { 401 };
    match need {
        Need::Nothing => 0,
        Need::Presence => {
            if known {
                0
            } else {
                401
            }
        }
        // Others see an empty list, or what everybody may see.
        Need::List => 0,
        need if rights.contains(&need) => 0,
        _ => refused,
    }
}

#[test]
fn every_endpoint_answers_every_caller_as_the_rules_say() {
    let mut image = None;
    let guarded = Guarded::start(&USERS, rules(), |server| image = Some(fill(server)));
    let digest = image.expect("an image").digest;
    let all = [Need::Pull, Need::Push, Need::Delete, Need::Administer];
    let callers: [(&str, &[Need]); 8] = [
        ("", &[]),
        ("owner", &all),
        ("reader", &[Need::Pull]),
        ("writer", &[Need::Pull, Need::Push]),
        ("cleaner", &[Need::Pull, Need::Delete]),
        // What is there shows in answers to pushes and deletes, too.
        ("blind", &[]),
        ("watcher", &[Need::Administer]),
        ("other", &[]),
    ];
    // The deleting ones come last, for what they delete is needed by others.
    for (user, rights) in callers.into_iter().rev() {
        for (need, method, target) in endpoints("secret/app", "v1", &digest) {
            let answer = guarded.send_as(user, &guarded.server.request(method, &target));
            let expected = expected(need, rights, !user.is_empty());
            let refused = matches!(answer.status, 401 | 403);
            let as_expected = if expected == 0 { !refused } else { answer.status == expected };
            assert!(as_expected, "{user}: {method} {target}: {}", answer.describe());
            assert_eq!(answer.status == 401, answer.get("WWW-Authenticate").is_some(), "{}", answer.describe());
        }
    }
}

#[test]
fn a_wrong_password_is_refused_at_every_door_but_the_open_ones() {
    let guarded = Guarded::start(&USERS, rules(), |server| drop(fill(server)));
    for (need, method, target) in endpoints("secret/app", "v1", &sha256(b"")) {
        let wrong = ["Basic !", "Digest x", "Bearer x", &bearer("wharf_guess"), "Basic eDp5"];
        // One for each endpoint: more of them from one address would be slowed down.
        let header = wrong[target.len() % wrong.len()];
        let answer = guarded.server.request(method, &target).header("Authorization", header).send();
        let open = target.starts_with("/healthz") || target.starts_with("/readyz");
        let expected = if need == Need::Nothing && open { 200 } else { 401 };
        // Failed logins may have been too many by now.
        assert!(
            answer.status == expected || (expected == 401 && answer.status == 429),
            "{method} {target}: {}",
            answer.describe()
        );
    }
}

#[test]
fn a_token_is_good_for_what_it_was_asked_for_and_no_more_than_its_user_may() {
    let mut image = None;
    let guarded = Guarded::start(&USERS, rules(), |server| image = Some(fill(server)));
    let digest = image.expect("an image").digest;
    let pull = guarded.token("owner", "repository:secret/app:pull");
    let more = guarded.token("reader", "repository:secret/app:pull,push,delete");
    for (need, method, target) in endpoints("secret/app", "v1", &digest) {
        for token in [&pull, &more] {
            let answer = guarded.server.request(method, &target).header("Authorization", bearer(token)).send();
            match need {
                // The digest is a manifest's, and none of a blob.
                Need::Pull => assert!(matches!(answer.status, 200 | 404), "{method} {target}: {}", answer.describe()),
                Need::Push | Need::Delete if token == &pull => {
                    answer.clone().expect(403);
                    let challenge = answer.header("WWW-Authenticate").to_owned();
                    assert!(
                        challenge.contains("error=\"insufficient_scope\"")
                            && challenge.contains("scope=\"repository:secret/app:"),
                        "{challenge}"
                    );
                }
                Need::Push | Need::Delete => drop(answer.expect(403)),
                _ => {}
            }
        }
    }
    // It is for one repository.
    let other = guarded.server.get("/v2/open/app/tags/list").header("Authorization", bearer(&pull)).send();
    assert!(other.status == 403 && other.get("WWW-Authenticate").is_some(), "{}", other.describe());
    let catalog = guarded.server.get("/v2/_catalog").header("Authorization", bearer(&pull)).send();
    assert!(catalog.status == 403 && catalog.get("WWW-Authenticate").is_some(), "{}", catalog.describe());
    // And does not give out others.
    guarded.server.get("/token?service=wharf").header("Authorization", bearer(&pull)).send().expect(401);
    let anonymous = guarded.token("", "repository:open/app:pull,push");
    let request = |method: &str| {
        guarded.server.request(method, "/v2/open/app/manifests/x").header("Authorization", bearer(&anonymous)).send()
    };
    request("GET").expect(404);
    request("PUT").expect(401);
}

/// Without what differs from answer to answer anyway.
fn comparable(answer: &Response) -> String {
    let mut headers = answer.headers.clone();
    headers.retain(|(name, _)| !["date", "x-request-id"].contains(&name.to_ascii_lowercase().as_str()));
    format!("{} {headers:?} {:?}", answer.status, String::from_utf8_lossy(&answer.body))
}

/// Promise: who may not pull cannot tell what is there from what is not.
#[test]
fn a_refusal_is_the_same_for_what_is_there_and_what_is_not() {
    let mut image = None;
    let guarded = Guarded::start(&USERS, rules(), |server| image = Some(fill(server)));
    let digest = image.expect("an image").digest;
    let missing = sha256(b"not there");
    let send = |user: &str, request: &Request<'_>| comparable(&guarded.send_as(user, request));
    for user in ["", "other", "watcher", "blind"] {
        let there = endpoints("secret/app", "v1", &digest);
        let others = [
            endpoints("secret/app", "v2", &missing),
            endpoints("secret/nop", "v1", &digest),
            endpoints("secret/nop", "v2", &missing),
        ];
        for (number, (need, method, target)) in there.iter().enumerate() {
            if !matches!(need, Need::Pull | Need::Push) {
                continue;
            }
            let expected = send(user, &guarded.server.request(method, target)).replace(target, "T");
            assert!(expected.starts_with("401") || expected.starts_with("403"), "{user} {method} {target}: {expected}");
            for other in &others {
                let (_, method, target) = &other[number];
                let found = send(user, &guarded.server.request(method, target)).replace(target, "T");
                assert_eq!(found.replace("secret/nop", "secret/app"), expected, "{user} {method} {target}");
            }
        }
    }
    // A mount finds nothing where its caller may not look, whether it is there or not.
    for digest in [&digest, &missing] {
        for from in ["&from=secret/app", "&from=secret/nop", ""] {
            let target = format!("/v2/open/app/blobs/uploads/?mount={digest}{from}");
            guarded.send_as("other", &guarded.server.post(&target)).expect(202);
        }
    }
    // A manifest may not name what is in another repository, and learns no more of it than of what is nowhere.
    for digest in [&digest, &missing] {
        let manifest = wharf_tests::index(&[json!({"mediaType": wharf_tests::OCI_MANIFEST, "digest": digest, "size": 1})]);
        let put = guarded.server.put("/v2/open/app/manifests/x").header("Content-Type", wharf_tests::OCI_INDEX).body(&manifest);
        guarded.send_as("other", &put).expect(404);
    }
}

#[test]
fn the_catalog_and_mounts_show_what_the_caller_may_pull() {
    let blob = wharf_tests::random(10_000);
    let digest = sha256(&blob);
    let guarded = Guarded::start(&USERS, rules(), |server| {
        for name in ["a", "open/a", "open/b", "secret/a", "secret/b", "z"] {
            server.repo(name).push_random("v1");
        }
        server.repo("secret/a").push_blob(&blob);
    });
    let listed = |user: &str, query: &str| {
        let answer = guarded.send_as(user, &guarded.server.get(&format!("/v2/_catalog{query}"))).expect(200);
        let names: Vec<_> = answer.json()["repositories"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|name| name.as_str().expect("a name").to_owned())
            .collect();
        (names.join(" "), answer.get("Link").is_some())
    };
    assert_eq!(listed("owner", ""), ("a open/a open/b secret/a secret/b z".to_owned(), false));
    assert_eq!(listed("reader", ""), ("secret/a secret/b".to_owned(), false));
    assert_eq!(listed("other", ""), ("open/a open/b".to_owned(), false));
    assert_eq!(listed("watcher", ""), (String::new(), false));
    assert_eq!(listed("", ""), ("open/a open/b".to_owned(), false));
    // No page says that there is more than may be seen.
    assert_eq!(listed("reader", "?n=1"), ("secret/a".to_owned(), true));
    assert_eq!(listed("reader", "?n=1&last=secret/a"), ("secret/b".to_owned(), false));
    assert_eq!(listed("other", "?n=2"), ("open/a open/b".to_owned(), false));
    // A mount from anywhere takes what the caller may pull.
    let mount = |user: &str, name: &str| {
        guarded.send_as(user, &guarded.server.post(&format!("/v2/{name}/blobs/uploads/?mount={digest}"))).status
    };
    assert_eq!(mount("other", "open/a"), 202);
    assert_eq!(mount("writer", "secret/c"), 201);
    // A bearer token names what it is for; that mounts may come from anywhere is a scope of its own, and gives nobody more than they have.
    let mount = |user: &str, name: &str, more: &str| {
        let token = guarded.token(user, &format!("repository:{name}:pull,push{more}"));
        let request = guarded.server.post(&format!("/v2/{name}/blobs/uploads/?mount={digest}"));
        request.header("Authorization", bearer(&token)).send().status
    };
    assert_eq!(mount("owner", "z", ""), 202);
    assert_eq!(mount("owner", "z", "&scope=repository:secret/a:pull"), 201);
    assert_eq!(mount("owner", "a", "&scope=registry:mount:*"), 201);
    assert_eq!(mount("other", "open/a", "&scope=registry:mount:*"), 202);
    let mount = |user: &str, name: &str| {
        guarded.send_as(user, &guarded.server.post(&format!("/v2/{name}/blobs/uploads/?mount={digest}"))).status
    };
    assert_eq!(mount("owner", "open/a"), 201);
    assert_eq!(mount("other", "open/b"), 201);
}

#[test]
fn an_upload_belongs_to_who_began_it() {
    let rules = json!([{"who": ["known"], "may": ["pull", "push"]}]);
    let guarded = Guarded::start(&["alice", "bob"], rules, |_| {});
    let begun = guarded.send_as("alice", &guarded.server.post("/v2/app/blobs/uploads/")).expect(202);
    let location = begun.header("Location").to_owned();
    for method in ["GET", "PATCH", "DELETE"] {
        guarded.send_as("bob", &guarded.server.request(method, &location)).expect(404);
    }
    guarded.send_as("alice", &guarded.server.patch(&location).body(b"mine")).expect(202);
    let digest = sha256(b"mine");
    guarded.send_as("bob", &guarded.server.put(&format!("{location}?digest={digest}"))).expect(404);
    // By whatever way she comes, it is hers.
    let token = guarded.token("alice", "repository:app:pull,push");
    let put = guarded.server.put(&format!("{location}?digest={digest}")).header("Authorization", bearer(&token));
    put.send().expect(201);
}

#[test]
fn without_credentials_there_is_no_rule_to_keep() {
    let server = Server::start();
    server.get("/token?service=wharf").send().expect(404);
    server.get("/metrics").send().expect(404);
    // What somebody shows of themselves is nobody's business there.
    server.get("/v2/").header("Authorization", basic("a", "b")).send().expect(200);
}
