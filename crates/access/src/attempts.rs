//! Failed logins are counted by where they come from, and slowed down.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Addresses that are remembered at most. With more of them, the oldest failures are forgotten.
const ADDRESSES: usize = 10_000;

/// Failures of one address within a time after which it has to wait.
#[derive(Debug)]
pub(crate) struct Attempts {
    most: u32,
    within: Duration,
    failures: Mutex<HashMap<IpAddr, Failures>>,
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
        if all.len() >= ADDRESSES {
            let within = self.within;
            all.retain(|_, failures| now.saturating_duration_since(failures.since) < within);
            if all.len() >= ADDRESSES {
                all.clear();
            }
        }
        let failures = all.entry(network(from)).or_insert(Failures { count: 0, since: now });
        if now.saturating_duration_since(failures.since) >= self.within {
            *failures = Failures { count: 0, since: now };
        }
        failures.count = failures.count.saturating_add(1);
    }
}

/// Who has one IPv6 address has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
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

    #[test]
    fn memory_is_bounded() {
        let attempts = Attempts::new(1, Duration::from_secs(60));
        for number in 0..30_000_u32 {
            attempts.failed(IpAddr::V4(number.into()), Instant::now());
        }
        assert!(attempts.failures.lock().len() <= ADDRESSES);
    }
}
