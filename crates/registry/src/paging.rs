//! Pages of listings (distribution-spec, "Listing Tags").

use crate::error::ApiError;
use crate::query::{Query, encode};

/// Items in one page at most, and when the client does not say.
pub(crate) const PAGE_MAX: usize = 10_000;

/// `n` and `last`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageQuery {
    /// Items wanted, capped at what one page holds.
    pub n: usize,
    /// Begin after this one.
    pub last: Option<String>,
}

impl PageQuery {
    pub(crate) fn parse(query: &str) -> Result<Self, ApiError> {
        let query = Query::parse(query);
        let n = match query.get("n") {
            None => PAGE_MAX,
            Some(n) => n
                .parse::<usize>()
                .map_err(|_| ApiError::Unsupported("`n` must be a number of items, zero or more"))?
                .min(PAGE_MAX),
        };
        Ok(Self { n, last: query.get("last").filter(|last| !last.is_empty()).map(Into::into) })
    }

    /// The `Link` to the page after the one that ends with `last` (RFC 8288).
    pub(crate) fn next(&self, path: &str, last: &str) -> String {
        format!("<{path}?n={}&last={}>; rel=\"next\"", self.n, encode(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n_is_a_number_and_capped() {
        assert_eq!(PageQuery::parse("").unwrap(), PageQuery { n: PAGE_MAX, last: None });
        assert_eq!(PageQuery::parse("n=0&last=x").unwrap(), PageQuery { n: 0, last: Some("x".into()) });
        assert_eq!(PageQuery::parse("n=99999999").unwrap().n, PAGE_MAX);
        for bad in ["n=-1", "n=99999999999999999999999", "n=x", "n=", "n=1.5"] {
            assert!(PageQuery::parse(bad).is_err(), "{bad}");
        }
    }
}
