//! Leases: for how long what a client was told exists is safe from collection.
//!
//! A lease is on (repository, digest). Taking one and condemning content exclude each other on that key: either the lease comes first and the
//! collector passes the content over, or the collector comes first and the client waits the few milliseconds until its transaction is through
//! and then sees that the content is gone. So a "yes, that blob is here" always holds for the lease's time.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use wharf_oci::{Digest, RepositoryName};

/// Keys are spread over this many locks, so that pushes of different content do not meet.
const SHARDS: usize = 16;
/// Lease periods for which uploads in a repository keep a lease beyond its own end. A slow push of many layers must not lose what it was told at its beginning,
/// and a repository that is always pushed to must be collected at last.
const KEPT_FOR: u32 = 24;

type Key = (RepositoryName, Digest);

enum State {
    Leased(Instant),
    Condemned,
}

/// What taking a lease did: until when a new one runs, or that there was one already.
#[derive(Clone, Copy, Debug)]
#[must_use = "a lease is for what is there; give it back when nothing is"]
pub(crate) struct Taken(Option<Instant>);

/// The leases of one process. A new process does not know its predecessor's: see [`crate::Store`], which counts every row as leased for a while then.
pub(crate) struct Leases {
    shards: [Mutex<HashMap<Key, State>>; SHARDS],
    hash: RandomState,
    period: Duration,
    spared: Notify,
}

impl Leases {
    pub(crate) fn new(period: Duration) -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()), hash: RandomState::new(), period, spared: Notify::new() }
    }

    fn shard(&self, key: &Key) -> &Mutex<HashMap<Key, State>> {
        let hash = self.hash.hash_one(key);
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        &self.shards[hash as usize % SHARDS]
    }

    /// Takes or renews a lease; waits while the content is being collected, after which it may be gone. Take it before looking whether the content is there.
    pub(crate) async fn take(&self, repository: &RepositoryName, digest: &Digest) -> Taken {
        let key = (repository.clone(), *digest);
        loop {
            let waiting = self.spared.notified();
            tokio::pin!(waiting);
            waiting.as_mut().enable();
            if let Some(taken) = self.try_take(&key) {
                return taken;
            }
            waiting.await;
        }
    }

    /// `None` when the content is being collected.
    fn try_take(&self, key: &Key) -> Option<Taken> {
        let now = Instant::now();
        let mut shard = self.shard(key).lock();
        match shard.get_mut(key) {
            Some(State::Condemned) => None,
            // A renewal that changes little is not worth a write where leases are rows; the rule is the same here.
            Some(State::Leased(until)) if until.saturating_duration_since(now) > self.period / 2 => {
                // Who took it first cannot give it back any more.
                *until += Duration::from_nanos(1);
                Some(Taken(None))
            }
            Some(State::Leased(until)) => {
                *until = now + self.period;
                Some(Taken(None))
            }
            None => {
                let until = now + self.period;
                shard.insert(key.clone(), State::Leased(until));
                Some(Taken(Some(until)))
            }
        }
    }

    /// Whether a lease that runs until then holds now. Uploads that have gone on since `kept`, when it still ran, make it last longer.
    fn is_alive(&self, until: Instant, kept: Option<Instant>) -> bool {
        let is_kept = kept.is_some_and(|since| until > since);
        let until = if is_kept { until + self.period * KEPT_FOR } else { until };
        until > Instant::now()
    }

    /// Takes a lease back that was taken for nothing. One that was there before, or was renewed since, stays.
    pub(crate) fn give_back(&self, repository: &RepositoryName, digest: &Digest, taken: Taken) {
        let Taken(Some(until)) = taken else { return };
        let key = (repository.clone(), *digest);
        let mut shard = self.shard(&key).lock();
        if matches!(shard.get(&key), Some(State::Leased(now)) if *now == until) {
            shard.remove(&key);
        }
    }

    /// How much longer a lease on this key runs; `None` without one. Uploads that have gone on since `kept` prolong it.
    pub(crate) fn remaining(&self, repository: &RepositoryName, digest: &Digest, kept: Option<Instant>) -> Option<Duration> {
        let key = (repository.clone(), *digest);
        match self.shard(&key).lock().get(&key) {
            Some(State::Leased(until)) => match until.saturating_duration_since(Instant::now()) {
                Duration::ZERO => self.is_alive(*until, kept).then_some(self.period),
                left => Some(left),
            },
            _ => None,
        }
    }

    /// Marks content without a live lease as being collected, until the answer is dropped. A group is one content under all its digests: a lease on any of them
    /// saves it. Answers for each group whether it was marked.
    pub(crate) fn condemn<'g>(
        &self,
        repository: &RepositoryName,
        groups: impl IntoIterator<Item = &'g [Digest]>,
        kept: Option<Instant>,
    ) -> (Condemned<'_>, Vec<bool>) {
        let mut condemned = Condemned { leases: self, keys: Vec::new() };
        let mut marked = Vec::new();
        for group in groups {
            let before = condemned.keys.len();
            let all = group.iter().all(|digest| self.try_condemn((repository.clone(), *digest), kept, &mut condemned.keys));
            if !all {
                let spared = condemned.keys.split_off(before);
                drop(Condemned { leases: self, keys: spared });
            }
            marked.push(all);
        }
        (condemned, marked)
    }

    fn try_condemn(&self, key: Key, kept: Option<Instant>, keys: &mut Vec<Key>) -> bool {
        let mut shard = self.shard(&key).lock();
        match shard.get(&key) {
            Some(State::Condemned) => return false,
            Some(State::Leased(until)) if self.is_alive(*until, kept) => return false,
            _ => {
                shard.insert(key.clone(), State::Condemned);
            }
        }
        drop(shard);
        keys.push(key);
        true
    }

    /// Forgets leases that have run out. `kept` says of a repository since when uploads have gone on in it.
    pub(crate) fn prune(&self, kept: impl Fn(&RepositoryName) -> Option<Instant>) {
        for shard in &self.shards {
            shard.lock().retain(|(repository, _), state| match state {
                State::Leased(until) => self.is_alive(*until, kept(repository)),
                State::Condemned => true,
            });
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }
}

/// Content that is being collected. Whoever wants a lease on it waits until this is dropped.
pub(crate) struct Condemned<'a> {
    leases: &'a Leases,
    keys: Vec<Key>,
}

impl Drop for Condemned<'_> {
    fn drop(&mut self) {
        for key in &self.keys {
            self.leases.shard(key).lock().remove(key);
        }
        self.leases.spared.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        ("a/b".parse().unwrap(), Digest::sha256(b"x"))
    }

    #[tokio::test]
    async fn a_lease_saves_from_the_collector_until_it_runs_out() {
        let (repository, digest) = key();
        let begun = Instant::now();
        let leases = Leases::new(Duration::from_millis(40));
        let _ = leases.take(&repository, &digest).await;
        assert_eq!(leases.condemn(&repository, [&[digest][..]], None).1, [false]);
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(leases.condemn(&repository, [&[digest][..]], Some(begun)).1, [false], "an upload keeps it");
        let late = Some(Instant::now());
        let (condemned, marked) = leases.condemn(&repository, [&[digest][..]], late);
        assert_eq!(marked, [true], "one that began later does not");
        drop(condemned);
        let _ = leases.take(&repository, &digest).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
        let other = Digest::sha256(b"y");
        let _ = leases.take(&repository, &other).await;
        assert_eq!(leases.condemn(&repository, [&[digest, other][..]], None).1, [false], "a lease on one name saves the content");
        assert_eq!(leases.condemn(&repository, [&[digest][..]], None).1, [true]);
    }

    #[tokio::test]
    async fn who_wants_condemned_content_waits_for_the_verdict() {
        let (repository, digest) = key();
        let leases = std::sync::Arc::new(Leases::new(Duration::from_secs(60)));
        let (condemned, _) = leases.condemn(&repository, [&[digest][..]], None);
        let waiter = tokio::spawn({
            let (leases, repository) = (leases.clone(), repository.clone());
            async move { leases.take(&repository, &digest).await }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiter.is_finished());
        drop(condemned);
        let _ = waiter.await.unwrap();
        assert!(leases.remaining(&repository, &digest, None).is_some());
    }

    #[tokio::test]
    async fn leases_that_ran_out_are_forgotten() {
        let (repository, digest) = key();
        let begun = Instant::now();
        let leases = Leases::new(Duration::from_millis(1));
        let _ = leases.take(&repository, &digest).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        leases.prune(|_| Some(begun));
        assert_eq!(leases.len(), 1);
        leases.prune(|_| None);
        assert_eq!(leases.len(), 0);
        let _ = leases.take(&repository, &digest).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        leases.prune(|_| Some(begun));
        assert_eq!(leases.len(), 0, "no upload keeps a lease for ever");
    }

    #[tokio::test]
    async fn a_lease_for_nothing_is_given_back_unless_somebody_else_relies_on_it() {
        let (repository, digest) = key();
        let leases = Leases::new(Duration::from_secs(60));
        let taken = leases.take(&repository, &digest).await;
        leases.give_back(&repository, &digest, taken);
        assert_eq!(leases.len(), 0);
        let first = leases.take(&repository, &digest).await;
        let second = leases.take(&repository, &digest).await;
        leases.give_back(&repository, &digest, first);
        leases.give_back(&repository, &digest, second);
        assert_eq!(leases.len(), 1);
    }
}
