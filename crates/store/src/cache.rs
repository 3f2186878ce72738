//! Answers that are asked for all the time, kept in memory within a bound.
//!
//! A committer calls [`Hot::forget`] after its transaction and before its answer, so nobody who was told of a change sees the state before it. A reader that
//! was slow must not put an old answer back: it notes the shard's age before it looks into the index, and what it found is kept only if nothing was
//! forgotten in that shard meanwhile.

use lru::LruCache;
use parking_lot::Mutex;
use std::hash::{BuildHasher, RandomState};
use wharf_oci::{Digest, Reference, RepositoryName};

use crate::{Blob, Content, Manifest};

const SHARDS: usize = 16;
/// What an entry costs beside its content: key, list pointers, hash slots, and what the reader keeps with it.
const OVERHEAD: usize = 1_400;

/// A cached answer.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Manifest(Manifest),
    Blob(Blob),
}

impl Answer {
    fn weight(&self) -> usize {
        OVERHEAD
            + match self {
                Self::Manifest(manifest) => manifest.record.bytes.len(),
                Self::Blob(blob) => match &blob.content {
                    Content::Memory(bytes) => bytes.len(),
                    // An open file costs kernel memory and a descriptor, not ours; count enough that there are never too many.
                    Content::File { .. } => 16 << 10,
                },
            }
    }
}

#[derive(Default)]
struct Shard {
    entries: Option<LruCache<Box<str>, Answer>>,
    weight: usize,
    age: u64,
}

/// See the module.
pub(crate) struct Hot {
    shards: [Mutex<Shard>; SHARDS],
    hash: RandomState,
    capacity: usize,
}

/// The shard's age when a reader set out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen(u64);

impl Hot {
    /// A cache of about `capacity` bytes; 0 keeps nothing.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()), hash: RandomState::new(), capacity: capacity / SHARDS }
    }

    /// Bytes of the largest content that is kept, so that one answer cannot push out all others.
    pub(crate) fn largest(&self) -> usize {
        self.capacity / 4
    }

    fn shard(&self, key: &str) -> &Mutex<Shard> {
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        &self.shards[self.hash.hash_one(key) as usize % SHARDS]
    }

    /// The answer, or what to hand to [`Hot::keep`] after having looked it up.
    pub(crate) fn get(&self, key: &str) -> Result<Answer, Seen> {
        let mut shard = self.shard(key).lock();
        let age = shard.age;
        shard.entries.as_mut().and_then(|entries| entries.get(key)).cloned().ok_or(Seen(age))
    }

    /// Keeps an answer looked up after `seen`, unless something was forgotten since.
    pub(crate) fn keep(&self, key: &str, answer: Answer, seen: Seen) {
        let weight = answer.weight();
        if weight > self.largest() + OVERHEAD {
            return;
        }
        let mut shard = self.shard(key).lock();
        let shard = &mut *shard;
        if shard.age != seen.0 {
            return;
        }
        let entries = shard.entries.get_or_insert_with(LruCache::unbounded);
        if let Some((_, old)) = entries.push(key.into(), answer) {
            shard.weight -= old.weight();
        }
        shard.weight += weight;
        while shard.weight > self.capacity {
            match entries.pop_lru() {
                Some((_, old)) => shard.weight -= old.weight(),
                None => break,
            }
        }
    }

    /// Drops everything.
    pub(crate) fn clear(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            *shard = Shard { age: shard.age + 1, ..Shard::default() };
        }
    }

    /// Drops an answer, and with it the right of readers under way to put one of this shard back.
    pub(crate) fn forget(&self, key: &str) {
        let mut shard = self.shard(key).lock();
        shard.age += 1;
        if let Some(old) = shard.entries.as_mut().and_then(|entries| entries.pop(key)) {
            shard.weight -= old.weight();
        }
    }
}

/// Key of the manifest under a tag or digest.
pub(crate) fn manifest_key<T>(repository: &RepositoryName, reference: &Reference, with: impl FnOnce(&str) -> T) -> T {
    match reference {
        Reference::Tag(tag) => key('m', repository, tag.as_str(), with),
        Reference::Digest(digest) => key('m', repository, &digest.text(), with),
    }
}

/// Key of a blob.
pub(crate) fn blob_key<T>(repository: &RepositoryName, digest: &Digest, with: impl FnOnce(&str) -> T) -> T {
    key('b', repository, &digest.text(), with)
}

/// Writes a key into one buffer a thread, so that looking something up allocates nothing. `\0` is in no part of it.
fn key<T>(kind: char, repository: &RepositoryName, name: &str, with: impl FnOnce(&str) -> T) -> T {
    thread_local!(static KEY: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) });
    KEY.with_borrow_mut(|text| {
        text.clear();
        text.push(kind);
        text.push_str(repository.as_str());
        text.push('\0');
        text.push_str(name);
        with(text)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn blob(size: usize) -> Answer {
        let record = Arc::new(crate::BlobRecord::for_test(size as u64));
        Answer::Blob(Blob { record, content: Content::Memory(vec![0; size].into()), kept: Arc::default(), used: None })
    }

    fn seen(hot: &Hot, key: &str) -> Seen {
        hot.get(key).unwrap_err()
    }

    #[test]
    fn a_slow_reader_cannot_bring_an_old_answer_back() {
        let hot = Hot::new(1 << 20);
        let before = seen(&hot, "k");
        hot.forget("k");
        hot.keep("k", blob(1), before);
        assert!(hot.get("k").is_err());
        let after = seen(&hot, "k");
        hot.keep("k", blob(1), after);
        assert!(hot.get("k").is_ok());
        hot.forget("k");
        assert!(hot.get("k").is_err());
    }

    #[test]
    fn the_bound_holds_and_the_latest_used_stay() {
        let hot = Hot::new(SHARDS * 20_000);
        for i in 0..1_000 {
            let key = format!("k{i}");
            hot.keep(&key, blob(1_000), seen(&hot, &key));
        }
        let weight: usize = hot.shards.iter().map(|shard| shard.lock().weight).sum();
        assert!(weight <= SHARDS * 20_000 && weight > SHARDS * 10_000, "{weight}");
        assert!(hot.get("k999").is_ok());
        assert!(hot.get("k0").is_err());
        let large = seen(&hot, "large");
        hot.keep("large", blob(9_000), large);
        assert!(hot.get("large").is_err(), "one answer must not push out the others");
    }
}
