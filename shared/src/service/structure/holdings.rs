//! A wallet's holdings as a resource of the read-through cache.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{
    asset_cache::AssetCache,
    wallet_cache::{WalletCache, refer_to_the_same},
};
use crate::{
    cache::{
        CacheError, CachedPart, CachedWallet, Header, Lease, LeaseOutcome, LeaseRequest,
        NewStructure, PartHeader, Release, StoreOutcome, WalletStore, asset_registry::Assets,
        codec,
    },
    clock::{Clock, Timestamp},
    domain::{
        decoded::StoredHoldings,
        holdings::CorruptHoldings,
        price::{Price, PriceTable},
        provider::Provider,
        query::Query,
        scope::{Part, Scope},
    },
    service::{
        context::Request,
        demand::Demand,
        policy::{FREEZE_TOLERANCE, LEASE_TTL, Policy},
        read_through::{Answer, Resource, ResourceTerms},
    },
    telemetry::request_cost::RequestCost,
    upstream::{Failure, FetchedStructure, HoldingsProvider, UpstreamError},
};

/// Where holdings come from, and where they are kept.
pub(in crate::service) struct HoldingsPorts {
    pub provider: Arc<dyn HoldingsProvider>,
    pub wallets: Arc<dyn WalletStore>,
    pub wallet_cache: Arc<WalletCache>,
    pub assets: AssetCache,
    pub demand: Arc<dyn Demand>,
    pub clock: Arc<dyn Clock>,
    pub policy: Policy,
}

/// The holdings of a query's wallet.
pub(super) struct WalletHoldings<'r> {
    pub ports: &'r HoldingsPorts,
    pub query: &'r Query,
    pub request: &'r Request,
}

impl WalletHoldings<'_> {
    /// Returns the header without times that no right clock can have written.
    fn plausible(&self, header: Header) -> Header {
        header.without_future_timestamps(self.now(), LEASE_TTL, self.uncacheable_ttl())
    }

    /// Returns the process's copy, if nothing of it that the request needs has
    /// expired.
    fn fresh_copy(&self) -> Option<CachedWallet> {
        if self.request.max_age.is_some() {
            return None;
        }
        let now = self.now();
        let fresh_after = now.minus(self.ports.policy.structure.ttl);
        let copies = &self.ports.wallet_cache;
        copies.fresh_copy(self.query, fresh_after, now)
    }

    /// Encodes what the provider answered, part by part.
    fn encode(
        &self,
        parts: &[Part],
        structure: &FetchedStructure,
        assets: &Assets,
        now: Timestamp,
    ) -> Result<BTreeMap<Part, Arc<CachedPart>>, UpstreamError> {
        let mapping = structure.draft.map(assets);
        for (id, assets) in mapping.ambiguous() {
            tracing::warn!(
                id = id.0,
                ?assets,
                "assets with different prices have one id"
            );
            self.request.cost.refused_price();
        }
        let part = |part: &Part| {
            let finished = structure.draft.encode(*part, &mapping);
            let prices = finished.prices.into_iter().map(|(key, amount, change)| {
                (key, Price::new(amount, change, Provider::Zerion, now))
            });
            let cached = CachedPart {
                hash: codec::hash(&finished.bytes),
                holdings: StoredHoldings::new(finished.bytes).map_err(unreadable)?,
                fetched_at: now,
                currency: self.query.currency,
                prices: PriceTable::new(prices.collect()),
            };
            Ok((*part, Arc::new(cached)))
        };
        parts.iter().map(part).collect()
    }
}

#[async_trait]
impl Resource for WalletHoldings<'_> {
    type Part = Part;
    type Value = CachedPart;
    type Header = Header;
    type Entry = CachedWallet;

    const ALL: &'static [Part] = &Part::ALL;

    fn header(entry: &CachedWallet) -> &Header {
        &entry.header
    }

    fn parts(entry: &CachedWallet) -> &BTreeMap<Part, Arc<CachedPart>> {
        &entry.parts
    }

    fn headers(header: &Header) -> &BTreeMap<Part, PartHeader> {
        &header.parts
    }

    fn fetched_at(value: &CachedPart) -> Timestamp {
        value.fetched_at
    }

    fn hash(value: &CachedPart) -> u128 {
        value.hash
    }

    fn part_name(part: Part) -> &'static str {
        part.as_str()
    }

    fn terms(&self) -> ResourceTerms {
        ResourceTerms {
            provider: Provider::Zerion,
            lifetime: self.ports.policy.structure,
            timeout: self.ports.policy.structure_timeout,
        }
    }

    fn request(&self) -> &Request {
        self.request
    }

    fn now(&self) -> Timestamp {
        self.ports.clock.now()
    }

    async fn load(&self, consistent: bool) -> Option<CachedWallet> {
        let (query, cost) = (self.query, &self.request.cost);
        if !consistent && let Some(mut copy) = self.fresh_copy() {
            match self.load_header().await {
                Ok(header) if refer_to_the_same(&header, &copy.header) => {
                    copy.header = header;
                    cost.copy_hit();
                    return Some(copy);
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "the cache cannot be read");
                    return None;
                }
            }
        }
        let wallets = &self.ports.wallets;
        let loaded = wallets.load(&query.address, query.currency, consistent, cost);
        let mut loaded = loaded
            .await
            .inspect_err(|error| tracing::warn!(%error, "the cache cannot be read"))
            .ok()?;
        let now = self.now();
        loaded.header = self.plausible(loaded.header);
        loaded
            .parts
            .retain(|_, part| !part.fetched_at.is_in_the_future(now));
        self.ports.wallet_cache.keep(query, &loaded, now);
        Some(loaded)
    }

    async fn load_header(&self) -> Result<Header, CacheError> {
        let (address, cost) = (&self.query.address, &self.request.cost);
        let header = self.ports.wallets.header(address, cost).await?;
        Ok(self.plausible(header))
    }

    async fn take_lease(&self, wanted: LeaseRequest<'_>) -> Result<LeaseOutcome, CacheError> {
        let (address, cost) = (&self.query.address, &self.request.cost);
        let outcome = self.ports.wallets.lease(address, wanted, cost).await?;
        Ok(match outcome {
            LeaseOutcome::Lost(header) => LeaseOutcome::Lost(self.plausible(header)),
            won => won,
        })
    }

    async fn renew_lease(
        &self,
        lease: &Lease,
        until: Timestamp,
        cost: &RequestCost,
    ) -> Result<bool, CacheError> {
        let address = &self.query.address;
        self.ports.wallets.renew(address, lease, until, cost).await
    }

    async fn release_lease(&self, lease: &Lease, release: &Release) -> Result<(), CacheError> {
        let (address, cost) = (&self.query.address, &self.request.cost);
        let wallets = &self.ports.wallets;
        wallets.release(address, lease, release, cost).await
    }

    /// Asks for holdings and their prices; the registry is read meanwhile.
    async fn fetch(&self, parts: &[Part], limit: Duration) -> Result<Answer<Self>, UpstreamError> {
        let (ports, request) = (self.ports, self.request);
        let timeout = request.timeout(limit, self.now());
        request.cost.upstream_call();
        let started = self.now();
        let fetch = ports.provider.fetch(
            &self.query.address,
            scope_of(parts),
            self.query.currency,
            timeout,
            request.attempts,
        );
        let concurrent = RequestCost::default();
        // A process may be frozen before the registry has been read as well.
        let fetch = async { (fetch.await, self.now()) };
        let assets = tokio::time::timeout(timeout, ports.assets.get(started, &concurrent));
        let ((fetched, at), assets) = futures::join!(fetch, assets);
        let took = at.since(started);
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
        let structure = fetched?;
        Ok(Answer {
            parts: self.encode(parts, &structure, &assets, at)?,
            complete: structure.complete,
            at,
        })
    }

    /// Stores a fetch, and notes in the book what the wallet will want when
    /// these prices expire.
    async fn store(
        &self,
        lease: &Lease,
        parts: &BTreeMap<Part, Arc<CachedPart>>,
        previous: &CachedWallet,
        took: Duration,
    ) -> Result<StoreOutcome, CacheError> {
        let (ports, query, request) = (self.ports, self.query, self.request);
        let structure = NewStructure {
            parts,
            previous,
            took,
        };
        let concurrent = RequestCost::default();
        let cost = &request.cost;
        let now = self.now();
        let stored = async {
            let wallet = ports
                .wallets
                .store(&query.address, lease, structure, now, cost);
            let demand = ports.demand.record(query, parts, request, &concurrent);
            futures::join!(wallet, demand).0
        };
        // What was fetched is an answer, whether or not it can be kept.
        let limit = request.timeout(ports.policy.structure_timeout, self.now());
        let stored = tokio::time::timeout(limit, stored).await;
        cost.merge_concurrent(&concurrent);
        stored.unwrap_or_else(|_| Err(CacheError::deadline()))
    }

    fn copy_under(&self, header: &Header) -> CachedWallet {
        self.ports.wallet_cache.under(&self.query.address, header)
    }

    fn last_copy(&self) -> Option<CachedWallet> {
        self.ports.wallet_cache.last(&self.query.address)
    }

    fn uncacheable_ttl(&self) -> Duration {
        self.ports.policy.uncacheable_ttl()
    }
}

/// What was just encoded decodes; were it otherwise, no answer could show it.
fn unreadable(error: CorruptHoldings) -> UpstreamError {
    UpstreamError {
        upstream: Provider::Zerion,
        failure: Failure::Malformed(error.to_string()),
    }
}

/// Returns the scope that brings some parts. The provider has nothing else of a
/// wallet whose other part it does not cover.
fn scope_of(parts: &[Part]) -> Scope {
    match parts {
        [Part::Wallet] => Scope::Wallet,
        [Part::Defi] => Scope::Defi,
        _ => Scope::Aggregate,
    }
}
