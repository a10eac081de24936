//! The first level: what a wallet holds.

use std::{collections::BTreeMap, time::Duration};

use super::{CacheOutcome, Held, Level, Request, Service, ServiceError};
use crate::{
    cache::{CachedPart, CachedWallet, Header, LeaseOutcome},
    clock::Timestamp,
    config::Lifetime,
    domain::{query::Query, scope::Part},
};

/// A lease outlives the attempt that it covers by this much.
const LEASE_MARGIN: Duration = Duration::from_secs(3);
/// Whoever waits for somebody else's fetch looks again after these pauses,
/// the last one repeated.
const PAUSES_MS: [u64; 4] = [100, 150, 250, 400];
/// And gives up waiting after this long.
const PATIENCE: Duration = Duration::from_millis(2500);
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
        if let Some(held) = self.fresh(wanted, loaded.as_ref()) {
            return Ok(held);
        }
        let outcome = outcome(wanted, loaded.as_ref());
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
        loaded
            .inspect_err(|error| tracing::warn!(%error, "the cache cannot be read"))
            .ok()
    }

    /// The cached parts, if all that are wanted are fresh.
    fn fresh(&self, wanted: &[Part], cached: Option<&CachedWallet>) -> Option<Held> {
        let held = self.cached(wanted, cached?)?;
        (self.clock.now() < held.level.fresh_until).then_some(held)
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
        let mut waited = Duration::ZERO;
        loop {
            match self
                .take_lease(query, wanted, &cached.header, request)
                .await
            {
                Some(LeaseOutcome::Won(lease)) => {
                    return self
                        .fetch(query, wanted, Some(cached), Some(lease), outcome, request)
                        .await;
                }
                Some(LeaseOutcome::Lost(header)) => {
                    if !self.header_is_fresh(wanted, &header) {
                        if let Some(held) = self.stale(wanted, &cached, "being-refreshed") {
                            return Ok(held);
                        }
                        self.wait_for_holder(query, wanted, &mut waited, request)
                            .await;
                    }
                    if let Some(loaded) = self.load(query, true, request).await {
                        if let Some(held) = self.fresh(wanted, Some(&loaded)) {
                            return Ok(held);
                        }
                        cached = loaded;
                    }
                    if waited < PATIENCE {
                        waited += pause().await;
                        continue;
                    }
                }
                None => {}
            }
            // The lease saves requests; correctness does not hang on it.
            return self
                .fetch(query, wanted, Some(cached), None, outcome, request)
                .await;
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
        let length = self.policy.structure_timeout + LEASE_MARGIN;
        let expired = now.minus(self.policy.structure.ttl);
        let unreadable = wanted
            .iter()
            .filter_map(|part| read.parts.get(part)?.fetched_at)
            .filter(|fetched_at| now.since(*fetched_at) > SETTLED)
            .min();
        let fresh_after = unreadable.map_or(expired, |at| at.max(expired));
        let outcome = self
            .wallets
            .lease(
                &query.address,
                wanted,
                now,
                length,
                fresh_after,
                &request.usage,
            )
            .await;
        outcome
            .inspect_err(|error| tracing::warn!(%error, "no lease can be taken"))
            .ok()
    }

    fn header_is_fresh(&self, wanted: &[Part], header: &Header) -> bool {
        let now = self.clock.now();
        wanted.iter().all(|part| {
            let fetched_at = header.parts.get(part).and_then(|part| part.fetched_at);
            fetched_at.is_some_and(|at| now < at.plus(self.policy.structure.ttl))
        })
    }

    /// Looks at the header until the parts are fresh, nobody holds a lease, or
    /// patience ends.
    async fn wait_for_holder(
        &self,
        query: &Query,
        wanted: &[Part],
        waited: &mut Duration,
        request: &Request,
    ) {
        for pause in (0..).map(|at: usize| PAUSES_MS[at.min(PAUSES_MS.len() - 1)]) {
            if *waited >= PATIENCE {
                return;
            }
            let pause = Duration::from_millis(pause);
            tokio::time::sleep(pause).await;
            *waited += pause;
            let Ok(header) = self.wallets.header(&query.address, &request.usage).await else {
                return;
            };
            let now = self.clock.now();
            let leased = wanted.iter().any(|part| {
                let until = header.parts.get(part).and_then(|part| part.lease_until);
                until.is_some_and(|until| now < until)
            });
            if !leased || self.header_is_fresh(wanted, &header) {
                return;
            }
        }
    }
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
