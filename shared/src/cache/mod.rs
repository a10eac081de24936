//! The two-level cache: what wallets hold, and prices, each with its own time.
//!
//! The read path knows the ports of this file. Their implementations stand on
//! [`table`], whose operations [`table::dynamodb`] carries out.

pub mod asset_registry;
pub mod codec;
mod keys;
pub mod price_book;
pub mod rate_limits;
pub mod table;
mod wallets;
pub mod watchlist;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use thiserror::Error;

pub use self::{
    asset_registry::DynamoAssetStore,
    price_book::DynamoPriceBook,
    rate_limits::DynamoRateLimits,
    table::{Table, dynamodb::DynamoDb},
    wallets::DynamoWalletStore,
    watchlist::DynamoWatchlist,
};
use crate::{
    clock::Timestamp,
    domain::{
        address::Address, currency::Currency, decoded::StoredHoldings, price::PriceTable,
        scope::Part,
    },
    telemetry::request_cost::RequestCost,
};

/// Clocks of different machines usually differ by no more than this: a lease
/// that has just ended is not taken for as long.
const LEASE_SKEW_MARGIN: Duration = Duration::from_millis(500);
/// TTL deletion waits this much longer than the last moment an item is used.
const TTL_MARGIN: Duration = Duration::from_secs(3600);

/// A failure is remembered no longer than this.
pub(crate) const MAX_FAILURE_TTL: Duration = Duration::from_secs(30);

/// A shared [`AssetStore`](asset_registry::AssetStore).
pub type AssetStoreRef = Arc<dyn asset_registry::AssetStore>;

/// The cache could not be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("cache {operation}: {reason}")]
pub struct CacheError {
    /// Which DynamoDB operation.
    pub operation: &'static str,
    /// The service's error code or what kept it from answering.
    pub reason: String,
}

impl CacheError {
    /// The request that waits for it has no time left.
    pub(crate) fn deadline() -> Self {
        Self {
            operation: "write",
            reason: "the request's time is over".to_owned(),
        }
    }
}

/// Everything that is cached of one wallet, as one read brings it.
#[derive(Clone, Debug, Default)]
pub struct CachedWallet {
    /// The parts that are there whole: holdings, and the prices that came with
    /// them.
    pub parts: BTreeMap<Part, Arc<CachedPart>>,
    /// What the header says of each part, readable or not.
    pub header: Header,
    /// Refreshed prices by currency: in US dollars, and in the asked currency.
    pub refreshed: BTreeMap<Currency, Arc<CachedPrices>>,
    /// Items that the header does not refer to: of earlier fetches, or of one
    /// under way.
    pub leftovers: Vec<Leftover>,
}

impl CachedWallet {
    /// Returns the refreshed prices in a currency, if there are any.
    pub fn prices(&self, currency: Currency) -> Option<&PriceTable> {
        self.refreshed.get(&currency).map(|read| &read.table)
    }
}

/// An item of a wallet that its header does not refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The part that it belongs to.
    pub part: Part,
    /// Its sort key.
    pub sort: String,
}

/// One part's holdings, and the prices of the same fetch.
#[derive(Debug, PartialEq, Eq)]
pub struct CachedPart {
    /// The holdings, decoded when they were read.
    pub holdings: StoredHoldings,
    /// Hash of their bytes.
    pub hash: u128,
    /// When they were fetched.
    pub fetched_at: Timestamp,
    /// The currency that they were fetched in.
    pub currency: Currency,
    /// The provider's prices in that currency. Assets that it did not price are
    /// not in it.
    pub prices: PriceTable,
}

/// A wallet's header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Per part.
    pub parts: BTreeMap<Part, PartHeader>,
    /// Counts invalidations; refreshed prices of another epoch do not count.
    pub epoch: u64,
    /// A refresh ahead of holdings of this time is under way,
    pub refresh_ahead_of: Option<Timestamp>,
    /// and so had those of this many lives before, one after the other.
    pub refresh_ahead_streak: u32,
}

/// What the header says of a part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartHeader {
    /// Counts leases and invalidations; writes are conditioned on it.
    pub generation: u64,
    /// What is stored, if anything is.
    pub stored: Option<StoredPart>,
    /// Until when a process holds the lease.
    pub lease_until: Option<Timestamp>,
    /// Who took the last lease: a random number.
    pub owner: Option<u64>,
    /// How long the fetch took that brought them.
    pub took: Option<Duration>,
    /// Why the last fetch failed, if one did since.
    pub failed: Option<FailureMark>,
    /// Until when it is known that what a fetch brings cannot be stored.
    pub uncacheable_until: Option<Timestamp>,
}

impl PartHeader {
    /// Returns when the stored holdings were fetched.
    pub fn fetched_at(&self) -> Option<Timestamp> {
        self.stored.map(|stored| stored.fetched_at)
    }

    /// Returns whether a process holds the lease.
    pub fn is_leased(&self, now: Timestamp) -> bool {
        self.lease_until.is_some_and(|until| now < until)
    }
}

/// The stored holdings that a header refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredPart {
    /// Hash of the encoded holdings.
    pub hash: u128,
    /// When they were fetched.
    pub fetched_at: Timestamp,
    /// In which currency.
    pub currency: Currency,
    /// The generation of the fetch; its prices carry it or a later one.
    pub fetch: u64,
    /// The generation whose chunks hold them: an unchanged structure is not
    /// written again.
    pub written: u64,
    /// In how many chunks.
    pub chunks: u32,
    /// Until when the chunks are kept.
    pub chunks_expire: Timestamp,
    /// In how many chunks the prices of the fetch are stored, under its
    /// generation; none if they are one item beside the holdings.
    pub price_chunks: u32,
}

/// That the provider failed, so that it is not asked again at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureMark {
    /// Until when no request should ask again.
    pub until: Timestamp,
    /// How it failed; a word of the reader's own.
    pub reason: String,
    /// How long it was waited for in vain, if that is why.
    pub elapsed: Option<Duration>,
}

/// A wallet's refreshed prices in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedPrices {
    /// The prices.
    pub table: PriceTable,
    /// Hash of the stored bytes; a replacement is conditioned on it.
    pub hash: u128,
}

/// How a lease ends without anything being stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// The provider failed.
    pub failed: Option<FailureMark>,
    /// What was fetched cannot be stored, and neither can what others fetch
    /// before this.
    pub uncacheable_until: Option<Timestamp>,
}

/// What came of trying to take a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseOutcome<P = Part, H = Header> {
    /// It is ours: fetch.
    Won(Lease<P>),
    /// Another process fetches, or has just stored: the header as it is.
    Lost(H),
}

/// Which lease is wanted, and when it may be had.
#[derive(Clone, Copy, Debug)]
pub struct LeaseRequest<'l, P = Part> {
    /// The parts that are to be fetched under it.
    pub parts: &'l [P],
    /// The time now.
    pub now: Timestamp,
    /// For how long it is held, unless it is renewed.
    pub length: Duration,
    /// Parts that were fetched after this are fresh.
    pub fresh_after: Timestamp,
    /// Where parts are to be fetched again that others would take for fresh.
    pub again: Option<Revalidation>,
}

/// When parts that have not expired may be fetched again.
#[derive(Clone, Copy, Debug)]
pub struct Revalidation {
    /// Parts that were fetched before this have.
    pub expired: Timestamp,
    /// The others may if no request has tried to since.
    pub tried: Timestamp,
}

/// The right to fetch and store some parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease<P = Part> {
    /// The generation of each part that the lease covers.
    pub generations: BTreeMap<P, u64>,
}

/// What a fetch brought, to be stored.
#[derive(Clone, Copy, Debug)]
pub struct NewStructure<'n> {
    /// Holdings and prices per part.
    pub parts: &'n BTreeMap<Part, Arc<CachedPart>>,
    /// The wallet as it was read: unchanged chunks stay, replaced ones go.
    pub previous: &'n CachedWallet,
    /// How long the fetch took.
    pub took: Duration,
}

/// What came of storing a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreOutcome {
    /// It is visible to all.
    Stored,
    /// The lease was lost meanwhile: nothing of it is visible.
    LeaseLost,
    /// It takes more than is kept; the lease is still held.
    TooLarge,
}

/// Refreshed prices in one currency, to be put over what was read before.
#[derive(Clone, Copy, Debug)]
pub struct NewPrices<'n> {
    /// The currency.
    pub currency: Currency,
    /// The new prices.
    pub fresh: &'n PriceTable,
    /// What was read; none if there was nothing.
    pub previous: Option<&'n CachedPrices>,
}

/// How long stored items are kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Holdings.
    pub structure: Duration,
    /// Prices.
    pub prices: Duration,
}

/// Keeps wallets.
#[async_trait]
pub trait WalletStore: Send + Sync {
    /// Reads a wallet in one round trip, two above 1 MB of holdings: its header
    /// with every finished write, holdings, the prices that came with them, and
    /// refreshed prices in US dollars and in `currency`. `consistent` sees every
    /// finished write of all.
    async fn load(
        &self,
        address: &Address,
        currency: Currency,
        consistent: bool,
        cost: &RequestCost,
    ) -> Result<CachedWallet, CacheError>;

    /// Tries to take a lease, unless another process holds one, all of the parts are
    /// fresh, or a fetch has just failed.
    async fn lease(
        &self,
        address: &Address,
        wanted: LeaseRequest<'_>,
        cost: &RequestCost,
    ) -> Result<LeaseOutcome, CacheError>;

    /// Notes that holdings from `fetched_at` are queued to be fetched before they
    /// expire, and in how many lives in a row; `false` if they were before.
    async fn claim_refresh_ahead(
        &self,
        address: &Address,
        fetched_at: Timestamp,
        count: u32,
        cost: &RequestCost,
    ) -> Result<bool, CacheError>;

    /// Reads the header alone, with every finished write.
    async fn header(&self, address: &Address, cost: &RequestCost) -> Result<Header, CacheError>;

    /// Stores what a fetch brought and ends the lease: chunks and prices first,
    /// then the header that refers to them, then what they replace goes.
    async fn store(
        &self,
        address: &Address,
        lease: &Lease,
        structure: NewStructure<'_>,
        now: Timestamp,
        cost: &RequestCost,
    ) -> Result<StoreOutcome, CacheError>;

    /// Keeps a lease until `until`; `false` if it was lost.
    async fn renew(
        &self,
        address: &Address,
        lease: &Lease,
        until: Timestamp,
        cost: &RequestCost,
    ) -> Result<bool, CacheError>;

    /// Ends a lease without storing anything, and says why.
    async fn release(
        &self,
        address: &Address,
        lease: &Lease,
        release: &Release,
        cost: &RequestCost,
    ) -> Result<(), CacheError>;

    /// Forgets everything of a wallet. What is being fetched now cannot be
    /// stored, and nothing that is stored later is removed.
    async fn invalidate(
        &self,
        address: &Address,
        now: Timestamp,
        cost: &RequestCost,
    ) -> Result<(), CacheError>;

    /// Puts refreshed prices over those that were read with `header`. Prices
    /// that another process stored meanwhile are kept, the later checked one of
    /// each. `false` when they could not be kept: too many, or replaced too
    /// often.
    async fn store_prices(
        &self,
        address: &Address,
        header: &Header,
        prices: &[NewPrices<'_>],
        now: Timestamp,
        cost: &RequestCost,
    ) -> Result<bool, CacheError>;
}
