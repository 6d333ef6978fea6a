//! A clock that moves when it is told to.

use std::sync::atomic::{AtomicI64, Ordering};

use colonnade_storage::clock::Clock;

/// A clock that moves when it is told to.
#[derive(Debug)]
pub struct ManualClock {
    start: i64,
    now: AtomicI64,
}

impl ManualClock {
    /// Starts at a wall-clock time, in microseconds since 1970; the monotonic time starts at 0.
    #[must_use]
    pub fn new(start_micros: i64) -> ManualClock {
        ManualClock { start: start_micros, now: AtomicI64::new(start_micros) }
    }

    /// Moves both times on.
    ///
    /// # Panics
    /// If `micros` is negative.
    pub fn advance(&self, micros: i64) {
        assert!(micros >= 0, "time does not go back");
        self.now.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Default for ManualClock {
    /// Starts on 2023-11-14 22:13:20 UTC.
    fn default() -> ManualClock {
        ManualClock::new(1_700_000_000_000_000)
    }
}

impl Clock for ManualClock {
    fn now_micros(&self) -> i64 {
        self.now.load(Ordering::Relaxed)
    }

    fn monotonic_micros(&self) -> u64 {
        (self.now_micros() - self.start).unsigned_abs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_moves_when_told() {
        let clock = ManualClock::default();
        assert_eq!(clock.monotonic_micros(), 0);
        clock.advance(250);
        assert_eq!((clock.now_micros(), clock.monotonic_micros()), (1_700_000_000_000_250, 250));
    }
}
