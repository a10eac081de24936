//! Providers that limit requests: no process calls them for as long as they say.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::policy::{MAX_BACKOFF, RATE_LIMIT_CHECK_INTERVAL, default_backoff};
use crate::{
    cache::rate_limits::RateLimitStore,
    clock::{Clock, Timestamp},
    domain::provider::Provider,
    sync::locked,
    telemetry::{metrics::BREAKER_OPEN, request_cost::RequestCost},
    upstream::{Failure, Quota, UpstreamError},
};

/// Returns when a provider that limits requests may be called again. A plan's
/// limits end with the day: the provider says nothing of when a month ends for
/// this plan, and one refused request a day costs nothing.
fn resume_at(
    upstream: Provider,
    now: Timestamp,
    retry_after: Option<Duration>,
    quota: Quota,
) -> Timestamp {
    let midnight = || Timestamp::from_millis((now.as_secs().div_euclid(86_400) + 1) * 86_400_000);
    match (retry_after, quota) {
        (Some(told), _) => now.plus(told.min(MAX_BACKOFF)),
        (None, Quota::Requests) => now.plus(default_backoff(upstream)),
        (None, Quota::Plan) => midnight(),
    }
}

/// Returns the failure in place of calling a provider that is rate limited.
pub(super) fn rate_limited_error(
    upstream: Provider,
    until: Timestamp,
    now: Timestamp,
) -> UpstreamError {
    BREAKER_OPEN.add_for(upstream, 1);
    UpstreamError {
        upstream,
        failure: Failure::RateLimited {
            retry_after: Some(until.since(now)),
            quota: Quota::Requests,
        },
    }
}

/// What the process knows of rate limits.
#[derive(Default)]
struct Known(Mutex<HashMap<Provider, KnownLimit>>);

/// Until when a provider is rate limited, and when that was read.
struct KnownLimit {
    until: Timestamp,
    read_at: Timestamp,
}

impl Known {
    /// Returns until when `upstream` is known to be rate limited.
    fn until(&self, upstream: Provider, now: Timestamp) -> Option<Timestamp> {
        let until = locked(&self.0).get(&upstream)?.until;
        Some(until).filter(|until| now < *until)
    }

    /// Returns whether the shared limit should be read again: always while there
    /// is none, and now and then while there is one, since it may have been
    /// lifted by hand.
    fn is_due(&self, upstream: Provider, now: Timestamp) -> bool {
        let limits = locked(&self.0);
        let limited = limits.get(&upstream).filter(|it| now < it.until);
        limited.is_none_or(|it| now >= it.read_at.plus(RATE_LIMIT_CHECK_INTERVAL))
    }

    /// Keeps what a read that began at `began` found: until when `upstream` is
    /// rate limited. What was learned since then stays.
    fn keep(&self, upstream: Provider, until: Option<Timestamp>, began: Timestamp) {
        let mut limits = locked(&self.0);
        let newer = limits.get(&upstream).filter(|it| it.read_at > began);
        let until = match newer {
            Some(newer) => Some(newer.until.max(until.unwrap_or_default())),
            None => until,
        };
        match until {
            Some(until) => {
                let read_at = newer.map_or(began, |newer| newer.read_at);
                limits.insert(upstream, KnownLimit { until, read_at });
            }
            None => {
                limits.remove(&upstream);
            }
        }
    }
}

/// The rate limits that all processes keep to.
pub(super) struct RateLimits {
    store: Arc<dyn RateLimitStore>,
    known: Known,
    clock: Arc<dyn Clock>,
}

impl RateLimits {
    /// Returns the limits in `store`.
    pub fn new(store: Arc<dyn RateLimitStore>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            known: Known::default(),
            clock,
        }
    }

    /// Returns until when `upstream` is known to be rate limited.
    pub fn limited_until(&self, upstream: Provider) -> Option<Timestamp> {
        self.known.until(upstream, self.clock.now())
    }

    /// Reads whether `upstream` may be called; while it is known that it may
    /// not, only now and then.
    pub async fn refresh(&self, upstream: Provider, cost: &RequestCost) {
        let now = self.clock.now();
        if !self.known.is_due(upstream, now) {
            return;
        }
        match self.store.open_until(upstream, cost).await {
            Ok(until) => self.known.keep(upstream, until, now),
            Err(error) => tracing::warn!(%error, "a rate limit cannot be read"),
        }
    }

    /// Records for all processes that a provider limits requests, if that is why
    /// it failed, and until when.
    pub async fn record(&self, error: &UpstreamError, cost: &RequestCost) {
        let Failure::RateLimited { retry_after, quota } = error.failure else {
            return;
        };
        let now = self.clock.now();
        let until = resume_at(error.upstream, now, retry_after, quota);
        tracing::warn!(upstream = %error.upstream, %until, "rate limited, pausing requests");
        self.known.keep(error.upstream, Some(until), now);
        if let Err(error) = self.store.open(error.upstream, until, cost).await {
            tracing::warn!(%error, "could not share a rate limit");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::{cache::CacheError, clock::ManualClock};

    const NOW: Timestamp = Timestamp::from_millis(1_795_254_046_007);

    #[test]
    fn rate_limits_end_by_the_clock_or_by_hand() {
        let known = Known::default();
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let of = Provider::CoinMarketCap;
        assert!(known.is_due(of, at(0)));
        known.keep(of, Some(at(500)), at(0));
        assert_eq!(known.until(of, at(499)), Some(at(500)));
        assert_eq!(known.until(of, at(500)), None);
        assert_eq!(known.until(Provider::Zerion, at(0)), None);
        assert!(!known.is_due(of, at(59)));
        assert!(known.is_due(of, at(60)));
        known.keep(of, None, at(60));
        assert_eq!(known.until(of, at(61)), None);
    }

    #[test]
    fn a_rate_limit_ends_when_the_provider_says_or_its_quota_is_renewed() {
        let until = |told: Option<u64>, quota| {
            let told = told.map(Duration::from_secs);
            resume_at(Provider::CoinMarketCap, NOW, told, quota).to_string()
        };
        assert_eq!(until(Some(5), Quota::Plan), "2026-11-21T09:40:51.007Z");
        assert_eq!(until(None, Quota::Requests), "2026-11-21T09:41:46.007Z");
        assert_eq!(until(None, Quota::Plan), "2026-11-22T00:00:00.000Z");
        assert_eq!(
            until(Some(1 << 40), Quota::Plan),
            "2026-11-22T09:40:46.007Z"
        );
    }

    /// A store in memory, which counts how often it is read.
    #[derive(Default)]
    struct Store {
        until: Mutex<HashMap<Provider, Timestamp>>,
        reads: AtomicUsize,
    }

    #[async_trait]
    impl RateLimitStore for Store {
        async fn open_until(
            &self,
            upstream: Provider,
            _: &RequestCost,
        ) -> Result<Option<Timestamp>, CacheError> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            Ok(locked(&self.until).get(&upstream).copied())
        }

        async fn open(
            &self,
            upstream: Provider,
            until: Timestamp,
            _: &RequestCost,
        ) -> Result<(), CacheError> {
            locked(&self.until).insert(upstream, until);
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_rate_limit_of_one_process_holds_for_another() {
        let (store, clock) = (Arc::new(Store::default()), Arc::new(ManualClock::at(NOW)));
        let process = || RateLimits::new(store.clone(), clock.clone());
        let (first, second) = (process(), process());
        let (of, cost) = (Provider::CoinMarketCap, RequestCost::default());
        let failed = |failure| UpstreamError {
            upstream: of,
            failure,
        };
        // Other failures limit nothing.
        first.record(&failed(Failure::Timeout), &cost).await;
        assert_eq!(first.limited_until(of), None);
        let limited = Failure::RateLimited {
            retry_after: Some(Duration::from_secs(90)),
            quota: Quota::Requests,
        };
        first.record(&failed(limited), &cost).await;
        let until = Some(NOW.plus(Duration::from_secs(90)));
        assert_eq!(
            (first.limited_until(of), second.limited_until(of)),
            (until, None)
        );
        second.refresh(of, &cost).await;
        assert_eq!(second.limited_until(of), until);

        // While it lasts it is read once a minute, in case it is lifted by hand.
        let reads = || store.reads.load(Ordering::Relaxed);
        second.refresh(of, &cost).await;
        assert_eq!(reads(), 1);
        locked(&store.until).clear();
        clock.advance(Duration::from_secs(60));
        second.refresh(of, &cost).await;
        assert_eq!((reads(), second.limited_until(of)), (2, None));
        // It ends by the clock as well.
        clock.advance(Duration::from_secs(30));
        assert_eq!(first.limited_until(of), None);
    }
}
