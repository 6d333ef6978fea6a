//! Time comes in as an argument, so that a test can hold it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// What time it is.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Microseconds since 1970-01-01 00:00 UTC by the wall clock, which may jump.
    fn now_micros(&self) -> i64;

    /// Microseconds since some fixed moment; never goes back.
    fn monotonic_micros(&self) -> u64;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// Starts the monotonic clock at 0.
    #[must_use]
    pub fn new() -> SystemClock {
        SystemClock { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now_micros(&self) -> i64 {
        // A clock set before 1970 reads as 1970: nothing but displayed times depends on it.
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX))
    }

    fn monotonic_micros(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_does_not_go_back() {
        let clock = SystemClock::new();
        let first = clock.monotonic_micros();
        assert!(clock.monotonic_micros() >= first);
        assert!(clock.now_micros() > 1_500_000_000_000_000);
    }
}
