//! What answers at an address, for who wants to know what is wrong there: everything is taken as it comes, and nothing is tried again.

mod certificate;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::USER_AGENT;
use http::{HeaderMap, StatusCode};
use reqwest::{Client, redirect};
use rustls::crypto::ring;

use certificate::Recorder;
pub use certificate::{Distrust, Presented};

use crate::transport::AGENT;
use crate::{Address, ClientError, body, tls};

/// Bytes of a body that are looked at.
const LOOK: usize = 4096;

/// The way to a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// As the proxies of the environment have it, except for loopback: the way of every other request.
    Usual,
    /// Without a proxy.
    Direct,
}

/// What came back from `GET /v2/`, whoever sent it.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
    /// The beginning of its body.
    pub text: String,
    /// What the other side showed of itself, over TLS.
    pub presented: Option<Presented>,
}

/// Asks `GET /v2/` once, without credentials, over the scheme of `address`, and follows no redirect. Any certificate is taken, for it is part
/// of the answer: nothing that is heard here may be relied on.
///
/// # Errors
/// Those of a request that got no answer: [`ClientError::Unreachable`], [`ClientError::Tls`] where TLS is not spoken,
/// [`ClientError::Broken`], [`ClientError::Stalled`] after `patience`.
pub async fn probe(address: &Address, route: Route, patience: Duration) -> Result<Answer, ClientError> {
    let setup = |error: Box<dyn std::error::Error + Send + Sync>| ClientError::Setup(error);
    let recorded = Arc::new(Mutex::new(None));
    let tls = tls::judged_by(Arc::new(ring::default_provider()), Recorder(recorded.clone()));
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls.map_err(|error| setup(error.into()))?)
        .http1_only()
        .redirect(redirect::Policy::none())
        .timeout(patience);
    if route == Route::Direct || address.is_loopback() {
        builder = builder.no_proxy();
    }
    let client = builder.build().map_err(|error| setup(error.into()))?;
    let request = client.get(format!("{}/v2/", address.base())).header(USER_AGENT, AGENT).send();
    let mut response = request.await.map_err(|error| match error {
        slow if slow.is_timeout() && !slow.is_connect() => ClientError::Stalled { origin: address.origin(), after: patience },
        error => body::connection(&address.origin(), error),
    })?;
    let mut text = Vec::new();
    // An answer whose body breaks off is an answer all the same.
    while text.len() < LOOK {
        let Ok(Some(chunk)) = response.chunk().await else { break };
        text.extend_from_slice(&chunk);
    }
    text.truncate(LOOK);
    let presented = recorded.lock().unwrap_or_else(PoisonError::into_inner).take();
    Ok(Answer {
        status: response.status(),
        headers: response.headers().clone(),
        text: String::from_utf8_lossy(&text).into_owned(),
        presented,
    })
}

impl Answer {
    /// Whether a registry says so: 200 or 401 with one of the signs that only registries give (distribution-spec, "Determining Support").
    pub fn is_registry(&self) -> bool {
        let has = |name: &str| self.headers.contains_key(name);
        let asks = self.header("www-authenticate").is_some_and(|value| {
            let value = value.to_ascii_lowercase();
            value.starts_with("bearer ") || value.starts_with("basic ")
        });
        let is_json = |text: &str| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_ok();
        match self.status {
            StatusCode::OK => {
                has("docker-distribution-api-version") || has("wharf-features") || is_json(&self.text) || self.text.is_empty()
            }
            StatusCode::UNAUTHORIZED => has("docker-distribution-api-version") || asks,
            _ => false,
        }
    }

    /// The text of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}
