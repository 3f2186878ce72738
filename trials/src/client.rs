//! A client: one connection at a time, what it sent, and how long answers took.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wharf_tests::{Connection, Request, Response};

use crate::failure::{Context, Failure, Result};

/// One client of a registry. It keeps its connection open from one request to the next, as real ones do.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    connection: Option<Connection>,
    /// Requests that were answered.
    pub requests: u64,
    /// The same by the status of the answer.
    pub answers: Answers,
    /// The longest time that one of them took.
    pub longest: Duration,
}

impl Client {
    /// A client of the server at this address.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, connection: None, requests: 0, answers: Answers::default(), longest: Duration::ZERO }
    }

    /// From now on the server is there.
    pub fn moves_to(&mut self, address: SocketAddr) {
        (self.address, self.connection) = (address, None);
    }

    /// A request to that server.
    pub fn request<'a>(&self, method: &str, target: &str) -> Request<'a> {
        Request::new(self.address, method, target)
    }

    /// Sends it and reads the answer.
    ///
    /// # Errors
    /// When there is no connection, or no well-formed answer on it.
    pub fn send(&mut self, request: &Request<'_>) -> Result<Response> {
        let began = Instant::now();
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(self.address).context("connecting")?,
        };
        let answer = request.send_on(&mut connection).map_err(|error| Failure::new(format!("no answer: {error}")))?;
        if answer.get("Connection").is_none_or(|value| !value.eq_ignore_ascii_case("close")) {
            self.connection = Some(connection);
        }
        self.requests += 1;
        *self.answers.0.entry(answer.status).or_default() += 1;
        self.longest = self.longest.max(began.elapsed());
        Ok(answer)
    }
}

/// How many answers had which status.
#[derive(Clone, Debug, Default)]
pub struct Answers(pub BTreeMap<u16, u64>);

impl Answers {
    /// Adds what another has seen.
    pub fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|(status, count)| *self.0.entry(*status).or_default() += count);
    }
}

impl std::fmt::Display for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = self.0.iter().map(|(status, count)| format!("{status}: {count}")).collect::<Vec<_>>();
        f.write_str(&all.join(", "))
    }
}

/// Status and code of an answer; no code without an error's body.
pub fn outcome(answer: &Response) -> (u16, Option<String>) {
    let code = serde_json::from_slice::<serde_json::Value>(&answer.body).ok();
    let code = code.and_then(|body| Some(body["errors"][0]["code"].as_str()?.to_owned()));
    (answer.status, code.filter(|_| answer.status >= 400))
}

/// Whether an answer is one of these, by status and, for errors with a body, code.
///
/// # Errors
/// It is none of them; says which they are.
pub fn expect(answer: &Response, wanted: &[(u16, &str)]) -> Result<()> {
    let (status, code) = outcome(answer);
    let is_it = |(wanted, name): &(u16, &str)| *wanted == status && code.as_deref().is_none_or(|code| code == *name);
    if wanted.iter().any(is_it) {
        return Ok(());
    }
    let wanted = wanted.iter().map(|(status, code)| format!("{status} {code}").trim_end().to_owned()).collect::<Vec<_>>();
    Err(Failure::new(format!("expected {}, got {}", wanted.join(" or "), answer.describe())))
}

/// Whether a header of an answer has this value.
///
/// # Errors
/// It has another, or is not there.
pub fn expect_header(answer: &Response, name: &str, value: &str) -> Result<()> {
    match answer.all(name)[..] {
        [found] if found == value => Ok(()),
        _ => Err(Failure::new(format!("expected {name}: {value}, got {}", answer.describe()))),
    }
}
