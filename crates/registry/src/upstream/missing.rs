//! What no upstream had a moment ago, so that who asks again and again does not make this registry do the same.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a "no" holds: an image that was just pushed upstream is to be found soon.
const HOLDS: Duration = Duration::from_secs(5);
/// Entries; beyond that the oldest answers are asked for again.
const MOST: usize = 4_096;

/// Keys that lately stood for nothing.
pub(super) struct Missing<K>(Mutex<HashMap<K, Instant>>);

impl<K> Default for Missing<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq> Missing<K> {
    /// Notes that there is nothing.
    pub(super) fn note(&self, key: K) {
        let mut known = self.0.lock();
        if known.len() >= MOST {
            known.retain(|_, since| since.elapsed() < HOLDS);
            if known.len() >= MOST {
                known.clear();
            }
        }
        known.insert(key, Instant::now());
    }

    /// Whether there was nothing a moment ago.
    pub(super) fn knows(&self, key: &K) -> bool {
        self.0.lock().get(key).is_some_and(|since| since.elapsed() < HOLDS)
    }
}
