//! What stands between the service and every upstream: a bulkhead, a breaker,
//! and a second attempt where that helps.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

use super::{Attempts, Failure, Provider, instrumented::Attempt};
use crate::{
    clock::Clock,
    resilience::{bulkhead::Bulkhead, circuit_breaker::CircuitBreaker},
    sync::{locked, random},
    telemetry::metrics::BREAKER_OPEN,
};

/// The circuit breaker opens after half of at least so many calls failed,
const MIN_CALLS: usize = 10;
/// and for so long.
const OPEN_DURATION: Duration = Duration::from_secs(30);
/// The pause before the second one is a random part of this.
const MAX_JITTER_MS: u64 = 200;
/// A provider that limits requests is asked again if it takes them back this
/// soon.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Guards the calls to one upstream.
pub(super) struct CallPolicy {
    upstream: Provider,
    bulkhead: Bulkhead,
    breaker: Mutex<CircuitBreaker>,
    /// How long a call may take.
    full_timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl CallPolicy {
    /// A guard of `upstream` that lets `concurrency` calls through at a time,
    /// which may take as long as is `full_timeout`.
    pub fn new(
        upstream: Provider,
        concurrency: usize,
        full_timeout: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            upstream,
            bulkhead: Bulkhead::new(concurrency),
            breaker: Mutex::new(CircuitBreaker::new(MIN_CALLS, OPEN_DURATION)),
            full_timeout,
            clock,
        }
    }

    /// Makes a call, and again where that helps: at most so many, within
    /// `timeout`.
    #[expect(clippy::disallowed_methods, reason = "within one request")]
    pub async fn call<T, F>(
        &self,
        timeout: Duration,
        max_attempts: Attempts,
        attempt: impl Fn(Duration) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        // Within one request: the sandbox does not freeze here.
        let until = Instant::now() + timeout;
        let (attempt, mut attempts) = (&attempt, 0);
        loop {
            attempts += 1;
            let left = until.saturating_duration_since(Instant::now());
            // Asked only when there is room: much may have failed meanwhile.
            let guarded = |left: Duration| async move {
                let permit = locked(&self.breaker).try_acquire(self.clock.now());
                let permit = permit.map_err(|wait| {
                    BREAKER_OPEN.add_for(self.upstream, 1);
                    Failure::CircuitOpen { retry_after: wait }
                })?;
                let measured = Attempt::begin(self.upstream);
                let outcome = attempt(left).await;
                measured.end(outcome.as_ref().err());
                let trouble = |failure: &Failure| self.counts_as_failure(failure, left);
                let failed = outcome.as_ref().is_err_and(trouble);
                locked(&self.breaker).record(permit, failed, self.clock.now());
                outcome
            };
            let outcome = self.bulkhead.enter(left, guarded).await;
            let outcome = outcome.unwrap_or(Err(Failure::Busy));
            let Err(failure) = outcome else {
                return outcome;
            };
            let Some(retry_delay) =
                retry_delay(&failure).filter(|_| attempts < max_attempts.count())
            else {
                return Err(failure);
            };
            if Instant::now() + retry_delay >= until {
                return Err(failure);
            }
            tokio::time::sleep(retry_delay).await;
        }
    }

    /// Whether a failure tells of trouble at the upstream, and not of a bad
    /// request, a limit, a wallet that it does not have, or of ours: a call
    /// that was given less time than it may take.
    fn counts_as_failure(&self, failure: &Failure, given: Duration) -> bool {
        match failure {
            Failure::Unavailable(_) | Failure::Malformed(_) => true,
            Failure::Timeout => given + MAX_RETRY_AFTER >= self.full_timeout,
            _ => false,
        }
    }
}

/// How long to wait before asking again, if that may help.
fn retry_delay(failure: &Failure) -> Option<Duration> {
    match failure {
        Failure::Unavailable(_) => {
            // Full jitter, so that those that failed together do not come
            // back together.
            Some(Duration::from_millis(random() % MAX_JITTER_MS))
        }
        Failure::RateLimited {
            retry_after: Some(wait),
            ..
        } if *wait <= MAX_RETRY_AFTER => Some(*wait),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::{
        clock::{ManualClock, Timestamp},
        upstream::Quota,
    };

    fn guard() -> (CallPolicy, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(0)));
        let full_timeout = Duration::from_secs(5);
        (
            CallPolicy::new(Provider::Zerion, 4, full_timeout, clock.clone()),
            clock,
        )
    }

    async fn attempts(guard: &CallPolicy, failure: Failure) -> (usize, Result<(), Failure>) {
        let made = AtomicUsize::new(0);
        let outcome = guard.call(Duration::from_secs(5), Attempts::Two, |_| async {
            made.fetch_add(1, Ordering::Relaxed);
            Err(failure.clone())
        });
        let outcome = outcome.await;
        (made.load(Ordering::Relaxed), outcome)
    }

    #[tokio::test(start_paused = true)]
    async fn asks_again_only_where_that_helps() {
        let limited = |seconds| Failure::RateLimited {
            retry_after: Some(Duration::from_secs(seconds)),
            quota: Quota::Requests,
        };
        for (failure, expected) in [
            (Failure::Unavailable("HTTP 502".to_owned()), 2),
            (limited(1), 2),
            (limited(2), 1),
            (Failure::Timeout, 1),
            (Failure::Malformed(String::new()), 1),
            (Failure::NotTrackable, 1),
            (Failure::Preparing { retry_after: None }, 1),
        ] {
            let (guard, _) = guard();
            let (made, outcome) = attempts(&guard, failure.clone()).await;
            assert_eq!((made, outcome), (expected, Err(failure)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_queue_learn_of_trouble_before_they_ask() {
        let (guard, _) = guard();
        let made = AtomicUsize::new(0);
        let calls = (0..1000).map(|_| {
            guard.call(Duration::from_secs(60), Attempts::Two, |_| async {
                made.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_secs(1)).await;
                Err::<(), _>(Failure::Malformed(String::new()))
            })
        });
        futures::future::join_all(calls).await;
        // Ten that open it, and those that were under way with the last.
        assert_eq!(made.load(Ordering::Relaxed), 12);
    }

    #[tokio::test(start_paused = true)]
    async fn leaves_alone_what_keeps_failing() {
        let (guard, clock) = guard();
        let mut made = 0;
        let mut last = Ok(());
        for _ in 0..100 {
            let (more, outcome) = attempts(&guard, Failure::Unavailable(String::new())).await;
            made += more;
            last = outcome;
        }
        assert_eq!(made, 10);
        assert!(matches!(last, Err(Failure::CircuitOpen { .. })));
        clock.advance(Duration::from_secs(30));
        let well = guard.call(Duration::from_secs(5), Attempts::Two, |_| async { Ok(()) });
        assert_eq!(well.await, Ok(()));
        let (made, _) = attempts(&guard, Failure::NotTrackable).await;
        assert_eq!(made, 1);
    }
}
