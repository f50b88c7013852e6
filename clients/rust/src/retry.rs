//! How long to wait before the next try.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(10);
/// What a server may ask for at most: a slip of its own must not put a client to sleep for a day.
const LONGEST_ASKED: Duration = Duration::from_secs(60);

/// Doubles with every failure, with jitter so that a thousand clients of a restarted server do not come at once.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Counts a failure and returns how long to wait; not less than the server asked for, within reason.
    pub fn next(&mut self, asked: Option<Duration>) -> Duration {
        let ceiling = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures += 1;
        // A fresh hasher is seeded at random: enough for jitter, and no dependency.
        let chance = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
        ceiling.mul_f64(0.5 + chance / 2.0).max(asked.unwrap_or_default().min(LONGEST_ASKED))
    }

    /// Forgets the failures: something went well.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_bound_and_respect_the_server() {
        let mut backoff = Backoff::default();
        assert!(backoff.next(None) <= FIRST);
        for _ in 0..100 {
            assert!(backoff.next(None) <= LONGEST);
        }
        assert!(backoff.next(None) >= LONGEST / 2);
        assert_eq!(backoff.next(Some(Duration::from_secs(60))), Duration::from_secs(60));
        assert_eq!(backoff.next(Some(Duration::from_secs(86_400))), Duration::from_secs(60));
        backoff.reset();
        assert!(backoff.next(None) <= FIRST);
    }
}
