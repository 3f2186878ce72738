//! Preconditions: `If-Match`, `If-None-Match` and `If-Range` over entity tags (RFC 9110, section 13). An entity tag here is the quoted digest.

use http::{HeaderMap, HeaderName, header};
use wharf_oci::Digest;
use wharf_store::Condition;

use crate::error::ApiError;

/// A list of entity tags; `None` stands for `*`.
type Tags = Option<Vec<Digest>>;

/// Reads a header with a list of entity tags. Tags that are no digest are left out: nothing here has them. A header without any tag is malformed: to take it
/// for no header would turn a conditional push into one that always overwrites.
fn tags(headers: &HeaderMap, name: &HeaderName, label: &'static str) -> Result<Option<Tags>, ApiError> {
    let mut list: Option<Vec<Digest>> = None;
    for value in headers.get_all(name) {
        let value = value.to_str().map_err(|_| ApiError::Condition(label))?.trim();
        if value == "*" {
            return Ok(Some(None));
        }
        for tag in value.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
            // Proxies that compress weaken the entity tags of what passes through them. Here a tag is a digest, which names exact bytes however weak it is
            // called, so comparing strongly (RFC 9110, section 13.1.1) would only refuse clients behind such a proxy.
            let quoted = tag.strip_prefix("W/").unwrap_or(tag);
            let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or(ApiError::Condition(label))?;
            list.get_or_insert_default().extend(inner.parse::<Digest>());
        }
    }
    match list {
        None if headers.contains_key(name) => Err(ApiError::Condition(label)),
        list => Ok(list.map(Some)),
    }
}

/// The preconditions of a manifest push.
pub(crate) fn of_push(headers: &HeaderMap) -> Result<Vec<Condition>, ApiError> {
    let mut conditions = Vec::new();
    if let Some(tags) = tags(headers, &header::IF_MATCH, "If-Match")? {
        conditions.push(Condition::Match(tags));
    }
    if let Some(tags) = tags(headers, &header::IF_NONE_MATCH, "If-None-Match")? {
        conditions.push(Condition::NoneMatch(tags));
    }
    Ok(conditions)
}

/// What the preconditions of a read say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answer in full.
    Send,
    /// The client has it: 304.
    NotModified,
    /// The client wants something else: 412.
    Failed,
}

/// Compares the preconditions of a read with what would be sent. Malformed ones count as absent, as a cache in between would have it.
pub(crate) fn of_read(headers: &HeaderMap, digest: &Digest) -> Verdict {
    let among = |tags: Tags| tags.is_none_or(|list| list.contains(digest));
    if headers.contains_key(header::IF_MATCH)
        && let Ok(Some(tags)) = tags(headers, &header::IF_MATCH, "If-Match")
        && !among(tags)
    {
        return Verdict::Failed;
    }
    if headers.contains_key(header::IF_NONE_MATCH)
        && let Ok(Some(tags)) = tags(headers, &header::IF_NONE_MATCH, "If-None-Match")
        && among(tags)
    {
        return Verdict::NotModified;
    }
    Verdict::Send
}

/// Whether a `Range` counts: it is the only one, and there is no `If-Range`, or one that names this very content (RFC 9110, section 13.1.5).
pub(crate) fn range_counts(headers: &HeaderMap, digest: &Digest) -> bool {
    let is_only = |name| headers.get_all(name).iter().nth(1).is_none();
    if !is_only(header::RANGE) || !is_only(header::IF_RANGE) {
        return false;
    }
    match headers.get(header::IF_RANGE) {
        None => true,
        Some(value) => value.to_str().is_ok_and(|value| value.trim() == format!("\"{digest}\"")),
    }
}

#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let Ok(value) = http::HeaderValue::from_bytes(data) else { return };
    let mut headers = HeaderMap::new();
    headers.insert(header::IF_MATCH, value.clone());
    headers.insert(header::IF_NONE_MATCH, value);
    let digest = Digest::sha256(b"");
    let _ = (of_push(&headers), of_read(&headers, &digest), range_counts(&headers, &digest));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn reads_compare_entity_tags() {
        let (this, other) = (Digest::sha256(b"a"), Digest::sha256(b"b"));
        let verdict = |name, value: &str| of_read(&headers(name, value), &this);
        assert_eq!(verdict(header::IF_NONE_MATCH, &format!("\"{this}\"")), Verdict::NotModified);
        assert_eq!(verdict(header::IF_NONE_MATCH, &format!("\"{other}\", W/\"{this}\"")), Verdict::NotModified);
        assert_eq!(verdict(header::IF_NONE_MATCH, "*"), Verdict::NotModified);
        assert_eq!(verdict(header::IF_NONE_MATCH, &format!("\"{other}\"")), Verdict::Send);
        assert_eq!(verdict(header::IF_NONE_MATCH, "nonsense"), Verdict::Send);
        assert_eq!(verdict(header::IF_MATCH, &format!("\"{other}\"")), Verdict::Failed);
        assert_eq!(verdict(header::IF_MATCH, "*"), Verdict::Send);
        assert!(range_counts(&headers(header::IF_RANGE, &format!("\"{this}\"")), &this));
        assert!(!range_counts(&headers(header::IF_RANGE, &format!("\"{other}\"")), &this));
        assert!(!range_counts(&headers(header::IF_RANGE, "Wed, 21 Oct 2015 07:28:00 GMT"), &this));
        let mut twice = headers(header::RANGE, "bytes=0-1");
        assert!(range_counts(&twice, &this));
        twice.append(header::RANGE, "bytes=2-3".parse().unwrap());
        assert!(!range_counts(&twice, &this));
    }

    #[test]
    fn pushes_refuse_what_they_cannot_read() {
        for name in [header::IF_MATCH, header::IF_NONE_MATCH] {
            for malformed in ["abc", "", " ", ",", ", ,", "W/", "\"x\", y", "\"x\", *"] {
                assert!(of_push(&headers(name.clone(), malformed)).is_err(), "{name}: {malformed:?}");
            }
        }
        let mut lines = headers(header::IF_MATCH, "");
        lines.append(header::IF_MATCH, "\"x\"".parse().unwrap());
        assert!(of_push(&lines).is_ok(), "lines are one list");
        assert_eq!(of_push(&headers(header::IF_MATCH, "\"x\"")).unwrap(), [Condition::Match(Some(vec![]))]);
        assert_eq!(of_push(&headers(header::IF_NONE_MATCH, "*")).unwrap(), [Condition::NoneMatch(None)]);
        assert_eq!(of_push(&HeaderMap::new()).unwrap(), []);
    }
}
