//! Failed logins are counted by where they come from, and slowed down.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::bounded::{Bounded, network};

/// Failures of one address within a time after which it has to wait.
#[derive(Debug)]
pub(crate) struct Attempts {
    most: u32,
    within: Duration,
    failures: Mutex<Bounded<IpAddr, Failures>>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    since: Instant,
}

/// Too many failures came from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// How long to wait.
    pub wait: Duration,
}

impl Attempts {
    /// Allows so many failures of an address within so long.
    pub(crate) fn new(most: u32, within: Duration) -> Self {
        Self { most, within, failures: Mutex::default() }
    }

    /// Whether a login from there is tried at all.
    ///
    /// # Errors
    ///
    /// It is not, for so long.
    pub(crate) fn check(&self, from: IpAddr, now: Instant) -> Result<(), TooMany> {
        match self.failures.lock().get(&network(from)) {
            Some(failures) if failures.count >= self.most => {
                match (failures.since + self.within).saturating_duration_since(now) {
                    Duration::ZERO => Ok(()),
                    wait => Err(TooMany { wait }),
                }
            }
            _ => Ok(()),
        }
    }

    /// Notes a failure.
    pub(crate) fn failed(&self, from: IpAddr, now: Instant) {
        let mut all = self.failures.lock();
        let is_over = |failures: &Failures| now.saturating_duration_since(failures.since) >= self.within;
        let failures = all.entry(&network(from), Failures { count: 0, since: now }, is_over);
        if is_over(failures) {
            *failures = Failures { count: 0, since: now };
        }
        failures.count = failures.count.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_too_often_waits_and_others_do_not() {
        let attempts = Attempts::new(3, Duration::from_secs(60));
        let now = Instant::now();
        let [bad, same, other]: [IpAddr; 3] = ["2001:db8::1", "2001:db8::2", "192.0.2.1"].map(|text| text.parse().unwrap());
        for _ in 0..3 {
            assert_eq!(attempts.check(bad, now), Ok(()));
            attempts.failed(bad, now);
        }
        assert_eq!(attempts.check(same, now + Duration::from_secs(20)), Err(TooMany { wait: Duration::from_secs(40) }));
        assert_eq!(attempts.check(other, now), Ok(()));
        assert_eq!(attempts.check(bad, now + Duration::from_secs(60)), Ok(()));
        attempts.failed(bad, now + Duration::from_secs(61));
        assert_eq!(attempts.check(bad, now + Duration::from_secs(61)), Ok(()));
    }
}
