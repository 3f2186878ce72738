//! What a client does, one operation at a time, and how operations are chosen.
//!
//! An operation says everything about itself, so that a list of them means much the same when some are left out.

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::content::{BLOBS, Content, MANIFESTS, TYPES};

/// Upload sessions that a client has at a time.
pub const SLOTS: usize = 3;
/// Tags in use.
pub const TAGS: usize = 5;

/// An operation. Repositories, blobs, manifests and tags are numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Op {
    /// Pushes a blob whole.
    Push { repo: usize, blob: usize, way: Way },
    /// Pushes it as if it were the next one.
    Wrong { repo: usize, blob: usize, way: Way },
    /// Opens a session for a blob; one that the slot had is cancelled.
    Begin { slot: usize, repo: usize, blob: usize },
    /// Sends so many eighths of what is left.
    Append { slot: usize, eighths: usize, form: Form },
    /// Sends something from a place where the session is not.
    Astray { slot: usize },
    /// Sends so many eighths of what is left, and breaks off.
    Break { slot: usize, eighths: usize },
    /// Asks how far it is.
    Status { slot: usize },
    /// Closes the session.
    Finish { slot: usize, how: End },
    /// Gives the session up.
    Cancel { slot: usize },
    /// Mounts a blob.
    Mount { repo: usize, blob: usize, from: Option<usize> },
    /// Asks for a blob as who is about to push does.
    Head { repo: usize, blob: usize },
    /// Reads a blob.
    Get { repo: usize, blob: usize },
    /// Reads the second half of a blob.
    Half { repo: usize, blob: usize },
    /// Deletes a blob.
    DeleteBlob { repo: usize, blob: usize },
    /// Pushes a manifest under a tag, or by its digest with any number of them.
    PutManifest { repo: usize, manifest: usize, under: Under, only: Option<Condition> },
    /// Asks for a manifest as who is about to push does.
    HeadManifest { repo: usize, name: Name },
    /// Reads a manifest.
    GetManifest { repo: usize, name: Name },
    /// Deletes a tag.
    Untag { repo: usize, tag: usize },
    /// Deletes a manifest.
    DeleteManifest { repo: usize, manifest: usize },
    /// Reads one page of tags.
    Tags { repo: usize, page: usize, after: Option<usize> },
    /// Reads all pages of tags.
    AllTags { repo: usize, page: usize },
    /// Reads what is about a manifest.
    Referrers { repo: usize, manifest: usize, kind: Option<usize> },
    /// Reads all pages of the catalog.
    Catalog { page: usize },
    /// Collects now.
    Collect,
    /// Stops the server and starts it again.
    Restart,
    /// Kills the server and starts it again.
    Kill,
}

/// How a blob is pushed whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// With the POST.
    Post,
    /// With the PUT after it.
    Put,
    /// With the PUT, without a length.
    Stream,
}

/// How a chunk is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// With its place.
    Range,
    /// With its length alone.
    Length,
    /// Without either.
    Stream,
}

/// How a session is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// With what is left.
    Whole,
    /// Without it.
    Early,
    /// With it, and as if it were the next blob.
    Wrong,
}

/// What a manifest is pushed as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Under {
    /// A tag.
    Tag(usize),
    /// Its digest, and these tags.
    Digest(Vec<usize>),
}

/// What a manifest is asked for by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Name {
    /// A tag.
    Tag(usize),
    /// The digest of this one.
    Digest(usize),
}

/// When a manifest is to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// `If-Match` with the digest of this one, or `*`.
    Match(Option<usize>),
    /// `If-None-Match` with the digest of this one, or `*`.
    NoneMatch(Option<usize>),
}

impl Op {
    /// Whether it does something that a server has to cope with rather than serve.
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::Wrong { .. } | Self::Astray { .. } | Self::Break { .. } | Self::Restart | Self::Kill)
            || matches!(self, Self::Finish { how: End::Early | End::Wrong, .. })
    }
}

/// Chooses what one client does next, for ever.
pub struct Choice<'a> {
    random: Rng,
    content: &'a Content,
    /// The repositories that are the client's.
    repos: Vec<usize>,
    /// Whether the client owns the server, too.
    is_alone: bool,
    ahead: Vec<Op>,
}

impl<'a> Choice<'a> {
    /// What this seed makes of these repositories.
    pub fn new(seed: u64, content: &'a Content, repos: Vec<usize>, is_alone: bool) -> Self {
        Self { random: Rng::with_seed(seed), content, repos, is_alone, ahead: Vec::new() }
    }

    fn repo(&mut self) -> usize {
        self.repos[self.random.usize(..self.repos.len())]
    }

    fn way(&mut self) -> Way {
        [Way::Post, Way::Put, Way::Stream][self.random.usize(..3)]
    }

    fn tags(&mut self) -> Under {
        match self.random.u8(..5) {
            0 => Under::Digest(Vec::new()),
            1 => Under::Digest((0..TAGS).filter(|_| self.random.u8(..3) == 0).collect()),
            _ => Under::Tag(self.random.usize(..TAGS)),
        }
    }

    fn name(&mut self) -> Name {
        if self.random.bool() { Name::Tag(self.random.usize(..TAGS)) } else { Name::Digest(self.random.usize(..MANIFESTS)) }
    }

    /// A push as clients do it, each step an operation: what is below first. Some of them leave out what they believe to be there.
    fn whole_push(&mut self) {
        let (repo, manifest) = (self.repo(), self.random.usize(..MANIFESTS));
        let (blobs, manifests) = self.content.needs(manifest);
        let mut steps = Vec::new();
        for blob in blobs {
            steps.push(match self.random.u8(..8) {
                0 => Op::Head { repo, blob },
                1 => Op::Mount { repo, blob, from: None },
                2 => Op::Mount { repo, blob, from: Some(self.repo()) },
                _ => Op::Push { repo, blob, way: self.way() },
            });
        }
        for manifest in manifests {
            let under = if steps.len() % 3 == 0 { Under::Digest(Vec::new()) } else { self.tags() };
            steps.push(Op::PutManifest { repo, manifest, under, only: None });
        }
        self.ahead.extend(steps.into_iter().rev());
    }

    /// The next operation.
    pub fn next_op(&mut self) -> Op {
        if let Some(op) = self.ahead.pop() {
            return op;
        }
        let (repo, slot) = (self.repo(), self.random.usize(..SLOTS));
        let (blob, manifest, tag) = (self.random.usize(..BLOBS), self.random.usize(..MANIFESTS), self.random.usize(..TAGS));
        let eighths = self.random.usize(1..=8);
        match self.random.u8(..100) {
            0..14 => {
                self.whole_push();
                self.next_op()
            }
            14..19 => Op::Push { repo, blob, way: self.way() },
            19..21 => Op::Wrong { repo, blob, way: self.way() },
            21..27 => Op::Begin { slot, repo, blob },
            27..34 => Op::Append { slot, eighths, form: [Form::Range, Form::Length, Form::Stream][self.random.usize(..3)] },
            34..36 => Op::Astray { slot },
            36..38 => Op::Break { slot, eighths },
            38..40 => Op::Status { slot },
            40..46 => {
                Op::Finish { slot, how: [End::Whole, End::Whole, End::Whole, End::Early, End::Wrong][self.random.usize(..5)] }
            }
            46 => Op::Cancel { slot },
            47..51 => Op::Mount { repo, blob, from: self.random.bool().then(|| self.repo()) },
            51..55 => Op::Head { repo, blob },
            55..58 => Op::Get { repo, blob },
            58..60 => Op::Half { repo, blob },
            60..64 => Op::DeleteBlob { repo, blob },
            64..70 => {
                let which = self.random.bool().then(|| self.random.usize(..MANIFESTS));
                let only = [None, Some(Condition::Match(which)), Some(Condition::NoneMatch(which))][self.random.usize(..3)];
                Op::PutManifest { repo, manifest, under: self.tags(), only }
            }
            70..73 => Op::HeadManifest { repo, name: self.name() },
            73..78 => Op::GetManifest { repo, name: self.name() },
            78..83 => Op::Untag { repo, tag },
            83..87 => Op::DeleteManifest { repo, manifest },
            87..89 => Op::Tags { repo, page: self.random.usize(..4), after: self.random.bool().then_some(tag) },
            89 => Op::AllTags { repo, page: self.random.usize(1..4) },
            90..93 => Op::Referrers { repo, manifest, kind: self.random.bool().then(|| self.random.usize(..TYPES.len())) },
            93..95 => Op::Catalog { page: self.random.usize(1..4) },
            95..98 if self.is_alone => Op::Collect,
            // Seldom: after each, a collection has to wait for more than a second.
            98 if self.is_alone && self.random.bool() => Op::Restart,
            99 if self.is_alone && self.random.bool() => Op::Kill,
            _ => Op::Get { repo, blob },
        }
    }
}
