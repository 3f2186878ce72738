//! Saying who one is: passwords, tokens, the token service, and those who guess.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wharf_tests::{Guarded, Wharf, basic, bearer, eventually};

const ALL: [&str; 4] = ["pull", "push", "delete", "administer"];

fn everybody() -> Value {
    json!([{"who": ["known"], "may": ALL}])
}

/// The command on this registry's users and tokens.
fn wharf(guarded: &Guarded) -> impl Fn(&[&str]) -> wharf_tests::Ran {
    let config = guarded.config_file().to_str().expect("UTF-8").to_owned();
    let wharf = Wharf::new(guarded.config_file().parent().expect("a folder"));
    move |words| wharf.run(&[words, &["--config", &config]].concat())
}

fn status(guarded: &Guarded, header: &str) -> u16 {
    guarded.server.get("/v2/").header("Authorization", header).send().status
}

#[test]
fn users_come_and_go_while_the_registry_runs() {
    let guarded = Guarded::start(&["alice"], everybody(), |_| {});
    assert_eq!(status(&guarded, &basic("alice", "secret")), 200);
    let wharf = wharf(&guarded);
    let made_up = wharf(&["user", "add", "bob", "--generate"]).expect(0).stdout.trim().to_owned();
    assert_eq!(made_up.len(), 43);
    eventually("the file is read again", || status(&guarded, &basic("bob", &made_up)) == 200);
    wharf(&["user", "add", "bob", "--generate"]).expect(1).says("there is a user bob already");
    wharf(&["user", "add", "b:b", "--generate"]).expect(1).says("no name for a user");
    let new = wharf(&["user", "passwd", "bob", "--generate"]).expect(0).stdout.trim().to_owned();
    eventually("the file is read again", || status(&guarded, &basic("bob", &made_up)) == 401);
    assert_eq!(status(&guarded, &basic("bob", &new)), 200);
    assert_eq!(wharf(&["user", "list"]).expect(0).stdout, "alice\nbob\n");
    let token = guarded.token("alice", "repository:a:pull");
    wharf(&["user", "rm", "alice"]).expect(0);
    // With the user goes what was given out to her.
    eventually("the file is read again", || status(&guarded, &bearer(&token)) == 401);
    assert_eq!(status(&guarded, &basic("alice", "secret")), 401);
    wharf(&["user", "rm", "alice"]).expect(1).says("there is no user alice");
    let audit: Vec<_> = guarded.audit().iter().filter_map(|line| line["what"].as_str().map(str::to_owned)).collect();
    for what in ["user.add", "user.passwd", "user.rm"] {
        assert!(audit.iter().any(|found| found == what), "{audit:?}");
    }
    assert!(!fs::read_to_string(guarded.path("audit.log")).expect("the log").contains(&new));
}

#[test]
fn a_file_that_apache_wrote_is_read() {
    let guarded = Guarded::start(&[], everybody(), |_| {});
    let users = guarded.path("htpasswd");
    wharf_tests::run_tool("htpasswd", &["-bcB", users.to_str().expect("UTF-8"), "carol", "hers"], None);
    eventually("the file is read again", || status(&guarded, &basic("carol", "hers")) == 200);
    wharf_tests::run_tool("htpasswd", &["-b", users.to_str().expect("UTF-8"), "dave", "his"], None);
    let wharf = wharf(&guarded);
    wharf(&["user", "list"]).expect(0).says("dave cannot log in");
    assert_eq!(status(&guarded, &basic("dave", "his")), 401);
}

#[test]
fn a_token_of_a_user_does_less_for_a_time() {
    let guarded = Guarded::start(&["alice"], everybody(), |server| drop(server.repo("yocto/app").push_random("v1")));
    let wharf = wharf(&guarded);
    let words = ["token", "create", "ci", "--user", "alice", "--may", "pull", "--repository", "yocto/*", "--expires", "4s"];
    let text = wharf(&words).expect(0).stdout.trim().to_owned();
    let made = Instant::now();
    assert!(text.starts_with("wharf_"), "{text}");
    assert!(!fs::read_to_string(guarded.path("tokens.json")).expect("the tokens").contains(&text));
    wharf(&words).expect(1).says("alice has a token ci already");
    let manifest = "/v2/yocto/app/manifests/v1";
    let get = |target: &str, header: &str| guarded.server.get(target).header("Authorization", header).send().status;
    eventually("the file is read again", || get(manifest, &basic("alice", &text)) == 200);
    assert_eq!(get(manifest, &bearer(&text)), 200);
    assert_eq!(get("/v2/other/app/manifests/v1", &bearer(&text)), 403);
    assert_eq!(get("/metrics", &bearer(&text)), 403);
    let delete = guarded.server.delete(manifest).header("Authorization", bearer(&text)).send();
    assert_eq!(delete.status, 403);
    // What the token service gives for it is no more, and ends with it.
    let form = format!(
        "grant_type=refresh_token&service=wharf&client_id=test&refresh_token={text}&scope=repository%3Ayocto%2Fapp%3Apull%2Cdelete"
    );
    let answer =
        guarded.server.post("/token").body(form.as_bytes()).header("Content-Type", "application/x-www-form-urlencoded").send();
    let short = answer.expect(200).json()["access_token"].as_str().expect("a token").to_owned();
    assert_eq!(get(manifest, &bearer(&short)), 200);
    assert_eq!(guarded.server.delete(manifest).header("Authorization", bearer(&short)).send().status, 403);
    let listed = wharf(&["token", "list", "--json"]).expect(0).json();
    assert_eq!(listed["tokens"][0]["repositories"], json!(["yocto/*"]));
    sleep(Duration::from_secs(5).saturating_sub(made.elapsed()));
    assert_eq!(get(manifest, &bearer(&text)), 401);
    assert_eq!(get(manifest, &bearer(&short)), 401);
    // Who takes one back takes it back at once.
    let text = wharf(&["token", "create", "other", "--user", "alice", "--expires", "never"]).expect(0).stdout.trim().to_owned();
    eventually("the file is read again", || get(manifest, &bearer(&text)) == 200);
    wharf(&["token", "revoke", "other", "--user", "alice"]).expect(0);
    eventually("the file is read again", || get(manifest, &bearer(&text)) == 401);
    wharf(&["token", "revoke", "other", "--user", "alice"]).expect(1).says("alice has no token other");
    wharf(&["token", "create", "x", "--user", "nobody"]).expect(1).says("there is no user nobody");
    wharf(&["token", "create", "x", "--user", "alice", "--expires", "soon"]).expect(1);
}

#[test]
fn the_token_service_speaks_both_forms_of_the_protocol() {
    let guarded = Guarded::start(&["alice"], everybody(), |server| drop(server.repo("a").push_random("v1")));
    let answer = guarded.server.get("/v2/a/manifests/v1").send().expect(401);
    let realm = format!("Bearer realm=\"{}/token\",service=\"wharf\",scope=\"repository:a:pull\"", guarded.server.url());
    assert_eq!(answer.header("WWW-Authenticate"), realm);
    let token = guarded.server.get("/token?service=wharf&scope=repository:a:pull&account=alice&offline_token=true");
    let answer = token.header("Authorization", basic("alice", "secret")).send().expect(200);
    assert_eq!(answer.header("Cache-Control"), "no-store");
    let json = answer.json();
    assert_eq!((json["expires_in"].as_u64(), json["token"] == json["access_token"]), (Some(300), true));
    let get = |token: &Value| {
        guarded.server.get("/v2/a/manifests/v1").header("Authorization", bearer(token.as_str().expect("a token"))).send().status
    };
    assert_eq!(get(&json["token"]), 200);
    let post = |form: &str| guarded.server.post("/token").body(form.as_bytes()).send();
    let json = post(
        "grant_type=password&username=alice&password=secret&service=wharf&client_id=x&scope=repository:a:pull+repository:b:push",
    )
    .expect(200)
    .json();
    assert_eq!(get(&json["access_token"]), 200);
    post("grant_type=password&username=alice&password=wrong").expect(401);
    post("grant_type=refresh_token&refresh_token=wharf_none").expect(401);
    post("grant_type=client_credentials").expect(400);
    post("").expect(400);
    post(&"x".repeat(70_000)).expect(400);
    guarded.server.delete("/token").send().expect(405);
}

#[test]
fn keys_outlive_the_process_and_the_challenge_may_be_for_a_password() {
    let mut guarded = Guarded::start(&["alice"], everybody(), |_| {});
    let token = guarded.token("alice", "repository:a:pull");
    guarded.restart_with("wharf.access.challenge", "basic");
    assert_eq!(status(&guarded, &bearer(&token)), 200);
    assert_eq!(guarded.server.get("/v2/").send().expect(401).header("WWW-Authenticate"), "Basic realm=\"wharf\"");
    guarded.restart_with("wharf.access.token_life", "1s");
    let token = guarded.token("alice", "repository:a:pull");
    sleep(Duration::from_millis(2_100));
    let late = guarded.server.get("/v2/").header("Authorization", bearer(&token)).send().expect(401);
    assert!(late.header("WWW-Authenticate").ends_with(",error=\"invalid_token\""), "{}", late.describe());
}

#[test]
fn who_guesses_waits_and_others_are_served_meanwhile() {
    let guarded = Guarded::start(&["alice"], everybody(), |_| {});
    assert_eq!(status(&guarded, &basic("alice", "secret")), 200);
    let answers: Vec<_> = (0..40)
        .map(|number| guarded.server.get("/v2/").header("Authorization", basic("alice", &format!("guess{number}"))).send())
        .collect();
    let (wrong, slowed): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 401);
    assert!(wrong.len() == 20 && slowed.iter().all(|answer| answer.status == 429), "{} {}", wrong.len(), slowed.len());
    let wait: u64 = slowed[0].header("Retry-After").parse().expect("seconds");
    assert!((1..=60).contains(&wait), "{wait}");
    // She is known, and so is whoever has a token.
    assert_eq!(status(&guarded, &basic("alice", "secret")), 200);
    let refused = guarded.audit().iter().filter(|line| line["result"] == "refused" && line["what"] == "login").count();
    assert_eq!(refused, 40);
}

#[test]
fn the_audit_log_tells_of_changes_and_refusals_and_of_no_secret() {
    let rules = json!([{"who": ["user:alice"], "may": ALL, "repositories": ["ours/*"]}]);
    let guarded = Guarded::start(&["alice", "bob"], rules, |_| {});
    let blob = b"content".to_vec();
    let digest = wharf_tests::sha256(&blob);
    let push = guarded.server.post(&format!("/v2/ours/app/blobs/uploads/?digest={digest}"));
    guarded.send_as("alice", &push.body(&blob)).expect(201);
    guarded.send_as("alice", &guarded.server.get(&format!("/v2/ours/app/blobs/{digest}"))).expect(200);
    guarded.send_as("bob", &guarded.server.get("/v2/ours/app/tags/list")).expect(403);
    guarded.send_as("alice", &guarded.server.delete(&format!("/v2/ours/app/blobs/{digest}"))).expect(202);
    guarded.server.get("/v2/").send().expect(401);
    guarded.server.get("/v2/ours/app/tags/list").send().expect(401);
    let lines = guarded.audit();
    let found: Vec<_> = lines
        .iter()
        .map(|line| {
            assert_eq!(line["from"], "127.0.0.1", "{line}");
            assert!(line["when"].as_str().is_some_and(|when| when.ends_with('Z')), "{line}");
            let text = |key: &str| line[key].as_str().unwrap_or("-").to_owned();
            format!("{} {} {} {}", text("who"), text("what"), text("result"), line["status"])
        })
        .collect();
    assert_eq!(
        found,
        ["alice blob.push done 201", "bob tags refused 403", "alice blob.delete done 202", "anonymous tags refused 401",]
    );
    assert_eq!(lines[0]["reference"], digest.as_str());
    let everything = fs::read_to_string(guarded.path("audit.log")).expect("the log") + &guarded.server.log();
    assert!(!everything.contains("secret") && !everything.contains(&basic("alice", "secret")), "{everything}");
}
