//! The read path: the whole story of a request.
//!
//! ```text
//! load the wallet ── holdings and prices fresh ───────────────────► answer
//!   │                    │
//!   │                    └─ prices expired: the shared book has them, or one
//!   │                       CoinMarketCap request (and the fallback for the
//!   │                       rest) renews it ─────────────────────► answer
//!   └─ holdings missing or expired: take the lease
//!        ├─ won:  one Zerion request, store holdings and prices ──► answer
//!        ├─ lost: stale data at once, or wait for the winner's ───► answer
//!        └─ it has just failed: stale data, or the same failure ──► answer
//! ```
//!
//! Nothing is left running after the answer: dropping the future cancels what
//! it waits for.

mod ahead;
mod book;
mod copies;
mod failures;
mod fetch;
mod limits;
mod prices;
mod quotes;
mod registry;
mod snapshot;
mod structure;
mod taking;
mod wallet_copies;
mod wanted;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use thiserror::Error;

use self::{copies::Copies, fetch::UnleasedLimit, wallet_copies::WalletCopies};
pub use self::{registry::AssetCache, snapshot::Snapshot};
use crate::{
    aws::sqs::Queue,
    cache::{
        AssetStoreRef, CachedPart, CachedWallet, WalletStore, price_book::PriceBook,
        rate_limits::RateLimitStore, watchlist::WatchList,
    },
    clock::{Clock, Timestamp},
    config::{Config, Lifetime},
    domain::{
        address::Address, holdings::CorruptHoldings, price::OldestPrices, provider::Provider,
        query::Query, response::Missing, scope::Part,
    },
    telemetry::request_cost::RequestCost,
    upstream::{Attempts, Failure, FallbackSource, PriceSource, StructureSource, UpstreamError},
};

/// Fresh holdings are not fetched again more often than this, whoever asks for
/// it.
pub const TRIED_AGAIN: Duration = Duration::from_secs(30);
/// Time that is left for rendering and the way back.
const RESERVE: Duration = Duration::from_millis(200);

/// Limits and lifetimes.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Of holdings.
    pub structure: Lifetime,
    /// Of prices.
    pub prices: Lifetime,
    /// One attempt at Zerion.
    pub structure_timeout: Duration,
    /// One attempt at a price source.
    pub price_timeout: Duration,
}

impl Policy {
    /// How old prices may be that are used at `now`. Those that come with the
    /// holdings last as long as these, and as much longer as any.
    fn oldest_prices(&self, now: Timestamp) -> OldestPrices {
        let listed = now.minus(self.prices.whole());
        OldestPrices {
            listed,
            unlisted: listed.minus(self.structure.ttl),
        }
    }
}

impl From<&Config> for Policy {
    fn from(config: &Config) -> Self {
        Self {
            structure: config.structure,
            prices: config.prices,
            structure_timeout: config.zerion_timeout,
            price_timeout: config.price_timeout,
        }
    }
}

/// What a request brings along besides its query.
#[derive(Debug, Default)]
pub struct Request {
    /// When it must be answered.
    pub deadline: Timestamp,
    /// Holdings older than this are fetched again even if they are fresh, at
    /// most once in [`TRIED_AGAIN`].
    pub max_age: Option<Duration>,
    /// How often the provider may be asked.
    pub attempts: Attempts,
    /// Whether no client waits for the answer: slow price sources are then
    /// waited for even where older prices could stand in.
    pub patient: bool,
    /// What it costs.
    pub cost: RequestCost,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ServiceError {
    /// An upstream failed and nothing cached may stand in.
    #[error(transparent)]
    Provider(#[from] UpstreamError),
    /// The cache cannot be reached, and nothing can be done without it.
    #[error("the cache is unavailable")]
    CacheUnavailable,
    /// Time ran out.
    #[error("the deadline passed")]
    Deadline,
    /// Something that should not happen.
    #[error("internal: {0}")]
    Internal(String),
}

impl From<CorruptHoldings> for ServiceError {
    fn from(error: CorruptHoldings) -> Self {
        Self::Internal(error.to_string())
    }
}

/// How a level of the cache took part in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheOutcome {
    /// The cached data answered, fresh or stale.
    Hit,
    /// Nothing was cached.
    Miss,
    /// What was cached had expired.
    Expired,
    /// Some of what was needed was there.
    Partial,
}

/// What became of holdings that were to be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// They were fetched, and had changed.
    Changed,
    /// They were fetched, and had not.
    Unchanged,
    /// They were young enough, or somebody else is fetching them.
    Fresh,
}

/// Why old holdings answer: the provider failed.
pub(crate) const UPSTREAM_ERROR: &str = "upstream-error";

/// One level's part in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// How it took part.
    pub outcome: CacheOutcome,
    /// Until when its data counts as fresh; past for stale data.
    pub fresh_until: Timestamp,
    /// Whether its data is past that because a source failed or is being
    /// asked by somebody else.
    pub stale: bool,
    /// Whether new data was stored.
    pub stored: bool,
    /// Who was asked, or why nothing was stored.
    pub detail: Option<&'static str>,
}

/// Everything outside that the service speaks to.
#[derive(Clone)]
pub struct Ports {
    /// Tells what wallets hold.
    pub structures: Arc<dyn StructureSource>,
    /// Tells prices of listed coins.
    pub quotes: Arc<dyn PriceSource>,
    /// Tells prices of other tokens, if anybody is to be asked.
    pub fallback: Option<Arc<dyn FallbackSource>>,
    /// Keeps wallets.
    pub wallets: Arc<dyn WalletStore>,
    /// Keeps the asset registry.
    pub assets: AssetStoreRef,
    /// Keeps the shared price book.
    pub book: Arc<dyn PriceBook>,
    /// Keeps the shared breakers.
    pub breakers: Arc<dyn RateLimitStore>,
    /// Takes wallets that are to be fetched before they expire, if anything
    /// does.
    pub queue: Option<Arc<dyn Queue>>,
    /// Where those are watched that are asked for often, if they are.
    pub often: Option<Arc<dyn WatchList>>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// The service behind all functions.
pub struct Service {
    structures: Arc<dyn StructureSource>,
    quotes: Arc<dyn PriceSource>,
    fallback: Option<Arc<dyn FallbackSource>>,
    wallets: Arc<dyn WalletStore>,
    assets: AssetCache,
    book: Arc<dyn PriceBook>,
    breakers: Arc<dyn RateLimitStore>,
    queue: Option<Arc<dyn Queue>>,
    often: Option<Arc<dyn WatchList>>,
    copies: Copies,
    wallet_copies: WalletCopies,
    unleased: UnleasedLimit,
    clock: Arc<dyn Clock>,
    pub(crate) policy: Policy,
}

/// A wallet's holdings for one answer, and what is known around them.
struct Held {
    parts: BTreeMap<Part, Arc<CachedPart>>,
    fetched_at: Timestamp,
    level: Level,
    /// Whether this request fetched all of them.
    fetched: bool,
    /// Whether it brought the holdings that were there.
    unchanged: bool,
    missing: Vec<Missing<'static>>,
    /// The wallet as it was read last.
    cached: CachedWallet,
    /// Whether prices can be stored beside it.
    storable: bool,
}

impl Service {
    /// Puts the parts together.
    pub fn new(ports: Ports, policy: Policy) -> Self {
        Self {
            structures: ports.structures,
            quotes: ports.quotes,
            fallback: ports.fallback,
            wallets: ports.wallets,
            assets: AssetCache::new(ports.assets),
            book: ports.book,
            breakers: ports.breakers,
            queue: ports.queue,
            often: ports.often,
            copies: Copies::default(),
            wallet_copies: WalletCopies::default(),
            unleased: UnleasedLimit::default(),
            clock: ports.clock,
            policy,
        }
    }

    /// The time now.
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
        let left = self.time_left(request);
        tokio::time::timeout(left, self.read(query, request))
            .await
            .unwrap_or(Err(ServiceError::Deadline))
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
        let forgotten = tokio::time::timeout(self.time_left(request), forget).await;
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
    /// When they could not be fetched, whatever is cached.
    pub async fn renew(&self, query: &Query, request: &Request) -> Result<Renewed, ServiceError> {
        let wanted = fetched_parts(query);
        if wanted.is_empty() {
            return Ok(Renewed::Fresh);
        }
        let held = self.held(query, &wanted, request);
        let held = tokio::time::timeout(self.time_left(request), held).await;
        let held = held.unwrap_or(Err(ServiceError::Deadline))?;
        match (held.level.outcome, held.level.detail) {
            // What was there before is no success here.
            (CacheOutcome::Hit, Some(UPSTREAM_ERROR)) => Err(UpstreamError {
                upstream: Provider::Zerion,
                failure: Failure::Unavailable("it failed".to_owned()),
            }
            .into()),
            (CacheOutcome::Hit, _) => Ok(Renewed::Fresh),
            _ if held.unchanged => Ok(Renewed::Unchanged),
            _ => Ok(Renewed::Changed),
        }
    }

    /// Whether an upstream is known to want to be left alone.
    pub fn is_left_alone(&self, upstream: Provider) -> bool {
        self.blocked(upstream).is_some()
    }

    async fn read(&self, query: &Query, request: &Request) -> Result<Snapshot, ServiceError> {
        let wanted = fetched_parts(query);
        let held = if wanted.is_empty() {
            Held::nothing(self.clock.now(), self.policy.structure)
        } else {
            self.held(query, &wanted, request).await?
        };
        let (priced, ()) = futures::join!(
            self.priced(query, &held, request),
            self.hand_over(query, &held, request)
        );
        let (prices, price_level) = priced?;
        let now = self.clock.now();
        let mut snapshot = Snapshot {
            parts: held.parts,
            prices: prices.table,
            unconverted: prices.unconverted,
            oldest_prices: self.policy.oldest_prices(now),
            fetched_at: held.fetched_at,
            structure: held.level,
            price_level,
            unchanged: held.unchanged,
            missing: held.missing,
            now,
        };
        for part in query.scope.parts() {
            if !wanted.contains(part) {
                snapshot.add_uncovered(*part);
            }
        }
        Ok(snapshot)
    }

    fn time_left(&self, request: &Request) -> Duration {
        request.deadline.since(self.clock.now())
    }

    /// What an upstream call may take: its own limit, within the deadline.
    fn upstream_timeout(&self, limit: Duration, request: &Request) -> Duration {
        limit.min(self.time_left(request).saturating_sub(RESERVE))
    }
}

/// The parts of a query that the provider is asked for.
fn fetched_parts(query: &Query) -> Vec<Part> {
    let family = query.address.family();
    let parts = query.scope.parts().iter().copied();
    parts.filter(|part| part.is_covered(family)).collect()
}
