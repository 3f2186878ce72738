//! What a client sent, as the registry's access log has it.

use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::{Config, Server};

/// A registry that logs every request.
#[track_caller]
pub fn registry() -> Server {
    Server::with_config(Config::default().set("log.accesslog.disabled", false).set("log.formatter", "json"))
}

/// One request and its answer.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query, empty when there was none.
    pub query: String,
    /// The answer's status.
    pub status: u64,
    /// Bytes of the request's body.
    pub received: u64,
    /// Bytes of the answer's body.
    pub sent: u64,
}

impl Exchange {
    fn read(line: &str) -> Option<Self> {
        let entry: Value = serde_json::from_str(line).ok()?;
        if entry["target"] != "wharf::access" {
            return None;
        }
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let number = |key: &str| entry[key].as_u64().unwrap_or_else(|| panic!("no {key} in {entry}"));
        Some(Self {
            method: text("method"),
            path: text("path"),
            query: text("query"),
            status: number("status"),
            received: number("received"),
            sent: number("sent"),
        })
    }

    fn is_upload(&self) -> bool {
        self.path.contains("/blobs/uploads/")
    }
}

/// The requests of one step of a test.
#[derive(Clone, Debug)]
pub struct Traffic(
    /// In the order in which they were finished.
    pub Vec<Exchange>,
);

impl Traffic {
    /// What happens on this server while `step` runs, and what `step` returns.
    #[track_caller]
    pub fn during<T>(server: &Server, step: impl FnOnce() -> T) -> (Self, T) {
        let before = length(server);
        let result = step();
        settle();
        let all = server.log().lines().filter_map(Exchange::read).skip(before).collect();
        (Self(all), result)
    }

    /// How many requests have this method and a path and query that contain `part`.
    pub fn count(&self, method: &str, part: &str) -> usize {
        self.of(method, part).count()
    }

    /// The requests with this method and a path and query that contain `part`.
    pub fn of<'a>(&'a self, method: &'a str, part: &'a str) -> impl Iterator<Item = &'a Exchange> {
        self.0.iter().filter(move |e| e.method == method && format!("{}?{}", e.path, e.query).contains(part))
    }

    /// Bytes of blobs that were uploaded.
    pub fn uploaded(&self) -> u64 {
        self.0.iter().filter(|e| e.is_upload()).map(|e| e.received).sum()
    }

    /// Blobs that were mounted from another repository.
    pub fn mounted(&self) -> usize {
        self.of("POST", "mount=").filter(|e| e.status == 201).count()
    }

    /// Asserts that a client that had all to send the registry already has sent manifests only, and opened no upload.
    #[track_caller]
    pub fn assert_no_blob_sent(&self) {
        let uploads: Vec<_> = self.0.iter().filter(|e| e.is_upload()).collect();
        assert!(uploads.is_empty(), "uploads of what is there: {uploads:#?}");
        assert!(self.count("PUT", "/manifests/") > 0, "nothing was pushed: {self:#?}");
    }

    /// Asserts that nothing of what the client asked was answered with a server's fault or a refusal; that something
    /// is not there is no refusal.
    #[track_caller]
    pub fn assert_no_complaint(&self) {
        let bad: Vec<_> = self.0.iter().filter(|e| e.status >= 400 && e.status != 404).collect();
        assert!(bad.is_empty(), "{bad:#?}");
        assert!(!self.0.is_empty(), "nothing was asked");
    }
}

fn length(server: &Server) -> usize {
    settle();
    server.log().lines().filter_map(Exchange::read).count()
}

/// An answer is logged after its last byte has gone, which a client may be faster than.
fn settle() {
    sleep(Duration::from_millis(60));
}
