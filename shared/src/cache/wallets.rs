//! Wallets in the table: one read brings everything, writes are conditioned
//! on generations.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;

use super::{
    CacheError, CachedPart, CachedPrices, CachedWallet, FailureMark, Header, Lease, LeaseOutcome,
    NewStructure, PartHeader, Retention, SKEW, Table, WalletStore,
    calls::Update,
    codec,
    items::{EXPIRES_AT, Item, VERSION, number, seconds, time},
    keys,
    writes::{Write, next_generation, while_held},
};
use crate::{
    clock::Timestamp,
    domain::{
        address::Address, currency::Currency, holdings::Holdings, price::PriceTable, scope::Part,
    },
    random::random,
    usage::Usage,
};

/// Wallets in DynamoDB.
#[derive(Clone)]
pub struct Wallets {
    pub(super) table: Table,
    pub(super) retention: Retention,
}

/// Names of one part's header attributes.
pub(super) struct Attributes {
    pub generation: &'static str,
    pub hash: &'static str,
    pub chunks: &'static str,
    pub fetched_at: &'static str,
    pub chunks_expire: &'static str,
    pub lease_until: &'static str,
    pub owner: &'static str,
    pub took: &'static str,
    pub failed_until: &'static str,
    pub failure: &'static str,
}

pub(super) fn attributes(part: Part) -> Attributes {
    match part {
        Part::Wallet => Attributes {
            generation: "w_gen",
            hash: "w_hash",
            chunks: "w_n",
            fetched_at: "w_at",
            chunks_expire: "w_exp",
            lease_until: "w_until",
            owner: "w_owner",
            took: "w_ms",
            failed_until: "w_fail",
            failure: "w_why",
        },
        Part::Defi => Attributes {
            generation: "d_gen",
            hash: "d_hash",
            chunks: "d_n",
            fetched_at: "d_at",
            chunks_expire: "d_exp",
            lease_until: "d_until",
            owner: "d_owner",
            took: "d_ms",
            failed_until: "d_fail",
            failure: "d_why",
        },
    }
}

impl Wallets {
    /// Wallets in `table`, kept as long as `retention` says.
    pub fn new(table: Table, retention: Retention) -> Self {
        Self { table, retention }
    }

    fn write<'w>(&'w self, address: &'w Address, now: Timestamp, usage: &'w Usage) -> Write<'w> {
        Write {
            store: self,
            address,
            now,
            usage,
        }
    }
}

/// An older or newer format's header has no data for us, but its generations
/// go on counting.
pub(super) fn read_header(item: &Item) -> Header {
    let mut header = Header::default();
    for part in Part::ALL {
        let names = attributes(part);
        let mut read = PartHeader {
            generation: item.number(names.generation).unwrap_or(0),
            lease_until: item.time(names.lease_until),
            owner: item.number(names.owner),
            failed: item.time(names.failed_until).map(|until| FailureMark {
                until,
                reason: item.text(names.failure).unwrap_or_default().to_owned(),
                waited: None,
            }),
            ..PartHeader::default()
        };
        if item.is_current() {
            read.hash = item.hash(names.hash);
            read.chunks = item.number(names.chunks).unwrap_or(0);
            read.fetched_at = item.time(names.fetched_at);
            read.chunks_expire = item.time(names.chunks_expire);
            read.took = item.number(names.took).map(Duration::from_millis);
        }
        header.parts.insert(part, read);
    }
    header
}

/// Puts a part together; `None` when a chunk is missing, of another write, or
/// damaged.
fn assemble(header: &PartHeader, chunks: &HashMap<u32, &Item>) -> Option<CachedPart> {
    let (hash, fetched_at) = (header.hash?, header.fetched_at?);
    let mut packed = Vec::new();
    for index in 0..header.chunks {
        let chunk = chunks.get(&index)?;
        if !chunk.is_current() || chunk.hash("h") != Some(hash) {
            return None;
        }
        packed.extend_from_slice(chunk.bytes("b")?);
    }
    let bytes = codec::decompress(&packed).ok()?;
    let sound = codec::hash(&bytes) == hash && Holdings::decode(&bytes).is_ok();
    sound.then_some(CachedPart {
        bytes,
        hash,
        fetched_at,
    })
}

fn assemble_wallet(items: &[Item], currency: Currency) -> CachedWallet {
    let mut wallet = CachedWallet::default();
    let mut chunks: BTreeMap<Part, HashMap<u32, &Item>> = BTreeMap::new();
    let prices_key = keys::prices(currency);
    for item in items {
        let key = item.sort_key();
        if key == keys::HEADER {
            wallet.header = read_header(item);
        } else if key == prices_key {
            wallet.prices = read_prices(item);
        } else if let Some(other) = keys::currency_of_prices(key) {
            let read = read_prices(item).map(|read| (other, read.table));
            wallet.elsewhere.extend(read);
        } else if let (Some(part), Some(index)) = (keys::part_of_chunk(key), item.number("i")) {
            chunks.entry(part).or_default().insert(index, item);
        }
    }
    for (part, header) in &wallet.header.parts {
        let none = HashMap::new();
        let read = assemble(header, chunks.get(part).unwrap_or(&none));
        if read.is_none() && header.fetched_at.is_some() {
            tracing::warn!(
                part = part.as_str(),
                "cached holdings are incomplete or damaged"
            );
        }
        wallet.parts.extend(read.map(|read| (*part, read)));
    }
    wallet
}

pub(super) fn read_prices(item: &Item) -> Option<CachedPrices> {
    if !item.is_current() {
        return None;
    }
    let hash = item.hash("h")?;
    let table = item.bytes("b").map(codec::unpack_prices)?;
    match table {
        Ok(table) => Some(CachedPrices { table, hash }),
        Err(error) => {
            tracing::warn!(%error, "cached prices are damaged");
            None
        }
    }
}

#[async_trait]
impl WalletStore for Wallets {
    async fn load(
        &self,
        address: &Address,
        currency: Currency,
        consistent: bool,
        usage: &Usage,
    ) -> Result<CachedWallet, CacheError> {
        let items = self
            .table
            .query(keys::wallet(address), consistent, usage)
            .await?;
        Ok(assemble_wallet(&items, currency))
    }

    async fn lease(
        &self,
        address: &Address,
        parts: &[Part],
        now: Timestamp,
        length: Duration,
        fresh_after: Timestamp,
        usage: &Usage,
    ) -> Result<LeaseOutcome, CacheError> {
        let token = random();
        let mut update = Update::default();
        let until = update.value("until", time(now.plus(length)));
        let free = update.value("free", time(now.minus(SKEW)));
        let stale = update.value("stale", time(fresh_after));
        let owner = update.value("owner", number(token));
        let version = update.value("v", number(codec::FORMAT));
        let first = update.value("first", time(now));
        // An attribute of another type is as good as none.
        let numeric = update.numeric();
        update.put(
            EXPIRES_AT,
            seconds(self.write(address, now, usage).expiry()),
        );
        // What another format holds is of no use here, however fresh.
        let mut wanted = vec![format!("{VERSION} <> {version}")];
        for part in parts {
            let names = attributes(*part);
            let (lease, at) = (names.lease_until, names.fetched_at);
            let failed = names.failed_until;
            update.set(lease, &until);
            update.set(names.owner, &owner);
            next_generation(&mut update, *part, now);
            update.require(format!(
                "NOT attribute_type({lease}, {numeric}) OR {lease} < {free}"
            ));
            update.require(format!(
                "NOT attribute_type({failed}, {numeric}) OR {failed} <= {first}"
            ));
            wanted.push(format!(
                "NOT attribute_type({at}, {numeric}) OR {at} <= {stale}"
            ));
        }
        update.require(wanted.join(" OR "));
        usage.round_trip();
        let outcome = self.write(address, now, usage).header(update).await?;
        let won = |header: &Header| Lease {
            generations: parts
                .iter()
                .map(|part| (*part, header.parts[part].generation))
                .collect(),
        };
        Ok(match outcome {
            Ok(header) => LeaseOutcome::Won(won(&header)),
            // A retry within the client, after an attempt that was carried out
            // but not heard of.
            Err(header)
                if parts
                    .iter()
                    .all(|part| header.parts[part].owner == Some(token)) =>
            {
                LeaseOutcome::Won(won(&header))
            }
            Err(header) => LeaseOutcome::Lost(header),
        })
    }

    async fn header(&self, address: &Address, usage: &Usage) -> Result<Header, CacheError> {
        let item = self
            .table
            .get(keys::wallet(address), keys::HEADER, usage)
            .await?;
        Ok(read_header(&item.unwrap_or_default()))
    }

    async fn store(
        &self,
        address: &Address,
        lease: &Lease,
        structure: NewStructure<'_>,
        now: Timestamp,
        usage: &Usage,
    ) -> Result<bool, CacheError> {
        self.write(address, now, usage)
            .structure(lease, structure)
            .await
    }

    async fn renew(
        &self,
        address: &Address,
        lease: &Lease,
        until: Timestamp,
        usage: &Usage,
    ) -> Result<bool, CacheError> {
        let mut update = Update::default();
        let until = update.value("until", time(until));
        let numeric = update.numeric();
        while_held(&mut update, lease);
        for part in lease.generations.keys() {
            let name = attributes(*part).lease_until;
            update.set(name, &until);
            // One that has ended meanwhile does not begin again.
            update.require(format!("attribute_type({name}, {numeric})"));
        }
        let write = self.write(address, Timestamp::default(), usage);
        Ok(write.header(update).await?.is_ok())
    }

    async fn release(
        &self,
        address: &Address,
        lease: &Lease,
        failed: Option<&FailureMark>,
        usage: &Usage,
    ) -> Result<(), CacheError> {
        let mut update = Update::default();
        while_held(&mut update, lease);
        for part in lease.generations.keys() {
            let names = attributes(*part);
            update.remove(names.lease_until);
            if let Some(failed) = failed {
                update.put(names.failed_until, time(failed.until));
                update.put(names.failure, AttributeValue::S(failed.reason.clone()));
                if let Some(waited) = failed.waited {
                    update.put(names.took, number(waited.as_millis()));
                }
            }
        }
        usage.round_trip();
        let write = self.write(address, Timestamp::default(), usage);
        // Lost already: then there is nothing to end.
        write.header(update).await.map(drop)
    }

    async fn forget(
        &self,
        address: &Address,
        now: Timestamp,
        usage: &Usage,
    ) -> Result<(), CacheError> {
        self.write(address, now, usage).forget().await
    }

    async fn store_prices(
        &self,
        address: &Address,
        currency: Currency,
        fresh: &PriceTable,
        previous: Option<&CachedPrices>,
        now: Timestamp,
        usage: &Usage,
    ) -> Result<bool, CacheError> {
        self.write(address, now, usage)
            .prices(currency, fresh, previous)
            .await
    }
}
