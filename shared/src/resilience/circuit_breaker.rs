//! Keeps a process from calling a service that keeps failing.
//!
//! ```text
//!            half of min_calls of the last 100 calls failed
//!   closed ──────────────────────────────────────────────► open
//!     ▲                                                     │ a open_duration
//!     │ the probe succeeded           it failed: as long    │
//!     └──────────────────────── one probe ◄─────────────────┘
//! ```

use std::{collections::VecDeque, time::Duration};

use crate::clock::Timestamp;

/// So many of the last calls are looked at.
const WINDOW: usize = 100;

/// Counts outcomes, and tells whether to ask.
#[derive(Debug)]
pub(crate) struct CircuitBreaker {
    /// Fewer calls than this tell nothing.
    min_calls: usize,
    /// For so long no call is made.
    open_duration: Duration,
    /// Whether each of the last calls failed.
    outcomes: VecDeque<bool>,
    open_until: Option<Timestamp>,
    /// Since when a probe is under way.
    half_open_since: Option<Timestamp>,
    /// Counts openings, probes and closings: what began before the last one
    /// tells nothing any more.
    epoch: u64,
}

/// That a call may be made, and since when that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Permit(u64);

impl CircuitBreaker {
    /// A closed one that opens for `open_duration` after half of at least `min_calls`
    /// calls failed.
    pub fn new(min_calls: usize, open_duration: Duration) -> Self {
        Self {
            min_calls,
            open_duration,
            outcomes: VecDeque::new(),
            open_until: None,
            half_open_since: None,
            epoch: 0,
        }
    }

    /// Whether a call may be made; else how long to wait.
    pub fn try_acquire(&mut self, now: Timestamp) -> Result<Permit, Duration> {
        let Some(until) = self.open_until else {
            return Ok(Permit(self.epoch));
        };
        if now < until {
            return Err(until.since(now));
        }
        // A probe whose outcome is never told counts as lost after a while.
        let lost = |since: Timestamp| now >= since.plus(self.open_duration);
        if self.half_open_since.is_some_and(|since| !lost(since)) {
            return Err(Duration::from_secs(1));
        }
        self.half_open_since = Some(now);
        self.epoch += 1;
        Ok(Permit(self.epoch))
    }

    /// Notes what came of a call.
    pub fn record(&mut self, permit: Permit, failed: bool, now: Timestamp) {
        if permit != Permit(self.epoch) {
            return;
        }
        if self.open_until.is_some() {
            self.half_open_since = None;
            self.epoch += 1;
            self.open_until = failed.then(|| now.plus(self.open_duration));
            return;
        }
        if self.outcomes.len() == WINDOW {
            self.outcomes.pop_front();
        }
        self.outcomes.push_back(failed);
        let failures = self.outcomes.iter().filter(|failed| **failed).count();
        // A call that succeeded is no reason to stop calling.
        if failed && self.outcomes.len() >= self.min_calls && failures * 2 >= self.outcomes.len() {
            self.outcomes.clear();
            self.epoch += 1;
            self.open_until = Some(now.plus(self.open_duration));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn failing(calls: usize) -> CircuitBreaker {
        let mut breaker = CircuitBreaker::new(10, Duration::from_secs(30));
        for _ in 0..calls {
            let permit = breaker.try_acquire(at(0)).unwrap();
            breaker.record(permit, true, at(0));
        }
        breaker
    }

    #[test]
    fn a_success_does_not_open_it() {
        let mut breaker = failing(9);
        let permit = breaker.try_acquire(at(1)).unwrap();
        breaker.record(permit, false, at(1));
        assert!(breaker.try_acquire(at(1)).is_ok());
    }

    #[test]
    fn opens_after_ten_failures_and_closes_after_a_probe() {
        let mut breaker = failing(10);
        assert_eq!(breaker.try_acquire(at(10)), Err(Duration::from_secs(20)));
        // One probe at a time.
        let probe = breaker.try_acquire(at(30)).unwrap();
        assert_eq!(breaker.try_acquire(at(30)), Err(Duration::from_secs(1)));
        breaker.record(probe, true, at(31));
        assert_eq!(breaker.try_acquire(at(60)), Err(Duration::from_secs(1)));
        let probe = breaker.try_acquire(at(61)).unwrap();
        breaker.record(probe, false, at(62));
        let permit = breaker.try_acquire(at(62)).unwrap();
        breaker.record(permit, true, at(62));
        assert!(breaker.try_acquire(at(62)).is_ok());
    }

    #[test]
    fn a_lost_probe_does_not_block_for_ever() {
        let mut breaker = failing(10);
        assert!(breaker.try_acquire(at(30)).is_ok());
        assert!(breaker.try_acquire(at(59)).is_err());
        assert!(breaker.try_acquire(at(60)).is_ok());
    }

    #[test]
    fn only_the_probe_decides() {
        let mut breaker = failing(9);
        let early = breaker.try_acquire(at(0)).unwrap();
        let last = breaker.try_acquire(at(0)).unwrap();
        breaker.record(last, true, at(0));
        let probe = breaker.try_acquire(at(30)).unwrap();
        // Calls from before it opened come to their ends.
        breaker.record(early, false, at(31));
        assert!(breaker.try_acquire(at(31)).is_err());
        breaker.record(probe, false, at(32));
        breaker.record(early, true, at(33));
        assert!(breaker.try_acquire(at(33)).is_ok());
    }

    #[test]
    fn a_minority_of_failures_is_put_up_with() {
        let mut breaker = failing(0);
        for call in 0..300 {
            let permit = breaker.try_acquire(at(0)).unwrap();
            breaker.record(permit, call % 5 > 2, at(0));
        }
    }
}
