//! The two-level cache: what wallets hold, and prices, each with its own time.
//!
//! The read path knows the ports of this file. Their implementations stand on
//! [`table`], whose operations [`dynamodb`] carries out.

pub mod assets;
pub mod book;
mod calls;
pub mod codec;
pub mod dynamodb;
pub(crate) mod header;
mod items;
mod keys;
pub mod table;
mod wallets;
pub mod watched;
mod writes;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use thiserror::Error;

pub use self::{
    assets::Registry, book::Book, dynamodb::DynamoDb, table::Table, wallets::Wallets,
    watched::Watched,
};
use crate::{
    clock::Timestamp,
    domain::{address::Address, currency::Currency, price::PriceTable, scope::Part},
    usage::Usage,
};

/// Clocks of different machines usually differ by no more than this: a lease
/// that has just ended is left alone for as long.
const SKEW: Duration = Duration::from_millis(500);
/// TTL deletion waits this much longer than the last moment an item is used.
const GRACE: Duration = Duration::from_secs(3600);

/// A shared [`AssetStore`](assets::AssetStore).
pub type AssetStoreRef = Arc<dyn assets::AssetStore>;

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
    /// Nobody can wait for it any longer.
    pub(crate) fn too_late() -> Self {
        Self {
            operation: "write",
            reason: "the request's time is over".to_owned(),
        }
    }
}

/// Everything that is cached of one wallet, as one read brings it.
#[derive(Clone, Debug, Default)]
pub struct CachedWallet {
    /// The parts whose holdings are there, whole and readable.
    pub parts: BTreeMap<Part, CachedPart>,
    /// What the header says of each part, readable or not.
    pub header: Header,
    /// Prices in the asked currency.
    pub prices: Option<CachedPrices>,
    /// Prices in the other currencies that it was asked for in.
    pub elsewhere: Vec<(Currency, PriceTable)>,
}

impl CachedWallet {
    /// The header less the hashes of parts that could not be read: their
    /// chunks must be written again, even if nothing changed.
    pub fn intact_header(&self) -> Header {
        let mut header = self.header.clone();
        for (part, read) in &mut header.parts {
            if !self.parts.contains_key(part) {
                read.hash = None;
            }
        }
        header
    }
}

/// One part's holdings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedPart {
    /// Encoded [`Holdings`](crate::domain::holdings::Holdings).
    pub bytes: Vec<u8>,
    /// Hash of `bytes`.
    pub hash: u128,
    /// When they were fetched.
    pub fetched_at: Timestamp,
}

/// A wallet's header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Per part.
    pub parts: BTreeMap<Part, PartHeader>,
    /// Holdings of this time have been handed over, to be fetched before they
    /// expire,
    pub ahead: Option<Timestamp>,
    /// and so had those of this many lives before, one after the other.
    pub ahead_count: u32,
}

/// What the header says of a part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartHeader {
    /// Counts leases and invalidations; writes are conditioned on it.
    pub generation: u64,
    /// Hash of the encoded holdings; none while nothing was stored.
    pub hash: Option<u128>,
    /// In how many chunks they are stored.
    pub chunks: u32,
    /// When they were fetched.
    pub fetched_at: Option<Timestamp>,
    /// Until when the chunks themselves are kept.
    pub chunks_expire: Option<Timestamp>,
    /// Until when somebody holds the lease.
    pub lease_until: Option<Timestamp>,
    /// Who took the last lease: a random number.
    pub owner: Option<u64>,
    /// How long the fetch took that brought them.
    pub took: Option<Duration>,
    /// Why the last fetch failed, if one did since.
    pub failed: Option<FailureMark>,
}

/// That the provider failed, so that not everybody asks it again at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureMark {
    /// Until when nobody should ask again.
    pub until: Timestamp,
    /// How it failed; a word of the reader's own.
    pub reason: String,
    /// How long it was waited for in vain, if that is why.
    pub waited: Option<Duration>,
}

/// A wallet's prices in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedPrices {
    /// The prices.
    pub table: PriceTable,
    /// Hash of the stored bytes; a replacement is conditioned on it.
    pub hash: u128,
}

/// What came of trying to take a wallet's lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseOutcome {
    /// It is ours: fetch.
    Won(Lease),
    /// Somebody else fetches, or has just stored: the header as it is.
    Lost(Header),
}

/// Which lease is wanted, and when it may be had.
#[derive(Clone, Copy, Debug)]
pub struct LeaseRequest<'l> {
    /// The parts that are to be fetched under it.
    pub parts: &'l [Part],
    /// The time now.
    pub now: Timestamp,
    /// For how long it is held, if nobody renews it.
    pub length: Duration,
    /// Parts that were fetched after this are fresh.
    pub fresh_after: Timestamp,
    /// Where parts are to be fetched again that others would take for fresh.
    pub again: Option<Again>,
}

/// When parts that have not expired may be fetched again.
#[derive(Clone, Copy, Debug)]
pub struct Again {
    /// Parts that were fetched before this have.
    pub expired: Timestamp,
    /// The others may if nobody has tried to since.
    pub tried: Timestamp,
}

/// The right to fetch and store some parts of a wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The generation of each part that the lease covers.
    pub generations: BTreeMap<Part, u64>,
}

/// What a fetch brought, to be stored.
#[derive(Clone, Copy, Debug)]
pub struct NewStructure<'n> {
    /// Encoded holdings and their hash, per part.
    pub parts: &'n BTreeMap<Part, CachedPart>,
    /// The header as it was read, to leave unchanged chunks alone.
    pub previous: &'n Header,
    /// How long the fetch took.
    pub took: Duration,
    /// Prices that came with them, in which currency, and the ones that were
    /// read before.
    pub prices: (Currency, &'n PriceTable, Option<&'n CachedPrices>),
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
    /// Reads all of a wallet at once. `consistent` sees every finished write.
    async fn load(
        &self,
        address: &Address,
        currency: Currency,
        consistent: bool,
        usage: &Usage,
    ) -> Result<CachedWallet, CacheError>;

    /// Tries to take a lease, unless somebody holds one, all of the parts are
    /// fresh, or a fetch has just failed.
    async fn lease(
        &self,
        address: &Address,
        wanted: LeaseRequest<'_>,
        usage: &Usage,
    ) -> Result<LeaseOutcome, CacheError>;

    /// Notes that holdings from `fetched_at` are handed over, to be fetched
    /// before they expire, and in how many lives this happened; `false` if they
    /// were before.
    async fn claim_ahead(
        &self,
        address: &Address,
        fetched_at: Timestamp,
        count: u32,
        usage: &Usage,
    ) -> Result<bool, CacheError>;

    /// Reads the header alone, with every finished write.
    async fn header(&self, address: &Address, usage: &Usage) -> Result<Header, CacheError>;

    /// Stores what a fetch brought and ends the lease. `false` when the lease
    /// was lost meanwhile: then nothing of it was written.
    async fn store(
        &self,
        address: &Address,
        lease: &Lease,
        structure: NewStructure<'_>,
        now: Timestamp,
        usage: &Usage,
    ) -> Result<bool, CacheError>;

    /// Keeps a lease until `until`; `false` if it was lost.
    async fn renew(
        &self,
        address: &Address,
        lease: &Lease,
        until: Timestamp,
        usage: &Usage,
    ) -> Result<bool, CacheError>;

    /// Ends a lease without storing anything, and tells why if the provider
    /// failed.
    async fn release(
        &self,
        address: &Address,
        lease: &Lease,
        failed: Option<&FailureMark>,
        usage: &Usage,
    ) -> Result<(), CacheError>;

    /// Forgets everything of a wallet. Whoever is fetching it now cannot store
    /// what it fetches.
    async fn forget(
        &self,
        address: &Address,
        now: Timestamp,
        usage: &Usage,
    ) -> Result<(), CacheError>;

    /// Puts `fresh` over the prices that were read before (`None`: there were
    /// none). Prices that somebody else stored meanwhile are kept. `false`
    /// when they could not be kept: too many, or replaced too often.
    async fn store_prices(
        &self,
        address: &Address,
        currency: Currency,
        fresh: &PriceTable,
        previous: Option<&CachedPrices>,
        now: Timestamp,
        usage: &Usage,
    ) -> Result<bool, CacheError>;
}
