//! Wallets in the table: one read brings everything, writes are conditioned
//! on generations.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;

use super::{
    CacheError, CachedPart, CachedPrices, CachedWallet, FailureMark, Header, Lease, LeaseOutcome,
    NewStructure, PartHeader, Retention, Table, WalletStore, codec,
    items::{EXPIRES_AT, Item, VERSION, number, seconds, time},
    keys,
    writes::{Values, Write},
};
use crate::{
    clock::Timestamp,
    domain::{
        address::Address, currency::Currency, holdings::Holdings, price::PriceTable, scope::Part,
    },
    usage::Usage,
};

/// Clocks of different machines may differ by this much.
const SKEW: Duration = Duration::from_millis(500);

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
        let mut values = Values::default();
        let until = values.add(":until".to_owned(), time(now.plus(length)));
        let free = values.add(":free".to_owned(), time(now.minus(SKEW)));
        let stale = values.add(":stale".to_owned(), time(fresh_after));
        let one = values.add(":one".to_owned(), number(1));
        let first = values.add(":first".to_owned(), time(now));
        let token = RandomState::new().hash_one(now.as_millis());
        let owner = values.add(":owner".to_owned(), number(token));
        let expires = values.add(
            ":expires".to_owned(),
            seconds(self.write(address, now, usage).expiry()),
        );
        let numeric = values.add(":numeric".to_owned(), AttributeValue::S("N".to_owned()));
        let version = values.add(":v".to_owned(), number(codec::FORMAT));
        let mut set = vec![format!("{EXPIRES_AT} = {expires}")];
        let mut unleased = vec![];
        // What another format holds is of no use here, however fresh.
        let mut wanted = vec![format!("{VERSION} <> {version}")];
        for part in parts {
            let names = attributes(*part);
            let (lease, at) = (names.lease_until, names.fetched_at);
            set.push(format!("{lease} = {until}"));
            set.push(format!("{} = {owner}", names.owner));
            // Generations start from the time: a header that expired and is
            // made anew goes on above its older chunks' generations.
            let generation = names.generation;
            set.push(format!(
                "{generation} = if_not_exists({generation}, {first}) + {one}"
            ));
            // An attribute of another type is as good as none.
            unleased.push(format!(
                "(NOT attribute_type({lease}, {numeric}) OR {lease} < {free})"
            ));
            let failed = names.failed_until;
            unleased.push(format!(
                "(NOT attribute_type({failed}, {numeric}) OR {failed} <= {first})"
            ));
            wanted.push(format!(
                "NOT attribute_type({at}, {numeric}) OR {at} <= {stale}"
            ));
        }
        usage.round_trip();
        let outcome = self
            .write(address, now, usage)
            .header(
                format!("SET {}", set.join(", ")),
                format!("{} AND ({})", unleased.join(" AND "), wanted.join(" OR ")),
                values,
            )
            .await?;
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
        let mut values = Values::default();
        let until = values.add(":until".to_owned(), time(until));
        let set = lease.generations.keys();
        let set = set.map(|part| format!("{} = {until}", attributes(*part).lease_until));
        let expression = format!("SET {}", set.collect::<Vec<_>>().join(", "));
        let numeric = values.add(":numeric".to_owned(), AttributeValue::S("N".to_owned()));
        let mut condition = values.generations(lease);
        // One that has ended meanwhile does not begin again.
        for part in lease.generations.keys() {
            let name = attributes(*part).lease_until;
            condition.push_str(&format!(" AND attribute_type({name}, {numeric})"));
        }
        let write = self.write(address, Timestamp::default(), usage);
        let renewed = write.header(expression, condition, values).await?;
        Ok(renewed.is_ok())
    }

    async fn release(
        &self,
        address: &Address,
        lease: &Lease,
        failed: Option<&FailureMark>,
        usage: &Usage,
    ) -> Result<(), CacheError> {
        let mut values = Values::default();
        let (mut set, mut remove) = (vec![], vec![]);
        for part in lease.generations.keys() {
            let names = attributes(*part);
            remove.push(names.lease_until);
            if let Some(failed) = failed {
                let until = values.add(":fail".to_owned(), time(failed.until));
                let why = AttributeValue::S(failed.reason.clone());
                let why = values.add(":why".to_owned(), why);
                set.push(format!("{} = {until}", names.failed_until));
                set.push(format!("{} = {why}", names.failure));
                if let Some(waited) = failed.waited {
                    let took = values.add(":took".to_owned(), number(waited.as_millis()));
                    set.push(format!("{} = {took}", names.took));
                }
            }
        }
        let set = match set.is_empty() {
            true => String::new(),
            false => format!("SET {} ", set.join(", ")),
        };
        let condition = values.generations(lease);
        usage.round_trip();
        // Lost already: then there is nothing to end.
        let _ = self
            .write(address, Timestamp::default(), usage)
            .header(
                format!("{set}REMOVE {}", remove.join(", ")),
                condition,
                values,
            )
            .await?;
        Ok(())
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
