//! What a trial is to do, and what it says when it is through.

use std::fmt;
use std::time::{Duration, Instant};

use wharf_tests::Launch;

use crate::failure::{Result, caught};

/// How long a trial goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// For this time, and what it takes to come to an end.
    Time(Duration),
    /// For this many events at least.
    Events(u64),
}

/// What a trial is to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where its choices come from: the same seed, the same choices.
    pub seed: u64,
    /// How long.
    pub limit: Limit,
    /// The program on trial.
    pub launch: Launch,
}

impl Plan {
    /// So many seconds, from a seed that nobody has chosen.
    pub fn for_seconds(seconds: u64, launch: Launch) -> Self {
        Self { seed: fastrand::u64(..1 << 48), limit: Limit::Time(Duration::from_secs(seconds)), launch }
    }

    /// The clock of a trial that begins now.
    pub fn clock(&self) -> Clock {
        Clock { began: Instant::now(), limit: self.limit }
    }

    /// Plays rounds, each from a seed of its own, until the time is over or something is found. A round is told its seed and the trial's clock, and answers how many
    /// events there have been since the trial began.
    pub fn rounds(&self, mut round: impl FnMut(u64, &Clock) -> Result<u64>) -> Vec<Found> {
        let clock = self.clock();
        for seed in self.seed.. {
            match caught(|| round(seed, &clock)) {
                Ok(events) if clock.is_over(events) => break,
                Ok(_) => {}
                Err(failure) => return vec![Found { what: failure.to_string(), seed }],
            }
        }
        Vec::new()
    }
}

/// How far a trial is.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began: Instant,
    limit: Limit,
}

impl Clock {
    /// Whether a trial that has seen so many events is through.
    pub fn is_over(&self, events: u64) -> bool {
        match self.limit {
            Limit::Time(time) => self.began.elapsed() >= time,
            Limit::Events(limit) => events >= limit,
        }
    }
}

/// One thing that went wrong.
#[derive(Clone, Debug)]
pub struct Found {
    /// What was expected, and what came instead.
    pub what: String,
    /// The seed of a trial that begins with it.
    pub seed: u64,
}

/// What a trial did and found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Requests that were sent, and their answers compared.
    pub events: u64,
    /// Things done on purpose that a server has to cope with: broken connections, wrong digests, kills.
    pub faults: u64,
    /// What else there is to say, in order.
    pub figures: Vec<(&'static str, String)>,
    /// What went wrong. A trial ends with the first.
    pub failures: Vec<Found>,
}

impl Report {
    /// Adds a figure.
    pub fn figure(&mut self, name: &'static str, value: impl fmt::Display) {
        self.figures.push((name, value.to_string()));
    }

    /// For tests: that nothing went wrong.
    ///
    /// # Panics
    /// Something did; says what, and the seed that finds it again.
    #[track_caller]
    pub fn expect_nothing(&self) {
        if let Some(found) = self.failures.first() {
            panic!("seed {}: {}", found.seed, found.what);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = [("events", self.events), ("faults injected", self.faults), ("failures found", self.failures.len() as u64)];
        for (name, value) in own {
            writeln!(f, "{name:<20} {value}")?;
        }
        self.figures.iter().try_for_each(|(name, value)| writeln!(f, "{name:<20} {value}"))
    }
}
