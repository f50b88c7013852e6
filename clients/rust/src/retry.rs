//! The delay before a retry: exponential backoff with jitter.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

const FIRST_DELAY: Duration = Duration::from_millis(200);
const MAX_DELAY: Duration = Duration::from_secs(10);
/// The longest delay that a server may ask for: a wrong value must not stop a client for a day.
const MAX_REQUESTED_DELAY: Duration = Duration::from_secs(60);

/// A delay that doubles with each failure. Jitter spreads the clients of a restarted server.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Counts a failure and returns the delay before the next attempt. `requested` is the server's lower limit.
    pub fn next(&mut self, requested: Option<Duration>) -> Duration {
        let ceiling = FIRST_DELAY.saturating_mul(1 << self.failures.min(16)).min(MAX_DELAY);
        self.failures += 1;
        // A new hasher has a random seed. This is enough for jitter and needs no dependency.
        let random = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
        ceiling.mul_f64(0.5 + random / 2.0).max(requested.unwrap_or_default().min(MAX_REQUESTED_DELAY))
    }

    /// Resets the delay after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_limit_and_respect_the_server() {
        let mut backoff = Backoff::default();
        assert!(backoff.next(None) <= FIRST_DELAY);
        for _ in 0..100 {
            assert!(backoff.next(None) <= MAX_DELAY);
        }
        assert!(backoff.next(None) >= MAX_DELAY / 2);
        assert_eq!(backoff.next(Some(Duration::from_secs(60))), Duration::from_secs(60));
        assert_eq!(backoff.next(Some(Duration::from_secs(86_400))), Duration::from_secs(60));
        backoff.reset();
        assert!(backoff.next(None) <= FIRST_DELAY);
    }
}
