//! When something is tried again, and when no more.

use std::time::Duration;

/// How patient a client is.
#[derive(Clone, Debug)]
pub struct Patience {
    /// Attempts without any progress in between.
    pub attempts: u32,
    /// Pause before the second attempt; it doubles from one to the next.
    pub pause: Duration,
    /// No pause of our own is longer.
    pub longest: Duration,
    /// A registry that asks for a longer pause than this is not waited for.
    pub asked: Duration,
    /// How long a connection may take.
    pub connect: Duration,
    /// How long nothing may move while something is sent or received.
    pub stall: Duration,
    /// How long an answer may take once everything was sent: the registry hashes and syncs meanwhile.
    pub answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts: 7,
            pause: Duration::from_millis(250),
            longest: Duration::from_secs(30),
            asked: Duration::from_secs(120),
            connect: Duration::from_secs(10),
            stall: Duration::from_secs(60),
            answer: Duration::from_secs(300),
        }
    }
}

/// Attempts at one thing.
#[derive(Debug)]
pub(crate) struct Attempts<'a> {
    patience: &'a Patience,
    made: u32,
}

impl<'a> Attempts<'a> {
    pub(crate) fn new(patience: &'a Patience) -> Self {
        Self { patience, made: 0 }
    }

    /// The pause before the next attempt; `None` when there is none left. `asked` is what the registry asked for: to come back sooner would
    /// only make it worse.
    ///
    /// A random part keeps many clients that lost the same server from coming back in step.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Option<Duration> {
        self.made += 1;
        if self.made >= self.patience.attempts || asked.is_some_and(|asked| asked > self.patience.asked) {
            return None;
        }
        let doubled = self.patience.pause.saturating_mul(1 << (self.made - 1).min(16));
        let pause = doubled.mul_f64(0.5 + fastrand::f64() / 2.0);
        Some(pause.min(self.patience.longest).max(asked.unwrap_or_default()))
    }

    /// Something went forward: counting begins anew.
    pub(crate) fn progress(&mut self) {
        self.made = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_a_random_part_and_end() {
        let second = Duration::from_secs(1);
        let patience = Patience { attempts: 5, pause: second, longest: 6 * second, asked: 50 * second, ..Patience::default() };
        let mut attempts = Attempts::new(&patience);
        for (least, most) in [(0.5, 1.0), (1.0, 2.0), (2.0, 4.0), (4.0, 6.0)] {
            let pause = attempts.next(None).unwrap().as_secs_f64();
            assert!((least..=most).contains(&pause), "{pause} is not between {least} and {most}");
        }
        assert_eq!(attempts.next(None), None);
        attempts.progress();
        assert_eq!(attempts.next(Some(Duration::from_secs(5))), Some(Duration::from_secs(5)));
        assert_eq!(attempts.next(Some(50 * second)), Some(50 * second));
        assert_eq!(attempts.next(Some(51 * second)), None);
    }
}
