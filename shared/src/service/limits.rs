//! Upstreams that limit requests: all processes leave them alone for as long
//! as they say.

use std::time::Duration;

use super::{Request, Service};
use crate::{
    clock::Timestamp,
    domain::provider::Provider,
    metrics::BREAKER_OPEN,
    telemetry::request_cost::RequestCost,
    upstream::{Failure, Quota, UpstreamError},
};

/// An upstream that limits requests and does not say for how long is left alone
/// for this long: CoinMarketCap counts them by the minute, the others by the
/// second.
const fn requests_pause(upstream: Provider) -> Duration {
    match upstream {
        Provider::CoinMarketCap => Duration::from_secs(60),
        Provider::Zerion | Provider::DefiLlama => Duration::from_secs(5),
    }
}

/// And none for longer than this, whatever it says.
const LONGEST_PAUSE: Duration = Duration::from_secs(86_400);

/// Until when a source that limits requests is left alone. A plan's limits end
/// with the day: the source says nothing of when a month ends for this plan,
/// and one refused request a day costs nothing.
fn pause_until(
    upstream: Provider,
    now: Timestamp,
    retry_after: Option<Duration>,
    quota: Quota,
) -> Timestamp {
    let midnight = || Timestamp::from_millis((now.as_secs().div_euclid(86_400) + 1) * 86_400_000);
    match (retry_after, quota) {
        (Some(told), _) => now.plus(told.min(LONGEST_PAUSE)),
        (None, Quota::Requests) => now.plus(requests_pause(upstream)),
        (None, Quota::Plan) => midnight(),
    }
}

/// The failure in place of asking an upstream that is left alone.
pub(super) fn left_alone(upstream: Provider, until: Timestamp, now: Timestamp) -> UpstreamError {
    BREAKER_OPEN.add_for(upstream, 1);
    UpstreamError {
        upstream,
        failure: Failure::RateLimited {
            retry_after: Some(until.since(now)),
            quota: Quota::Requests,
        },
    }
}

impl Service {
    /// Until when `upstream` is known to want to be left alone.
    pub(super) fn blocked(&self, upstream: Provider) -> Option<Timestamp> {
        self.copies.open_until(upstream, self.clock.now())
    }

    /// Looks whether `upstream` may be asked; while it is known that it may
    /// not, only now and then.
    pub(super) async fn look_at_breaker(&self, upstream: Provider, cost: &RequestCost) {
        let now = self.clock.now();
        if !self.copies.breaker_is_due(upstream, now) {
            return;
        }
        match self.breakers.open_until(upstream, cost).await {
            Ok(until) => self.copies.keep_breaker(upstream, until, now),
            Err(error) => tracing::warn!(%error, "a breaker cannot be read"),
        }
    }

    /// Tells all processes to leave a source alone that limits requests, and
    /// until when.
    pub(super) async fn respect(&self, error: &UpstreamError, request: &Request) {
        let Failure::RateLimited { retry_after, quota } = error.failure else {
            return;
        };
        let now = self.clock.now();
        let until = pause_until(error.upstream, now, retry_after, quota);
        tracing::warn!(upstream = %error.upstream, %until, "left alone");
        self.copies.keep_breaker(error.upstream, Some(until), now);
        let told = self.breakers.open(error.upstream, until, &request.cost);
        if let Err(error) = told.await {
            tracing::warn!(%error, "other processes cannot be told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_254_046_007);

    #[test]
    fn pauses_end_when_the_source_says_or_its_limit_does() {
        let until = |told: Option<u64>, quota| {
            let told = told.map(Duration::from_secs);
            pause_until(Provider::CoinMarketCap, NOW, told, quota).to_string()
        };
        assert_eq!(until(Some(5), Quota::Plan), "2026-11-21T09:40:51.007Z");
        assert_eq!(until(None, Quota::Requests), "2026-11-21T09:41:46.007Z");
        assert_eq!(until(None, Quota::Plan), "2026-11-22T00:00:00.000Z");
        assert_eq!(
            until(Some(1 << 40), Quota::Plan),
            "2026-11-22T09:40:46.007Z"
        );
    }
}
