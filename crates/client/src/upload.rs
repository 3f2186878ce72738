//! Sending one blob: mounted where that is possible, else streamed, and resumed inside after a broken connection.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::header::{CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::{Response, Url};
use wharf_oci::{Descriptor, RepositoryName};

use crate::auth::Scope;
use crate::body::{Outgoing, OutgoingState};
use crate::observer::How;
use crate::retry::Attempts;
use crate::source::Source;
use crate::transport::Ask;
use crate::{ClientError, Registry};

/// Up to so many bytes go in the request that asks for the upload; a broken connection costs no more than that.
const AT_ONCE: u64 = 256 << 10;
const OCTETS: &str = "application/octet-stream";

/// An upload that goes on: where, and up to which byte the registry has it.
struct Session {
    url: Url,
    offset: u64,
}

/// How an upload begins.
enum Begun {
    Here(How),
    Open(Session),
}

/// Why a request on a session did not bring it forward.
enum Setback {
    /// The registry stands elsewhere than we thought: 416 (distribution-spec, "Pushing a blob in chunks").
    Displaced(ClientError),
    /// It has forgotten the upload.
    Lost(ClientError),
    /// Anything else, here or where the content comes from.
    Failed(ClientError),
}

impl From<ClientError> for Setback {
    fn from(error: ClientError) -> Self {
        Self::Failed(error)
    }
}

impl Registry {
    /// Brings a blob into a repository, unless it is there. `sibling` is a repository of this registry that may hold it.
    ///
    /// After a broken connection it goes on where the registry says it stands; only when the registry has forgotten the
    /// upload it begins anew.
    pub async fn push_blob(
        &self,
        repository: &RepositoryName,
        descriptor: &Descriptor,
        source: &dyn Source,
        sibling: Option<&RepositoryName>,
    ) -> Result<How, ClientError> {
        let (digest, size) = (&descriptor.digest, descriptor.size);
        let observer = self.transport.observer.clone();
        if self.has_blob(repository, digest).await? {
            observer.done(digest, size, How::Present);
            return Ok(How::Present);
        }
        source.check(descriptor)?;
        let scope = match sibling {
            Some(sibling) => self.pushing(repository).and_pull(sibling),
            None => self.pushing(repository),
        };
        let upload = Upload { registry: self, repository, descriptor, source, scope };
        let mut result = upload.run(sibling).await;
        // A registry that refuses the content for its digest says less than a look at the content itself. When that is right, it was
        // altered on its way, which is worth one more attempt.
        if let Err(error) = &result
            && ["DIGEST_INVALID", "SIZE_INVALID", "BLOB_UPLOAD_INVALID"].iter().any(|code| error.has_code(code))
        {
            let looked = source.verify(descriptor).await;
            result = match looked {
                Ok(()) => upload.run(None).await,
                Err(found) => Err(found),
            };
        }
        match &result {
            Ok(how) => observer.done(digest, size, *how),
            Err(_) => observer.failed(digest),
        }
        result
    }
}

struct Upload<'a> {
    registry: &'a Registry,
    repository: &'a RepositoryName,
    descriptor: &'a Descriptor,
    source: &'a dyn Source,
    scope: Scope,
}

impl Upload<'_> {
    async fn run(&self, sibling: Option<&RepositoryName>) -> Result<How, ClientError> {
        let transport = &self.registry.transport;
        let size = self.descriptor.size;
        let mut attempts = Attempts::new(&transport.patience);
        let mut furthest = 0;
        let mut session: Option<Session> = None;
        // One thing a turn; whatever fails in a passing way is looked at anew in the next.
        loop {
            let turn = match &mut session {
                None => match self.begin(sibling).await {
                    Ok(Begun::Here(how)) => return Ok(how),
                    Ok(Begun::Open(open)) => {
                        session = Some(open);
                        continue;
                    }
                    Err(error) => Err(Setback::Failed(error)),
                },
                Some(open) if open.offset < size => self.send(open).await,
                Some(open) => match self.finish(open).await {
                    Ok(()) => return Ok(How::Sent),
                    Err(setback) => Err(setback),
                },
            };
            let Err(setback) = turn else { continue };
            let offset = session.as_ref().map_or(0, |open| open.offset);
            // Neither is a failure of anything: the next attempt may well succeed.
            let again = |error: ClientError| ClientError::Broken { origin: transport.origin(), source: error.to_string().into() };
            let (lost, passing) = match setback {
                Setback::Failed(error) => (false, error),
                // An upload of one byte is told from an empty one only by this.
                Setback::Displaced(error) => (offset == 0, again(error)),
                Setback::Lost(error) => (true, again(error)),
            };
            if offset > furthest {
                furthest = offset;
                attempts.progress();
            }
            let what = format!("{} from byte {offset} on", self.descriptor.digest);
            transport.pause(&mut attempts, &what, passing).await?;
            if let Some(open) = session.take()
                && !lost
            {
                session = self.stand(open).await?;
                // The answer to the last request may be all that was lost.
                let complete = session.as_ref().is_none_or(|open| open.offset >= size);
                if complete && self.registry.has_blob(self.repository, &self.descriptor.digest).await? {
                    return Ok(How::Sent);
                }
                if let Some(open) = session.as_ref().filter(|open| open.offset > furthest) {
                    furthest = open.offset;
                    attempts.progress();
                }
            }
        }
    }

    /// Asks for an upload. A small blob goes along with the question; a large one may be there already, in another repository.
    async fn begin(&self, sibling: Option<&RepositoryName>) -> Result<Begun, ClientError> {
        let transport = &self.registry.transport;
        let digest = self.descriptor.digest;
        let mut url = transport.url(&format!("{}/blobs/uploads/", self.repository));
        transport.observer.begins(&digest, self.descriptor.size);
        if self.descriptor.size <= AT_ONCE {
            let content = self.source.whole(self.descriptor).await?;
            url.query_pairs_mut().append_pair("digest", &digest.to_string());
            let ask = Ask::new(Method::POST, url, &self.scope).content(OCTETS, content.clone());
            let response = transport.once(&ask).await?;
            if response.status() != StatusCode::ACCEPTED {
                return self.created(&Method::POST, response).await.map(|()| Begun::Here(How::Sent));
            }
            // Not every registry takes both at once; then an upload has begun, and this is its end.
            let url = self.ending(transport.location(&response)?);
            let response = transport.once(&Ask::new(Method::PUT, url, &self.scope).content(OCTETS, content)).await?;
            return self.created(&Method::PUT, response).await.map(|()| Begun::Here(How::Sent));
        }
        // Without a repository to mount from, some take the wish for a mistake (Quay).
        if sibling.is_some() || self.registry.features().mounts_from_any {
            url.query_pairs_mut().append_pair("mount", &digest.to_string());
        }
        if let Some(sibling) = sibling {
            url.query_pairs_mut().append_pair("from", sibling.as_str());
        }
        let mut response = transport.once(&Ask::new(Method::POST, url.clone(), &self.scope)).await?;
        if url.query().is_some()
            && matches!(response.status(), StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED)
        {
            // Not every registry understands the wish, or all of it.
            let url = transport.url(&format!("{}/blobs/uploads/", self.repository));
            response = transport.once(&Ask::new(Method::POST, url, &self.scope)).await?;
        }
        match response.status() {
            StatusCode::CREATED => Ok(Begun::Here(How::Mounted)),
            StatusCode::ACCEPTED => Ok(Begun::Open(Session { url: transport.location(&response)?, offset: 0 })),
            _ => Err(self.registry.unexpected(&Method::POST, response).await),
        }
    }

    /// Sends everything from the session's offset on, in one request.
    async fn send(&self, session: &mut Session) -> Result<(), Setback> {
        let transport = &self.registry.transport;
        let (size, from, digest) = (self.descriptor.size, session.offset, self.descriptor.digest);
        let state = Arc::new(OutgoingState::default());
        let observer = transport.observer.clone();
        let told = Box::new(move |sent: u64| {
            observer.at(&digest, from + sent);
            if from + sent == size {
                observer.commits(&digest);
            }
        });
        let chunks = self.source.blob(self.descriptor, from).await?;
        let content = Outgoing { chunks, left: size - from, state: state.clone(), told };
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(OCTETS))]);
        // All of it at once is a stream, which has no range: some limit the length of a chunk, and take this for one (GHCR).
        if from > 0
            && let Ok(range) = HeaderValue::from_str(&format!("{from}-{}", size - 1))
        {
            headers.insert(CONTENT_RANGE, range);
        }
        let response = transport.stream(Method::PATCH, session.url.clone(), &self.scope, headers, content).await?;
        match response.status() {
            StatusCode::ACCEPTED | StatusCode::NO_CONTENT | StatusCode::CREATED => {
                session.url = transport.location(&response)?;
                session.offset = received(&response).unwrap_or_else(|| from + state.sent.load(Ordering::Relaxed));
                if session.offset > from {
                    return Ok(());
                }
                let nothing = "it took everything and kept nothing";
                Err(ClientError::Broken { origin: transport.origin(), source: nothing.into() }.into())
            }
            _ => Err(setback(self.registry.unexpected(&Method::PATCH, response).await)),
        }
    }

    /// Ends an upload of which the registry has everything.
    async fn finish(&self, session: &Session) -> Result<(), Setback> {
        let transport = &self.registry.transport;
        transport.observer.commits(&self.descriptor.digest);
        let url = self.ending(session.url.clone());
        let response = transport.once(&Ask::new(Method::PUT, url, &self.scope).with(CONTENT_TYPE, OCTETS)).await?;
        self.created(&Method::PUT, response).await.map_err(setback)
    }

    async fn created(&self, method: &Method, response: Response) -> Result<(), ClientError> {
        match response.status() {
            StatusCode::CREATED | StatusCode::NO_CONTENT | StatusCode::OK => Ok(()),
            _ => Err(self.registry.unexpected(method, response).await),
        }
    }

    /// Where the registry stands with an upload (distribution-spec, "Pushing a blob in chunks"); `None` when it has forgotten it.
    async fn stand(&self, session: Session) -> Result<Option<Session>, ClientError> {
        let transport = &self.registry.transport;
        let response = transport.send(Ask::new(Method::GET, session.url.clone(), &self.scope)).await?;
        match response.status() {
            StatusCode::NO_CONTENT | StatusCode::ACCEPTED | StatusCode::OK => {
                let url = transport.location(&response).unwrap_or(session.url);
                let offset = received(&response).unwrap_or(0);
                // More than the blob has is not this blob.
                Ok((offset <= self.descriptor.size).then_some(Session { url, offset }))
            }
            status if status.is_client_error() => Ok(None),
            _ => Err(self.registry.unexpected(&Method::GET, response).await),
        }
    }

    fn ending(&self, mut url: Url) -> Url {
        url.query_pairs_mut().append_pair("digest", &self.descriptor.digest.to_string());
        url
    }
}

/// What a refusal of a request on a session means.
fn setback(error: ClientError) -> Setback {
    if error.is_status(StatusCode::RANGE_NOT_SATISFIABLE) {
        Setback::Displaced(error)
    } else if error.is_status(StatusCode::NOT_FOUND) || error.has_code("BLOB_UPLOAD_UNKNOWN") {
        Setback::Lost(error)
    } else {
        Setback::Failed(error)
    }
}

/// Bytes that the registry has: `Range: 0-N`, where N is the last one. An upload without any says `0-0` in most registries and `0--1` in some, and
/// an upload of one byte says `0-0` as well: sending that byte again is refused with 416 there, and counted right by the next look.
fn received(response: &Response) -> Option<u64> {
    parse_range(response.headers().get("range")?.to_str().ok()?)
}

fn parse_range(text: &str) -> Option<u64> {
    let (first, last) = text.trim().trim_start_matches("bytes=").split_once('-')?;
    match (first.parse::<u64>().ok()?, last) {
        (0, "0" | "-1") => Some(0),
        (0, last) => last.parse::<u64>().ok()?.checked_add(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_says_how_much_arrived() {
        for (text, bytes) in
            [("0-0", Some(0)), ("0--1", Some(0)), ("0-9", Some(10)), ("bytes=0-9", Some(10)), (" 0-9 ", Some(10))]
        {
            assert_eq!(parse_range(text), bytes, "{text}");
        }
        for text in ["", "-", "0", "1-2", "0-x", "0-18446744073709551615"] {
            assert_eq!(parse_range(text), None, "{text}");
        }
    }
}
