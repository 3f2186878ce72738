//! The `Authorization` header (RFC 7617 for Basic, RFC 6750 for Bearer).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What a request shows. Its `Debug` form hides secrets.
#[derive(Clone, PartialEq, Eq)]
pub enum Presented {
    /// Nothing.
    Nothing,
    /// A user with a password.
    Basic {
        /// The user.
        user: String,
        /// The password, or a personal access token.
        password: String,
    },
    /// A token.
    Bearer(String),
    /// Something that cannot be read.
    Malformed,
}

impl Presented {
    /// Reads the header's value.
    pub fn parse(header: Option<&[u8]>) -> Self {
        let Some(header) = header else { return Self::Nothing };
        let Some((scheme, rest)) = std::str::from_utf8(header).ok().and_then(|text| text.trim().split_once(' ')) else {
            return Self::Malformed;
        };
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") && !rest.is_empty() {
            return Self::Bearer(rest.to_owned());
        }
        let decoded = STANDARD.decode(rest).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"));
        let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        match decoded.as_deref().and_then(|pair| pair.split_once(':')) {
            // Clients that have nothing to say may send an empty pair.
            Some(("", "")) => Self::Nothing,
            Some((user, password)) => Self::Basic { user: user.to_owned(), password: password.to_owned() },
            None => Self::Malformed,
        }
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Basic { user, .. } => write!(f, "Basic({user})"),
            Self::Bearer(_) => f.write_str("Bearer"),
            Self::Malformed => f.write_str("Malformed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read() {
        let basic = |user: &str, password: &str| Presented::Basic { user: user.into(), password: password.into() };
        let read = |text: &str| Presented::parse(Some(text.as_bytes()));
        assert_eq!(Presented::parse(None), Presented::Nothing);
        assert_eq!(read("Basic YTpi"), basic("a", "b"));
        assert_eq!(read("basic  YTpiOmM="), basic("a", "b:c"));
        assert_eq!(read("BEARER x.y"), Presented::Bearer("x.y".into()));
        assert_eq!(read("Basic Og=="), Presented::Nothing);
        for wrong in ["", "Basic", "Basic !", "Basic YQ==", "Bearer ", "Digest a", "Basic //79"] {
            assert_eq!(read(wrong), Presented::Malformed, "{wrong}");
        }
        assert_eq!(Presented::parse(Some(b"Bearer \xff")), Presented::Malformed);
        assert!(!format!("{:?}", read("Basic YTpzZWNyZXQ=")).contains("secret"));
    }
}
