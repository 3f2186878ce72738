//! A document at an address: what services tell about themselves.

use bytes::Bytes;
use http::{Method, StatusCode};
use reqwest::{Client, Url, redirect};

use crate::ClientError;
use crate::address::Address;
use crate::body;
use crate::retry::Patience;
use crate::tls::{self, Tls, Unverified};

/// Fetches a document of at most `most` bytes: over TLS, or from this machine itself. Redirects are not followed.
///
/// # Errors
///
/// What is there is no such address, is not reached, is not answered with 200, or is longer.
pub async fn document(url: &str, tls: Tls, patience: &Patience, most: usize) -> Result<Bytes, ClientError> {
    let setup = |what: String| ClientError::Setup(what.into());
    let url = Url::parse(url).map_err(|error| setup(format!("{url}: {error}")))?;
    let authority = url.host_str().map(|host| match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    });
    let authority = authority.ok_or_else(|| setup(format!("{url} names no host")))?;
    let is_loopback = Address { https: url.scheme() == "https", authority }.is_loopback();
    if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback) {
        return Err(setup(format!("{url} is not reached over TLS")));
    }
    let config = tls::config(tls, Unverified::default()).map_err(|error| ClientError::Setup(error.into()))?;
    let mut builder = Client::builder().tls_backend_preconfigured(config).http1_only().redirect(redirect::Policy::none());
    builder = builder.connect_timeout(patience.connect);
    if is_loopback {
        builder = builder.no_proxy();
    }
    let client = builder.build().map_err(|error| ClientError::Setup(error.into()))?;
    let (origin, path) = (url.origin().ascii_serialization(), url.path().to_owned());
    let answer = tokio::time::timeout(patience.stall, client.get(url).send()).await;
    let stalled = |_| ClientError::Stalled { origin: origin.clone(), after: patience.stall };
    let response = answer.map_err(stalled)?.map_err(|error| body::connection(&origin, error))?;
    if response.status() != StatusCode::OK {
        return Err(body::status(&origin, &Method::GET, &path, response, patience.stall).await);
    }
    body::read(&origin, response, most, patience).await
}
