//! What goes wrong, and how it ends.

use std::fmt;
use std::thread::JoinHandle;
use std::time::Duration;

use fastrand::Rng;
use rusqlite::Connection;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use wharf_tests::Server;

use crate::failure::{Context, Failure, Result};
use crate::power::mount::{self, Mounted};

/// Something that goes wrong for a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The disk fails in some way.
    Disk(mount::Trouble),
    /// The process may open no more files.
    Descriptors,
    /// Somebody else writes to the index and does not come to an end.
    Index,
}

impl Trouble {
    const ALL: [Self; 7] = [
        Self::Disk(mount::Trouble::Full),
        Self::Disk(mount::Trouble::ReadOnly),
        Self::Disk(mount::Trouble::Reading),
        Self::Disk(mount::Trouble::Writing),
        Self::Disk(mount::Trouble::Syncing),
        Self::Descriptors,
        Self::Index,
    ];

    /// One of them.
    pub fn any(random: &mut Rng) -> Self {
        Self::ALL[random.usize(..Self::ALL.len())]
    }

    /// How long it lasts. An index that is held is waited for, now and then for longer than anybody waits.
    pub fn time(self, random: &mut Rng) -> Duration {
        let long = self == Self::Index && random.u8(..8) == 0;
        Duration::from_millis(if long { 8_000 } else { random.u64(100..900) })
    }

    /// What it is called in a report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Disk(mount::Trouble::None) => "no trouble",
            Self::Disk(mount::Trouble::Full) => "full",
            Self::Disk(mount::Trouble::ReadOnly) => "read-only",
            Self::Disk(mount::Trouble::Reading) => "reads fail",
            Self::Disk(mount::Trouble::Writing) => "writes fail",
            Self::Disk(mount::Trouble::Syncing) => "syncs fail",
            Self::Descriptors => "no descriptors",
            Self::Index => "index held",
        }
    }

    /// Whether what was stored may be out of reach meanwhile.
    pub fn keeps_from_reading(self) -> bool {
        matches!(self, Self::Disk(mount::Trouble::Reading) | Self::Descriptors)
    }

    /// Lets it begin. It ends when what comes back is dropped.
    pub fn begin<'a>(self, server: &Server, mounted: &'a Mounted, time: Duration) -> Result<Remedy<'a>> {
        match self {
            Self::Disk(trouble) => {
                mounted.suffer(trouble);
                Ok(Remedy::Disk(mounted))
            }
            Self::Descriptors => {
                let pid = i32::try_from(server.pid()).ok().and_then(Pid::from_raw);
                let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).context("its descriptors")?.count() as u64;
                let few = Rlimit { current: Some(open), maximum: None };
                let before = prlimit(pid, Resource::Nofile, Rlimit { maximum: hard_limit(server)?, ..few }).context("prlimit")?;
                // It ends by itself, for a connection that nobody can take has to wait.
                let limited = std::thread::spawn(move || {
                    std::thread::sleep(time);
                    let _ = prlimit(pid, Resource::Nofile, before);
                });
                Ok(Remedy::Later(Some(limited)))
            }
            Self::Index => {
                let index = Connection::open(server.root().join("index.sqlite")).context("the index")?;
                index.busy_timeout(Duration::from_secs(5)).context("the index")?;
                index.execute_batch("BEGIN IMMEDIATE").context("the index")?;
                // It ends by itself, for whoever waits for it asks nothing else meanwhile.
                let held = std::thread::spawn(move || {
                    std::thread::sleep(time);
                    drop(index.execute_batch("ROLLBACK"));
                });
                Ok(Remedy::Later(Some(held)))
            }
        }
    }
}

/// The most that a process may allow itself again.
fn hard_limit(server: &Server) -> Result<Option<u64>> {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).context("its limits")?;
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    let hard = line.split_whitespace().nth(4).ok_or_else(|| Failure::new(format!("no limit of open files in {limits}")))?;
    Ok(hard.parse().ok())
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Ends a trouble when it is dropped.
pub enum Remedy<'a> {
    Disk(&'a Mounted),
    /// It ends by itself, and is waited for.
    Later(Option<JoinHandle<()>>),
}

impl Drop for Remedy<'_> {
    fn drop(&mut self) {
        match self {
            Self::Disk(mounted) => mounted.suffer(mount::Trouble::None),
            Self::Later(end) => drop(end.take().map(JoinHandle::join)),
        }
    }
}
