//! One client that does what it is told, and compares every answer with what the model says it must be.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wharf_tests::{Request, Response};

use super::content::Content;
use super::op::{Op, SLOTS};
use super::state::{Is, Repo};
use super::uploads::Slot;
use crate::client::{Answers, Client};
use crate::failure::{Context, Result};

/// One client, its connections, and what it knows of the repositories that are its own.
pub struct Player<'a> {
    pub(super) content: &'a Content,
    /// Its repositories, by number.
    pub repos: Vec<Repo>,
    pub(super) slots: [Slot; SLOTS],
    /// What the names of its repositories begin with, and no others.
    pub(super) prefix: String,
    /// Whether somebody collects beside it, and how long leases last then.
    pub(super) lease: Option<Duration>,
    connections: Vec<Client>,
    /// When the last request was sent.
    sent: Instant,
    turn: usize,
    /// Things that it did wrong on purpose.
    pub faults: u64,
}

impl<'a> Player<'a> {
    /// A client that nobody collects beside, with several connections, which take turns.
    pub fn alone(content: &'a Content, address: SocketAddr, names: &[&str]) -> Self {
        Self::new(content, address, names, "", None, 3)
    }

    /// One of many, whose repositories have names that begin so.
    pub fn beside(content: &'a Content, address: SocketAddr, names: &[&str], prefix: &str, lease: Duration) -> Self {
        Self::new(content, address, names, prefix, Some(lease), 1)
    }

    fn new(
        content: &'a Content,
        address: SocketAddr,
        names: &[&str],
        prefix: &str,
        lease: Option<Duration>,
        connections: usize,
    ) -> Self {
        Self {
            content,
            repos: names.iter().map(|name| Repo::new(&format!("{prefix}{name}"))).collect(),
            slots: Default::default(),
            prefix: prefix.to_owned(),
            lease,
            connections: (0..connections).map(|_| Client::new(address)).collect(),
            sent: Instant::now(),
            turn: 0,
            faults: 0,
        }
    }

    /// The server was started again, and is there now.
    pub fn moves_to(&mut self, address: SocketAddr) {
        self.connections.iter_mut().for_each(|client| client.moves_to(address));
    }

    /// Nobody collects beside it any more: what is sure stays so.
    pub fn is_alone_now(&mut self) {
        self.lease = None;
    }

    /// Requests that were answered, and the longest time that one took.
    pub fn sums(&self) -> (u64, Duration) {
        let requests = self.connections.iter().map(|client| client.requests).sum();
        (requests, self.connections.iter().map(|client| client.longest).max().unwrap_or_default())
    }

    /// How many answers had which status.
    pub(super) fn answers(&self) -> Answers {
        let mut all = Answers::default();
        self.connections.iter().for_each(|client| all.add(&client.answers));
        all
    }

    /// Does one thing. Collections and restarts are not a client's to do, and do nothing.
    ///
    /// # Errors
    /// An answer is another than it must be.
    pub fn play(&mut self, op: &Op) -> Result<()> {
        self.faults += u64::from(op.is_fault());
        let done = match op {
            Op::Push { repo, blob, way } => self.push(*repo, *blob, *way, true),
            Op::Wrong { repo, blob, way } => self.push(*repo, *blob, *way, false),
            Op::Begin { slot, repo, blob } => self.begin(*slot, *repo, *blob),
            Op::Append { slot, eighths, form } => self.append(*slot, *eighths, *form),
            Op::Astray { slot } => self.astray(*slot),
            Op::Break { slot, eighths } => self.break_off(*slot, *eighths),
            Op::Status { slot } => self.status(*slot),
            Op::Finish { slot, how } => self.finish(*slot, *how),
            Op::Cancel { slot } => self.cancel(*slot),
            Op::Mount { repo, blob, from } => self.mount(*repo, *blob, *from),
            Op::Head { repo, blob } => self.head(*repo, *blob),
            Op::Get { repo, blob } => self.get(*repo, *blob),
            Op::Half { repo, blob } => self.half(*repo, *blob),
            Op::DeleteBlob { repo, blob } => self.delete_blob(*repo, *blob),
            Op::PutManifest { repo, manifest, under, only } => self.put_manifest(*repo, *manifest, under, *only),
            Op::HeadManifest { repo, name } => self.read_manifest("HEAD", *repo, *name),
            Op::GetManifest { repo, name } => self.read_manifest("GET", *repo, *name),
            Op::Untag { repo, tag } => self.untag(*repo, *tag),
            Op::DeleteManifest { repo, manifest } => self.delete_manifest(*repo, *manifest),
            Op::Tags { repo, page, after } => self.tags(*repo, *page, *after),
            Op::AllTags { repo, page } => self.all_tags(*repo, *page),
            Op::Referrers { repo, manifest, kind } => self.referrers(*repo, *manifest, *kind),
            Op::Catalog { page } => self.catalog(*page),
            Op::Collect | Op::Restart | Op::Kill => Ok(()),
        };
        done.context(format!("{op:?}"))
    }

    pub(super) fn request<'r>(&self, method: &str, target: &str) -> Request<'r> {
        self.connections[0].request(method, target)
    }

    /// Sends a request and reads the answer. What is known is as of after that, for a collection may have come in between.
    pub(super) fn ask(&mut self, request: &Request<'_>) -> Result<Response> {
        self.sent = Instant::now();
        self.turn = (self.turn + 1) % self.connections.len();
        let answer = self.connections[self.turn].send(request)?;
        self.age();
        Ok(answer)
    }

    /// What may have been collected by now is not sure.
    pub fn age(&mut self) {
        if self.lease.is_some() {
            let now = Instant::now();
            self.repos.iter_mut().for_each(|repo| repo.age(self.content, now));
        }
    }

    /// Until when a lease holds, at least, that the last request was given. One that is there is renewed once less than half of it is left.
    pub(super) fn until(&self) -> Instant {
        self.sent + self.lease.unwrap_or_default() / 2
    }

    pub(super) fn path(&self, repo: usize, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.repos[repo].name)
    }

    /// The 404 of what is not in a repository: its own, or that of a repository that the server does not know.
    pub(super) fn absent(&self, repo: usize, code: &'static str) -> Vec<(u16, &'static str)> {
        match self.repos[repo].known {
            Is::Yes => vec![(404, code)],
            Is::No => vec![(404, "NAME_UNKNOWN")],
            Is::Maybe => vec![(404, code), (404, "NAME_UNKNOWN")],
        }
    }
}

/// The answers to a question about something: one where it is there, others where it is not.
pub(super) fn by_presence(is: Is, there: (u16, &'static str), absent: &[(u16, &'static str)]) -> Vec<(u16, &'static str)> {
    let there = (is >= Is::Maybe).then_some(there);
    there.into_iter().chain(absent.iter().filter(|_| is <= Is::Maybe).copied()).collect()
}
