//! Query strings.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What stays as it is in a value that is written into a query.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':').remove(b'/');

/// A query, split on demand. What is no UTF-8 in a value becomes U+FFFD, which no name, tag or digest may hold.
#[derive(Clone, Copy)]
pub(crate) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    pub(crate) fn parse(text: &'a str) -> Self {
        Self(text)
    }

    /// The first value under this name.
    pub(crate) fn get(self, name: &str) -> Option<Cow<'a, str>> {
        self.all(name).next()
    }

    /// All values under this name, in order.
    pub(crate) fn all(self, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
        self.0.split('&').filter_map(move |pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if key != name {
                return None;
            }
            // In a digest or media type `+` stands for itself; in a form it would be a space, which no value here may hold.
            Some(percent_decode_str(value).decode_utf8_lossy())
        })
    }
}

/// Encodes a value for a query.
pub(crate) fn encode(value: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(value, VALUE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_decoded_and_in_order() {
        let query = Query::parse("tag=a&x=1&tag=b%2Fc&tag&artifactType=application/x+json");
        assert_eq!(query.all("tag").collect::<Vec<_>>(), ["a", "b/c", ""]);
        assert_eq!(query.get("artifactType").as_deref(), Some("application/x+json"));
        assert_eq!(query.get("none"), None);
        assert_eq!(encode("a b&c").to_string(), "a%20b%26c");
    }
}
