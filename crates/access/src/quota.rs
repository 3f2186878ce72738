//! Requests of one caller, kept to so many a second.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Seconds over which a caller may use up at once what it is given for them: builds come in bursts.
const BURST: f64 = 10.0;
/// Callers that are remembered at most. Who has been quiet for so long is forgotten first.
const CALLERS: usize = 10_000;

/// See the module.
#[derive(Debug)]
pub struct Quota {
    rate: f64,
    callers: Mutex<HashMap<String, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Quota {
    /// Allows `rate` requests a second on average.
    pub fn new(rate: u32) -> Self {
        Self { rate: f64::from(rate.max(1)), callers: Mutex::default() }
    }

    /// Counts a request of `caller` at `now`.
    ///
    /// # Errors
    ///
    /// It has used up what it is given, and is to wait so long.
    pub fn take(&self, caller: &str, now: Instant) -> Result<(), Duration> {
        let most = self.rate * BURST;
        let mut callers = self.callers.lock();
        if callers.len() >= CALLERS && !callers.contains_key(caller) {
            callers.retain(|_, bucket| now.saturating_duration_since(bucket.at).as_secs_f64() < BURST);
            if callers.len() >= CALLERS {
                callers.clear();
            }
        }
        // Names are copied only for those who are new.
        if !callers.contains_key(caller) {
            callers.insert(caller.to_owned(), Bucket { left: most, at: now });
        }
        let Some(bucket) = callers.get_mut(caller) else { return Ok(()) };
        let earned = now.saturating_duration_since(bucket.at).as_secs_f64() * self.rate;
        bucket.left = (bucket.left + earned).min(most);
        bucket.at = now;
        if bucket.left >= 1.0 {
            bucket.left -= 1.0;
            Ok(())
        } else {
            Err(Duration::from_secs_f64((1.0 - bucket.left) / self.rate))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_let_through_and_then_so_many_a_second() {
        let quota = Quota::new(5);
        let begun = Instant::now();
        let taken = |caller: &str, seconds: f64| {
            let now = begun + Duration::from_secs_f64(seconds);
            (0..1_000).take_while(|_| quota.take(caller, now).is_ok()).count()
        };
        assert_eq!(taken("a", 0.0), 50);
        assert_eq!(taken("a", 0.0), 0);
        assert_eq!(quota.take("a", begun), Err(Duration::from_millis(200)));
        assert_eq!(taken("a", 2.0), 10);
        assert_eq!(taken("b", 2.0), 50);
        assert_eq!(taken("a", 100.0), 50);
    }

    #[test]
    fn memory_is_bounded() {
        let quota = Quota::new(1);
        for number in 0..30_000 {
            let _ = quota.take(&number.to_string(), Instant::now());
        }
        assert!(quota.callers.lock().len() <= CALLERS);
    }
}
