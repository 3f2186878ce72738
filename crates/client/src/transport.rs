//! Requests to one registry: authorization, retries, and the difference between an answer and none.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::{Body, Client, RequestBuilder, Response, Url, redirect};

use crate::ClientError;
use crate::address::Address;
use crate::auth::{self, Auth, Scope};
use crate::body::{self, Outgoing};
use crate::credentials::Source as Credentials;
use crate::observer::Observer;
use crate::retry::{Attempts, Patience};
use crate::tls::{self, Tls, Unverified};

/// Redirects to follow for one blob.
const MAX_REDIRECTS: usize = 8;
/// Idle connections to keep.
const IDLE: usize = 16;

/// A registry, and who we are to it.
#[derive(Clone, Debug)]
pub struct Access {
    /// Where it is.
    pub address: Address,
    /// Who we are.
    pub credentials: Credentials,
    /// What its certificate must be.
    pub tls: Tls,
    /// How long to go on.
    pub patience: Patience,
}

/// One request.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) scope: &'a Scope,
    pub(crate) headers: HeaderMap,
    pub(crate) content: Bytes,
}

impl<'a> Ask<'a> {
    pub(crate) fn new(method: Method, url: Url, scope: &'a Scope) -> Self {
        Self { method, url, scope, headers: HeaderMap::new(), content: Bytes::new() }
    }

    #[must_use]
    pub(crate) fn with(mut self, name: http::HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    #[must_use]
    pub(crate) fn content(mut self, media_type: &str, content: Bytes) -> Self {
        self = self.with(http::header::CONTENT_TYPE, media_type);
        self.content = content;
        self
    }
}

pub(crate) struct Transport {
    client: Client,
    pub(crate) address: Address,
    base: Url,
    auth: Auth,
    pub(crate) patience: Patience,
    /// Only what the registry has itself is asked for.
    pub(crate) stored_only: bool,
    unverified: Unverified,
    pub(crate) observer: Arc<dyn Observer>,
}

impl Transport {
    pub(crate) fn new(access: Access, observer: Arc<dyn Observer>) -> Result<Self, ClientError> {
        let Access { address, credentials, tls, patience } = access;
        let unverified = Unverified::default();
        let tls = tls::config(tls, unverified.clone()).map_err(|error| ClientError::Setup(error.into()))?;
        let base = Url::parse(&address.base()).map_err(|error| ClientError::Setup(error.into()))?;
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .redirect(redirect::Policy::none())
            .connect_timeout(patience.connect)
            .pool_max_idle_per_host(IDLE)
            .referer(false)
            .tcp_nodelay(true);
        // A proxy of the environment is for the world outside.
        if address.is_loopback() {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| ClientError::Setup(error.into()))?;
        let auth = Auth::new(address.clone(), credentials, patience.clone());
        Ok(Self { client, address, base, auth, patience, stored_only: false, unverified, observer })
    }

    pub(crate) fn origin(&self) -> String {
        self.address.origin()
    }

    /// Why the registry's certificate would not have been believed, when it was taken all the same.
    pub(crate) fn unverified(&self) -> Option<String> {
        self.unverified.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The URL of a path below `/v2/`; `path` holds only what needs no escapes in one.
    pub(crate) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/v2/{path}"));
        url
    }

    /// Where an answer's `Location` leads, also when it is relative.
    pub(crate) fn location(&self, response: &Response) -> Result<Url, ClientError> {
        let strange =
            |what: &str| ClientError::Protocol { origin: self.origin(), what: format!("a {} {what}", response.status()) };
        let header = response.headers().get(LOCATION).ok_or_else(|| strange("without a Location"))?;
        let mut url = header
            .to_str()
            .ok()
            .and_then(|text| response.url().join(text).ok())
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| strange("with a Location that is no URL"))?;
        // A registry behind a proxy often does not know that the world reaches it over TLS.
        let same_host = url.host_str() == self.base.host_str();
        if self.address.https
            && url.scheme() == "http"
            && same_host
            && url.port().is_none_or(|port| Some(port) == self.base.port())
        {
            // Changing between these two schemes cannot fail.
            let _ = url.set_scheme("https");
        }
        Ok(url)
    }

    /// Sends a request, again after a passing failure; any answer that is none is the result.
    pub(crate) async fn send(&self, ask: Ask<'_>) -> Result<Response, ClientError> {
        let mut attempts = Attempts::new(&self.patience);
        loop {
            let error = match self.once(&ask).await {
                Ok(response) if !is_passing(response.status()) => return Ok(response),
                Ok(response) => self.refusal(&ask.method, response).await,
                Err(error) => error,
            };
            self.pause(&mut attempts, &what(&ask), error).await?;
        }
    }

    /// Makes attempts until one succeeds or fails for good. An attempt takes in the whole answer: a body may break as well.
    pub(crate) async fn again<T, F>(&self, what: &str, mut attempt: impl FnMut() -> F) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let mut attempts = Attempts::new(&self.patience);
        loop {
            match attempt().await {
                Err(error) => self.pause(&mut attempts, what, error).await?,
                done => return done,
            }
        }
    }

    /// Waits before the next attempt, or gives the error back when there is to be none.
    pub(crate) async fn pause(&self, attempts: &mut Attempts<'_>, what: &str, error: ClientError) -> Result<(), ClientError> {
        let pause = if error.is_passing() { attempts.next(error.pause()) } else { None };
        let Some(pause) = pause else { return Err(error) };
        self.observer.retries(what, &error, pause);
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Sends a request once, or twice when the registry first wants to know who asks.
    pub(crate) async fn once(&self, ask: &Ask<'_>) -> Result<Response, ClientError> {
        let mut again = true;
        loop {
            let sent = self.header(&ask.url, ask.scope).await?;
            let mut headers = ask.headers.clone();
            auth::authorize(&mut headers, sent.clone());
            if self.stored_only && ask.method.is_safe() {
                // RFC 9111, section 5.2.1.7.
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("only-if-cached"));
            }
            let request = self.client.request(ask.method.clone(), ask.url.clone()).headers(headers).header(USER_AGENT, AGENT);
            // An upload that begins with nothing still has a length.
            let request = match (&ask.method, ask.content.is_empty()) {
                (&Method::POST | &Method::PUT | &Method::PATCH, true) => request.header(http::header::CONTENT_LENGTH, 0),
                (_, true) => request,
                _ => request.body(ask.content.clone()),
            };
            let response = self.answer(request, &ask.method, self.origin()).await?;
            if response.status() != StatusCode::UNAUTHORIZED {
                return Ok(response);
            }
            if again && self.is_ours(&ask.url) && self.auth.learn(response.headers(), ask.scope, sent.as_ref()).await? {
                // The rest of a short answer is read so that its connection can be used again.
                let _ = self.read(response, 64 << 10).await;
                again = false;
                continue;
            }
            return Err(self.unauthorized(ask, response, sent.is_some()).await);
        }
    }

    async fn unauthorized(&self, ask: &Ask<'_>, response: Response, sent: bool) -> ClientError {
        let known = sent && self.auth.knows(ask.scope).await;
        match self.refusal(&ask.method, response).await {
            ClientError::Unauthorized { origin, details, .. } => ClientError::Unauthorized { origin, known, details },
            other => other,
        }
    }

    /// Sends a body that can be sent only once. A 401, which ends a token's life in the middle of things, is a broken connection to the caller:
    /// the next attempt has a new token.
    pub(crate) async fn stream(
        &self,
        method: Method,
        url: Url,
        scope: &Scope,
        headers: HeaderMap,
        content: Outgoing,
    ) -> Result<Response, ClientError> {
        let sent = self.header(&url, scope).await?;
        let mut headers = headers;
        auth::authorize(&mut headers, sent.clone());
        let state = content.state.clone();
        let total = content.left;
        let request =
            self.client.request(method.clone(), url.clone()).headers(headers).header(USER_AGENT, AGENT).body(Body::wrap(content));
        let answer = request.send();
        tokio::pin!(answer);
        let (mut seen, mut since) = (0, Instant::now());
        let answered = loop {
            match tokio::time::timeout(self.patience.stall.min(std::time::Duration::from_secs(1)), &mut answer).await {
                Ok(answered) => break answered,
                Err(_) => {
                    let now = state.sent.load(Ordering::Relaxed);
                    if now != seen {
                        (seen, since) = (now, Instant::now());
                    }
                    let limit = if now == total { self.patience.answer } else { self.patience.stall };
                    if since.elapsed() >= limit {
                        return Err(ClientError::Stalled { origin: self.origin(), after: limit });
                    }
                }
            }
        };
        let response = match answered {
            Ok(response) => response,
            Err(error) => {
                let own = state.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
                return Err(own.unwrap_or_else(|| body::connection(&self.origin(), error)));
            }
        };
        if response.status() == StatusCode::UNAUTHORIZED && self.is_ours(&url) {
            let renewed = self.auth.learn(response.headers(), scope, sent.as_ref()).await?;
            if renewed {
                return Err(ClientError::Broken { origin: self.origin(), source: "its token ended".into() });
            }
        }
        Ok(response)
    }

    /// An answer's body of at most `most` bytes.
    pub(crate) async fn read(&self, response: Response, most: usize) -> Result<Bytes, ClientError> {
        body::read(&self.origin_of(response.url()), response, most, &self.patience).await
    }

    /// The error that an unexpected answer is.
    pub(crate) async fn refusal(&self, method: &Method, response: Response) -> ClientError {
        let (origin, path) = (self.origin_of(response.url()), response.url().path().to_owned());
        body::status(&origin, method, &path, response, self.patience.stall).await
    }

    /// The registry as people write it, or whoever it sent us to.
    fn origin_of(&self, url: &Url) -> String {
        if self.is_ours(url) { self.origin() } else { url.origin().ascii_serialization() }
    }

    /// Asks for content (GET or HEAD), wherever redirects lead. The credentials stay here.
    pub(crate) async fn follow(&self, ask: Ask<'_>) -> Result<Response, ClientError> {
        let (method, headers, scope) = (ask.method.clone(), ask.headers.clone(), ask.scope);
        let mut response = self.once(&ask).await?;
        for _ in 0..MAX_REDIRECTS {
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let url = self.location(&response)?;
            if self.address.https && url.scheme() != "https" {
                return Err(ClientError::Protocol {
                    origin: self.origin(),
                    what: "it redirects from HTTPS to plain HTTP".to_owned(),
                });
            }
            let next = Ask { method: method.clone(), url, scope, headers: headers.clone(), content: Bytes::new() };
            response = if self.is_ours(&next.url) { self.once(&next).await? } else { self.elsewhere(&next).await? };
        }
        Err(ClientError::Protocol { origin: self.origin(), what: format!("more than {MAX_REDIRECTS} redirects") })
    }

    /// A request without any word on who asks.
    async fn elsewhere(&self, ask: &Ask<'_>) -> Result<Response, ClientError> {
        let request =
            self.client.request(ask.method.clone(), ask.url.clone()).headers(ask.headers.clone()).header(USER_AGENT, AGENT);
        self.answer(request, &ask.method, self.origin_of(&ask.url)).await
    }

    /// Sends a request of which everything is at hand, and waits for the head of the answer.
    async fn answer(&self, request: RequestBuilder, method: &Method, origin: String) -> Result<Response, ClientError> {
        // Only what writes makes a registry hash and sync before it answers.
        let limit = if method.is_safe() { self.patience.stall } else { self.patience.answer };
        match tokio::time::timeout(limit, request.send()).await {
            Err(_) => Err(ClientError::Stalled { origin, after: limit }),
            Ok(answer) => answer.map_err(|error| body::connection(&origin, error)),
        }
    }

    /// Credentials go to the registry itself and to nobody it points at.
    async fn header(&self, url: &Url, scope: &Scope) -> Result<Option<HeaderValue>, ClientError> {
        if self.is_ours(url) { self.auth.header(&self.client, scope).await } else { Ok(None) }
    }

    fn is_ours(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }
}

pub(crate) const AGENT: &str = concat!("wharf/", env!("CARGO_PKG_VERSION"));

pub(crate) fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

fn what(ask: &Ask<'_>) -> String {
    format!("{} {}", ask.method, ask.url.path())
}
