//! Fetches that no lease coordinates.

use std::{collections::VecDeque, sync::Mutex};

use crate::{
    clock::Timestamp,
    service::policy::{UNLEASED_FETCHES, UNLEASED_WINDOW},
    sync::locked,
};

/// Limits the fetches that no lease coordinates.
#[derive(Default)]
pub(in crate::service) struct UnleasedLimit(Mutex<VecDeque<Timestamp>>);

impl UnleasedLimit {
    /// Returns whether one more may be made, and counts it.
    pub fn allow(&self, now: Timestamp) -> bool {
        let mut recent = locked(&self.0);
        let oldest = now.minus(UNLEASED_WINDOW);
        recent.retain(|at| *at > oldest && !at.is_in_the_future(now));
        let room = recent.len() < UNLEASED_FETCHES;
        if room {
            recent.push_back(now);
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn unleased_fetches_are_limited_by_the_clock() {
        let limit = UnleasedLimit::default();
        let at =
            |seconds: u64| Timestamp::from_millis(1_000_000).plus(Duration::from_secs(seconds));
        let allowed = (0..50).filter(|_| limit.allow(at(0))).count();
        assert_eq!(allowed, UNLEASED_FETCHES);
        assert!(!limit.allow(at(9)));
        assert!(limit.allow(at(11)));
    }
}
