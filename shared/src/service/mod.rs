//! The read path: the whole story of a request.
//!
//! ```text
//! load the wallet: its header alone, where the process has a copy of the rest
//!   │
//!   ├─ holdings and prices fresh ──────────────────────────────────► answer
//!   │                    │
//!   │                    └─ prices expired: the shared book has them, or one
//!   │                       CoinMarketCap request (and the fallback for the
//!   │                       rest) refreshes it ──────────────────► answer
//!   └─ holdings missing or expired: take the lease
//!        ├─ won:  one Zerion request, store holdings and prices ──► answer
//!        ├─ lost: stale data at once, or wait for the winner's ───► answer
//!        └─ it has just failed: stale data, or the same failure ──► answer
//! ```
//!
//! Nothing is left running after the answer: dropping the future cancels what
//! it waits for.

mod context;
mod demand;
mod fresh_prices;
pub(crate) mod policy;
mod prices;
mod rate_limits;
mod read_through;
mod refresh_ahead;
mod snapshot;
mod structure;
#[cfg(test)]
mod testing;

use std::sync::Arc;

pub use self::{
    context::{CacheOutcome, Detail, Level, RefreshOutcome, Request, ServiceError},
    fresh_prices::AnswerPrices,
    policy::{MIN_REVALIDATION_INTERVAL, Policy},
    snapshot::Snapshot,
    structure::AssetCache,
};
use self::{
    prices::{PageCache, PriceReader, SharedPrices, Sources},
    rate_limits::RateLimits,
    refresh_ahead::RefreshAhead,
    structure::{HoldingsPorts, LoadedHoldings, StructureCache, WalletCache},
};
use crate::{
    aws::sqs::Queue,
    cache::{
        AssetStoreRef, WalletStore, price_book::PriceBook, rate_limits::RateLimitStore,
        watchlist::WatchList,
    },
    clock::{Clock, Timestamp},
    domain::{address::Address, provider::Provider, query::Query, scope::Part},
    upstream::{Failure, HoldingsProvider, QuoteProvider, UpstreamError},
};

/// Everything outside that the service speaks to.
#[derive(Clone)]
pub struct Ports {
    /// Tells what wallets hold.
    pub structures: Arc<dyn HoldingsProvider>,
    /// Quote prices; each token is asked for at the first one that may know it.
    pub quotes: Vec<Arc<dyn QuoteProvider>>,
    /// Keeps wallets.
    pub wallets: Arc<dyn WalletStore>,
    /// Keeps the asset registry.
    pub assets: AssetStoreRef,
    /// Keeps the shared price book.
    pub book: Arc<dyn PriceBook>,
    /// Keeps the shared rate limits.
    pub rate_limits: Arc<dyn RateLimitStore>,
    /// Takes wallets that are to be fetched before they expire, if anything
    /// does.
    pub queue: Option<Arc<dyn Queue>>,
    /// Where those are watched that are requested often, if they are.
    pub auto_watch: Option<Arc<dyn WatchList>>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// The service behind all functions.
pub struct Service {
    structure: StructureCache,
    prices: PriceReader,
    refresh_ahead: Option<RefreshAhead>,
    wallets: Arc<dyn WalletStore>,
    rate_limits: Arc<RateLimits>,
    clock: Arc<dyn Clock>,
    pub(crate) policy: Policy,
}

impl Service {
    /// Gives each component the ports that it uses.
    pub fn new(ports: Ports, policy: Policy) -> Self {
        let clock = ports.clock;
        let rate_limits = Arc::new(RateLimits::new(ports.rate_limits, clock.clone()));
        let shared_prices = Arc::new(SharedPrices {
            book: ports.book,
            page_cache: PageCache::default(),
            sources: Sources {
                providers: ports.quotes,
                clock: clock.clone(),
            },
            rate_limits: rate_limits.clone(),
            clock: clock.clone(),
            policy,
        });
        let usable = policy.structure.max_usable_age();
        let wallet_cache = Arc::new(WalletCache::new(policy.wallet_cache_bytes, usable));
        let holdings = HoldingsPorts {
            provider: ports.structures,
            wallets: ports.wallets.clone(),
            wallet_cache: wallet_cache.clone(),
            assets: AssetCache::new(ports.assets),
            demand: shared_prices.clone(),
            clock: clock.clone(),
            policy,
        };
        let refresh_ahead = ports.queue.map(|queue| RefreshAhead {
            queue,
            auto_watch: ports.auto_watch,
            wallets: ports.wallets.clone(),
            clock: clock.clone(),
            policy,
        });
        Self {
            structure: StructureCache::new(holdings, rate_limits.clone()),
            prices: PriceReader::new(shared_prices, ports.wallets.clone(), wallet_cache),
            refresh_ahead,
            wallets: ports.wallets,
            rate_limits,
            clock,
            policy,
        }
    }

    /// Returns the time now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Answers a query within the request's deadline.
    ///
    /// # Errors
    /// When an upstream failed and nothing cached may stand in, or the
    /// deadline passed.
    pub async fn portfolio(
        &self,
        query: &Query,
        request: &Request,
    ) -> Result<Snapshot, ServiceError> {
        let left = request.time_left(self.now());
        tokio::time::timeout(left, self.read(query, request))
            .await
            .unwrap_or(Err(ServiceError::Deadline))
    }

    async fn read(&self, query: &Query, request: &Request) -> Result<Snapshot, ServiceError> {
        let wanted = fetched_parts(query);
        let holdings = if wanted.is_empty() {
            LoadedHoldings::nothing(self.clock.now(), self.policy.structure)
        } else {
            self.structure.get(query, &wanted, request).await?
        };
        let (priced, ()) = futures::join!(
            self.prices.get(query, &holdings, request),
            self.refresh_ahead(query, &holdings, request)
        );
        let (prices, price_level) = priced?;
        let now = self.clock.now();
        let mut snapshot = Snapshot {
            parts: holdings.parts,
            prices,
            oldest_prices: self.policy.oldest_prices(now),
            fetched_at: holdings.fetched_at,
            structure: holdings.level,
            price_level,
            unchanged: holdings.unchanged,
            missing: holdings.missing,
            now,
        };
        for part in query.scope.parts() {
            if !wanted.contains(part) {
                snapshot.add_uncovered(*part)?;
            }
        }
        Ok(snapshot)
    }

    async fn refresh_ahead(&self, query: &Query, holdings: &LoadedHoldings, request: &Request) {
        if let Some(refresh_ahead) = &self.refresh_ahead {
            refresh_ahead.offer(query, holdings, request).await;
        }
    }

    /// Forgets what is cached of a wallet, within the request's deadline.
    ///
    /// # Errors
    /// When the cache cannot be reached, or the deadline passed.
    pub async fn invalidate(
        &self,
        address: &Address,
        request: &Request,
    ) -> Result<(), ServiceError> {
        let now = self.clock.now();
        let forget = self.wallets.invalidate(address, now, &request.cost);
        let forgotten = tokio::time::timeout(request.time_left(now), forget).await;
        forgotten
            .map_err(|_| ServiceError::Deadline)?
            .map_err(|error| {
                tracing::error!(%error, "a wallet cannot be forgotten");
                ServiceError::CacheUnavailable
            })
    }

    /// Fetches holdings that are older than the request accepts; their prices
    /// come with them.
    ///
    /// # Errors
    /// When they could not be fetched, even if others are cached.
    pub async fn refresh(
        &self,
        query: &Query,
        request: &Request,
    ) -> Result<RefreshOutcome, ServiceError> {
        let wanted = fetched_parts(query);
        if wanted.is_empty() {
            return Ok(RefreshOutcome::Fresh);
        }
        let held = self.structure.get(query, &wanted, request);
        let held = tokio::time::timeout(request.time_left(self.now()), held).await;
        let held = held.unwrap_or(Err(ServiceError::Deadline))?;
        match (held.level.outcome, held.level.detail) {
            // What was there before is no success here.
            (CacheOutcome::Hit, Some(Detail::UpstreamError)) => Err(UpstreamError {
                upstream: Provider::Zerion,
                failure: Failure::Unavailable("it failed".to_owned()),
            }
            .into()),
            (CacheOutcome::Hit, _) => Ok(RefreshOutcome::Fresh),
            _ if held.unchanged => Ok(RefreshOutcome::Unchanged),
            _ => Ok(RefreshOutcome::Changed),
        }
    }

    /// Returns whether a provider is known to be rate limited.
    pub fn is_rate_limited(&self, provider: Provider) -> bool {
        self.rate_limits.limited_until(provider).is_some()
    }
}

/// The parts of a query that the provider is asked for.
fn fetched_parts(query: &Query) -> Vec<Part> {
    let family = query.address.family();
    let parts = query.scope.parts().iter().copied();
    parts.filter(|part| part.is_covered(family)).collect()
}
