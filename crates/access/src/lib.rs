//! Who asks, and what they may do: credentials, tokens, and the rules over repositories. No network and no async: what takes long says so.

mod attempts;
mod bearer;
mod bounded;
mod caller;
mod credentials;
mod files;
mod glob;
mod issuers;
mod quota;
mod rules;

use std::time::{SystemTime, UNIX_EPOCH};

pub use attempts::TooMany;
pub use bearer::{Bearer, Grant, Granted, Keys, SERVICE};
pub use bounded::network;
pub use caller::{Caller, Identity, Right};
pub use credentials::{
    Authenticator, Htpasswd, Login, Presented, Refusal, StoredToken, Tokens, User, UserError, hash_password, random_text,
};
pub use files::{FileError, write_private};
pub use glob::{Glob, GlobError};
pub use issuers::{Issuer, Issuers, Vouched};
pub use quota::Quota;
pub use rules::{Decision, Rule, RuleError, Rules};

/// The time as everything here takes it: seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[doc(hidden)]
pub mod fuzzing {
    //! Entrances for the fuzz targets: whatever reads what a client shows or asks for, and what an owner writes.
    use std::sync::LazyLock;

    use crate::{Bearer, Caller, Glob, Grant, Identity, Issuer, Issuers, Keys, Presented, Rules};

    static KEYS: LazyLock<Option<Keys>> = LazyLock::new(|| Keys::in_memory().ok());

    /// An `Authorization` header.
    pub fn header(data: &[u8]) {
        let presented = Presented::parse(Some(data));
        if let (Presented::Bearer(text), Some(keys)) = (&presented, &*KEYS) {
            assert!(Bearer::verify(text, keys, 1_800_000_000).is_none(), "nobody has these keys");
        }
        if let Presented::Bearer(text) | Presented::Basic { password: text, .. } = &presented {
            let (name, url, audience) = ("ci".to_owned(), "https://ci.example".to_owned(), "wharf".to_owned());
            let issuer = Issuer { name, url, audience, claims: Default::default(), ca: None };
            assert!(!matches!(Issuers::new(vec![issuer]).check(text, 1_800_000_000), crate::Vouched::For(_)));
        }
        assert!(!format!("{presented:?}").contains("secret"));
    }

    /// An issuer's keys, and a line further a token that claims to be of it.
    pub fn keys(data: &[u8]) {
        let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
        let (keys, token) = data.split_at(end);
        let (name, url, audience) = ("ci".to_owned(), "https://ci.example".to_owned(), "wharf".to_owned());
        let issuers = Issuers::new(vec![Issuer { name, url, audience, claims: Default::default(), ca: None }]);
        if issuers.learn(0, Some(keys)).is_ok()
            && let Ok(token) = std::str::from_utf8(token.get(1..).unwrap_or_default())
        {
            // Who brings the keys may well bring what they have signed; nobody else's word counts.
            let _ = issuers.refresh(token);
            assert!(issuers.is_theirs(token) || matches!(issuers.check(token, 1_800_000_000), crate::Vouched::Nobody));
            let _ = issuers.check(token, 1_800_000_000);
        }
    }

    /// A `scope`.
    pub fn scope(data: &[u8]) {
        let Ok(text) = std::str::from_utf8(data) else { return };
        let granted = Grant::parse([text]).within(&Rules::owner("a"), &Caller::new(Identity::User("b".into())));
        assert!(granted.iter().all(crate::Granted::is_catalog), "who may nothing is granted nothing");
    }

    /// A pattern of repositories, and a name.
    pub fn pattern(data: &[u8]) {
        let Ok(text) = std::str::from_utf8(data) else { return };
        let (pattern, name) = text.split_once(' ').unwrap_or((text, "yocto/app"));
        if let Ok(glob) = pattern.parse::<Glob>() {
            assert_eq!(glob.as_str(), pattern);
            let matched = glob.matches(name);
            assert!(pattern.contains('*') || matched == (pattern == name));
        }
    }

    /// A file of users.
    pub fn users(data: &[u8]) {
        let Ok(text) = std::str::from_utf8(data) else { return };
        if let Ok(users) = crate::Htpasswd::parse(text) {
            assert!(users.names().all(|name| !name.is_empty() && !name.contains(':')));
        }
    }
}
