//! One registry, and everything that can be asked of it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::StreamExt;
use http::header::{ACCEPT, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, RANGE};
use http::{Method, StatusCode};
use reqwest::{Response, Url};
use wharf_oci::{Descriptor, Digest, MAX_MANIFEST, Reference, RepositoryName};

use crate::ClientError;
use crate::auth::Scope;
use crate::body::{self, Chunks};
use crate::observer::Observer;
use crate::ranges::Manner;
use crate::retry::{Attempts, Patience};
use crate::transport::{Access, Ask, Transport, is_passing};

/// Everything that a tag may lead to.
const MANIFESTS: &str = concat!(
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, ",
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json, ",
    "application/vnd.oci.artifact.manifest.v1+json, */*;q=0.1"
);
/// The digest of an answer's content, as the registry has it.
const CONTENT_DIGEST: &str = "docker-content-digest";
/// Where wharf has content from that nobody pushed to it.
const ORIGIN: &str = "wharf-origin";
/// Attempts at the first question. Who is not there, or no registry, is to be told soon.
const PINGS: u32 = 3;

/// A manifest as a registry gave it; its bytes were compared with its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// What it is.
    pub media_type: String,
    /// Of its bytes.
    pub digest: Digest,
    /// As they came.
    pub bytes: Bytes,
    /// Where the registry itself has it from, when it was pulled through and nobody pushed it there: `docker.io/library/alpine`. Only wharf says so.
    pub origin: Option<String>,
}

/// What must hold for a tag to be set (RFC 9110, section 13.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    None,
    /// The tag leads to this manifest.
    Is(Digest),
    /// There is no such tag.
    Absent,
}

/// What became of a push of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is there.
    Done,
    /// The precondition does not hold (any more).
    Refused,
}

/// What became of a delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone.
    Done,
    /// It was not there.
    Unknown,
    /// The registry deletes nothing, or nothing of this kind.
    Unsupported,
}

/// What a registry can do beyond the specification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// It takes `If-Match` and `If-None-Match` on a push of a manifest.
    pub conditional_push: bool,
    /// It mounts a blob from whatever repository has it, without being told which.
    pub mounts_from_any: bool,
    /// It can be asked for what it has itself, and not for what it could have from elsewhere.
    pub stored_only: bool,
}

/// A registry.
pub struct Registry {
    pub(crate) transport: Transport,
    pub(crate) manner: Manner,
    features: OnceLock<Features>,
}

impl Registry {
    /// A registry that is asked as `access` says. Nothing is sent yet.
    pub fn new(access: Access, observer: Arc<dyn Observer>) -> Result<Self, ClientError> {
        Ok(Self { transport: Transport::new(access, observer)?, manner: Manner::default(), features: OnceLock::new() })
    }

    /// The same, asked only for what it has itself: what it could have from elsewhere counts as not there. To be called after [`ping`](Self::ping), for it
    /// changes nothing with a registry that does not know the difference.
    #[must_use]
    pub fn stored_only(mut self) -> Self {
        self.transport.stored_only = self.features().stored_only;
        self
    }

    /// Where it is.
    pub fn address(&self) -> &crate::Address {
        &self.transport.address
    }

    /// Why the registry's certificate would not have been believed, when it was taken all the same.
    pub fn unverified(&self) -> Option<String> {
        self.transport.unverified()
    }

    /// Asks whether it is there at all, and learns what it can do (distribution-spec, "Determining Support"). An answer that asks for
    /// credentials is an answer. Where nobody listens is told at once; other passing failures are tried again a few times.
    pub async fn ping(&self) -> Result<Features, ClientError> {
        let patience = Patience { attempts: self.transport.patience.attempts.min(PINGS), ..self.transport.patience.clone() };
        let mut attempts = Attempts::new(&patience);
        loop {
            match self.ping_once().await {
                Err(error @ ClientError::Unreachable { .. }) => return Err(error),
                Err(error) => self.transport.pause(&mut attempts, "GET /v2/", error).await?,
                answered => {
                    let features = answered?;
                    // Whoever asks again is told the same.
                    return Ok(*self.features.get_or_init(|| features));
                }
            }
        }
    }

    /// Asks whether it takes the credentials that it is asked with, or needs none.
    ///
    /// # Errors
    /// [`ClientError::Unauthorized`] when it does not.
    pub async fn log_in(&self) -> Result<(), ClientError> {
        let ask = Ask::new(Method::GET, self.transport.url(""), &NO_SCOPE);
        let response = self.transport.once(&ask).await?;
        match response.status() {
            StatusCode::OK => Ok(()),
            _ => Err(self.unexpected(&Method::GET, response).await),
        }
    }

    /// What it can do beyond the specification: what [`ping`](Self::ping) found, and before that nothing.
    pub fn features(&self) -> Features {
        self.features.get().copied().unwrap_or_default()
    }

    /// What pushing takes: one token for all of it.
    pub(crate) fn pushing(&self, repository: &RepositoryName) -> Scope {
        let scope = Scope::push(repository);
        if self.features().mounts_from_any { scope.and_mounts() } else { scope }
    }

    async fn ping_once(&self) -> Result<Features, ClientError> {
        let ask = Ask::new(Method::GET, self.transport.url(""), &NO_SCOPE);
        let response = self.transport.once(&ask).await;
        let response = match response {
            Err(ClientError::Unauthorized { .. }) => return Ok(Features::default()),
            other => other?,
        };
        match response.status() {
            StatusCode::OK => {
                let named = response.headers().get("wharf-features").and_then(|value| value.to_str().ok()).unwrap_or_default();
                let has = |feature: &str| named.split(',').any(|name| name.trim() == feature);
                Ok(Features {
                    conditional_push: has("manifest-if-match"),
                    mounts_from_any: has("mount-from-any"),
                    stored_only: has("stored-only"),
                })
            }
            StatusCode::NOT_FOUND => {
                Err(ClientError::Protocol { origin: self.transport.origin(), what: "it does not know /v2/".to_owned() })
            }
            _ => Err(self.unexpected(&Method::GET, response).await),
        }
    }

    /// The manifest that a tag or digest leads to; `None` when there is none.
    pub async fn manifest(&self, repository: &RepositoryName, reference: &Reference) -> Result<Option<Fetched>, ClientError> {
        let url = self.manifest_url(repository, reference);
        let what = format!("GET {}", url.path());
        self.transport.again(&what, || self.manifest_once(repository, reference, url.clone())).await
    }

    async fn manifest_once(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        url: Url,
    ) -> Result<Option<Fetched>, ClientError> {
        let scope = Scope::pull(repository);
        let response = self.transport.follow(Ask::new(Method::GET, url, &scope).with(ACCEPT, MANIFESTS)).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(self.unexpected(&Method::GET, response).await),
        }
        let origin = self.transport.origin();
        let declared = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = declared.split(';').next().unwrap_or_default().trim().to_owned();
        let named = response.headers().get(CONTENT_DIGEST).and_then(|value| value.to_str().ok()?.parse::<Digest>().ok());
        let origin_header = response.headers().get(ORIGIN).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let bytes = self.transport.read(response, MAX_MANIFEST).await?;
        let (wanted, digest) = match reference {
            Reference::Digest(digest) => (Some(*digest), *digest),
            Reference::Tag(_) => (named, Digest::sha256(&bytes)),
        };
        if let Some(digest) = wanted.filter(|wanted| Digest::of(wanted.algorithm(), &bytes) != *wanted) {
            return Err(ClientError::Content { origin, digest });
        }
        Ok(Some(Fetched { media_type, digest, bytes, origin: origin_header }))
    }

    /// The digest that a tag leads to, as far as the registry says it.
    pub async fn resolve(&self, repository: &RepositoryName, reference: &Reference) -> Result<Option<Digest>, ClientError> {
        let scope = Scope::pull(repository);
        let url = self.manifest_url(repository, reference);
        let asked = || async {
            let response = self.transport.follow(Ask::new(Method::HEAD, url.clone(), &scope).with(ACCEPT, MANIFESTS)).await?;
            if is_passing(response.status()) { Err(self.unexpected(&Method::HEAD, response).await) } else { Ok(response) }
        };
        let response = self.transport.again(&format!("HEAD {}", url.path()), asked).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(self.unexpected(&Method::HEAD, response).await),
        }
        let named =
            |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()?.trim_matches('"').parse().ok());
        match named(CONTENT_DIGEST).or_else(|| named(ETAG.as_str())) {
            Some(digest) => Ok(Some(digest)),
            None => Ok(self.manifest(repository, reference).await?.map(|manifest| manifest.digest)),
        }
    }

    /// Pushes a manifest under a tag or its digest.
    pub async fn put_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        media_type: &str,
        bytes: Bytes,
        precondition: Precondition,
    ) -> Result<Put, ClientError> {
        let scope = self.pushing(repository);
        let mut ask = Ask::new(Method::PUT, self.manifest_url(repository, reference), &scope).content(media_type, bytes);
        match precondition {
            Precondition::None => {}
            Precondition::Is(digest) => ask = ask.with(IF_MATCH, &format!("\"{digest}\"")),
            Precondition::Absent => ask = ask.with(IF_NONE_MATCH, "*"),
        }
        let response = self.transport.send(ask).await?;
        match response.status() {
            StatusCode::CREATED | StatusCode::OK | StatusCode::ACCEPTED => Ok(Put::Done),
            StatusCode::PRECONDITION_FAILED => Ok(Put::Refused),
            _ => Err(self.unexpected(&Method::PUT, response).await),
        }
    }

    /// Deletes a tag, or a manifest with its tags.
    pub async fn delete_manifest(&self, repository: &RepositoryName, reference: &Reference) -> Result<Deleted, ClientError> {
        let scope = Scope::delete(repository);
        let ask = Ask::new(Method::DELETE, self.manifest_url(repository, reference), &scope);
        let response = self.transport.send(ask).await?;
        match response.status() {
            StatusCode::ACCEPTED | StatusCode::OK | StatusCode::NO_CONTENT => Ok(Deleted::Done),
            StatusCode::NOT_FOUND => Ok(Deleted::Unknown),
            StatusCode::METHOD_NOT_ALLOWED => Ok(Deleted::Unsupported),
            // CNCF distribution 2.8 takes only digests here, and calls a tag a bad one.
            StatusCode::BAD_REQUEST if matches!(reference, Reference::Tag(_)) => {
                match self.unexpected(&Method::DELETE, response).await {
                    error if error.has_code("DIGEST_INVALID") || error.has_code("UNSUPPORTED") => Ok(Deleted::Unsupported),
                    error => Err(error),
                }
            }
            _ => Err(self.unexpected(&Method::DELETE, response).await),
        }
    }

    /// Whether a repository holds a blob. With wharf, asking for it keeps it for the next hour.
    pub async fn has_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, ClientError> {
        let scope = self.pushing(repository);
        let response = self.transport.send(Ask::new(Method::HEAD, self.blob_url(repository, digest), &scope)).await?;
        match response.status() {
            StatusCode::OK => Ok(true),
            // Where blobs are given out by redirect, a redirect is a yes. A permanent one leads to another address of the registry.
            StatusCode::FOUND | StatusCode::SEE_OTHER | StatusCode::TEMPORARY_REDIRECT => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.unexpected(&Method::HEAD, response).await),
        }
    }

    /// A blob's bytes from `offset` on. They are not compared with the digest: whoever takes the last one does that.
    pub async fn blob(&self, repository: &RepositoryName, descriptor: &Descriptor, offset: u64) -> Result<Chunks, ClientError> {
        let scope = Scope::pull(repository);
        let mut ask = Ask::new(Method::GET, self.blob_url(repository, &descriptor.digest), &scope);
        if offset > 0 {
            ask = ask.with(RANGE, &format!("bytes={offset}-"));
        }
        let response = self.transport.follow(ask).await?;
        let (origin, digest) = (self.transport.origin(), descriptor.digest);
        let begin = match response.status() {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT if offset > 0 => match first_byte(&response).unwrap_or(offset) {
                begin if begin <= offset => begin,
                _ => return Err(ClientError::Protocol { origin, what: format!("another range of {digest} than was asked for") }),
            },
            _ => return Err(self.unexpected(&Method::GET, response).await),
        };
        let expected = descriptor.size.saturating_sub(begin);
        if response.content_length().is_some_and(|length| length != expected) {
            return Err(ClientError::Content { origin, digest });
        }
        Ok(self.chunks(response, digest, offset - begin, expected))
    }

    /// A blob of which nothing but its digest is known: its length and its bytes, which are not compared with the digest; `None` when there is none.
    ///
    /// # Errors
    /// [`ClientError::Protocol`] also when the registry does not say how long it is: a body that was cut could not be told from a whole one.
    pub async fn open_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<(u64, Chunks)>, ClientError> {
        let url = self.blob_url(repository, digest);
        let what = format!("GET {}", url.path());
        let opened = || async {
            let scope = Scope::pull(repository);
            let response = self.transport.follow(Ask::new(Method::GET, url.clone(), &scope)).await?;
            let Some(size) = self.length(&Method::GET, response.status(), response.content_length())? else {
                return match response.status() {
                    StatusCode::NOT_FOUND => Ok(None),
                    _ => Err(self.unexpected(&Method::GET, response).await),
                };
            };
            Ok(Some((size, self.chunks(response, *digest, 0, size))))
        };
        self.transport.again(&what, opened).await
    }

    /// The length of a blob; `None` when there is none.
    pub async fn blob_size(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<u64>, ClientError> {
        let url = self.blob_url(repository, digest);
        let what = format!("HEAD {}", url.path());
        let asked = || async {
            let scope = Scope::pull(repository);
            let response = self.transport.follow(Ask::new(Method::HEAD, url.clone(), &scope)).await?;
            let length = response.headers().get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
            match self.length(&Method::HEAD, response.status(), length)? {
                Some(size) => Ok(Some(size)),
                None if response.status() == StatusCode::NOT_FOUND => Ok(None),
                None => Err(self.unexpected(&Method::HEAD, response).await),
            }
        };
        self.transport.again(&what, asked).await
    }

    /// The length that an answer with 200 says; `None` for other answers.
    fn length(&self, method: &Method, status: StatusCode, length: Option<u64>) -> Result<Option<u64>, ClientError> {
        match (status, length) {
            (StatusCode::OK, None) => {
                let what = format!("it answered {method} of a blob without a length");
                Err(ClientError::Protocol { origin: self.transport.origin(), what })
            }
            (StatusCode::OK, length) => Ok(length),
            _ => Ok(None),
        }
    }

    /// A whole blob of at most [`MAX_MANIFEST`] bytes, such as an image's configuration, compared with its digest; `None` when there is none.
    pub async fn small_blob(&self, repository: &RepositoryName, descriptor: &Descriptor) -> Result<Option<Bytes>, ClientError> {
        let what = format!("GET {}", self.blob_url(repository, &descriptor.digest).path());
        self.transport.again(&what, || self.small_blob_once(repository, descriptor)).await
    }

    async fn small_blob_once(&self, repository: &RepositoryName, descriptor: &Descriptor) -> Result<Option<Bytes>, ClientError> {
        let scope = Scope::pull(repository);
        let origin = self.transport.origin();
        let ask = Ask::new(Method::GET, self.blob_url(repository, &descriptor.digest), &scope);
        let response = self.transport.follow(ask).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(self.unexpected(&Method::GET, response).await),
        }
        let bytes = self.transport.read(response, MAX_MANIFEST).await?;
        let digest = descriptor.digest;
        if Digest::of(digest.algorithm(), &bytes) == digest {
            Ok(Some(bytes))
        } else {
            Err(ClientError::Content { origin, digest })
        }
    }

    /// The body of an answer that is to have `left` bytes, without its first `skip` ones.
    fn chunks(&self, response: Response, digest: Digest, skip: u64, left: u64) -> Chunks {
        let (origin, stall) = (self.transport.origin(), self.transport.patience.stall);
        let state = (response.bytes_stream(), skip, left);
        Box::pin(futures_util::stream::unfold(state, move |(mut stream, mut skip, mut left)| {
            let origin = origin.clone();
            async move {
                loop {
                    let origin = origin.clone();
                    let read = match tokio::time::timeout(stall, stream.next()).await {
                        Ok(None) if left == 0 => return None,
                        Ok(Some(Ok(chunk))) if chunk.len() as u64 <= left => Ok(chunk),
                        Ok(Some(Ok(_))) => Err(ClientError::Content { origin, digest }),
                        Ok(Some(Err(error))) => Err(body::connection(&origin, error)),
                        // Without a length before it, a body that was cut looks like a whole one.
                        Ok(None) => Err(ClientError::Broken { origin, source: format!("{left} bytes are missing").into() }),
                        Err(_) => Err(ClientError::Stalled { origin, after: stall }),
                    };
                    let chunk = match read {
                        Ok(chunk) => chunk,
                        Err(error) => return Some((Err(error), (stream, skip, left))),
                    };
                    left -= chunk.len() as u64;
                    let passed = (chunk.len() as u64).min(skip);
                    skip -= passed;
                    // Never more than the chunk's own length.
                    let rest = chunk.slice(usize::try_from(passed).unwrap_or(chunk.len())..);
                    if !rest.is_empty() {
                        return Some((Ok(rest), (stream, skip, left)));
                    }
                }
            }
        }))
    }

    pub(crate) async fn unexpected(&self, method: &Method, response: Response) -> ClientError {
        self.transport.refusal(method, response).await
    }

    fn manifest_url(&self, repository: &RepositoryName, reference: &Reference) -> Url {
        self.transport.url(&format!("{repository}/manifests/{reference}"))
    }

    pub(crate) fn blob_url(&self, repository: &RepositoryName, digest: &Digest) -> Url {
        self.transport.url(&format!("{repository}/blobs/{digest}"))
    }
}

static NO_SCOPE: std::sync::LazyLock<Scope> = std::sync::LazyLock::new(Scope::none);

/// Where the bytes of a 206 begin (RFC 9110, section 14.4).
fn first_byte(response: &Response) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.trim().strip_prefix("bytes")?.trim_start().split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_of_a_part_is_read() {
        let first = |range: &str| {
            let answer = http::Response::builder().header(CONTENT_RANGE, range).body("").map(Response::from);
            answer.ok().and_then(|answer| first_byte(&answer))
        };
        for (range, byte) in [("bytes 0-9/10", Some(0)), ("bytes 7-9/*", Some(7)), (" bytes  12-12/13", Some(12))] {
            assert_eq!(first(range), byte, "{range}");
        }
        for range in ["", "bytes", "bytes */10", "bytes -5/10", "items 0-9/10", "bytes x-9/10"] {
            assert_eq!(first(range), None, "{range}");
        }
    }
}
