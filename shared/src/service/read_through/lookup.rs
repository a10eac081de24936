//! The way of one request through the cache, and the lease.

use std::{collections::BTreeSet, time::Duration};

use super::{
    fetch::{Under, fetch, release_early},
    resource::Resource,
    state::{FoundOf, LookupState},
    unleased::UnleasedLimit,
};
use crate::{
    cache::{CacheError, Lease, LeaseOutcome, LeaseRequest, Release, Revalidation},
    clock::Timestamp,
    service::{
        context::{Detail, ServiceError},
        policy::{LEASE_TTL, MIN_REVALIDATION_INTERVAL},
        rate_limits::{RateLimits, rate_limited_error},
    },
    telemetry::request_cost::RequestCost,
    upstream::UpstreamError,
};

/// After so many holders, one after the other, that could not store what they
/// fetched, or died, waiting requests no longer take turns.
const UNSTORED_HOLDERS: usize = 2;

/// One request's way to the parts that it wants.
pub(super) struct Lookup<'s, R: Resource> {
    pub rate_limits: &'s RateLimits,
    pub unleased: &'s UnleasedLimit,
    pub state: LookupState<'s, R>,
    /// Generations of leases that were waited for.
    pub holders: BTreeSet<u64>,
    pub waited: Duration,
    pub unreadable: Duration,
    /// When the header was seen to keep the lease from being had without
    /// telling why: it is damaged.
    pub damaged_at: Option<Timestamp>,
}

/// What comes next.
pub(super) enum Step<R: Resource> {
    /// The answer.
    Done(Box<FoundOf<R>>),
    /// Something changed: look again.
    LookAgain,
}

impl<R: Resource> Step<R> {
    pub(super) fn done(found: FoundOf<R>) -> Self {
        Self::Done(Box::new(found))
    }
}

/// Returns the wanted parts: cached, or fetched.
///
/// # Errors
/// When the provider fails and nothing cached may stand in, or time is over.
pub(in crate::service) async fn look_up<R: Resource>(
    resource: &R,
    wanted: &[R::Part],
    rate_limits: &RateLimits,
    unleased: &UnleasedLimit,
) -> Result<FoundOf<R>, ServiceError> {
    let loaded = resource.load(false).await;
    let state = LookupState::new(resource, wanted, loaded);
    if let Some(found) = state.complete() {
        return Ok(found);
    }
    let mut lookup = Lookup {
        rate_limits,
        unleased,
        state,
        holders: BTreeSet::new(),
        waited: Duration::ZERO,
        unreadable: Duration::ZERO,
        damaged_at: None,
    };
    lookup.run().await
}

impl<'s, R: Resource> Lookup<'s, R> {
    /// Returns the resource.
    pub(super) fn resource(&self) -> &'s R {
        self.state.resource
    }

    async fn run(&mut self) -> Result<FoundOf<R>, ServiceError> {
        let terms = self.resource().terms();
        let request = self.resource().request();
        let limit = terms.timeout + LEASE_TTL;
        let patience = request.timeout(limit, self.state.now());
        if self.rate_limits.limited_until(terms.provider).is_some() {
            self.rate_limits
                .refresh(terms.provider, &request.cost)
                .await;
        }
        loop {
            if let Some(found) = self.state.complete() {
                return Ok(found);
            }
            if let Some(error) = self.paused() {
                return self.stale_if_error(error);
            }
            if self.state.is_uncacheable() {
                return self.fetch_without_lease().await;
            }
            let step = self.next(patience.saturating_sub(self.waited)).await?;
            if let Step::Done(found) = step {
                return Ok(*found);
            }
            if self.waited >= patience {
                return Err(ServiceError::Deadline);
            }
        }
    }

    async fn next(&mut self, patience: Duration) -> Result<Step<R>, ServiceError> {
        let target = self.state.target();
        if target.is_empty() {
            // Others fetch all that is due.
            return match self.state.usable(Detail::BeingRefreshed) {
                Some(found) => Ok(Step::done(found)),
                None => self.wait(patience).await,
            };
        }
        let concurrent = RequestCost::default();
        let asked_at = self.state.now();
        let provider = self.resource().terms().provider;
        let (taken, ()) = futures::join!(
            self.take_lease(&target, asked_at),
            self.rate_limits.refresh(provider, &concurrent)
        );
        let request = self.resource().request();
        request.cost.merge_concurrent(&concurrent);
        match taken {
            Ok(LeaseOutcome::Won(lease)) => self.won(&target, &lease, asked_at).await,
            Ok(LeaseOutcome::Lost(header)) => {
                let before = std::mem::replace(&mut self.state.header, header);
                self.lost(&target, &before, patience).await
            }
            Err(error) => {
                tracing::warn!(%error, "no lease can be taken");
                self.without_table().await.map(Step::done)
            }
        }
    }

    /// Tries for the lease of some parts. Data that are there by their header keep
    /// it from being had, unless they have proved unreadable.
    async fn take_lease(
        &self,
        parts: &[R::Part],
        now: Timestamp,
    ) -> Result<LeaseOutcome<R::Part, R::Header>, CacheError> {
        let expired = self.state.fresh_after();
        let cached = &self.state.cached;
        let headers = R::headers(R::header(cached));
        let lost = parts.iter().filter(|part| {
            let read = headers.get(part);
            let stored = read.is_some_and(|read| read.stored.is_some());
            self.state.readable && stored && !R::parts(cached).contains_key(part)
        });
        let lost = lost.filter_map(|part| headers.get(part)?.fetched_at());
        let max_age = self.resource().request().max_age;
        let wanted = LeaseRequest {
            parts,
            now,
            length: LEASE_TTL,
            fresh_after: lost
                .min()
                .into_iter()
                .chain(self.damaged_at)
                .fold(expired, Timestamp::max),
            again: max_age.map(|_| Revalidation {
                expired: now.minus(self.resource().terms().lifetime.ttl),
                tried: now.minus(MIN_REVALIDATION_INTERVAL),
            }),
        };
        self.resource().take_lease(wanted).await
    }

    /// Fetches under a lease, unless the data turn out to be there.
    async fn won(
        &mut self,
        target: &[R::Part],
        lease: &Lease<R::Part>,
        asked_at: Timestamp,
    ) -> Result<Step<R>, ServiceError> {
        let resource = self.resource();
        // Others have held it, or all was forgotten, since the data were read.
        let read = R::header(&self.state.cached);
        if !self.state.readable || !is_next_generation::<R>(lease, read, asked_at) {
            self.reload().await;
            if let Some(found) = self.state.complete() {
                release_early(resource, lease, &Release::default()).await;
                return Ok(Step::done(found));
            }
        }
        if let Some(error) = self.paused() {
            release_early(resource, lease, &Release::default()).await;
            return self.stale_if_error(error).map(Step::done);
        }
        let under = Under {
            lease: Some(lease),
            // None of these could store what it fetched.
            after_many: self.holders.len() > UNSTORED_HOLDERS,
        };
        // Where it could not be read again, another fetch may have stored since:
        // nothing of that may be replaced, or taken for what is there now.
        let unknown = R::Entry::default();
        let previous = match self.state.readable {
            true => &self.state.cached,
            false => &unknown,
        };
        match fetch(resource, self.rate_limits, target, previous, under).await {
            Ok(fetched) => self.state.fetched.add(fetched),
            Err(error) => return self.stale_if_error(error).map(Step::done),
        }
        if let Some(found) = self.state.complete() {
            return Ok(Step::done(found));
        }
        self.reload().await;
        Ok(Step::LookAgain)
    }

    /// Fetches what is missing without a lease; it is an answer, but not stored.
    pub(super) async fn fetch_without_lease(&mut self) -> Result<FoundOf<R>, ServiceError> {
        let wanted = self.state.missing();
        let (resource, under) = (self.resource(), Under::<R>::default());
        let cached = &self.state.cached;
        match fetch(resource, self.rate_limits, &wanted, cached, under).await {
            Ok(fetched) => self.state.fetched.add(fetched),
            Err(error) => return self.stale_if_error(error),
        }
        self.state.complete().ok_or(ServiceError::CacheUnavailable)
    }

    /// Reads the stored data again.
    pub(super) async fn reload(&mut self) {
        match self.resource().load(true).await {
            Some(loaded) => {
                self.state.header = R::header(&loaded).clone();
                self.state.cached = loaded;
                self.state.readable = true;
            }
            None => self.state.readable = false,
        }
    }

    /// Returns the failure that stands for the provider's rate limit, if it is
    /// reached.
    fn paused(&self) -> Option<UpstreamError> {
        let provider = self.resource().terms().provider;
        let until = self.rate_limits.limited_until(provider)?;
        Some(rate_limited_error(provider, until, self.state.now()))
    }
}

/// Returns whether a lease that was asked for at `asked_at` is the next one after a
/// header was read. The first one of all counts from that time.
fn is_next_generation<R: Resource>(
    lease: &Lease<R::Part>,
    read: &R::Header,
    asked_at: Timestamp,
) -> bool {
    let first = u64::try_from(asked_at.as_millis()).unwrap_or_default();
    lease.generations.iter().all(|(part, generation)| {
        let before = R::headers(read).get(part);
        let before = before.map_or(0, |part| part.generation);
        let before = if before == 0 { first } else { before };
        *generation == before + 1
    })
}
