//! ID tokens of OpenID Connect: callers for whom somebody else vouches, such as the jobs of a CI system (OpenID Connect Core 1.0, section 3.1.3.7).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bearer::install_crypto;
use crate::caller::{Caller, Identity};
use crate::rules::stands_for;

/// Seconds by which the issuer's clock and ours may differ.
const LEEWAY: u64 = 60;
/// How long an issuer's keys are used when it does not answer.
const KEYS_KEPT: Duration = Duration::from_secs(86_400);
/// How long they are used before they are asked for again.
const KEYS_COUNT: Duration = Duration::from_secs(3_600);
/// How soon keys are asked for again because of a token signed by one that is not known: anybody can make such tokens up.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// What public keys sign with. Shared secrets are none of these: whoever can check such a signature can make it.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// An issuer as the configuration writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// What rules call it: `issuer:NAME`, `claim:NAME/CLAIM=VALUE`.
    pub name: String,
    /// Its address, which is the `iss` of its tokens and leads to its keys.
    pub url: String,
    /// The `aud` that tokens for this registry have.
    pub audience: String,
    /// Claims that a token must have, with `*` for any part of a value.
    #[serde(default)]
    pub claims: BTreeMap<String, String>,
    /// A file with the authority of its certificate, PEM, beside those of the system.
    #[serde(default)]
    pub ca: Option<std::path::PathBuf>,
}

/// All issuers that are believed.
#[derive(Debug, Default)]
pub struct Issuers(Vec<State>);

#[derive(Debug)]
struct State {
    issuer: Issuer,
    keys: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    keys: Option<(JwkSet, Instant)>,
    asked: Option<Instant>,
    /// Somebody asks for them right now.
    asking: bool,
}

impl Known {
    /// Whether it is the caller's to ask for them now.
    fn ask(&mut self) -> bool {
        let is_due = !self.asking && self.asked.is_none_or(|asked| asked.elapsed() >= ASK_AGAIN);
        if is_due {
            self.asked = Some(Instant::now());
            self.asking = true;
        }
        is_due
    }
}

/// What a token comes to.
#[derive(Debug)]
pub enum Vouched {
    /// Somebody is vouched for.
    For(Caller),
    /// Nobody is.
    Nobody,
    /// The keys of the issuer at this place have to be asked for first, by whoever gets this answer: [`Issuers::learn`].
    KeysWanted(usize),
    /// Somebody else asks for them right now.
    KeysComing,
}

impl Issuers {
    /// Believes these.
    pub fn new(issuers: Vec<Issuer>) -> Self {
        Self(issuers.into_iter().map(|issuer| State { issuer, keys: Mutex::default() }).collect())
    }

    /// The issuer at a place.
    pub fn get(&self, place: usize) -> Option<&Issuer> {
        self.0.get(place).map(|state| &state.issuer)
    }

    /// Whether a text claims to be a token of one of them.
    pub fn is_theirs(&self, text: &str) -> bool {
        self.place(text).is_some()
    }

    /// Whose the token is, by its own word.
    fn place(&self, text: &str) -> Option<usize> {
        #[derive(Deserialize)]
        struct Claims {
            iss: String,
        }
        if self.0.is_empty() {
            return None;
        }
        let body = text.split('.').nth(1)?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).ok()?).ok()?;
        self.0.iter().position(|state| state.issuer.url == claims.iss)
    }

    /// Who is vouched for by a token at `now`, in seconds since 1970.
    pub fn check(&self, text: &str, now: u64) -> Vouched {
        let Some(place) = self.place(text) else { return Vouched::Nobody };
        let state = &self.0[place];
        let Ok(header) = jsonwebtoken::decode_header(text) else { return Vouched::Nobody };
        if !ALGORITHMS.contains(&header.alg) {
            return Vouched::Nobody;
        }
        let mut known = state.keys.lock();
        let kept = known.keys.as_ref().filter(|(_, since)| since.elapsed() < KEYS_KEPT);
        let key = kept.and_then(|(keys, _)| match &header.kid {
            Some(id) => keys.find(id).cloned(),
            None if keys.keys.len() == 1 => keys.keys.first().cloned(),
            None => None,
        });
        let Some(key) = key else {
            return match (known.asking, known.ask()) {
                (true, _) => Vouched::KeysComing,
                (false, true) => Vouched::KeysWanted(place),
                (false, false) => Vouched::Nobody,
            };
        };
        drop(known);
        let caller = DecodingKey::from_jwk(&key).ok().and_then(|key| state.issuer.caller(text, header.alg, &key, now));
        caller.map_or(Vouched::Nobody, Vouched::For)
    }

    /// The issuer of a token that counts, when its keys are old and it is the caller's to ask for new ones.
    pub fn refresh(&self, text: &str) -> Option<usize> {
        let place = self.place(text)?;
        let mut known = self.0[place].keys.lock();
        let is_old = known.keys.as_ref().is_some_and(|(_, since)| since.elapsed() >= KEYS_COUNT);
        (is_old && known.ask()).then_some(place)
    }

    /// Takes in an issuer's keys, a JWK set (RFC 7517), or that there are none to be had now.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn learn(&self, place: usize, keys: Option<&[u8]>) -> Result<(), serde_json::Error> {
        let Some(state) = self.0.get(place) else { return Ok(()) };
        let keys = keys.map(serde_json::from_slice::<JwkSet>).transpose();
        let mut known = state.keys.lock();
        known.asking = false;
        if let Some(keys) = keys? {
            known.keys = Some((keys, Instant::now()));
        }
        Ok(())
    }
}

impl Issuer {
    fn caller(&self, text: &str, algorithm: Algorithm, key: &DecodingKey, now: u64) -> Option<Caller> {
        install_crypto();
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&[&self.url]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Times are compared below, with the clock that the caller has.
        validation.validate_exp = false;
        let claims = jsonwebtoken::decode::<BTreeMap<String, Value>>(text, key, &validation).ok()?.claims;
        let number = |name: &str| claims.get(name).and_then(Value::as_u64);
        if number("exp")?.saturating_add(LEEWAY) <= now || number("nbf").is_some_and(|begin| begin > now + LEEWAY) {
            return None;
        }
        let texts: BTreeMap<String, String> =
            claims.iter().filter_map(|(name, value)| Some((name.clone(), as_text(value)?))).collect();
        let has = |(name, pattern): (&String, &String)| texts.get(name).is_some_and(|value| stands_for(pattern, value));
        if !self.claims.iter().all(has) {
            return None;
        }
        let subject = texts.get("sub")?.as_str().into();
        Some(Caller::new(Identity::Issued { issuer: self.name.as_str().into(), subject, claims: texts.into() }))
    }
}

/// Claims that rules can speak of.
fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    /// An issuer's key.
    struct Signer(EcdsaKeyPair);

    impl Signer {
        fn new() -> Self {
            let random = SystemRandom::new();
            let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
            Self(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random).unwrap())
        }

        fn keys(&self, id: &str) -> Vec<u8> {
            let point = self.0.public_key().as_ref();
            let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
            let key = json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": id, "x": part(1..33), "y": part(33..65)});
            json!({"keys": [key]}).to_string().into()
        }

        fn sign(&self, header: &Value, claims: &Value) -> String {
            let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let message = format!("{}.{}", part(header), part(claims));
            let signature = self.0.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
            format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
        }
    }

    fn issuers() -> Issuers {
        Issuers::new(vec![Issuer {
            name: "ci".to_owned(),
            url: "https://ci.example".to_owned(),
            audience: "wharf".to_owned(),
            claims: BTreeMap::from([("repository".to_owned(), "acme/*".to_owned())]),
            ca: None,
        }])
    }

    fn claims() -> Value {
        json!({"iss": "https://ci.example", "aud": ["other", "wharf"], "sub": "job 7", "exp": NOW + 60, "repository": "acme/app", "run": 7})
    }

    fn name(vouched: &Vouched) -> Option<&str> {
        match vouched {
            Vouched::For(caller) => Some(caller.name()),
            _ => None,
        }
    }

    #[test]
    fn a_token_counts_when_signature_audience_time_and_claims_are_right() {
        let (issuers, signer) = (issuers(), Signer::new());
        let header = json!({"alg": "ES256", "kid": "1"});
        let text = signer.sign(&header, &claims());
        assert!(matches!(issuers.check(&text, NOW), Vouched::KeysWanted(0)));
        issuers.learn(0, Some(&signer.keys("1"))).unwrap();
        assert_eq!(name(&issuers.check(&text, NOW)), Some("ci:job 7"));
        assert_eq!(name(&issuers.check(&text, NOW + 60 + LEEWAY)), None);
        let wrong = [
            ("aud", json!("other")),
            ("exp", json!(NOW - LEEWAY)),
            ("exp", json!("soon")),
            ("nbf", json!(NOW + LEEWAY + 1)),
            ("sub", json!(null)),
            ("repository", json!("evil/acme")),
            ("iss", json!("https://other.example")),
        ];
        for (claim, value) in wrong {
            let mut claims = claims();
            claims[claim] = value.clone();
            let text = signer.sign(&header, &claims);
            assert_eq!(name(&issuers.check(&text, NOW)), None, "{claim} {value}");
        }
        let other = Signer::new().sign(&header, &claims());
        assert_eq!(name(&issuers.check(&other, NOW)), None);
    }

    #[test]
    fn keys_are_asked_for_once_in_a_while_whatever_tokens_say() {
        let (issuers, signer) = (issuers(), Signer::new());
        issuers.learn(0, Some(&signer.keys("1"))).unwrap();
        let unknown = signer.sign(&json!({"alg": "ES256", "kid": "2"}), &claims());
        assert!(matches!(issuers.check(&unknown, NOW), Vouched::KeysWanted(0)));
        assert!(matches!(issuers.check(&unknown, NOW), Vouched::KeysComing));
        // Those that are known go on counting meanwhile, and when none come.
        let known = signer.sign(&json!({"alg": "ES256", "kid": "1"}), &claims());
        assert_eq!(name(&issuers.check(&known, NOW)), Some("ci:job 7"));
        issuers.learn(0, None).unwrap();
        assert!(matches!(issuers.check(&unknown, NOW), Vouched::Nobody));
        assert_eq!((name(&issuers.check(&known, NOW)), issuers.refresh(&known)), (Some("ci:job 7"), None));
        // A signature by a public key as if it were a shared secret is the classic mistake.
        for algorithm in ["none", "HS256"] {
            let text = signer.sign(&json!({"alg": algorithm, "kid": "1"}), &claims());
            assert!(matches!(issuers.check(&text, NOW), Vouched::Nobody), "{algorithm}");
        }
        for text in ["", "a.b.c", "..", "e30.e30.e30"] {
            assert!(!issuers.is_theirs(text) && matches!(issuers.check(text, NOW), Vouched::Nobody));
        }
    }
}
