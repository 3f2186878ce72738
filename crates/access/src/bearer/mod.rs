//! Bearer tokens of the registry's own: the tokens of the Docker token protocol, signed JWTs (RFC 7519) that say what their bearer may do for some minutes.

mod crypto;
mod grant;
mod keys;

use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

pub(crate) use crypto::install as install_crypto;
pub use grant::{Grant, Granted};
pub use keys::Keys;

use crate::caller::Identity;
use crate::files::FileError;

/// Who signs: only tokens of this issuer are looked at as own ones.
pub(crate) const ISSUER: &str = "wharf";
/// Whom they are for: every registry that knows the keys, by whatever name it is reached.
pub const SERVICE: &str = "wharf";

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bearer {
    iss: String,
    aud: String,
    /// The caller's name, for who reads it.
    sub: String,
    /// When it ends, in seconds since 1970.
    pub exp: u64,
    nbf: u64,
    iat: u64,
    jti: String,
    /// What its bearer may do.
    pub access: Arc<[Granted]>,
    /// Who its bearer is.
    pub who: Identity,
    /// The personal access token with which it was fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl Bearer {
    /// A token for `who` from `now` on, in seconds since 1970, for `life` seconds.
    pub fn new(who: Identity, token: Option<String>, access: Arc<[Granted]>, now: u64, life: u64, id: String) -> Self {
        let sub = if who.is_known() { who.to_string() } else { String::new() };
        let (iss, aud) = (ISSUER.to_owned(), SERVICE.to_owned());
        Self { iss, aud, sub, exp: now + life, nbf: now, iat: now, jti: id, access, who, token }
    }

    /// Its signed form.
    ///
    /// # Errors
    ///
    /// The keys cannot be read or made.
    pub fn sign(&self, keys: &Keys, now: u64) -> Result<String, FileError> {
        let key = keys.signing(now)?;
        let header = Header { kid: Some(key.id.clone()), ..Header::new(Algorithm::HS256) };
        crypto::install();
        let signed = jsonwebtoken::encode(&header, self, &EncodingKey::from_secret(key.secret()));
        signed.map_err(|error| keys.failed(std::io::Error::other(error)))
    }

    /// Reads a token that was signed with one of the keys and counts at `now`, in seconds since 1970.
    pub fn verify(text: &str, keys: &Keys, now: u64) -> Option<Self> {
        crypto::install();
        let header = jsonwebtoken::decode_header(text).ok()?;
        let key = keys.verifying(header.kid.as_deref()?)?;
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[SERVICE]);
        // Times are compared below, with the clock that the caller has.
        validation.validate_exp = false;
        let decoded = jsonwebtoken::decode::<Self>(text, &DecodingKey::from_secret(key.secret()), &validation).ok()?;
        // A replica's clock may be a little behind.
        let counts = decoded.claims.nbf <= now + 60 && now < decoded.claims.exp;
        counts.then_some(decoded.claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::Right;

    fn bearer(now: u64) -> Bearer {
        let access = [Granted::repository("yocto/app", vec![Right::Pull])].into();
        Bearer::new(Identity::User("alice".into()), None, access, now, 300, "1".to_owned())
    }

    #[test]
    fn a_token_is_believed_for_its_time_and_from_these_keys() {
        let now = 1_800_000_000;
        let keys = Keys::in_memory().unwrap();
        let text = bearer(now).sign(&keys, now).unwrap();
        assert_eq!(Bearer::verify(&text, &keys, now), Some(bearer(now)));
        assert_eq!(Bearer::verify(&text, &keys, now + 299), Some(bearer(now)));
        assert_eq!(Bearer::verify(&text, &keys, now + 300), None);
        assert_eq!(Bearer::verify(&text, &keys, now - 61), None);
        assert_eq!(Bearer::verify(&text, &Keys::in_memory().unwrap(), now), None);
        for (place, _) in text.char_indices().filter(|(place, _)| place % 7 == 0) {
            let mut changed = text.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            assert_eq!(Bearer::verify(std::str::from_utf8(&changed).unwrap(), &keys, now), None, "{place}");
        }
    }

    #[test]
    fn another_algorithm_is_not_believed() {
        use base64::Engine;
        let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        let now = 1_800_000_000;
        let keys = Keys::in_memory().unwrap();
        let text = bearer(now).sign(&keys, now).unwrap();
        let body = text.split('.').nth(1).unwrap();
        let id = keys.signing(now).unwrap().id;
        for algorithm in ["none", "HS384", "RS256"] {
            let header = encode(&format!(r#"{{"alg":"{algorithm}","kid":"{id}"}}"#));
            assert_eq!(Bearer::verify(&format!("{header}.{body}."), &keys, now), None);
        }
        for text in ["", ".", "..", "a.b.c", "\u{0}.\u{0}.\u{0}"] {
            assert_eq!(Bearer::verify(text, &keys, now), None);
        }
    }
}
