//! Requests of one caller, kept to so many a second.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::bounded::Bounded;

/// Seconds over which a caller may use up at once what it is given for them: builds come in bursts.
const BURST: f64 = 10.0;

/// See the module.
#[derive(Debug)]
pub struct Quota {
    rate: f64,
    callers: Mutex<Bounded<String, Bucket>>,
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
        // Whoever has been quiet for so long has everything again.
        let is_over = |bucket: &Bucket| now.saturating_duration_since(bucket.at).as_secs_f64() >= BURST;
        let bucket = callers.entry(caller, Bucket { left: most, at: now }, is_over);
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
}
