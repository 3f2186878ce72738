//! A case: how a server is set up, and what one client does with it. One that failed is made as small as it can be, and kept.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wharf_tests::{Config, Launch, Server, sha256};

use super::content::Content;
use super::op::{Choice, Op};
use super::player::Player;
use super::state::Is;
use crate::client::Answers;
use crate::failure::{Context, Failure, Result, caught};

/// The repositories of a case.
const NAMES: [&str; 3] = ["a", "b/c", "d/e/f"];
/// Bytes up to which a blob is kept in the index unless that is turned off; what came in chunks is a file all the same.
const INLINE: usize = 4 << 10;
/// After a start all content counts as leased, for as long as a lease of the server before may last, which notes once a second that it is alive.
const AFTER_START: Duration = Duration::from_millis(1_200);
/// How long making a failed case smaller may take.
const SHRINKING: Duration = Duration::from_secs(60);

/// How long leases last: no time at all, or longer than any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leases {
    /// A collection takes all that nothing holds.
    Short,
    /// It takes nothing.
    Long,
}

/// How a server is set up, and what one client does with it, one thing after the other, so that every answer is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// How long leases last.
    pub leases: Leases,
    /// Whether the index keeps small blobs itself.
    pub inline: bool,
    /// What is done.
    pub ops: Vec<Op>,
}

/// What playing a case came to.
#[derive(Debug, Default)]
pub struct Played {
    /// Requests.
    pub requests: u64,
    /// The same by the status of the answer.
    pub answers: Answers,
    /// Faults.
    pub faults: u64,
    /// Collections.
    pub collections: u64,
    /// The longest request.
    pub longest: Duration,
}

/// A case that failed.
#[derive(Clone, Debug)]
pub struct Broken {
    /// What was wrong.
    pub failure: Failure,
    /// Operations that were done until then.
    pub after: usize,
}

impl Played {
    /// Adds what another came to.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.answers.add(&other.answers);
        self.faults += other.faults;
        self.collections += other.collections;
        self.longest = self.longest.max(other.longest);
    }

    /// Adds what a client has done.
    pub(super) fn add_player(&mut self, player: &Player<'_>) {
        let (requests, longest) = player.sums();
        let answers = player.answers();
        self.add(&Self { requests, answers, faults: player.faults, collections: 0, longest });
    }
}

impl Case {
    /// What this seed makes.
    pub fn of_seed(seed: u64, content: &Content, length: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let leases = if random.u8(..4) == 0 { Leases::Long } else { Leases::Short };
        let inline = random.bool();
        let mut choice = Choice::new(random.u64(..), content, (0..NAMES.len()).collect(), true);
        Self { leases, inline, ops: (0..length).map(|_| choice.next_op()).collect() }
    }

    /// As it is kept: JSON, one operation a line.
    pub fn text(&self) -> String {
        let line = |op: &Op| serde_json::to_string(op).unwrap_or_default();
        let ops = self.ops.iter().map(line).collect::<Vec<_>>().join(",\n");
        let leases = serde_json::to_string(&self.leases).unwrap_or_default();
        format!("{{\"leases\":{leases},\"inline\":{},\"ops\":[\n{ops}\n]}}\n", self.inline)
    }

    /// Reads what [`Case::text`] writes.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text).context("a case")
    }

    fn config(&self) -> Config {
        let config = Config::default()
            .set("wharf.collection.interval", "never")
            .set("wharf.collection.grace", "1ms")
            .set("wharf.collection.lease", if self.leases == Leases::Short { "1ms" } else { "1h" });
        if self.inline { config } else { config.with_files() }
    }

    /// Plays it on a fresh server, and compares all content at the end.
    ///
    /// # Errors
    /// The first answer that is another than it must be.
    pub fn play(&self, content: &Content, launch: &Launch) -> std::result::Result<Played, Broken> {
        let mut after = 0;
        let played = caught(|| Stage::new(self, content, launch).play(&self.ops, &mut after));
        played.map_err(|failure| Broken { failure, after })
    }

    /// A case that fails as well, with as few operations as can be found in a minute: pieces are left out for as long as it fails without them.
    pub fn shrunk(&self, content: &Content, launch: &Launch, broken: &Broken) -> (Self, Failure) {
        let began = Instant::now();
        let (mut least, mut failure) = (self.clone(), broken.failure.clone());
        least.ops.truncate(broken.after);
        let mut piece = least.ops.len().div_ceil(2);
        while piece > 0 && began.elapsed() < SHRINKING {
            let (mut at, before) = (0, least.ops.len());
            while at < least.ops.len() && began.elapsed() < SHRINKING {
                let mut fewer = least.clone();
                fewer.ops.drain(at..(at + piece).min(least.ops.len()));
                match fewer.play(content, launch) {
                    Ok(_) => at += piece,
                    Err(broken) => {
                        fewer.ops.truncate(broken.after);
                        (least, failure) = (fewer, broken.failure);
                    }
                }
            }
            // Single operations may have become superfluous by what was left out after them.
            piece = if piece == 1 && least.ops.len() < before { 1 } else { piece / 2 };
        }
        (least, failure)
    }
}

/// A server, and the one client that has it to itself.
struct Stage<'a> {
    case: &'a Case,
    content: &'a Content,
    server: Server,
    player: Player<'a>,
    played: Played,
    /// When the server that runs was started.
    started: Option<Instant>,
}

impl<'a> Stage<'a> {
    fn new(case: &'a Case, content: &'a Content, launch: &Launch) -> Self {
        let server = Server::launched(launch.clone(), case.config());
        let player = Player::alone(content, server.address(), &NAMES);
        Self { case, content, server, player, played: Played::default(), started: None }
    }

    fn play(mut self, ops: &[Op], after: &mut usize) -> Result<Played> {
        for op in ops {
            *after += 1;
            match op {
                Op::Collect => self.collect()?,
                Op::Restart | Op::Kill => self.start_again(*op == Op::Kill)?,
                op => self.player.play(op)?,
            }
        }
        self.player.whole().context("at the end")?;
        self.player.cancel_all().context("at the end")?;
        self.collect()?;
        self.files()?;
        self.player.whole().context("after the last collection")?;
        if self.case.leases == Leases::Short {
            self.player.delete_all().context("when everything is deleted")?;
            self.collect()?;
            self.files().context("when everything is deleted and collected")?;
        }
        self.played.add_player(&self.player);
        Ok(self.played)
    }

    fn start_again(&mut self, kill: bool) -> Result<()> {
        self.player.faults += 1;
        if kill {
            self.server.kill();
        }
        self.server.restart();
        self.started = Some(Instant::now());
        self.player.moves_to(self.server.address());
        if kill {
            self.player.sessions_after_a_kill().context("Kill")
        } else {
            self.player.sessions_after_a_stop();
            Ok(())
        }
    }

    /// Collects, and compares the report with what must have gone.
    fn collect(&mut self) -> Result<()> {
        let is_short = self.case.leases == Leases::Short;
        if is_short {
            // Leases of a millisecond are over, and nothing counts as leased because it is not known whether it is.
            let rest = self.started.map_or(Duration::ZERO, |started| AFTER_START.saturating_sub(started.elapsed()));
            sleep(rest.max(Duration::from_millis(5)));
        }
        let report = self.server.collect("now=1");
        self.played.collections += 1;
        let mut gone = (0, 0);
        for repo in &mut self.player.repos {
            if is_short {
                let (manifests, blobs) = repo.collect(self.content);
                gone = (gone.0 + manifests, gone.1 + blobs);
            } else {
                repo.forget_empty();
            }
        }
        let told = (report["manifests"].as_u64(), report["blobs"].as_u64());
        if told == (Some(gone.0), Some(gone.1)) {
            return Ok(());
        }
        Err(Failure::new(format!("Collect: expected {} manifests and {} blobs to go, got {report}", gone.0, gone.1)))
    }

    /// What lies on the disk is what is held, each once.
    fn files(&self) -> Result<()> {
        let held = |blob: &usize| self.player.repos.iter().any(|repo| repo.blob(*blob) == Is::Yes);
        let held: Vec<_> = (0..self.content.blobs.len()).filter(held).map(|blob| &self.content.blobs[blob]).collect();
        let found = self.server.blob_files().iter().map(std::fs::read).collect::<std::io::Result<Vec<_>>>().context("files")?;
        let mut found: Vec<_> = found.iter().map(|bytes| sha256(bytes)).collect();
        let inline = if self.case.inline { INLINE } else { 0 };
        // Every long one, and of the short ones those that came in chunks.
        let missing = held.iter().find(|blob| blob.bytes.len() > inline && !found.contains(&blob.digest));
        let superfluous = found.iter().find(|digest| held.iter().all(|blob| blob.digest != **digest)).cloned();
        let count = found.len();
        found.sort();
        found.dedup();
        match (missing, superfluous) {
            (Some(blob), _) => Err(Failure::new(format!("no file for the blob {}", blob.digest))),
            (_, Some(digest)) => Err(Failure::new(format!("a file that nothing holds: {digest}"))),
            _ if count > found.len() => Err(Failure::new(format!("{count} files for {} blobs", found.len()))),
            _ => Ok(()),
        }
    }
}
