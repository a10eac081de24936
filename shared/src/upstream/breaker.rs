//! Leaves an upstream alone that keeps failing.
//!
//! ```text
//!            half of at least 10 of the last 100 calls failed
//!   closed ───────────────────────────────────────────────────► open
//!     ▲                                                          │ 30 s
//!     │ the probe succeeded              it failed: another 30 s │
//!     └───────────────────────── one probe ◄─────────────────────┘
//! ```

use std::{collections::VecDeque, time::Duration};

use crate::clock::Timestamp;

/// So many of the last calls are looked at.
const WINDOW: usize = 100;
/// Fewer than this tell nothing.
const ENOUGH: usize = 10;
/// For so long nobody asks.
const PAUSE: Duration = Duration::from_secs(30);

/// Counts outcomes, and tells whether to ask.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// Whether each of the last calls failed.
    failed: VecDeque<bool>,
    open_until: Option<Timestamp>,
    /// Since when somebody tries whether it is well again.
    probing: Option<Timestamp>,
}

impl Breaker {
    /// Whether a call may be made; else how long to wait.
    pub fn allow(&mut self, now: Timestamp) -> Result<(), Duration> {
        let Some(until) = self.open_until else {
            return Ok(());
        };
        if now < until {
            return Err(until.since(now));
        }
        // A probe whose outcome is never told counts as lost after a while.
        let lost = |since: Timestamp| now >= since.plus(PAUSE);
        if self.probing.is_some_and(|since| !lost(since)) {
            return Err(Duration::from_secs(1));
        }
        self.probing = Some(now);
        Ok(())
    }

    /// Notes what came of a call.
    pub fn note(&mut self, failed: bool, now: Timestamp) {
        if self.open_until.is_some() {
            if self.probing.take().is_some() {
                self.open_until = failed.then(|| now.plus(PAUSE));
            }
            return;
        }
        if self.failed.len() == WINDOW {
            self.failed.pop_front();
        }
        self.failed.push_back(failed);
        let failures = self.failed.iter().filter(|failed| **failed).count();
        if self.failed.len() >= ENOUGH && failures * 2 >= self.failed.len() {
            self.failed.clear();
            self.open_until = Some(now.plus(PAUSE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn failing(calls: usize) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..calls {
            assert_eq!(breaker.allow(at(0)), Ok(()));
            breaker.note(true, at(0));
        }
        breaker
    }

    #[test]
    fn opens_after_ten_failures_and_closes_after_a_probe() {
        let mut breaker = failing(10);
        assert_eq!(breaker.allow(at(10)), Err(Duration::from_secs(20)));
        // One probe at a time.
        assert_eq!(breaker.allow(at(30)), Ok(()));
        assert_eq!(breaker.allow(at(30)), Err(Duration::from_secs(1)));
        breaker.note(true, at(31));
        assert_eq!(breaker.allow(at(60)), Err(Duration::from_secs(1)));
        assert_eq!(breaker.allow(at(61)), Ok(()));
        breaker.note(false, at(62));
        assert_eq!(breaker.allow(at(62)), Ok(()));
        breaker.note(true, at(62));
        assert_eq!(breaker.allow(at(62)), Ok(()));
    }

    #[test]
    fn a_probe_that_nobody_hears_of_does_not_block_for_ever() {
        let mut breaker = failing(10);
        assert_eq!(breaker.allow(at(30)), Ok(()));
        assert!(breaker.allow(at(59)).is_err());
        assert_eq!(breaker.allow(at(60)), Ok(()));
    }

    #[test]
    fn late_failures_of_earlier_calls_do_not_prolong_it() {
        let mut breaker = failing(10);
        breaker.note(true, at(20));
        assert_eq!(breaker.allow(at(30)), Ok(()));
    }

    #[test]
    fn a_minority_of_failures_is_put_up_with() {
        let mut breaker = Breaker::default();
        for call in 0..300 {
            assert_eq!(breaker.allow(at(0)), Ok(()), "{call}");
            breaker.note(call % 5 > 2, at(0));
        }
    }
}
