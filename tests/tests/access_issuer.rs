//! Callers for whom an OpenID Connect provider vouches: a real one, in a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::json;
use wharf_tests::clients::{ID_TOKEN, ISSUER, python, run_python};
use wharf_tests::{Guarded, basic, bearer};

/// The provider, which ends with its standard input.
struct Provider {
    child: Child,
    input: Option<ChildStdin>,
    url: String,
    home: tempfile::TempDir,
}

impl Provider {
    fn start() -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
        let mut command = Command::new(python());
        command.args(["-c", ISSUER, &port.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("run the provider");
        let mut url = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut url).expect("its address");
        let input = child.stdin.take();
        Self { child, input, url: url.trim().to_owned(), home }
    }

    /// An ID token for this user, to be shown to `audience`.
    fn token(&self, audience: &str, user: &str) -> String {
        let token = run_python(self.home.path(), ID_TOKEN, [self.url.as_str(), audience, user]);
        token.as_str().expect("a token").to_owned()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

#[test]
fn a_job_is_let_in_with_the_token_of_its_ci_system() {
    let provider = Provider::start();
    let rules = json!([
        {"who": ["claim:ci/sub=acme/*"], "may": ["pull", "push"], "repositories": ["ci/*"]},
        {"who": ["issuer:ci"], "may": ["pull"], "repositories": ["open/*"]},
    ]);
    let mut guarded = Guarded::start(&[], rules, |server| {
        server.repo("ci/app").push_random("v1");
        server.repo("open/app").push_random("v1");
    });
    let issuer = json!({"name": "ci", "url": provider.url, "audience": "wharf.example"});
    guarded.restart_with("wharf.access.issuers", json!([issuer]));
    let get = |name: &str, header: &str| {
        guarded.server.get(&format!("/v2/{name}/tags/list")).header("Authorization", header).send().status
    };
    let ours = provider.token("wharf.example", "acme/app");
    assert_eq!(get("ci/app", &bearer(&ours)), 200);
    // As a password, too, under any name: that is how docker login is given one.
    assert_eq!(get("ci/app", &basic("oidc", &ours)), 200);
    // The token service takes it, and what it gives is no more.
    let answer = guarded
        .server
        .get("/token?service=wharf&scope=repository:ci/app:pull,push,delete")
        .header("Authorization", basic("oidc", &ours))
        .send();
    let short = answer.expect(200).json()["token"].as_str().expect("a token").to_owned();
    assert_eq!(get("ci/app", &bearer(&short)), 200);
    assert_eq!(guarded.server.delete("/v2/ci/app/manifests/v1").header("Authorization", bearer(&short)).send().status, 403);
    let other = provider.token("wharf.example", "evil/acme");
    assert_eq!((get("ci/app", &bearer(&other)), get("open/app", &bearer(&other))), (403, 200));
    // One that was made for another service is not for us.
    assert_eq!(get("open/app", &bearer(&provider.token("other.example", "acme/app"))), 401);
    let who: Vec<_> = guarded.audit().iter().filter_map(|line| line["who"].as_str().map(str::to_owned)).collect();
    assert!(who.contains(&"ci:evil/acme".to_owned()), "{who:?}");
    // Claims that are demanded are demanded.
    let strict = json!({"name": "ci", "url": provider.url, "audience": "wharf.example", "claims": {"sub": "acme/*"}});
    guarded.restart_with("wharf.access.issuers", json!([strict]));
    let get = |header: &str| guarded.server.get("/v2/open/app/tags/list").header("Authorization", header).send().status;
    assert_eq!((get(&bearer(&ours)), get(&bearer(&other))), (200, 401));
}

#[test]
fn an_issuer_that_does_not_answer_lets_nobody_in_and_keeps_nobody_out() {
    let provider = Provider::start();
    let token = provider.token("wharf.example", "acme/app");
    let url = provider.url.clone();
    drop(provider);
    let rules = json!([{"who": ["known"], "may": ["pull"]}]);
    let mut guarded = Guarded::start(&["alice"], rules, |_| {});
    guarded.restart_with("wharf.access.issuers", json!([{"name": "ci", "url": url, "audience": "wharf.example"}]));
    let get = |header: &str| guarded.server.get("/v2/").header("Authorization", header).send().status;
    assert_eq!(get(&bearer(&token)), 401);
    assert_eq!(get(&basic("alice", "secret")), 200);
    assert!(guarded.server.log().contains("the keys of an issuer cannot be had"), "{}", guarded.server.log());
    assert!(!guarded.server.log().contains(&token));
}
