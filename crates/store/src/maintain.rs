//! Background work: what has to be done now and then, and what takes long.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::{Options, Result, Store, StoreError, Timestamp};

const MINUTE: Duration = Duration::from_secs(60);
/// Time between looks whether what is cached fits.
const EVICT_TURN: Duration = Duration::from_secs(1);
/// The longest time between two turns of scrubbing.
const SCRUB_TURN: Duration = Duration::from_secs(600);

impl Store {
    /// Background work, until the future is dropped: settles idle uploads, deletes freed bytes, ends stale sessions, collects, evicts, scrubs. Collecting and scrubbing
    /// may take long, and what others rely on is due in the meantime, so each kind has its own turns.
    pub async fn maintain(&self) {
        tokio::join!(self.keep_house(), self.keep_collecting(), self.keep_evicting(), self.keep_scrubbing());
    }

    async fn keep_evicting(&self) {
        let mut pause = EVICT_TURN;
        loop {
            tokio::time::sleep(std::mem::replace(&mut pause, EVICT_TURN)).await;
            if self.grew.load(Ordering::Relaxed) {
                let began = Instant::now();
                self.evict().await.map_or_else(|error| self.report(&error), drop);
                // Summing up a large cache takes its time, and is not to take all of it.
                pause = EVICT_TURN.max(began.elapsed() * 20);
            }
        }
    }

    async fn keep_collecting(&self) {
        let Some(every) = self.options.collect_every else { return };
        // A machine that is never up for a whole interval has garbage as well.
        let last = self.index.last_collection().await.ok().flatten();
        let waited = last.map_or(every, |last| Timestamp::now().since(last));
        let mut wait = every.saturating_sub(waited).max(every.min(MINUTE));
        loop {
            tokio::time::sleep(std::mem::replace(&mut wait, every)).await;
            self.collect(crate::CollectOptions::default(), &mut |_| {}).await.map_or_else(|error| self.report(&error), drop);
        }
    }

    async fn keep_scrubbing(&self) {
        let Some(every) = self.options.scrub_every else { return };
        loop {
            tokio::time::sleep(every.min(SCRUB_TURN)).await;
            self.scrub_once().await.map_or_else(|error| self.report(&error), drop);
        }
    }

    async fn keep_house(&self) {
        // What a crash left half deleted.
        self.freed.notify_one();
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut due = Due::new(&self.options);
        loop {
            let freed = tokio::select! {
                _ = tick.tick() => false,
                () = self.freed.notified() => true,
            };
            let done = if freed { self.bury().await.map(drop) } else { self.keep_house_once(&mut due).await };
            done.unwrap_or_else(|error| self.report(&error));
        }
    }

    fn report(&self, error: &StoreError) {
        self.done.lock().failures += 1;
        tracing::warn!(error = error as &dyn std::error::Error, "background work failed; it is tried again");
    }

    async fn keep_house_once(&self, due: &mut Due) -> Result<()> {
        if due.beat.is_due() {
            self.index.beat().await?;
        }
        if due.settle.is_due() {
            self.uploads.settle(false).await;
        }
        if due.minute.is_due() {
            self.save_uses().await?;
            let active = self.uploading().await?;
            self.leases.prune(|repository| active.get(repository).copied());
            if let Some(history) = self.options.history {
                self.index.trim_changes(history).await?;
            }
        }
        if let (true, Some(expiry)) = (due.expire.is_due(), self.options.upload_expiry) {
            let expired = self.uploads.expire(expiry).await?;
            if expired > 0 {
                tracing::info!(expired, "ended upload sessions without progress");
            }
        }
        Ok(())
    }
}

/// When each kind of housekeeping comes next.
struct Due {
    beat: Every,
    settle: Every,
    minute: Every,
    expire: Every,
}

impl Due {
    fn new(options: &Options) -> Self {
        Self {
            beat: Every::new(Some(options.beat())),
            settle: Every::new(Some(Duration::from_secs(5))),
            minute: Every::new(Some(MINUTE)),
            expire: Every::new(options.upload_expiry.map(|expiry| (expiry / 2).min(MINUTE))),
        }
    }
}

struct Every {
    period: Option<Duration>,
    last: Instant,
}

impl Every {
    fn new(period: Option<Duration>) -> Self {
        Self { period, last: Instant::now() }
    }

    fn is_due(&mut self) -> bool {
        let due = self.period.is_some_and(|period| self.last.elapsed() >= period);
        if due {
            self.last = Instant::now();
        }
        due
    }
}
