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

type Key = (RepositoryName, Digest);

enum State {
    Leased(Instant),
    Condemned,
}

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
    pub(crate) async fn take(&self, repository: &RepositoryName, digest: &Digest) {
        let key = (repository.clone(), *digest);
        loop {
            let waiting = self.spared.notified();
            tokio::pin!(waiting);
            waiting.as_mut().enable();
            if self.try_take(&key) {
                return;
            }
            waiting.await;
        }
    }

    fn try_take(&self, key: &Key) -> bool {
        let now = Instant::now();
        let mut shard = self.shard(key).lock();
        match shard.get_mut(key) {
            Some(State::Condemned) => return false,
            // A renewal that changes little is not worth a write where leases are rows; the rule is the same here.
            Some(State::Leased(until)) if until.saturating_duration_since(now) > self.period / 2 => {}
            Some(State::Leased(until)) => *until = now + self.period,
            None => {
                shard.insert(key.clone(), State::Leased(now + self.period));
            }
        }
        true
    }

    /// How much longer a lease on this key runs; `None` without one. Leases in `kept` repositories do not run out.
    pub(crate) fn remaining(&self, repository: &RepositoryName, digest: &Digest, kept: bool) -> Option<Duration> {
        let key = (repository.clone(), *digest);
        match self.shard(&key).lock().get(&key) {
            Some(State::Leased(_)) if kept => Some(self.period),
            Some(State::Leased(until)) => Some(until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero()),
            _ => None,
        }
    }

    /// Marks content without a live lease as being collected, until the answer is dropped. A group is one content under all its digests: a lease on any of them
    /// saves it. Answers for each group whether it was marked.
    pub(crate) fn condemn<'g>(
        &self,
        repository: &RepositoryName,
        groups: impl IntoIterator<Item = &'g [Digest]>,
        kept: bool,
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

    fn try_condemn(&self, key: Key, kept: bool, keys: &mut Vec<Key>) -> bool {
        let mut shard = self.shard(&key).lock();
        match shard.get(&key) {
            Some(State::Condemned) => return false,
            Some(State::Leased(until)) if kept || *until > Instant::now() => return false,
            _ => {
                shard.insert(key.clone(), State::Condemned);
            }
        }
        drop(shard);
        keys.push(key);
        true
    }

    /// Forgets leases that have run out, but for those of repositories where an upload is open.
    pub(crate) fn prune(&self, is_kept: impl Fn(&RepositoryName) -> bool) {
        let now = Instant::now();
        for shard in &self.shards {
            shard.lock().retain(|(repository, _), state| match state {
                State::Leased(until) => *until > now || is_kept(repository),
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
        let leases = Leases::new(Duration::from_millis(40));
        leases.take(&repository, &digest).await;
        assert_eq!(leases.condemn(&repository, [&[digest][..]], false).1, [false]);
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(leases.condemn(&repository, [&[digest][..]], true).1, [false], "an open upload keeps it");
        let other = Digest::sha256(b"y");
        leases.take(&repository, &other).await;
        assert_eq!(
            leases.condemn(&repository, [&[digest, other][..]], false).1,
            [false],
            "a lease on one name saves the content"
        );
        assert_eq!(leases.condemn(&repository, [&[digest][..]], false).1, [true]);
    }

    #[tokio::test]
    async fn who_wants_condemned_content_waits_for_the_verdict() {
        let (repository, digest) = key();
        let leases = std::sync::Arc::new(Leases::new(Duration::from_secs(60)));
        let (condemned, _) = leases.condemn(&repository, [&[digest][..]], false);
        let waiter = tokio::spawn({
            let (leases, repository) = (leases.clone(), repository.clone());
            async move { leases.take(&repository, &digest).await }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiter.is_finished());
        drop(condemned);
        waiter.await.unwrap();
        assert!(leases.remaining(&repository, &digest, false).is_some());
    }

    #[tokio::test]
    async fn leases_that_ran_out_are_forgotten() {
        let (repository, digest) = key();
        let leases = Leases::new(Duration::from_millis(1));
        leases.take(&repository, &digest).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        leases.prune(|_| true);
        assert_eq!(leases.len(), 1);
        leases.prune(|_| false);
        assert_eq!(leases.len(), 0);
    }
}
