//! A registry that asks for tokens, and the server that gives them out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Asked, Reply, Request, Scripted, Server};

/// User and password that are let in, as HTTP sends them: `user:secret`.
pub const USER_SECRET: &str = "Basic dXNlcjpzZWNyZXQ=";
/// An identity token that is let in.
pub const IDENTITY: &str = "identity-of-user";

/// Gives out tokens that count in [`Gate`]s until they are revoked.
pub struct TokenServer {
    server: Scripted,
    tokens: Arc<Tokens>,
}

/// The scopes that each token is for.
type Tokens = Mutex<BTreeMap<String, Vec<String>>>;

impl TokenServer {
    /// Starts it. Anybody may pull; for the rest it wants [`USER_SECRET`] or [`IDENTITY`].
    pub fn start() -> Self {
        Self::lasting(300)
    }

    /// The same with tokens that last so many seconds, as it says.
    pub fn lasting(seconds: u64) -> Self {
        let tokens = Arc::<Tokens>::default();
        let own = tokens.clone();
        let server = Scripted::start(move |asked| give(asked, &own, seconds));
        Self { server, tokens }
    }

    /// Every question it got.
    pub fn asked(&self) -> Vec<Asked> {
        self.server.asked()
    }

    /// The scopes of every question, sorted; of one with several, joined by a space.
    pub fn scopes(&self) -> Vec<String> {
        let mut scopes: Vec<_> = self.asked().iter().map(|asked| scopes(asked).join(" ")).collect();
        scopes.sort();
        scopes
    }

    /// No token given out so far counts any more.
    pub fn revoke(&self) {
        lock(&self.tokens).clear();
    }

    /// The realm as a challenge has it.
    pub fn realm(&self) -> String {
        format!("http://{}/token", self.server.address())
    }
}

fn query(text: &str) -> Vec<(String, String)> {
    let decoded =
        |text: &str| text.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",").replace('+', " ").replace("%2A", "*");
    text.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, value)| (decoded(name), decoded(value))).collect()
}

fn pairs(asked: &Asked) -> Vec<(String, String)> {
    let form = String::from_utf8_lossy(&asked.body).into_owned();
    let asked_for = asked.target.split_once('?').map_or("", |(_, query)| query);
    query(asked_for).into_iter().chain(query(&form)).collect()
}

fn scopes(asked: &Asked) -> Vec<String> {
    pairs(asked).into_iter().filter(|(name, _)| name == "scope").map(|(_, value)| value).collect()
}

fn give(asked: &Asked, tokens: &Tokens, seconds: u64) -> Reply {
    let known = match asked.header("authorization") {
        Some(USER_SECRET) => true,
        Some(_) => return Reply::new(401),
        None => pairs(asked).iter().any(|(name, value)| name == "refresh_token" && value == IDENTITY),
    };
    let scopes = scopes(asked);
    let granted: Vec<_> = scopes.into_iter().filter(|scope| known || scope.ends_with(":pull")).collect();
    let token = format!("token-{}", fastrand::u64(..));
    let answer = serde_json::json!({"token": token, "expires_in": seconds});
    lock(tokens).insert(token, granted);
    Reply::new(200).header("Content-Type", "application/json").body(answer.to_string())
}

/// A registry behind a token server: passes on what carries a token for it.
pub struct Gate {
    server: Scripted,
}

impl Gate {
    /// Starts one in front of a server. `watch` is told of every request before it is judged.
    pub fn start(behind: &Server, tokens: &TokenServer, watch: impl Fn(&Asked) + Send + Sync + 'static) -> Self {
        let (address, known, realm) = (behind.address(), tokens.tokens.clone(), tokens.realm());
        let server = Scripted::start(move |asked| {
            watch(asked);
            let token = asked.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
            let granted = token.and_then(|token| lock(&known).get(token).cloned());
            if !granted.is_some_and(|granted| is_enough(asked, &granted)) {
                return Reply::new(401).header("WWW-Authenticate", format!("Bearer realm=\"{realm}\",service=\"gate\""));
            }
            forward(address, asked)
        });
        Self { server }
    }

    /// Where it listens.
    pub fn address(&self) -> std::net::SocketAddr {
        self.server.address()
    }

    /// Every request it got.
    pub fn asked(&self) -> Vec<Asked> {
        self.server.asked()
    }
}

/// Whether scopes allow a request, as far as tests need it told.
fn is_enough(asked: &Asked, granted: &[String]) -> bool {
    let Some(rest) = asked.target.strip_prefix("/v2/").filter(|rest| !rest.is_empty()) else { return true };
    let end = ["/manifests/", "/blobs/", "/tags/"].iter().find_map(|part| rest.find(part)).unwrap_or(rest.len());
    let action = if matches!(asked.method.as_str(), "GET" | "HEAD") { "pull" } else { "push" };
    let prefix = format!("repository:{}:", &rest[..end]);
    granted.iter().filter_map(|scope| scope.strip_prefix(&prefix)).any(|actions| actions.split(',').any(|own| own == action))
}

/// Asks the real registry the same.
pub fn forward(address: std::net::SocketAddr, asked: &Asked) -> Reply {
    let mut request = Request::new(address, &asked.method, &asked.target).body(&asked.body);
    for (name, value) in &asked.headers {
        if !["authorization", "content-length", "connection"].contains(&name.to_ascii_lowercase().as_str()) {
            request = request.header(name, value);
        }
    }
    let answer = request.send();
    let mut reply = Reply::new(answer.status);
    for (name, value) in &answer.headers {
        let own = name.eq_ignore_ascii_case("content-length") && asked.method != "HEAD";
        if !own && !name.eq_ignore_ascii_case("connection") {
            reply = reply.header(name, value);
        }
    }
    reply.body(answer.body)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
