//! The rate of the host's time stamp counter.
#![allow(unsafe_code)]

/// How far two measurements of one counter lie apart at most, in thousandths.
const TOLERANCE: u64 = 5;

/// The counter's rate in kilohertz, measured for some milliseconds; `None` where the host has no such counter.
///
/// A guest for x86-64 under TCG sees this very counter, and a kernel that can measure nothing against it has to be told.
#[cfg(target_arch = "x86_64")]
pub fn kilohertz(milliseconds: u64) -> Option<u64> {
    use std::time::{Duration, Instant};
    // SAFETY: every x86-64 processor has this instruction, and it only reads.
    let now = || unsafe { std::arch::x86_64::_rdtsc() };
    let (start, first) = (Instant::now(), now());
    std::thread::sleep(Duration::from_millis(milliseconds));
    let (took, ticks) = (start.elapsed(), now().wrapping_sub(first));
    u64::try_from(u128::from(ticks) * 1_000_000 / took.as_nanos().max(1)).ok()
}

/// The counter's rate in kilohertz; `None` where the host has no such counter.
#[cfg(not(target_arch = "x86_64"))]
pub fn kilohertz(_milliseconds: u64) -> Option<u64> {
    None
}

/// Whether two measured rates are of one counter.
pub fn is_same(one: Option<u64>, other: Option<u64>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.abs_diff(other) * 1000 <= one.max(other) * TOLERANCE,
        (one, other) => one == other,
    }
}
