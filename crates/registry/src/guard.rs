//! Finding out who asks, and saying how to say so.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header, request};
use tokio::sync::Semaphore;
use wharf_access::{
    Authenticator, Caller, Identity, Issuer, Issuers, Login, Presented, Refusal, Rules, SERVICE, TooMany, Vouched, now,
};

use crate::access::Wanted;
use crate::connection::Peer;
use crate::error::ApiError;
use crate::respond;

/// Passwords that are checked at a time: each takes a core for some 50 ms, and others want to be served meanwhile.
const CHECKED_AT_ONCE: usize = 2;
/// Passwords that wait to be checked at most; further ones are asked to come again.
const WAITING: usize = 64;
/// How often a caller looks whether keys of an issuer have come that somebody else asks for, and for how many times.
const KEYS_LOOKED_FOR: Duration = Duration::from_millis(50);
const KEYS_WAITED_FOR: u32 = 400;

/// Who may do what, and how they say who they are.
#[derive(Debug)]
pub struct Guard {
    /// Whose credentials are right.
    pub(crate) authenticator: Arc<Authenticator>,
    /// What they may do.
    pub(crate) rules: Rules,
    /// How they are asked.
    pub(crate) challenge: Challenge,
    /// Seconds that a bearer token counts.
    pub(crate) token_life: u64,
    issuers: Option<(Arc<Issuers>, Arc<dyn KeySource>)>,
    checking: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    anonymous_may: bool,
}

/// Why keys could not be had.
pub type Unavailable = Box<dyn std::error::Error + Send + Sync>;

/// Fetches the keys of issuers of ID tokens.
#[async_trait]
pub trait KeySource: Send + Sync + fmt::Debug {
    /// The JWK set of an issuer, as OpenID Connect Discovery finds it. The error says why there is none.
    async fn keys(&self, issuer: &Issuer) -> Result<Bytes, Unavailable>;
}

/// How callers are asked who they are. Whatever they are asked for, each form that they may know is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// For user and password with every request (RFC 7617).
    Basic {
        /// What is shown to people who are asked.
        realm: String,
    },
    /// For a token that they fetch from this registry (the Docker token protocol).
    Bearer,
}

impl Guard {
    /// Guards with these. `token_life` is how long a bearer token counts.
    pub fn new(authenticator: Arc<Authenticator>, rules: Rules, challenge: Challenge, token_life: Duration) -> Self {
        let anonymous_may = rules.allow_anything(&Caller::anonymous());
        Self {
            authenticator,
            rules,
            challenge,
            token_life: token_life.as_secs().max(1),
            issuers: None,
            checking: Arc::new(Semaphore::new(CHECKED_AT_ONCE)),
            waiting: Arc::new(Semaphore::new(WAITING)),
            anonymous_may,
        }
    }

    /// The same, believing these issuers, whose keys come from there.
    #[must_use]
    pub fn believing(mut self, issuers: Issuers, keys: Arc<dyn KeySource>) -> Self {
        self.issuers = Some((Arc::new(issuers), keys));
        self
    }

    /// Who an ID token is for, when one is shown.
    async fn vouched(&self, presented: &Presented) -> Option<Result<Caller, ApiError>> {
        let (issuers, source) = self.issuers.as_ref()?;
        let (Presented::Bearer(text) | Presented::Basic { password: text, .. }) = presented else { return None };
        if !issuers.is_theirs(text) {
            return None;
        }
        for _ in 0..KEYS_WAITED_FOR {
            match issuers.check(text, now()) {
                Vouched::For(caller) => {
                    if let Some(place) = issuers.refresh(text) {
                        drop(tokio::spawn(ask(issuers.clone(), source.clone(), place)));
                    }
                    return Some(Ok(caller));
                }
                Vouched::Nobody => break,
                // To its end though this caller may go away: others wait for it.
                Vouched::KeysWanted(place) => drop(tokio::spawn(ask(issuers.clone(), source.clone(), place)).await),
                Vouched::KeysComing => tokio::time::sleep(KEYS_LOOKED_FOR).await,
            }
        }
        Some(Err(ApiError::WrongCredentials))
    }

    /// Whether who shows nothing is let in at the door: with tokens everybody can have one, but a password nobody can make up.
    pub(crate) fn welcomes_anonymous(&self) -> bool {
        self.anonymous_may && self.challenge != Challenge::Bearer
    }

    /// Who sent a request with these headers.
    pub(crate) async fn identify(&self, headers: &HeaderMap, peer: &Peer) -> Result<Caller, ApiError> {
        let mut shown = headers.get_all(header::AUTHORIZATION).iter();
        let presented = match (shown.next(), shown.next()) {
            (header, None) => Presented::parse(header.map(HeaderValue::as_bytes)),
            _ => Presented::Malformed,
        };
        match (presented, &peer.certificate) {
            (Presented::Nothing, Some(name)) => Ok(Caller::new(Identity::Certificate(name.clone()))),
            (presented, _) => self.login(presented, peer).await,
        }
    }

    /// Who shows this.
    pub(crate) async fn login(&self, presented: Presented, peer: &Peer) -> Result<Caller, ApiError> {
        if let Some(outcome) = self.vouched(&presented).await {
            return outcome;
        }
        // A socket without an address is no TCP connection; all of them count as one.
        let from = peer.address.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
        let refused = |refusal| match refusal {
            Refusal::Wrong => ApiError::WrongCredentials,
            Refusal::TooMany(TooMany { wait }) => ApiError::Throttled(wait),
        };
        let (user, password) = match self.authenticator.login(presented, from, now()) {
            Login::Known(caller) => return Ok(caller),
            Login::Refused(refusal) => return Err(refused(refusal)),
            Login::Slow { user, password } => (user, password),
        };
        let busy = || ApiError::Throttled(Duration::from_secs(1));
        let _waits = self.waiting.clone().try_acquire_owned().map_err(|_| busy())?;
        let turn = self.checking.clone().acquire_owned().await.map_err(|_| busy())?;
        let authenticator = self.authenticator.clone();
        let verified = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            authenticator.verify(&user, &password, from)
        });
        verified.await.map_err(|_| busy())?.map_err(refused)
    }

    /// The `WWW-Authenticate` of an answer to a request with this head.
    pub(crate) fn challenge(&self, error: &ApiError, origin: &str) -> Option<HeaderValue> {
        let (wanted, why) = match error {
            ApiError::Unauthenticated(wanted) => (wanted.clone(), None),
            ApiError::Insufficient(wanted) => (wanted.clone(), Some("insufficient_scope")),
            ApiError::WrongCredentials => (Wanted::nothing(), Some("invalid_token")),
            _ => return None,
        };
        Some(respond::value(match &self.challenge {
            Challenge::Basic { realm } => format!("Basic realm=\"{}\"", quoted(realm)),
            Challenge::Bearer => {
                let scope = wanted.scope().map(|scope| format!(",scope=\"{scope}\"")).unwrap_or_default();
                let why = why.map(|why| format!(",error=\"{why}\"")).unwrap_or_default();
                format!("Bearer realm=\"{origin}/token\",service=\"{SERVICE}\"{scope}{why}")
            }
        }))
    }
}

/// Asks for an issuer's keys.
async fn ask(issuers: Arc<Issuers>, source: Arc<dyn KeySource>, place: usize) {
    let Some(issuer) = issuers.get(place) else { return };
    let found = source.keys(issuer).await;
    let learned = issuers.learn(place, found.as_deref().ok());
    if let Err(error) = found.and_then(|_| Ok(learned?)) {
        tracing::error!(issuer = issuer.name, error = &*error as &dyn std::error::Error, "the keys of an issuer cannot be had");
    }
}

/// `scheme://host` by which the client reached this registry.
pub(crate) fn origin(head: &request::Parts, peer: &Peer, external: &str) -> String {
    if !external.is_empty() {
        return external.to_owned();
    }
    let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| head.uri.authority().map(http::uri::Authority::as_str)).unwrap_or("localhost");
    // Whoever says so of a connection that is not encrypted misleads only themselves; a proxy that decrypts tells the truth.
    let is_forwarded =
        head.headers.get("x-forwarded-proto").is_some_and(|scheme| scheme.as_bytes().eq_ignore_ascii_case(b"https"));
    let scheme = if peer.encrypted || is_forwarded { "https" } else { "http" };
    // It ends up between quotes in a header.
    let known = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    format!("{scheme}://{}", if host.chars().all(known) { host } else { "localhost" })
}

/// Without what would end a quoted string.
fn quoted(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '"' | '\\') && !c.is_control()).collect()
}
