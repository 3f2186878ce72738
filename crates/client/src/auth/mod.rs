//! Who asks, as far as the registry wants to know: the answer to its challenge, and the tokens that were fetched for it.

pub(crate) mod challenge;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::{Client, Url};
use serde::Deserialize;
use tokio::sync::Mutex;
use wharf_oci::RepositoryName;

use crate::ClientError;
use crate::address::Address;
use crate::body;
use crate::credentials::{Credential, Source as Credentials};
use crate::error::Detail;
use crate::retry::Patience;
use challenge::Challenge;

/// A token's life when its server does not say (Docker token specification).
const LIFE: Duration = Duration::from_secs(60);
/// A token is used up to so much of its life; the rest is for clocks and long requests.
const USED: f64 = 0.8;
/// Bytes of a token server's answer at most.
const MAX_ANSWER: usize = 1 << 20;

/// What a request needs to be allowed to do: `repository:NAME:ACTIONS`, or the catalog.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scope(Vec<String>);

impl Scope {
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn pull(repository: &RepositoryName) -> Self {
        Self(vec![format!("repository:{repository}:pull")])
    }

    pub(crate) fn push(repository: &RepositoryName) -> Self {
        Self(vec![format!("repository:{repository}:pull,push")])
    }

    pub(crate) fn delete(repository: &RepositoryName) -> Self {
        Self(vec![format!("repository:{repository}:delete,pull")])
    }

    pub(crate) fn catalog() -> Self {
        Self(vec!["registry:catalog:*".to_owned()])
    }

    /// The repository that is written to, or read.
    fn repository(&self) -> Option<RepositoryName> {
        self.0.first()?.strip_prefix("repository:")?.rsplit_once(':')?.0.parse().ok()
    }

    /// The same, and mounts out of whatever may be read, at a registry that knows this scope.
    pub(crate) fn and_mounts(mut self) -> Self {
        self.0.push("registry:mount:*".to_owned());
        self
    }

    /// The same, and reading from another repository, for a mount.
    pub(crate) fn and_pull(mut self, repository: &RepositoryName) -> Self {
        self.0.push(format!("repository:{repository}:pull"));
        self
    }
}

/// The state of one conversation.
#[derive(Debug)]
pub(crate) struct Auth {
    address: Address,
    credentials: Credentials,
    patience: Patience,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    challenge: Option<Challenge>,
    /// Each is looked up once: a helper program may be asked for it.
    credentials: BTreeMap<Option<RepositoryName>, Option<Credential>>,
    tokens: BTreeMap<Scope, Token>,
}

#[derive(Debug)]
struct Token {
    header: HeaderValue,
    until: Instant,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Auth {
    pub(crate) fn new(address: Address, credentials: Credentials, patience: Patience) -> Self {
        Self { address, credentials, patience, state: Mutex::default() }
    }

    /// The header for a request, when the registry has said that it wants one.
    pub(crate) async fn header(&self, client: &Client, scope: &Scope) -> Result<Option<HeaderValue>, ClientError> {
        // One at a time: the second that needs the same token finds it.
        let mut state = self.state.lock().await;
        let Some(challenge) = state.challenge.clone() else { return Ok(None) };
        let credential = self.credential(&mut state, scope).await?;
        match (challenge, credential) {
            (_, Some(Credential::Bearer(token))) => header(&format!("Bearer {}", token.expose())).map(Some),
            (Challenge::Basic, Some(Credential::Basic { user, password })) => {
                header(&format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.expose())))).map(Some)
            }
            (Challenge::Basic, _) => Ok(None),
            (Challenge::Bearer { realm, service }, credential) => {
                if let Some(token) = state.tokens.get(scope).filter(|token| token.until > Instant::now()) {
                    return Ok(Some(token.header.clone()));
                }
                let token = self.fetch(client, &realm, service.as_deref(), scope, credential).await?;
                let header = token.header.clone();
                state.tokens.insert(scope.clone(), token);
                Ok(Some(header))
            }
        }
    }

    /// Takes in a 401; whether asking again may help. `sent` is the header that did not suffice.
    pub(crate) async fn learn(
        &self,
        headers: &HeaderMap,
        scope: &Scope,
        sent: Option<&HeaderValue>,
    ) -> Result<bool, ClientError> {
        let offered: Vec<_> =
            headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()).flat_map(challenge::parse).collect();
        let mut state = self.state.lock().await;
        let credential = self.credential(&mut state, scope).await?;
        // A token server may let anybody in; a password helps only who has one. A token that was given is sent whatever the registry asks
        // for: that it is not accepted is then the registry's own word.
        let usable = |challenge: &&Challenge| match challenge {
            Challenge::Bearer { .. } => true,
            Challenge::Basic => matches!(credential, Some(Credential::Basic { .. } | Credential::Bearer(_))),
        };
        let Some(challenge) = offered.iter().find(usable) else { return Ok(false) };
        let is_new = state.challenge.as_ref() != Some(challenge);
        // Another request may have fetched a better one meanwhile; the same one again would only be refused again.
        let is_stale = state.tokens.get(scope).is_some_and(|token| Some(&token.header) == sent);
        if is_stale {
            state.tokens.remove(scope);
        }
        let fixed = matches!(credential, Some(Credential::Bearer(_)));
        state.challenge = Some(challenge.clone());
        Ok(if fixed || *challenge == Challenge::Basic { sent.is_none() && (is_new || credential.is_some()) } else { true })
    }

    /// Whether there is anything to say about who asks.
    pub(crate) async fn knows(&self, scope: &Scope) -> bool {
        matches!(self.credential(&mut *self.state.lock().await, scope).await, Ok(Some(_)))
    }

    async fn credential(&self, state: &mut State, scope: &Scope) -> Result<Option<Credential>, ClientError> {
        let repository = scope.repository();
        if let Some(known) = state.credentials.get(&repository) {
            return Ok(known.clone());
        }
        let (credentials, host, wanted) = (self.credentials.clone(), self.address.authority.clone(), repository.clone());
        let looked = tokio::task::spawn_blocking(move || credentials.lookup(&host, wanted.as_ref())).await;
        let found = looked.map_err(|error| ClientError::Setup(error.into()))??;
        state.credentials.insert(repository, found.clone());
        Ok(found)
    }

    async fn fetch(
        &self,
        client: &Client,
        realm: &str,
        service: Option<&str>,
        scope: &Scope,
        credential: Option<Credential>,
    ) -> Result<Token, ClientError> {
        let origin = self.address.origin();
        let refused = |why| ClientError::Realm { origin: origin.clone(), realm: realm.to_owned(), why };
        let mut url = Url::parse(realm).map_err(|_| refused("it is no URL"))?;
        match url.scheme() {
            "https" => {}
            "http" if !self.address.https => {}
            "http" => return Err(refused("it is plain HTTP, the registry is not")),
            _ => return Err(refused("it is neither HTTPS nor HTTP")),
        }
        let pairs = service.map(|service| ("service", service)).into_iter();
        let pairs: Vec<_> = pairs.chain(scope.0.iter().map(|scope| ("scope", scope.as_str()))).collect();
        let (server, path) = (url.origin().ascii_serialization(), url.path().to_owned());
        let is_identity = matches!(credential, Some(Credential::Identity(_)));
        let method = if is_identity { http::Method::POST } else { http::Method::GET };
        let request = if let Some(Credential::Identity(token)) = &credential {
            let form = [("grant_type", "refresh_token"), ("client_id", "wharf"), ("refresh_token", token.expose())];
            let mut form_url = url.clone();
            form_url.query_pairs_mut().clear().extend_pairs(form.into_iter().chain(pairs));
            let form = form_url.query().unwrap_or_default().to_owned();
            client.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form)
        } else {
            url.query_pairs_mut().extend_pairs(pairs);
            match &credential {
                Some(Credential::Basic { user, password }) => {
                    url.query_pairs_mut().append_pair("account", user);
                    client.get(url).basic_auth(user, Some(password.expose()))
                }
                _ => client.get(url),
            }
        };
        let answer = tokio::time::timeout(self.patience.stall, request.send()).await;
        let stalled = |_| ClientError::Stalled { origin: server.clone(), after: self.patience.stall };
        let response = answer.map_err(stalled)?.map_err(|error| body::connection(&server, error))?;
        let status = response.status();
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST) {
            let details = vec![Detail { code: String::new(), message: format!("its token server answered {status}") }];
            return Err(ClientError::Unauthorized { origin, known: credential.is_some(), details });
        }
        if status != StatusCode::OK {
            return Err(body::status(&server, &method, &path, response, self.patience.stall).await);
        }
        let bytes = body::read(&server, response, MAX_ANSWER, &self.patience).await?;
        let strange = || ClientError::Protocol { origin: origin.clone(), what: "its token server sent no token".to_owned() };
        let answer: TokenAnswer = serde_json::from_slice(&bytes).map_err(|_| strange())?;
        let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty()).ok_or_else(strange)?;
        let life = answer.expires_in.filter(|life| *life > 0).map_or(LIFE, Duration::from_secs);
        let until = Instant::now() + life.min(Duration::from_secs(86_400)).mul_f64(USED);
        Ok(Token { header: header(&format!("Bearer {token}"))?, until })
    }
}

fn header(text: &str) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::from_str(text).map_err(|error| ClientError::Setup(error.into()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Puts the header into a request's.
pub(crate) fn authorize(headers: &mut HeaderMap, value: Option<HeaderValue>) {
    if let Some(value) = value {
        headers.insert(AUTHORIZATION, value);
    }
}
