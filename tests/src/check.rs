//! Assertions that many tests share.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::Program;
use crate::{Framing, Response};

/// The codes of the specification's table "Error Codes", and none else.
pub const CODES: [&str; 14] = [
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
];

impl Response {
    /// Asserts the status and returns the answer for more.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.describe());
        self
    }

    /// Asserts that the value of the field `name` is `value`.
    #[track_caller]
    pub fn expect_header(self, name: &str, value: &str) -> Self {
        assert_eq!(self.get(name), Some(value), "{name} in {}", self.describe());
        self
    }

    /// Asserts an error answer with this status, in the specification's form, whose every entry has this code.
    #[track_caller]
    pub fn expect_error(self, status: u16, code: &str) -> Self {
        self.expect_error_among(status, &[code])
    }

    /// As [`expect_error`](Self::expect_error), where either of several codes is right.
    #[track_caller]
    pub fn expect_error_among(self, status: u16, codes: &[&str]) -> Self {
        let answer = self.expect(status);
        for found in answer.error_codes() {
            assert!(codes.contains(&found.as_str()), "code {found}, not {codes:?}: {}", answer.describe());
        }
        answer
    }

    /// Asserts that the answer is an error in the specification's form and returns its codes, one per entry.
    #[track_caller]
    pub fn error_codes(&self) -> Vec<String> {
        assert!((400..600).contains(&self.status), "not an error: {}", self.describe());
        let kind = self.header("Content-Type");
        assert_eq!(kind.split(';').next().map(str::trim), Some("application/json"), "{}", self.describe());
        if Program::under_test() == Program::Wharf {
            assert_eq!(kind, "application/json");
            assert!(matches!(self.framing, Framing::Length(_)), "no length: {}", self.describe());
            assert!(!self.header("X-Request-Id").is_empty());
            assert_eq!(self.get("Docker-Distribution-Api-Version"), Some("registry/2.0"), "{}", self.describe());
        }
        let json = self.json();
        let keys: Vec<_> = json.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(keys, ["errors"], "{}", self.describe());
        let errors = json["errors"].as_array().unwrap_or_else(|| panic!("no list: {}", self.describe()));
        assert!(!errors.is_empty(), "no entry: {}", self.describe());
        errors.iter().map(|e| code_of(e).to_owned()).collect()
    }

    /// The digests that the error entries name in their detail.
    pub fn error_digests(&self) -> BTreeSet<String> {
        let json = self.json();
        let errors = json["errors"].as_array().expect("a list of errors");
        errors.iter().filter_map(|e| e["detail"]["digest"].as_str()).map(str::to_owned).collect()
    }
}

#[track_caller]
fn code_of(entry: &Value) -> &str {
    let fields = entry.as_object().expect("an object per error");
    for name in fields.keys() {
        assert!(["code", "message", "detail"].contains(&name.as_str()), "unknown member {name} in {entry}");
    }
    let code = entry["code"].as_str().unwrap_or_else(|| panic!("no code in {entry}"));
    assert!(!code.is_empty() && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "code {code:?}");
    if let Some(message) = fields.get("message") {
        assert!(message.is_string(), "message in {entry}");
    }
    code
}

/// Asks again until `condition` holds, for at most ten seconds.
///
/// # Panics
/// When it never does; `what` says what was waited for.
#[track_caller]
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    within(10, what, condition);
}

/// Waits until something holds, for so many seconds at most.
///
/// # Panics
/// When it does not by then; `what` says what was waited for.
#[track_caller]
pub fn within(seconds: u64, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !condition() {
        assert!(Instant::now() < deadline, "not within {seconds} seconds: {what}");
        sleep(Duration::from_millis(20));
    }
}
