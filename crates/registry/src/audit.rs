//! The audit log: one JSON object a line for each change and each refusal. It says when, who, from where, what, and with what result; never a credential.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use http::{Response, StatusCode};
use serde::Serialize;
use wharf_access::{Identity, Quota};

use crate::body::Body;
use crate::connection::{Admitted, Peer};
use crate::endpoint::{Begin, Endpoint};
use crate::error::ApiError;

/// Refusals a second of one place that are told of, on average over ten seconds, of callers who did not say who they are. Anybody can cause them.
const REFUSALS: u32 = 10;
/// The same of all places together.
const ALL_REFUSALS: u32 = 100;

/// Where lines go, each without its line break. It is called by the threads that answer, so it must not wait for long.
#[derive(Clone)]
pub struct AuditLog(Arc<Lines>);

struct Lines {
    write: Box<dyn Fn(&str) + Send + Sync>,
    refusals: Quota,
    all_refusals: Quota,
    /// Refusals that were not told of since the last line.
    left_out: AtomicU64,
}

impl AuditLog {
    /// Hands every line to `write`.
    pub fn new(write: impl Fn(&str) + Send + Sync + 'static) -> Self {
        let (refusals, all_refusals) = (Quota::new(REFUSALS), Quota::new(ALL_REFUSALS));
        Self(Arc::new(Lines { write: Box::new(write), refusals, all_refusals, left_out: AtomicU64::new(0) }))
    }

    /// Whether another refusal of nobody in particular is told of.
    fn has_room(&self, place: &str) -> bool {
        let (lines, now) = (&self.0, Instant::now());
        let has_room = lines.refusals.take(place, now).is_ok() && lines.all_refusals.take("", now).is_ok();
        if !has_room {
            lines.left_out.fetch_add(1, Ordering::Relaxed);
        }
        has_room
    }
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditLog")
    }
}

/// What somebody does, before it is known how it ends.
pub(crate) struct Deed {
    who: Option<Arc<str>>,
    what: &'static str,
    repository: Option<String>,
    reference: Option<String>,
    tags: Vec<String>,
    effect: Effect,
    at_the_door: bool,
}

/// What success means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Nothing was changed.
    None,
    /// Something was, if it was made now: a mount that finds nothing begins an upload instead.
    Created,
    /// Something was.
    Any,
}

#[derive(Serialize)]
struct Line<'a> {
    when: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    who: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    what: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    tags: &'a [String],
    result: &'static str,
    status: u16,
    /// Refusals before this one that have no lines of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<u64>,
}

impl Deed {
    /// What is to be told of a request, if anybody listens.
    pub(crate) fn of(admitted: &Admitted, listened: bool) -> Option<Self> {
        if !listened {
            return None;
        }
        let endpoint = admitted.outcome.as_ref().map(|(endpoint, _)| endpoint).ok().or(admitted.endpoint.as_ref())?;
        let (what, effect) = named(endpoint)?;
        // A read that may be done is nothing to tell of. Logins are judged by their handler.
        if effect == Effect::None && admitted.outcome.is_ok() && !matches!(endpoint, Endpoint::Token(_)) {
            return None;
        }
        let (repository, reference, tags) = about(endpoint);
        Some(Self {
            who: admitted.actor.clone(),
            what,
            repository,
            reference,
            tags,
            effect,
            at_the_door: *endpoint == Endpoint::Base,
        })
    }

    /// Tells of it, if it has changed something or was refused.
    pub(crate) fn record(&self, log: &AuditLog, peer: &Peer, outcome: &Result<Response<Body>, ApiError>) {
        let (result, status) = match outcome {
            Ok(response)
                if self.effect == Effect::Any || (self.effect == Effect::Created && response.status() == StatusCode::CREATED) =>
            {
                ("done", response.status())
            }
            Ok(_) => return,
            // At the door every client is refused once, to learn how to say who it is.
            Err(ApiError::Unauthenticated(_)) if self.at_the_door => return,
            Err(error) if is_refusal(error) => ("refused", error.answer().0),
            Err(error) if self.effect != Effect::None => ("failed", error.answer().0),
            Err(_) => return,
        };
        let who = self.who.as_deref().filter(|who| !who.is_empty());
        let is_nobody = who.is_none_or(|who| who == Identity::ANONYMOUS);
        if is_nobody && result == "refused" && !log.has_room(&peer.place()) {
            return;
        }
        let left_out = log.0.left_out.swap(0, Ordering::Relaxed);
        let line = Line {
            when: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
            who,
            from: peer.address.map(|address| address.ip().to_canonical().to_string()),
            what: self.what,
            repository: self.repository.as_deref(),
            reference: self.reference.as_deref(),
            tags: &self.tags,
            result,
            status: status.as_u16(),
            left_out: (left_out > 0).then_some(left_out),
        };
        (log.0.write)(&serde_json::to_string(&line).unwrap_or_default());
    }
}

fn is_refusal(error: &ApiError) -> bool {
    matches!(
        error,
        ApiError::Unauthenticated(_)
            | ApiError::Insufficient(_)
            | ApiError::WrongCredentials
            | ApiError::Forbidden
            | ApiError::Throttled(_)
            | ApiError::NotAllowed(_)
    )
}

/// What an endpoint does, and with what effect: pieces of an upload are none before its end. `None` for what is open to
/// everybody.
fn named(endpoint: &Endpoint) -> Option<(&'static str, Effect)> {
    Some(match endpoint {
        Endpoint::Health | Endpoint::Ready => return None,
        Endpoint::Base | Endpoint::Token(_) => ("login", Effect::None),
        Endpoint::Metrics => ("metrics", Effect::None),
        Endpoint::Catalog(_) => ("catalog", Effect::None),
        Endpoint::Tags(..) => ("tags", Effect::None),
        Endpoint::Referrers { .. } => ("referrers", Effect::None),
        Endpoint::ReadManifest(..) => ("manifest.pull", Effect::None),
        Endpoint::ReadBlob(..) => ("blob.pull", Effect::None),
        Endpoint::UploadStatus(..) => ("upload.status", Effect::None),
        Endpoint::BeginUpload(_, Begin::Session(_)) => ("upload.begin", Effect::None),
        Endpoint::AppendUpload(..) => ("upload.append", Effect::None),
        Endpoint::CancelUpload(..) => ("upload.cancel", Effect::None),
        Endpoint::BeginUpload(_, Begin::Mount { .. }) => ("blob.mount", Effect::Created),
        Endpoint::BeginUpload(_, Begin::Whole(_)) | Endpoint::FinishUpload(..) => ("blob.push", Effect::Created),
        Endpoint::PutManifest { .. } => ("manifest.push", Effect::Any),
        Endpoint::DeleteManifest(..) => ("manifest.delete", Effect::Any),
        Endpoint::DeleteBlob(..) => ("blob.delete", Effect::Any),
    })
}

/// With what it does that: repository, tag or digest, further tags.
fn about(endpoint: &Endpoint) -> (Option<String>, Option<String>, Vec<String>) {
    let with = |name: &dyn fmt::Display, reference: Option<&dyn fmt::Display>| {
        (Some(name.to_string()), reference.map(|reference| reference.to_string()), Vec::new())
    };
    match endpoint {
        Endpoint::Base | Endpoint::Health | Endpoint::Ready | Endpoint::Token(_) | Endpoint::Metrics | Endpoint::Catalog(_) => {
            (None, None, Vec::new())
        }
        Endpoint::Tags(name, _)
        | Endpoint::UploadStatus(name, _)
        | Endpoint::AppendUpload(name, _)
        | Endpoint::CancelUpload(name, _)
        | Endpoint::BeginUpload(name, Begin::Session(_)) => with(name, None),
        Endpoint::Referrers { repository, subject, .. } => with(repository, Some(subject)),
        Endpoint::ReadManifest(name, reference) | Endpoint::DeleteManifest(name, reference) => with(name, Some(reference)),
        Endpoint::PutManifest { repository, reference, tags } => {
            (Some(repository.to_string()), Some(reference.to_string()), tags.iter().map(ToString::to_string).collect())
        }
        Endpoint::BeginUpload(name, Begin::Whole(digest) | Begin::Mount { digest, .. })
        | Endpoint::ReadBlob(name, digest)
        | Endpoint::DeleteBlob(name, digest)
        | Endpoint::FinishUpload(name, _, digest) => with(name, Some(digest)),
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[test]
    fn refusals_of_nobody_do_not_fill_the_disk_and_are_counted() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = lines.clone();
        let log = AuditLog::new(move |line| kept.lock().push(line.to_owned()));
        let deed = |who: Option<&str>| Deed {
            who: who.map(Arc::from),
            what: "login",
            repository: None,
            reference: None,
            tags: Vec::new(),
            effect: Effect::None,
            at_the_door: false,
        };
        let peer = Peer { address: None, encrypted: false, certificate: None };
        for _ in 0..1_000 {
            deed(None).record(&log, &peer, &Err(ApiError::WrongCredentials));
        }
        let told = lines.lock().len();
        assert!((100..200).contains(&told), "{told}");
        // Whoever is known is always told of.
        deed(Some("alice")).record(&log, &peer, &Err(ApiError::Forbidden));
        let last = lines.lock().last().cloned().unwrap_or_default();
        let last: serde_json::Value = serde_json::from_str(&last).expect("a line");
        assert_eq!((&last["who"], last["left_out"].as_u64()), (&"alice".into(), Some(1_000 - told as u64)));
    }
}
