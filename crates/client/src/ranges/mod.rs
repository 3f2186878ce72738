//! Parts of a blob: many ranges in one request where the registry takes that, fewer or the whole where it does not.

pub(crate) mod multipart;
mod request;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::{HeaderName, Method, StatusCode};
use reqwest::Response;
use wharf_oci::{Descriptor, RepositoryName};

use crate::auth::Scope;
use crate::body;
use crate::retry::Attempts;
use crate::transport::Ask;
use crate::{ClientError, Registry};
use multipart::{ContentRange, Event, Malformed, Parts};
use request::Step;
pub use request::bytes_asked;

/// Reads of the end of an answer of which everything is there.
const LAST_READS: usize = 2;

/// How many ranges a registry takes at once, as far as it was found out.
#[derive(Debug, Default)]
pub(crate) struct Manner(AtomicUsize);

impl Manner {
    fn step(&self) -> Step {
        Step(self.0.load(Ordering::Relaxed))
    }

    fn lower(&self, to: Step) {
        self.0.fetch_max(to.0, Ordering::Relaxed);
    }
}

/// Ranges of a blob on their way here, see [`Registry::ranges`].
pub struct BlobRanges<'a> {
    registry: &'a Registry,
    repository: RepositoryName,
    descriptor: Descriptor,
    /// What is not there yet; ascending.
    wanted: VecDeque<Range<u64>>,
    /// Bytes that came and were not given out.
    pending: Option<(u64, Bytes)>,
    answer: Option<Answer>,
    attempts: Attempts<'a>,
    /// Something of the present answer was of use.
    of_use: bool,
    received: u64,
}

/// An answer that is being received.
struct Answer {
    response: Response,
    parts: Option<Parts>,
    /// Where the next byte of it lies in the blob.
    at: u64,
    /// Bytes of the present part, or of all where there are no parts, that are still to come.
    left: u64,
}

/// Why an answer does not go on.
enum Fault {
    /// It is not what was asked for; asked for otherwise it may be.
    Strange(Malformed),
    /// Anything else.
    Error(ClientError),
}

impl Registry {
    /// Ranges of a blob: ascending, without overlap and inside it; others are left out. The bytes are not compared with any digest.
    pub fn ranges(
        &self,
        repository: &RepositoryName,
        descriptor: &Descriptor,
        wanted: impl IntoIterator<Item = Range<u64>>,
    ) -> BlobRanges<'_> {
        let mut end = 0;
        let is_right = |range: &Range<u64>| {
            let is_right = range.start >= end && range.start < range.end && range.end <= descriptor.size;
            end = if is_right { range.end } else { end };
            is_right
        };
        BlobRanges {
            registry: self,
            repository: repository.clone(),
            descriptor: descriptor.clone(),
            wanted: wanted.into_iter().filter(is_right).collect(),
            pending: None,
            answer: None,
            attempts: Attempts::new(&self.transport.patience),
            of_use: false,
            received: 0,
        }
    }
}

impl BlobRanges<'_> {
    /// The next bytes and where they lie in the blob, in order; exactly those of the ranges, each once. `None` after the last.
    ///
    /// After a passing failure the ranges that are still missing are asked for again. A registry that does not take so many ranges is asked for
    /// fewer; one that takes none sends the whole blob, of which the rest is passed over.
    ///
    /// # Errors
    ///
    /// What [`Registry::blob`] fails with; [`ClientError::Protocol`] when something else came however it was asked.
    pub async fn next(&mut self) -> Result<Option<(u64, Bytes)>, ClientError> {
        loop {
            if self.wanted.is_empty() {
                self.finish().await;
                return Ok(None);
            }
            match self.advance().await {
                Ok(Some(piece)) => {
                    self.of_use = true;
                    self.attempts.progress();
                    return Ok(Some(piece));
                }
                Ok(None) => {}
                Err(Fault::Strange(what)) => self.descend(what)?,
                Err(Fault::Error(error)) => {
                    self.give_up();
                    let what = self.what();
                    self.registry.transport.pause(&mut self.attempts, &what, error).await?;
                }
            }
        }
    }

    /// Bytes of bodies that came so far, also those that nobody asked for.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// One step: a request, or some bytes of an answer.
    async fn advance(&mut self) -> Result<Option<(u64, Bytes)>, Fault> {
        if let Some((offset, bytes)) = self.pending.take() {
            return self.clip(offset, bytes);
        }
        let Some(answer) = &mut self.answer else {
            self.of_use = false;
            self.answer = self.ask().await?;
            return Ok(None);
        };
        let stall = self.registry.transport.patience.stall;
        let origin = || self.registry.transport.origin();
        match answer.parts.as_mut().map_or(Ok(Event::More), Parts::next).map_err(Fault::Strange)? {
            Event::Bytes(bytes) => {
                let offset = answer.at;
                answer.at += bytes.len() as u64;
                return self.clip(offset, bytes);
            }
            Event::Part(part) => {
                if part.range.start < answer.at {
                    return Err(Fault::Strange(Malformed("parts that are not in order")));
                }
                answer.at = part.range.start;
                self.check_total(&part).map_err(Fault::Error)?;
                return Ok(None);
            }
            Event::End => {
                self.give_up();
                // What is missing is asked for again, as long as that leads anywhere.
                return if self.of_use { Ok(None) } else { Err(Fault::Strange(Malformed("none of the parts asked for"))) };
            }
            Event::More => {}
        }
        let chunk = match tokio::time::timeout(stall, answer.response.chunk()).await {
            Err(_) => return Err(Fault::Error(ClientError::Stalled { origin: origin(), after: stall })),
            Ok(Err(error)) => return Err(Fault::Error(body::connection(&origin(), error))),
            Ok(Ok(chunk)) => chunk,
        };
        match (chunk, &mut answer.parts) {
            (Some(chunk), Some(parts)) => {
                self.received += chunk.len() as u64;
                parts.feed(chunk);
                Ok(None)
            }
            (Some(chunk), None) if chunk.len() as u64 <= answer.left => {
                self.received += chunk.len() as u64;
                let offset = answer.at;
                answer.at += chunk.len() as u64;
                answer.left -= chunk.len() as u64;
                self.clip(offset, chunk)
            }
            (Some(_), None) => Err(Fault::Error(ClientError::Content { origin: origin(), digest: self.descriptor.digest })),
            (None, None) if answer.left == 0 => {
                self.give_up();
                if self.of_use { Ok(None) } else { Err(Fault::Strange(Malformed("another range"))) }
            }
            (None, _) => Err(Fault::Error(ClientError::Broken { origin: origin(), source: "bytes are missing".into() })),
        }
    }

    /// Takes of bytes that came what is wanted next, and puts aside what lies behind it.
    fn clip(&mut self, offset: u64, mut bytes: Bytes) -> Result<Option<(u64, Bytes)>, Fault> {
        let Some(wanted) = self.wanted.front_mut() else { return Ok(None) };
        let end = offset + bytes.len() as u64;
        if end <= wanted.start {
            return Ok(None);
        }
        if offset > wanted.start {
            return Err(Fault::Strange(Malformed("an answer that leaves out a range")));
        }
        // Neither is more than the bytes are long.
        let index = |distance: u64| usize::try_from(distance).unwrap_or(usize::MAX).min(bytes.len());
        let (from, to) = (index(wanted.start - offset), index(wanted.end.min(end) - offset));
        let rest = bytes.split_off(to);
        let piece = (wanted.start, bytes.slice(from..));
        wanted.start += piece.1.len() as u64;
        if wanted.is_empty() {
            self.wanted.pop_front();
        }
        self.pending = (!rest.is_empty()).then_some((offset + to as u64, rest));
        Ok(Some(piece))
    }

    async fn ask(&self) -> Result<Option<Answer>, Fault> {
        let size = self.descriptor.size;
        let step = self.registry.manner.step();
        let request = step.request(&self.wanted, size);
        let scope = Scope::pull(&self.repository);
        let mut ask = Ask::new(Method::GET, self.registry.blob_url(&self.repository, &self.descriptor.digest), &scope);
        if let Some(ranges) = &request.header {
            ask = ask.with(RANGE, ranges);
        }
        let response = self.registry.transport.follow(ask).await.map_err(Fault::Error)?;
        match response.status() {
            StatusCode::OK if request.ranges > 1 && request.header.is_some() && !self.is_most() => {
                Err(Fault::Strange(Malformed("everything instead of ranges")))
            }
            StatusCode::OK => {
                if response.content_length().is_some_and(|length| length != size) {
                    let (origin, digest) = (self.registry.transport.origin(), self.descriptor.digest);
                    return Err(Fault::Error(ClientError::Content { origin, digest }));
                }
                Ok(Some(Answer { response, parts: None, at: 0, left: size }))
            }
            StatusCode::PARTIAL_CONTENT if request.header.is_some() => {
                if let Some(parts) = Parts::new(header(&response, &CONTENT_TYPE)) {
                    let parts = Some(parts.map_err(Fault::Strange)?);
                    return Ok(Some(Answer { response, parts, at: 0, left: 0 }));
                }
                let part = ContentRange::parse(header(&response, &CONTENT_RANGE));
                let part = part.ok_or(Fault::Strange(Malformed("a part that does not say where it lies")))?;
                self.check_total(&part).map_err(Fault::Error)?;
                let ContentRange { range, .. } = part;
                Ok(Some(Answer { response, parts: None, at: range.start, left: range.end - range.start }))
            }
            // Too many ranges, too long a header, or no ranges here at all.
            status if request.header.is_some() && matches!(status.as_u16(), 400 | 413 | 414 | 416 | 431 | 501) => {
                Err(Fault::Strange(Malformed("a refusal of ranges")))
            }
            _ => Err(Fault::Error(self.registry.unexpected(&Method::GET, response).await)),
        }
    }

    /// Whether what is wanted is most of what there is.
    fn is_most(&self) -> bool {
        self.wanted.iter().map(|range| range.end - range.start).sum::<u64>() >= self.descriptor.size / 2
    }

    /// Asks for fewer ranges from now on.
    fn descend(&mut self, what: Malformed) -> Result<(), ClientError> {
        self.give_up();
        match self.registry.manner.step().down() {
            Some(lower) => {
                self.registry.manner.lower(lower);
                Ok(())
            }
            None => Err(ClientError::Protocol {
                origin: self.registry.transport.origin(),
                what: format!("{} for {}", what.0, self.descriptor.digest),
            }),
        }
    }

    fn check_total(&self, part: &ContentRange) -> Result<(), ClientError> {
        if part.total.is_none_or(|total| total == self.descriptor.size) {
            return Ok(());
        }
        Err(ClientError::Content { origin: self.registry.transport.origin(), digest: self.descriptor.digest })
    }

    fn give_up(&mut self) {
        self.answer = None;
        self.pending = None;
    }

    /// Reads the end of an answer, so that its connection can be used again.
    async fn finish(&mut self) {
        let Some(mut answer) = self.answer.take() else { return };
        let is_near = answer.parts.is_some() || answer.left == 0;
        for _ in 0..if is_near { LAST_READS } else { 0 } {
            let stall = self.registry.transport.patience.stall;
            match tokio::time::timeout(stall, answer.response.chunk()).await {
                Ok(Ok(Some(chunk))) => self.received += chunk.len() as u64,
                _ => break,
            }
        }
    }

    fn what(&self) -> String {
        format!("GET {}", self.registry.blob_url(&self.repository, &self.descriptor.digest).path())
    }
}

fn header<'a>(response: &'a Response, name: &HeaderName) -> &'a str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
