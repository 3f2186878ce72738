//! Uploads: whole, in chunks, broken off, resumed, closed wrongly, given up.

use std::thread::sleep;
use std::time::{Duration, Instant};

use wharf_tests::{Response, path_of, with_query};

use super::content::BLOBS;
use super::op::{End, Form, Way};
use super::player::Player;
use crate::client::{expect, expect_header};
use crate::failure::{Failure, Result};

/// How long what was sent before a connection broke may take to be in the session.
const ARRIVES: Duration = Duration::from_secs(20);
/// A session that nobody has ever had.
const NOBODYS: &str = "00000000-0000-4000-8000-000000000000";

/// A place for one session.
#[derive(Default)]
pub(super) struct Slot {
    session: Option<Session>,
    /// Where the last one was, which is there no more.
    last: Option<String>,
}

struct Session {
    repo: usize,
    blob: usize,
    location: String,
    offset: usize,
    /// Whether it outlives a server that is killed: once a request has left bytes in it.
    outlives: bool,
}

impl Session {
    /// How answers say how much there is; nothing looks like one byte.
    fn range(&self) -> String {
        format!("0-{}", self.offset.saturating_sub(1))
    }
}

/// So many eighths of a length, and never the one byte that looks like none.
fn part(length: usize, eighths: usize) -> usize {
    (length * eighths).div_ceil(8).max(2).min(length)
}

impl Player<'_> {
    pub(super) fn push(&mut self, repo: usize, blob: usize, way: Way, is_right: bool) -> Result<()> {
        let content = self.content;
        let bytes = &content.blobs[blob].bytes;
        let digest = &content.blobs[if is_right { blob } else { (blob + 1) % BLOBS }].digest;
        let uploads = self.path(repo, "blobs/uploads/");
        let answer = if way == Way::Post {
            self.ask(&self.request("POST", &format!("{uploads}?digest={digest}")).body(bytes))?
        } else {
            let begun = self.ask(&self.request("POST", &uploads))?;
            expect(&begun, &[(202, "")])?;
            let target = with_query(&path_of(begun.header("Location")), &format!("digest={digest}"));
            let put = self.request("PUT", &target);
            let put = if way == Way::Stream { put.chunked(bytes.chunks(100_000)) } else { put.body(bytes) };
            self.ask(&put)?
        };
        if is_right {
            expect(&answer, &[(201, "")])?;
            self.linked(repo, blob, &answer)
        } else {
            expect(&answer, &[(400, "DIGEST_INVALID")])
        }
    }

    pub(super) fn begin(&mut self, slot: usize, repo: usize, blob: usize) -> Result<()> {
        if self.slots[slot].session.is_some() {
            self.cancel(slot)?;
        }
        let answer = self.ask(&self.request("POST", &self.path(repo, "blobs/uploads/")))?;
        expect(&answer, &[(202, "")])?;
        expect_header(&answer, "Range", "0-0")?;
        let location = path_of(answer.header("Location"));
        self.slots[slot].session = Some(Session { repo, blob, location, offset: 0, outlives: false });
        Ok(())
    }

    /// The slot's session; where there is none, a request to what is none is sent, and answered so.
    fn session(&mut self, slot: usize, method: &str) -> Result<Option<Session>> {
        if let Some(session) = self.slots[slot].session.take() {
            return Ok(Some(session));
        }
        let nobodys = || self.path(0, &format!("blobs/uploads/{NOBODYS}"));
        let target = self.slots[slot].last.clone().unwrap_or_else(nobodys);
        let target =
            if method == "PUT" { with_query(&target, &format!("digest={}", self.content.blobs[0].digest)) } else { target };
        let answer = self.ask(&self.request(method, &target))?;
        expect(&answer, &[(404, "BLOB_UPLOAD_UNKNOWN")])?;
        Ok(None)
    }

    /// The session goes on.
    fn keeps(&mut self, slot: usize, session: Session) {
        self.slots[slot].session = Some(session);
    }

    /// An answer says where the session stands, and where it is.
    fn stands(&mut self, session: &mut Session, answer: &Response, status: u16) -> Result<()> {
        expect(answer, &[(status, "BLOB_UPLOAD_INVALID")])?;
        expect_header(answer, "Range", &session.range())?;
        session.location = path_of(answer.header("Location"));
        Ok(())
    }

    pub(super) fn append(&mut self, slot: usize, eighths: usize, form: Form) -> Result<()> {
        let Some(mut session) = self.session(slot, "PATCH")? else { return Ok(()) };
        let rest = &self.content.blobs[session.blob].bytes[session.offset..];
        let piece = &rest[..part(rest.len(), eighths)];
        let request = self.request("PATCH", &session.location).header("Content-Type", "application/octet-stream");
        let request = match form {
            Form::Stream => request.chunked(piece.chunks(50_000)),
            Form::Range if !piece.is_empty() => {
                let range = format!("{}-{}", session.offset, session.offset + piece.len() - 1);
                request.header("Content-Range", range).body(piece)
            }
            _ => request.body(piece),
        };
        let answer = self.ask(&request)?;
        session.offset += piece.len();
        session.outlives = true;
        self.stands(&mut session, &answer, 202)?;
        self.keeps(slot, session);
        Ok(())
    }

    pub(super) fn astray(&mut self, slot: usize) -> Result<()> {
        let Some(mut session) = self.session(slot, "PATCH")? else { return Ok(()) };
        let range = format!("{}-{}", session.offset + 7, session.offset + 11);
        let answer = self.ask(&self.request("PATCH", &session.location).header("Content-Range", range).body(b"wrong"))?;
        self.stands(&mut session, &answer, 416)?;
        self.keeps(slot, session);
        Ok(())
    }

    pub(super) fn break_off(&mut self, slot: usize, eighths: usize) -> Result<()> {
        let Some(mut session) = self.session(slot, "PATCH")? else { return Ok(()) };
        let rest = &self.content.blobs[session.blob].bytes[session.offset..];
        let sent = part(rest.len(), eighths).min(rest.len().saturating_sub(1));
        if sent < 2 {
            self.keeps(slot, session);
            return Ok(());
        }
        let answer = self.request("PATCH", &session.location).body(rest).send_truncated(sent);
        if let Some(answer) = answer.filter(|answer| answer.status < 400) {
            return Err(Failure::new(format!("half a body is no success: {}", answer.describe())));
        }
        // All that arrived is kept, as soon as it has been taken from the connection.
        session.offset += sent;
        session.outlives = true;
        let since = Instant::now();
        loop {
            let answer = self.ask(&self.request("GET", &session.location))?;
            match self.stands(&mut session, &answer, 204) {
                Ok(()) => break,
                Err(failure) if since.elapsed() > ARRIVES => return Err(failure),
                Err(_) => sleep(Duration::from_millis(5)),
            }
        }
        // Who writes to it next waits until all of it is written and noted, and from then on it outlives the server.
        let answer = self.ask(&self.request("PATCH", &session.location).body(b""))?;
        self.stands(&mut session, &answer, 202)?;
        self.keeps(slot, session);
        Ok(())
    }

    pub(super) fn status(&mut self, slot: usize) -> Result<()> {
        let Some(mut session) = self.session(slot, "GET")? else { return Ok(()) };
        let answer = self.ask(&self.request("GET", &session.location))?;
        self.stands(&mut session, &answer, 204)?;
        self.keeps(slot, session);
        Ok(())
    }

    pub(super) fn finish(&mut self, slot: usize, how: End) -> Result<()> {
        let Some(session) = self.session(slot, "PUT")? else { return Ok(()) };
        let Session { repo, blob, offset, .. } = session;
        let content = self.content;
        let rest = &content.blobs[blob].bytes[offset..];
        let rest = if how == End::Early { &rest[..0] } else { rest };
        let digest = &content.blobs[if how == End::Wrong { (blob + 1) % BLOBS } else { blob }].digest;
        let request = self.request("PUT", &with_query(&session.location, &format!("digest={digest}")));
        let answer = self.ask(&request.body(rest))?;
        self.slots[slot].last = Some(session.location);
        let is_right = how != End::Wrong && offset + rest.len() == content.blobs[blob].bytes.len();
        if is_right {
            expect(&answer, &[(201, "")])?;
            self.linked(repo, blob, &answer)
        } else {
            expect(&answer, &[(400, "DIGEST_INVALID")])
        }
    }

    pub(super) fn cancel(&mut self, slot: usize) -> Result<()> {
        let Some(session) = self.session(slot, "DELETE")? else { return Ok(()) };
        let answer = self.ask(&self.request("DELETE", &session.location))?;
        self.slots[slot].last = Some(session.location);
        expect(&answer, &[(204, "")])
    }

    /// Gives all sessions up.
    pub fn cancel_all(&mut self) -> Result<()> {
        let open = (0..self.slots.len()).filter(|slot| self.slots[*slot].session.is_some()).collect::<Vec<_>>();
        open.into_iter().try_for_each(|slot| self.cancel(slot))
    }

    /// The server was stopped, and noted every session before it went.
    pub fn sessions_after_a_stop(&mut self) {
        self.slots.iter_mut().flat_map(|slot| &mut slot.session).for_each(|session| session.outlives = true);
    }

    /// The server was killed: of each session there is what it had synced, and one that never got a byte is gone.
    pub fn sessions_after_a_kill(&mut self) -> Result<()> {
        for slot in 0..self.slots.len() {
            let Some(mut session) = self.slots[slot].session.take() else { continue };
            let answer = self.ask(&self.request("GET", &session.location))?;
            if !session.outlives {
                expect(&answer, &[(404, "BLOB_UPLOAD_UNKNOWN")])?;
                self.slots[slot].last = Some(session.location);
                continue;
            }
            expect(&answer, &[(204, "")])?;
            let end = answer.get("Range").and_then(|range| range.strip_prefix("0-")?.parse::<usize>().ok());
            match end {
                Some(end) if end <= session.offset.saturating_sub(1) => session.offset = if end == 0 { 0 } else { end + 1 },
                _ => return Err(Failure::new(format!("a session of {} bytes: {}", session.offset, answer.describe()))),
            }
            self.slots[slot].session = Some(session);
        }
        Ok(())
    }
}
