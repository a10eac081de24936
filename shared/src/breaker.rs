//! Leaves a service alone that keeps failing.
//!
//! ```text
//!            half of enough of the last 100 calls failed
//!   closed ──────────────────────────────────────────────► open
//!     ▲                                                     │ a pause
//!     │ the probe succeeded           it failed: as long    │
//!     └──────────────────────── one probe ◄─────────────────┘
//! ```

use std::{collections::VecDeque, time::Duration};

use crate::clock::Timestamp;

/// So many of the last calls are looked at.
const WINDOW: usize = 100;

/// Counts outcomes, and tells whether to ask.
#[derive(Debug)]
pub(crate) struct Breaker {
    /// Fewer calls than this tell nothing.
    enough: usize,
    /// For so long nobody asks.
    pause: Duration,
    /// Whether each of the last calls failed.
    failed: VecDeque<bool>,
    open_until: Option<Timestamp>,
    /// Since when somebody tries whether it is well again.
    probing: Option<Timestamp>,
}

impl Breaker {
    /// A closed one that opens for `pause` after half of at least `enough`
    /// calls failed.
    pub fn new(enough: usize, pause: Duration) -> Self {
        Self {
            enough,
            pause,
            failed: VecDeque::new(),
            open_until: None,
            probing: None,
        }
    }

    /// Whether a call may be made; else how long to wait.
    pub fn allow(&mut self, now: Timestamp) -> Result<(), Duration> {
        let Some(until) = self.open_until else {
            return Ok(());
        };
        if now < until {
            return Err(until.since(now));
        }
        // A probe whose outcome is never told counts as lost after a while.
        let lost = |since: Timestamp| now >= since.plus(self.pause);
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
                self.open_until = failed.then(|| now.plus(self.pause));
            }
            return;
        }
        if self.failed.len() == WINDOW {
            self.failed.pop_front();
        }
        self.failed.push_back(failed);
        let failures = self.failed.iter().filter(|failed| **failed).count();
        if self.failed.len() >= self.enough && failures * 2 >= self.failed.len() {
            self.failed.clear();
            self.open_until = Some(now.plus(self.pause));
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
        let mut breaker = Breaker::new(10, Duration::from_secs(30));
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
        let mut breaker = Breaker::new(10, Duration::from_secs(30));
        for call in 0..300 {
            assert_eq!(breaker.allow(at(0)), Ok(()), "{call}");
            breaker.note(call % 5 > 2, at(0));
        }
    }
}
