//! A miss of the first level: one request to the provider, and the cache's
//! update.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::Either;

use super::{asset_cache::AssetCache, negative_cache::failure_marker};
use crate::{
    cache::{
        CacheError, CachedPart, CachedWallet, Lease, NewStructure, Release, StoreOutcome,
        WalletStore, asset_registry::Assets, codec,
    },
    clock::{Clock, Timestamp},
    domain::{
        currency::Currency,
        price::{Price, PriceTable},
        provider::Provider,
        query::Query,
        response::{Missing, MissingReason},
        scope::{Part, Scope},
    },
    service::{
        context::{Detail, Request},
        demand::Demand,
        policy::{
            DEADLINE_MARGIN, FREEZE_TOLERANCE, HEARTBEAT_INTERVAL, LEASE_TTL, Policy,
            RELEASE_TIMEOUT, SOFT_STRUCTURE_TIMEOUT, UNLEASED_FETCHES, UNLEASED_WINDOW,
            UNSTORED_TTL,
        },
        rate_limits::RateLimits,
    },
    sync::locked,
    telemetry::request_cost::RequestCost,
    upstream::{Failure, FetchedStructure, StructureSource, UpstreamError},
};

/// What a request has fetched.
#[derive(Default)]
pub(super) struct Fetched {
    pub parts: BTreeMap<Part, Arc<CachedPart>>,
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

impl Fetched {
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
#[derive(Clone, Copy, Default)]
pub(super) struct Under<'l> {
    /// The lease, if it is to be stored.
    pub lease: Option<&'l Lease>,
    /// Whether several holders before could not store theirs.
    pub after_many: bool,
}

/// Limits the fetches that no lease coordinates.
#[derive(Default)]
pub(super) struct UnleasedLimit(Mutex<VecDeque<Timestamp>>);

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

/// Fetches holdings from the provider and stores them.
pub(in crate::service) struct Fetcher {
    pub provider: Arc<dyn StructureSource>,
    pub wallets: Arc<dyn WalletStore>,
    pub assets: AssetCache,
    pub demand: Arc<dyn Demand>,
    pub rate_limits: Arc<RateLimits>,
    pub clock: Arc<dyn Clock>,
    pub policy: Policy,
}

impl Fetcher {
    /// Asks the provider once for some parts, and stores what it says under the
    /// lease; without one it is an answer, but not stored.
    ///
    /// # Errors
    /// When the provider fails; the lease has then ended with a note of it.
    pub(super) async fn fetch(
        &self,
        query: &Query,
        parts: &[Part],
        cached: &CachedWallet,
        under: Under<'_>,
        request: &Request,
    ) -> Result<Fetched, UpstreamError> {
        let lease = under.lease;
        let limit = self.soft_timeout(parts, cached);
        let started = self.clock.now();
        let deadline_bound = request.timeout(limit, self.clock.now()) + DEADLINE_MARGIN < limit;
        let answer = self.ask_under(query, parts, lease, limit, request).await;
        let (structure, answered_at, assets) = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let now = self.clock.now();
                self.rate_limits.record(&error, &request.cost).await;
                let failed = match &error.failure {
                    // It had no fair chance: others may have more time.
                    Failure::Timeout if deadline_bound => None,
                    failure => failure_marker(failure, now.since(started), now),
                };
                if let Some(lease) = lease {
                    let release = Release {
                        failed,
                        ..Release::default()
                    };
                    self.release_lease(query, lease, &release, request).await;
                }
                return Err(error);
            }
        };
        let took = answered_at.since(started);
        let mut fetched = Fetched {
            parts: self.encode(
                query.currency,
                parts,
                &structure,
                &assets,
                answered_at,
                request,
            ),
            incomplete: !structure.complete,
            ..Fetched::default()
        };
        fetched.unchanged = fetched.parts.iter().all(|(part, new)| {
            let old = cached.parts.get(part);
            old.is_some_and(|old| old.hash == new.hash)
        });
        if fetched.incomplete {
            fetched.detail = Some(Detail::Incomplete);
            fetched.missing.extend(parts.iter().map(|part| Missing {
                what: part.as_str(),
                chain: None,
                token: None,
                reason: MissingReason::FetchedIncompletely,
            }));
        }
        let Some(lease) = lease else {
            fetched.detail = fetched.detail.or(Some(Detail::Uncached));
            return Ok(fetched);
        };
        let uncacheable = match fetched.incomplete {
            true => Some(UNSTORED_TTL),
            false => {
                let stored = self
                    .store(query, lease, &fetched, cached, took, request)
                    .await;
                fetched.stored = matches!(stored, Ok(StoreOutcome::Stored));
                match stored {
                    Ok(StoreOutcome::Stored | StoreOutcome::LeaseLost) => None,
                    Ok(StoreOutcome::TooLarge) => Some(self.policy.uncacheable_ttl()),
                    Err(error) => {
                        tracing::warn!(%error, "the wallet cannot be stored");
                        under.after_many.then_some(UNSTORED_TTL)
                    }
                }
            }
        };
        if !fetched.stored {
            fetched.detail = fetched.detail.or(Some(Detail::Uncached));
        }
        if !fetched.stored {
            let release = Release {
                uncacheable_until: uncacheable.map(|ttl| self.clock.now().plus(ttl)),
                ..Release::default()
            };
            self.release_lease(query, lease, &release, request).await;
        }
        Ok(fetched)
    }

    /// Encodes what the provider answered, part by part.
    fn encode(
        &self,
        currency: Currency,
        parts: &[Part],
        structure: &FetchedStructure,
        assets: &Assets,
        now: Timestamp,
        request: &Request,
    ) -> BTreeMap<Part, Arc<CachedPart>> {
        let mapping = structure.draft.map(assets);
        for (id, assets) in mapping.ambiguous() {
            tracing::warn!(
                id = id.0,
                ?assets,
                "assets with different prices have one id"
            );
            request.cost.refused_price();
        }
        let part = |part: &Part| {
            let finished = structure.draft.encode(*part, &mapping);
            let prices = finished.prices.into_iter().map(|(key, amount, change)| {
                (key, Price::new(amount, change, Provider::Zerion, now))
            });
            let cached = CachedPart {
                hash: codec::hash(&finished.bytes),
                bytes: finished.bytes,
                fetched_at: now,
                currency,
                prices: PriceTable::new(prices.collect()),
            };
            (*part, Arc::new(cached))
        };
        parts.iter().map(part).collect()
    }

    /// Stores a fetch, and notes in the book what the wallet will want when
    /// these prices expire.
    async fn store(
        &self,
        query: &Query,
        lease: &Lease,
        fetched: &Fetched,
        cached: &CachedWallet,
        took: Duration,
        request: &Request,
    ) -> Result<StoreOutcome, CacheError> {
        let structure = NewStructure {
            parts: &fetched.parts,
            previous: cached,
            took,
        };
        let concurrent = RequestCost::default();
        let (address, cost) = (&query.address, &request.cost);
        let now = self.clock.now();
        let stored = async {
            let (stored, ()) = futures::join!(
                self.wallets.store(address, lease, structure, now, cost),
                self.demand
                    .record(query, &fetched.parts, request, &concurrent)
            );
            stored
        };
        // What was fetched is an answer, whether or not it can be kept.
        let limit = request.timeout(self.policy.structure_timeout, self.clock.now());
        let stored = tokio::time::timeout(limit, stored).await;
        cost.merge_concurrent(&concurrent);
        stored.unwrap_or_else(|_| Err(CacheError::deadline()))
    }

    /// Keeps the lease for as long as this is waited for; never ends.
    async fn keep_lease(&self, query: &Query, lease: &Lease, cost: &RequestCost) {
        loop {
            tokio::time::sleep(HEARTBEAT_INTERVAL).await;
            let until = self.clock.now().plus(LEASE_TTL);
            let renewed = self.wallets.renew(&query.address, lease, until, cost);
            match renewed.await {
                Ok(true) => {}
                // What is fetched will not be stored, but it is an answer.
                Ok(false) => return std::future::pending().await,
                Err(error) => tracing::warn!(%error, "the lease cannot be kept"),
            }
        }
    }

    /// How long the provider is waited for: as long as a request may take, or,
    /// where old holdings may stand in, not much longer than the last one took.
    fn soft_timeout(&self, parts: &[Part], cached: &CachedWallet) -> Duration {
        let limit = self.policy.structure_timeout;
        let oldest = self
            .clock
            .now()
            .minus(self.policy.structure.max_usable_age());
        let usable = parts.iter().all(|part| {
            let read = cached.parts.get(part);
            read.is_some_and(|read| read.fetched_at > oldest)
        });
        if !usable {
            return limit;
        }
        let headers = parts
            .iter()
            .filter_map(|part| cached.header.parts.get(part));
        let took = headers.filter_map(|header| header.took).max();
        limit.min(SOFT_STRUCTURE_TIMEOUT.max(took.unwrap_or_default().saturating_mul(2)))
    }

    /// Asks while the lease is kept.
    async fn ask_under(
        &self,
        query: &Query,
        parts: &[Part],
        lease: Option<&Lease>,
        limit: Duration,
        request: &Request,
    ) -> Result<(FetchedStructure, Timestamp, Arc<Assets>), UpstreamError> {
        let ask = self.ask(query, parts, limit, request);
        let Some(lease) = lease else {
            return ask.await;
        };
        let concurrent = RequestCost::default();
        let keep = self.keep_lease(query, lease, &concurrent);
        let asked = futures::future::select(Box::pin(ask), Box::pin(keep)).await;
        request.cost.merge_concurrent(&concurrent);
        match asked {
            Either::Left((answer, _)) => answer,
            Either::Right(((), ask)) => ask.await,
        }
    }

    /// The one request to the provider; the registry is read meanwhile.
    async fn ask(
        &self,
        query: &Query,
        parts: &[Part],
        limit: Duration,
        request: &Request,
    ) -> Result<(FetchedStructure, Timestamp, Arc<Assets>), UpstreamError> {
        let timeout = request.timeout(limit, self.clock.now());
        request.cost.upstream_call();
        let started = self.clock.now();
        let fetch = self.provider.fetch(
            &query.address,
            scope_of(parts),
            query.currency,
            timeout,
            request.attempts,
        );
        let concurrent = RequestCost::default();
        // A process may be frozen before the registry has been read as well.
        let fetch = async { (fetch.await, self.clock.now()) };
        let assets = tokio::time::timeout(timeout, self.assets.get(started, &concurrent));
        let ((fetched, answered_at), assets) = futures::join!(fetch, assets);
        let took = answered_at.since(started);
        request.cost.merge_concurrent(&concurrent);
        let assets = assets.unwrap_or_default();
        request.cost.phase("zerion", took);
        // A process that was frozen meanwhile has an old answer.
        if took > timeout + FREEZE_TOLERANCE {
            return Err(UpstreamError {
                upstream: Provider::Zerion,
                failure: Failure::Timeout,
            });
        }
        fetched.map(|fetched| (fetched, answered_at, assets))
    }

    /// Ends the lease early, if that takes no time: it ends by itself anyway.
    pub async fn release_lease(
        &self,
        query: &Query,
        lease: &Lease,
        release: &Release,
        request: &Request,
    ) {
        let limit = request.time_left(self.clock.now()).min(RELEASE_TIMEOUT);
        let release = self
            .wallets
            .release(&query.address, lease, release, &request.cost);
        match tokio::time::timeout(limit, release).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the lease cannot be ended early"),
            Err(_) => tracing::warn!("the lease could not be ended in time"),
        }
    }
}

/// The scope that brings some parts. The provider has nothing else of a wallet
/// whose other part it does not cover.
fn scope_of(parts: &[Part]) -> Scope {
    match parts {
        [Part::Wallet] => Scope::Wallet,
        [Part::Defi] => Scope::Defi,
        _ => Scope::Aggregate,
    }
}

#[cfg(test)]
mod tests {
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
