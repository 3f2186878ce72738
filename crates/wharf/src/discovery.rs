//! The keys of issuers of ID tokens, as OpenID Connect Discovery 1.0 finds them.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use wharf_access::Issuer;
use wharf_client::{Patience, Tls, Verify, document};
use wharf_registry::{KeySource, Unavailable};

/// Bytes of a document at most.
const MOST: usize = 1 << 20;

/// Asks the issuers themselves.
#[derive(Debug)]
pub struct Discovery;

/// What an issuer says of itself (section 3).
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

#[async_trait]
impl KeySource for Discovery {
    async fn keys(&self, issuer: &Issuer) -> Result<Bytes, Unavailable> {
        let tls = Tls { verify: Verify::Required, authorities: issuer.ca.iter().cloned().collect() };
        // A caller waits meanwhile.
        let seconds = Duration::from_secs;
        let patience = Patience { connect: seconds(5), stall: seconds(10), answer: seconds(10), ..Patience::default() };
        let fetch = async |url: String| document(&url, tls.clone(), &patience, MOST).await;
        let about = fetch(format!("{}/.well-known/openid-configuration", issuer.url.trim_end_matches('/'))).await?;
        let about: Metadata = serde_json::from_slice(&about).map_err(|error| format!("what it says of itself: {error}"))?;
        // Section 4.3: who calls itself something else is somebody else.
        if about.issuer != issuer.url {
            return Err(format!("it calls itself {}", about.issuer).into());
        }
        Ok(fetch(about.jwks_uri).await?)
    }
}
