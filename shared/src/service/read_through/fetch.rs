//! A miss: one request to the provider, and the cache's update.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::Either;

use super::{
    negative_cache::failure_marker,
    resource::{Answer, Resource},
};
use crate::{
    cache::{Lease, Release, StoreOutcome},
    domain::response::{Missing, MissingReason},
    service::{
        context::Detail,
        policy::{
            DEADLINE_MARGIN, HEARTBEAT_INTERVAL, LEASE_TTL, RELEASE_TIMEOUT,
            SOFT_STRUCTURE_TIMEOUT, UNSTORED_TTL,
        },
        rate_limits::RateLimits,
    },
    telemetry::request_cost::RequestCost,
    upstream::{Failure, UpstreamError},
};

/// What a request has fetched.
pub(super) struct Fetched<R: Resource> {
    pub parts: BTreeMap<R::Part, Arc<R::Value>>,
    /// Whether all of it is stored.
    pub stored: bool,
    /// Why not, if it is not.
    pub detail: Option<Detail>,
    /// Whether some of it could not be read.
    pub incomplete: bool,
    /// Whether it is what was stored before.
    pub unchanged: bool,
    pub missing: Vec<Missing<'static>>,
}

impl<R: Resource> Default for Fetched<R> {
    fn default() -> Self {
        Self {
            parts: BTreeMap::new(),
            stored: false,
            detail: None,
            incomplete: false,
            unchanged: false,
            missing: Vec::new(),
        }
    }
}

impl<R: Resource> Fetched<R> {
    /// Adds what a further fetch brought.
    pub fn add(&mut self, other: Self) {
        let first = self.parts.is_empty();
        self.parts.extend(other.parts);
        self.stored = other.stored && (first || self.stored);
        self.detail = self.detail.or(other.detail);
        self.incomplete |= other.incomplete;
        self.unchanged = other.unchanged && (first || self.unchanged);
        self.missing.extend(other.missing);
    }
}

/// Under which circumstances a fetch is made.
pub(super) struct Under<'l, R: Resource> {
    /// The lease, if it is to be stored.
    pub lease: Option<&'l Lease<R::Part>>,
    /// Whether several holders before could not store theirs.
    pub after_many: bool,
}

impl<R: Resource> Default for Under<'_, R> {
    fn default() -> Self {
        Self {
            lease: None,
            after_many: false,
        }
    }
}

/// Asks the provider once for some parts, and stores what it says under the
/// lease; without one it is an answer, but not stored.
///
/// # Errors
/// When the provider fails; the lease has then ended with a note of it.
pub(super) async fn fetch<R: Resource>(
    resource: &R,
    rate_limits: &RateLimits,
    parts: &[R::Part],
    cached: &R::Entry,
    under: Under<'_, R>,
) -> Result<Fetched<R>, UpstreamError> {
    let request = resource.request();
    let limit = soft_timeout(resource, parts, cached);
    let started = resource.now();
    let deadline_bound = request.timeout(limit, started) + DEADLINE_MARGIN < limit;
    let answer = match fetch_under(resource, parts, under.lease, limit).await {
        Ok(answer) => answer,
        Err(error) => {
            let now = resource.now();
            rate_limits.record(&error, &request.cost).await;
            let failed = match &error.failure {
                // It had no fair chance: others may have more time.
                Failure::Timeout if deadline_bound => None,
                failure => failure_marker(failure, now.since(started), now),
            };
            if let Some(lease) = under.lease {
                let release = Release {
                    failed,
                    ..Release::default()
                };
                release_early(resource, lease, &release).await;
            }
            return Err(error);
        }
    };
    let took = answer.at.since(started);
    let mut fetched = Fetched::<R> {
        parts: answer.parts,
        incomplete: !answer.complete,
        ..Fetched::default()
    };
    fetched.unchanged = fetched.parts.iter().all(|(part, new)| {
        let old = R::parts(cached).get(part);
        old.is_some_and(|old| R::hash(old) == R::hash(new))
    });
    if fetched.incomplete {
        fetched.detail = Some(Detail::Incomplete);
        fetched.missing.extend(parts.iter().map(|part| Missing {
            what: R::part_name(*part),
            chain: None,
            token: None,
            reason: MissingReason::FetchedIncompletely,
        }));
    }
    let Some(lease) = under.lease else {
        fetched.detail = fetched.detail.or(Some(Detail::Uncached));
        return Ok(fetched);
    };
    let uncacheable = match fetched.incomplete {
        true => Some(UNSTORED_TTL),
        false => {
            let stored = resource.store(lease, &fetched.parts, cached, took).await;
            fetched.stored = matches!(stored, Ok(StoreOutcome::Stored));
            match stored {
                Ok(StoreOutcome::Stored | StoreOutcome::LeaseLost) => None,
                Ok(StoreOutcome::TooLarge) => Some(resource.uncacheable_ttl()),
                Err(error) => {
                    tracing::warn!(%error, "what was fetched cannot be stored");
                    under.after_many.then_some(UNSTORED_TTL)
                }
            }
        }
    };
    if !fetched.stored {
        fetched.detail = fetched.detail.or(Some(Detail::Uncached));
        let release = Release {
            uncacheable_until: uncacheable.map(|ttl| resource.now().plus(ttl)),
            ..Release::default()
        };
        release_early(resource, lease, &release).await;
    }
    Ok(fetched)
}

/// Keeps the lease for as long as this is waited for; never ends.
async fn keep_lease<R: Resource>(resource: &R, lease: &Lease<R::Part>, cost: &RequestCost) {
    loop {
        tokio::time::sleep(HEARTBEAT_INTERVAL).await;
        let until = resource.now().plus(LEASE_TTL);
        match resource.renew_lease(lease, until, cost).await {
            Ok(true) => {}
            // What is fetched will not be stored, but it is an answer.
            Ok(false) => return std::future::pending().await,
            Err(error) => tracing::warn!(%error, "the lease cannot be kept"),
        }
    }
}

/// Returns how long the provider is waited for: as long as a request may take, or,
/// where old data may stand in, not much longer than the last one took.
fn soft_timeout<R: Resource>(resource: &R, parts: &[R::Part], cached: &R::Entry) -> Duration {
    let terms = resource.terms();
    let oldest = resource.now().minus(terms.lifetime.max_usable_age());
    let usable = parts.iter().all(|part| {
        let read = R::parts(cached).get(part);
        read.is_some_and(|read| R::fetched_at(read) > oldest)
    });
    if !usable {
        return terms.timeout;
    }
    let headers = R::headers(R::header(cached));
    let headers = parts.iter().filter_map(|part| headers.get(part));
    let took = headers.filter_map(|header| header.took).max();
    let usual = took.unwrap_or_default().saturating_mul(2);
    terms.timeout.min(SOFT_STRUCTURE_TIMEOUT.max(usual))
}

/// Asks while the lease is kept.
async fn fetch_under<R: Resource>(
    resource: &R,
    parts: &[R::Part],
    lease: Option<&Lease<R::Part>>,
    limit: Duration,
) -> Result<Answer<R>, UpstreamError> {
    let ask = resource.fetch(parts, limit);
    let Some(lease) = lease else {
        return ask.await;
    };
    let concurrent = RequestCost::default();
    let keep = keep_lease(resource, lease, &concurrent);
    let asked = futures::future::select(ask, Box::pin(keep)).await;
    resource.request().cost.merge_concurrent(&concurrent);
    match asked {
        Either::Left((answer, _)) => answer,
        Either::Right(((), ask)) => ask.await,
    }
}

/// Ends the lease early, if that takes no time: it ends by itself anyway.
pub(super) async fn release_early<R: Resource>(
    resource: &R,
    lease: &Lease<R::Part>,
    release: &Release,
) {
    let left = resource.request().time_left(resource.now());
    let release = resource.release_lease(lease, release);
    match tokio::time::timeout(left.min(RELEASE_TIMEOUT), release).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the lease cannot be ended early"),
        Err(_) => tracing::warn!("the lease could not be ended in time"),
    }
}
