//! The first level: what a wallet holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    CacheOutcome, Held, Level, Request, Service, ServiceError, TRIED_AGAIN, failures::remembered,
    limits::left_alone,
};
use crate::{
    cache::{Again, CachedPart, CachedWallet, Header, Lease, LeaseOutcome, LeaseRequest},
    clock::Timestamp,
    config::Lifetime,
    domain::{query::Query, scope::Part, upstream::Upstream},
    usage::Usage,
};

/// A lease ends this long after its holder was last heard of.
const LEASE: Duration = Duration::from_secs(5);
/// The holder is heard of this often: clocks may differ by more than two
/// seconds before others take its lease for ended.
const BEAT: Duration = Duration::from_secs(1);
/// Whoever waits for somebody else's fetch looks again after these pauses,
/// the last one repeated.
const PAUSES_MS: [u64; 4] = [100, 150, 250, 400];
/// Whoever finds fresh holdings unreadable looks again for this long: by then
/// they count as lost, and one fetches them anew.
const PATIENCE: Duration = Duration::from_millis(6500);
/// So many holders are waited for, one after the other, that died or could not
/// store what they fetched.
const HOLDERS: usize = 3;
/// Chunks are written right after their header. When a header is older than
/// this and its chunks are still not there, they are lost, not on their way.
const SETTLED: Duration = Duration::from_secs(5);

impl Held {
    /// What was just fetched.
    pub(super) fn fetched(
        parts: BTreeMap<Part, CachedPart>,
        now: Timestamp,
        outcome: CacheOutcome,
        lifetime: Lifetime,
    ) -> Self {
        Self {
            parts,
            fetched_at: now,
            level: Level {
                outcome,
                fresh_until: now.plus(lifetime.ttl),
                stale: false,
                stored: false,
                detail: None,
            },
            priced: None,
            unchanged: false,
            missing: Vec::new(),
            cached: None,
        }
    }

    /// Holdings of a wallet that the provider has nothing of, by its own word.
    pub(super) fn nothing(now: Timestamp, lifetime: Lifetime) -> Self {
        Self::fetched(BTreeMap::new(), now, CacheOutcome::Hit, lifetime)
    }
}

impl Service {
    /// The wanted parts: cached, or fetched.
    pub(super) async fn held(
        &self,
        query: &Query,
        wanted: &[Part],
        request: &Request,
    ) -> Result<Held, ServiceError> {
        let loaded = self.load(query, false, request).await;
        if let Some(held) = self.fresh(wanted, loaded.as_ref(), request) {
            return Ok(held);
        }
        let outcome = outcome(wanted, loaded.as_ref());
        if self.blocked(Upstream::Zerion).is_some() {
            self.look_at_breaker(Upstream::Zerion, &request.usage).await;
        }
        if let Some(until) = self.blocked(Upstream::Zerion) {
            let error = left_alone(Upstream::Zerion, until, self.clock.now());
            return self.despite(error, wanted, loaded.as_ref());
        }
        let Some(cached) = loaded else {
            // Without the cache there is no lease either: ask, and do not store.
            return self
                .fetch(query, wanted, None, None, outcome, request)
                .await;
        };
        self.expired(query, wanted, cached, outcome, request).await
    }

    async fn load(
        &self,
        query: &Query,
        consistent: bool,
        request: &Request,
    ) -> Option<CachedWallet> {
        let loaded = self
            .wallets
            .load(&query.address, query.currency, consistent, &request.usage)
            .await;
        let mut loaded = loaded
            .inspect_err(|error| tracing::warn!(%error, "the cache cannot be read"))
            .ok()?;
        let now = self.clock.now();
        loaded.header = loaded.header.plausible_at(now, LEASE);
        let implausible = |part: &CachedPart| part.fetched_at.is_implausible(now);
        loaded.parts.retain(|_, part| !implausible(part));
        Some(loaded)
    }

    /// The cached parts, if all that are wanted are fresh.
    fn fresh(
        &self,
        wanted: &[Part],
        cached: Option<&CachedWallet>,
        request: &Request,
    ) -> Option<Held> {
        let held = self.cached(wanted, cached?)?;
        (held.fetched_at > self.fresh_after(request)).then_some(held)
    }

    /// Holdings fetched after this are fresh for this request.
    fn fresh_after(&self, request: &Request) -> Timestamp {
        let ttl = self.policy.structure.ttl;
        let ttl = request.max_age.map_or(ttl, |age| age.min(ttl));
        self.clock.now().minus(ttl)
    }

    /// The cached parts, however old, if all that are wanted are there.
    fn cached(&self, wanted: &[Part], cached: &CachedWallet) -> Option<Held> {
        let parts: Option<BTreeMap<Part, CachedPart>> = wanted
            .iter()
            .map(|part| Some((*part, cached.parts.get(part)?.clone())))
            .collect();
        let parts = parts?;
        let fetched_at = parts.values().map(|part| part.fetched_at).min()?;
        let fresh_until = fetched_at.plus(self.policy.structure.ttl);
        Some(Held {
            parts,
            fetched_at,
            level: Level {
                outcome: CacheOutcome::Hit,
                fresh_until,
                stale: self.clock.now() >= fresh_until,
                stored: false,
                detail: None,
            },
            priced: None,
            unchanged: false,
            missing: Vec::new(),
            cached: Some(cached.clone()),
        })
    }

    /// The cached parts past their freshness, within the limit for stale data.
    pub(super) fn stale(
        &self,
        wanted: &[Part],
        cached: &CachedWallet,
        detail: &'static str,
    ) -> Option<Held> {
        let mut held = self.cached(wanted, cached)?;
        let usable_until = held.fetched_at.plus(self.policy.structure.whole());
        held.level.detail = Some(detail);
        (self.clock.now() < usable_until).then_some(held)
    }

    /// Something wanted is missing or expired: one request fetches, the others
    /// wait for it or answer what they have.
    async fn expired(
        &self,
        query: &Query,
        wanted: &[Part],
        mut cached: CachedWallet,
        outcome: CacheOutcome,
        request: &Request,
    ) -> Result<Held, ServiceError> {
        let (mut waited, mut unreadable) = (Duration::ZERO, Duration::ZERO);
        let mut holders = BTreeSet::new();
        let patience = self.upstream_timeout(self.policy.structure_timeout + LEASE, request);
        loop {
            let aside = Usage::default();
            let (taken, ()) = futures::join!(
                self.take_lease(query, wanted, &cached.header, request),
                self.look_at_breaker(Upstream::Zerion, &aside)
            );
            request.usage.add_aside(&aside);
            let header = match taken {
                Some(LeaseOutcome::Won(lease)) => {
                    // Others have held it, or all was forgotten, since the
                    // wallet was read.
                    if !follows(&lease, &cached.header)
                        && let Some(loaded) = self.load(query, true, request).await
                    {
                        if let Some(held) = self.fresh(wanted, Some(&loaded), request) {
                            self.give_back(query, Some(&lease), None, request).await;
                            return Ok(held);
                        }
                        cached = loaded;
                    }
                    if let Some(until) = self.blocked(Upstream::Zerion) {
                        self.give_back(query, Some(&lease), None, request).await;
                        let error = left_alone(Upstream::Zerion, until, self.clock.now());
                        return self.despite(error, wanted, Some(&cached));
                    }
                    return self
                        .fetch(query, wanted, Some(cached), Some(lease), outcome, request)
                        .await;
                }
                Some(LeaseOutcome::Lost(header)) => header,
                // The lease saves requests; correctness does not hang on it.
                None => {
                    return self
                        .fetch(query, wanted, Some(cached), None, outcome, request)
                        .await;
                }
            };
            if let Some(error) = remembered(&header, wanted, self.clock.now()) {
                return self.despite(error, wanted, Some(&cached));
            }
            // Each lease counts the generation up.
            let parts = wanted.iter().filter_map(|part| header.parts.get(part));
            holders.extend(parts.map(|part| part.generation).max());
            let settled = self.header_is_fresh(wanted, &header, request);
            if !settled {
                if let Some(held) = self.stale(wanted, &cached, "being-refreshed") {
                    return Ok(held);
                }
                let (pause, given_up) = self
                    .wait_for_holder(query, wanted, patience.saturating_sub(waited), request)
                    .await;
                waited += pause;
                // What the holder fetched cannot be kept: each for itself.
                if given_up || holders.len() > HOLDERS {
                    return self
                        .fetch(query, wanted, Some(cached), None, outcome, request)
                        .await;
                }
            }
            if let Some(loaded) = self.load(query, true, request).await {
                if let Some(held) = self.fresh(wanted, Some(&loaded), request) {
                    return Ok(held);
                }
                cached = loaded;
            }
            if waited >= patience {
                return Err(ServiceError::Deadline);
            }
            if settled && unreadable >= PATIENCE {
                return self
                    .fetch(query, wanted, Some(cached), None, outcome, request)
                    .await;
            }
            unreadable += pause().await;
        }
    }

    /// Tries for the lease. Holdings that look fresh by their header keep it
    /// from being had, unless they have proved unreadable.
    async fn take_lease(
        &self,
        query: &Query,
        wanted: &[Part],
        read: &Header,
        request: &Request,
    ) -> Option<LeaseOutcome> {
        let now = self.clock.now();
        let expired = self.fresh_after(request);
        let unreadable = wanted
            .iter()
            .filter_map(|part| read.parts.get(part)?.fetched_at)
            .filter(|fetched_at| now.since(*fetched_at) > SETTLED)
            .min();
        let wanted = LeaseRequest {
            parts: wanted,
            now,
            length: LEASE,
            fresh_after: unreadable.map_or(expired, |at| at.max(expired)),
            again: request.max_age.map(|_| Again {
                expired: now.minus(self.policy.structure.ttl),
                tried: now.minus(TRIED_AGAIN),
            }),
        };
        let outcome = self
            .wallets
            .lease(&query.address, wanted, &request.usage)
            .await
            .inspect_err(|error| tracing::warn!(%error, "no lease can be taken"))
            .ok()?;
        Some(match outcome {
            LeaseOutcome::Lost(header) => LeaseOutcome::Lost(header.plausible_at(now, LEASE)),
            won @ LeaseOutcome::Won(_) => won,
        })
    }

    /// Keeps the lease for as long as this is waited for; never ends.
    pub(super) async fn keep_lease(&self, query: &Query, lease: &Lease, usage: &Usage) {
        loop {
            tokio::time::sleep(BEAT).await;
            let until = self.clock.now().plus(LEASE);
            let renewed = self.wallets.renew(&query.address, lease, until, usage);
            match renewed.await {
                Ok(true) => {}
                // What is fetched will not be stored, but it is an answer.
                Ok(false) => return std::future::pending().await,
                Err(error) => tracing::warn!(%error, "the lease cannot be kept"),
            }
        }
    }

    fn header_is_fresh(&self, wanted: &[Part], header: &Header, request: &Request) -> bool {
        let fresh_after = self.fresh_after(request);
        wanted.iter().all(|part| {
            let fetched_at = header.parts.get(part).and_then(|part| part.fetched_at);
            fetched_at.is_some_and(|at| at > fresh_after)
        })
    }

    /// Looks at the header until the parts are fresh, nobody holds a lease, or
    /// patience ends. Tells how long that took, and whether the holder gave up
    /// without a result and without a failure.
    async fn wait_for_holder(
        &self,
        query: &Query,
        wanted: &[Part],
        patience: Duration,
        request: &Request,
    ) -> (Duration, bool) {
        let mut waited = Duration::ZERO;
        for pause in (0..).map(|at: usize| PAUSES_MS[at.min(PAUSES_MS.len() - 1)]) {
            if waited >= patience {
                break;
            }
            let pause = Duration::from_millis(pause);
            tokio::time::sleep(pause).await;
            waited += pause;
            let Ok(header) = self.wallets.header(&query.address, &request.usage).await else {
                break;
            };
            let now = self.clock.now();
            let header = header.plausible_at(now, LEASE);
            let parts = || wanted.iter().filter_map(|part| header.parts.get(part));
            let leased = parts().any(|part| part.lease_until.is_some_and(|until| now < until));
            let fresh = self.header_is_fresh(wanted, &header, request);
            if !leased || fresh {
                let ended = parts().all(|part| part.lease_until.is_none());
                let failed = remembered(&header, wanted, now).is_some();
                return (waited, ended && !fresh && !failed);
            }
        }
        (waited, false)
    }
}

/// Whether a lease is the next one after a header was read.
fn follows(lease: &Lease, read: &Header) -> bool {
    lease.generations.iter().all(|(part, generation)| {
        let before = read.parts.get(part).map_or(0, |part| part.generation);
        before == 0 || *generation == before + 1
    })
}

/// A short pause before looking again.
async fn pause() -> Duration {
    let pause = Duration::from_millis(PAUSES_MS[0]);
    tokio::time::sleep(pause).await;
    pause
}

fn outcome(wanted: &[Part], cached: Option<&CachedWallet>) -> CacheOutcome {
    let Some(cached) = cached else {
        return CacheOutcome::Miss;
    };
    match wanted
        .iter()
        .filter(|part| cached.parts.contains_key(part))
        .count()
    {
        0 => CacheOutcome::Miss,
        there if there == wanted.len() => CacheOutcome::Expired,
        _ => CacheOutcome::Partial,
    }
}
