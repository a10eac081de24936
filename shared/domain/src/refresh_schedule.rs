//! When a watched wallet is to be fetched, so that its holdings never expire.

use std::time::Duration;

use crate::timestamp::Timestamp;

/// Holdings are fetched again after this part of their life,
const REFRESH_AHEAD_RATIO: (u32, u32) = (4, 5);
/// and not fetched if they are younger than this part of it.
const MIN_AGE_RATIO: (u32, u32) = (3, 5);

/// How old holdings may become before they are fetched ahead of their end.
pub fn refresh_ahead_age(ttl: Duration) -> Duration {
    ttl * REFRESH_AHEAD_RATIO.0 / REFRESH_AHEAD_RATIO.1
}

/// How old holdings must be to be worth a fetch.
pub fn min_refresh_age(ttl: Duration) -> Duration {
    ttl * MIN_AGE_RATIO.0 / MIN_AGE_RATIO.1
}

/// The moments from `now` on, before `until`, at which a wallet is to be
/// fetched whose holdings are from `fetched_at`. At once, if that is overdue.
pub fn refresh_times(
    fetched_at: Option<Timestamp>,
    ttl: Duration,
    now: Timestamp,
    until: Timestamp,
) -> Vec<Timestamp> {
    // A lifetime of no length would have no end of them.
    let step = refresh_ahead_age(ttl).max(Duration::from_secs(1));
    let first = fetched_at.map_or(now, |at| at.plus(step).max(now));
    let next = |at: &Timestamp| Some(at.plus(step));
    std::iter::successors(Some(first), next)
        .take_while(|at| *at < until)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refreshed_is_neither_young_nor_expired() {
        let ttl = Duration::from_secs(300);
        assert_eq!(min_refresh_age(ttl), Duration::from_secs(180));
        assert_eq!(refresh_ahead_age(ttl), Duration::from_secs(240));
    }

    #[test]
    fn fetches_come_before_the_end_of_each_life() {
        let second = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let ttl = Duration::from_secs(300);
        let seconds = |fetched_at: Option<i64>, now, until| -> Vec<i64> {
            let fetched_at = fetched_at.map(second);
            let moments = refresh_times(fetched_at, ttl, second(now), second(until));
            moments.iter().map(|at| at.as_secs()).collect()
        };
        assert_eq!(seconds(None, 1000, 1360), [1000, 1240]);
        assert_eq!(seconds(Some(990), 1000, 1360), [1230]);
        assert_eq!(seconds(Some(100), 1000, 1360), [1000, 1240]);
        assert_eq!(seconds(Some(1000), 1000, 1200), [0; 0]);
        let short = refresh_times(None, Duration::ZERO, second(0), second(5));
        assert_eq!(short.len(), 5);
    }
}
