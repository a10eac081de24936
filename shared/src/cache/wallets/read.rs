//! Reading a wallet: the header is the witness by which everything else counts.
//!
//! The header is read with every finished write. Chunks and prices are not:
//! what does not match the header, because a replica lags behind or a fetch is
//! being stored, is read again with every finished write.

use std::{collections::HashMap, sync::Arc};

use super::header::read_header;
use crate::{
    cache::{
        CacheError, CachedPart, CachedPrices, CachedWallet, Header, Leftover, StoredPart, codec,
        keys,
        table::{Range, Table, item::Item},
    },
    domain::{
        address::Address, currency::Currency, decoded::StoredHoldings, price::PriceTable,
        scope::Part,
    },
    telemetry::request_cost::RequestCost,
};

/// Reads of a wallet that changes while it is read.
const ATTEMPTS: usize = 3;
/// Chunks that one query of large holdings reads: a page ends at 1 MB.
const CHUNKS_PER_QUERY: u32 = 2;

/// Whose generation an item is of; of a part's chunks and provider prices.
pub(super) const GENERATION: &str = "g";
/// The earliest generation whose prices an item of provider prices holds too.
pub(super) const FROM_GENERATION: &str = "gf";
/// Which epoch an item of refreshed prices belongs to.
pub(super) const ITEM_EPOCH: &str = "e";

/// The items of one read, by sort key.
type Items = HashMap<String, Item>;

/// Reads a wallet until what its header refers to is there, or is known to
/// be lost.
pub(super) async fn read_wallet(
    table: &Table,
    address: &Address,
    currency: Currency,
    consistent: bool,
    cost: &RequestCost,
) -> Result<CachedWallet, CacheError> {
    let mut wallet = read_once(table, address, currency, consistent, cost).await?;
    for _ in 1..ATTEMPTS {
        if is_whole(&wallet) {
            return Ok(wallet);
        }
        wallet = read_once(table, address, currency, true, cost).await?;
    }
    for (part, header) in &wallet.header.parts {
        if header.stored.is_some() && !wallet.parts.contains_key(part) {
            tracing::warn!(part = part.as_str(), "cached holdings are damaged or lost");
        }
    }
    Ok(wallet)
}

async fn read_once(
    table: &Table,
    address: &Address,
    currency: Currency,
    consistent: bool,
    cost: &RequestCost,
) -> Result<CachedWallet, CacheError> {
    let partition = || keys::wallet(address);
    cost.round_trip();
    let (first, last) = keys::COMMON;
    let common = Range {
        partition: partition(),
        sort: Some((first.to_owned(), last.to_owned())),
        consistent,
    };
    let other = async {
        if currency == Currency::USD {
            return Ok(None);
        }
        let sort = keys::prices(currency);
        let read = table.get_item(partition(), &sort, consistent, cost);
        read.await
    };
    let header = table.get_item(partition(), keys::HEADER, true, cost);
    let (header, common, other) = match consistent {
        false => {
            futures::join!(header, table.query_range(common, cost), other)
        }
        // What a header refers to was there before it. Read at the same
        // time, the two may be of different fetches.
        true => {
            let header = header.await;
            cost.round_trip();
            let (common, other) = futures::join!(table.query_range(common, cost), other);
            (header, common, other)
        }
    };
    let header = read_header(&header?.unwrap_or_default());
    let mut items: Items = common?.into_iter().map(by_key).collect();
    items.extend(other?.map(by_key));
    let stored = header.parts.iter();
    let stored = stored.filter_map(|(part, header)| Some((*part, header.stored?)));
    let far: Vec<_> = stored
        .flat_map(|(part, stored)| far_ranges(part, &stored))
        .collect();
    if !far.is_empty() {
        cost.round_trip();
        let reads = far.into_iter().map(|sort| {
            let range = Range {
                partition: partition(),
                sort: Some(sort),
                consistent,
            };
            table.query_range(range, cost)
        });
        for read in futures::future::join_all(reads).await {
            items.extend(read?.into_iter().map(by_key));
        }
    }
    Ok(assemble_wallet(header, &items, currency))
}

fn by_key(item: Item) -> (String, Item) {
    (item.sort_key().to_owned(), item)
}

/// The ranges of sort keys that hold the chunks of large holdings, and of their
/// prices.
fn far_ranges(part: Part, stored: &StoredPart) -> Vec<(String, String)> {
    let chunks = match stored.chunks > keys::NEAR_CHUNKS {
        true => stored.chunks.min(codec::MAX_CHUNKS),
        false => 0,
    };
    let chunk = |index| keys::chunk(part, stored.written, index, stored.chunks);
    let prices = stored.price_chunks.min(codec::MAX_CHUNKS);
    let price_chunk = |index| keys::provider_price_chunk(part, stored.fetch, index);
    let mut ranges = ranges(chunks, chunk);
    ranges.extend(self::ranges(prices, price_chunk));
    ranges
}

fn ranges(count: u32, key: impl Fn(u32) -> String) -> Vec<(String, String)> {
    let starts = (0..count).step_by(CHUNKS_PER_QUERY as usize);
    starts
        .map(|start| (key(start), key((start + CHUNKS_PER_QUERY).min(count) - 1)))
        .collect()
}

/// Whether all that the header refers to was read.
fn is_whole(wallet: &CachedWallet) -> bool {
    let mut parts = wallet.header.parts.iter();
    parts.all(|(part, header)| header.stored.is_none() || wallet.parts.contains_key(part))
}

fn assemble_wallet(header: Header, items: &Items, currency: Currency) -> CachedWallet {
    let mut wallet = CachedWallet::default();
    let mut referred = Vec::new();
    for (part, read) in &header.parts {
        let Some(stored) = &read.stored else { continue };
        let prices = match stored.price_chunks.min(codec::MAX_CHUNKS) {
            0 => vec![keys::provider_prices(*part, stored.currency)],
            count => (0..count)
                .map(|index| keys::provider_price_chunk(*part, stored.fetch, index))
                .collect(),
        };
        let chunks = (0..stored.chunks.min(codec::MAX_CHUNKS))
            .map(|index| keys::chunk(*part, stored.written, index, stored.chunks));
        let chunks: Vec<String> = chunks.collect();
        let assembled = assemble(stored, &chunks, &prices, items);
        wallet
            .parts
            .extend(assembled.map(|cached| (*part, Arc::new(cached))));
        referred.extend(prices);
        referred.extend(chunks);
    }
    let unreferred = items.keys().filter(|sort| !referred.contains(sort));
    wallet.leftovers = unreferred
        .filter_map(|sort| {
            let part = keys::part_of(sort)?;
            let sort = sort.clone();
            Some(Leftover { part, sort })
        })
        .collect();
    wallet.leftovers.sort_by(|a, b| a.sort.cmp(&b.sort));
    for currency in [Currency::USD, currency] {
        let read = items.get(&keys::prices(currency));
        let read = read.and_then(|item| read_refreshed(item, &header));
        wallet
            .refreshed
            .extend(read.map(|read| (currency, Arc::new(read))));
    }
    wallet.header = header;
    wallet
}

/// Puts a part together; `None` when a chunk or its prices are missing, of
/// another fetch, or damaged.
fn assemble(
    stored: &StoredPart,
    chunks: &[String],
    prices: &[String],
    items: &Items,
) -> Option<CachedPart> {
    let mut packed = Vec::new();
    for sort in chunks {
        let chunk = items.get(sort)?;
        if !chunk.is_current() || chunk.hash("h") != Some(stored.hash) {
            return None;
        }
        packed.extend_from_slice(chunk.bytes("b")?);
    }
    let bytes = codec::decompress(&packed).ok()?;
    if codec::hash(&bytes) != stored.hash {
        return None;
    }
    let holdings = StoredHoldings::new(bytes).ok()?;
    let prices: Option<Vec<&Item>> = prices.iter().map(|sort| items.get(sort)).collect();
    let prices = read_provider_prices(&prices?, stored)?;
    Some(CachedPart {
        holdings,
        hash: stored.hash,
        fetched_at: stored.fetched_at,
        currency: stored.currency,
        prices,
    })
}

/// Returns the prices that came with a part's holdings. Those of a later fetch,
/// whose header is about to be written, hold these as well, unless that fetch
/// began after the wallet was invalidated.
fn read_provider_prices(items: &[&Item], stored: &StoredPart) -> Option<PriceTable> {
    let mut packed = Vec::new();
    let mut oldest = u64::MAX;
    for item in items {
        let generation: u64 = item.number(GENERATION)?;
        let from: u64 = item.number(FROM_GENERATION).unwrap_or(generation);
        if !item.is_current() || !(from..=generation).contains(&stored.fetch) {
            return None;
        }
        oldest = oldest.min(generation);
        packed.extend_from_slice(item.bytes("b")?);
    }
    let mut table = codec::unpack_prices(&packed).ok()?;
    if oldest == stored.fetch {
        table.prune(|price| price.quoted_at >= stored.fetched_at);
    }
    Some(table)
}

/// Refreshed prices, unless the wallet was invalidated since.
fn read_refreshed(item: &Item, header: &Header) -> Option<CachedPrices> {
    let epoch: u64 = item.number(ITEM_EPOCH).unwrap_or(0);
    if epoch == header.epoch {
        read_prices(item)
    } else {
        None
    }
}

/// Reads an item of prices; `None` when it is of another format or damaged.
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

/// The sort keys of a part's chunks that every request reads: what a later
/// fetch replaces must go, or every read would pay for it.
pub(super) fn stored_chunks(wallet: &CachedWallet, part: Part) -> Vec<String> {
    let stored = wallet.header.parts.get(&part).and_then(|read| read.stored);
    let Some(stored) = stored else {
        return Vec::new();
    };
    // Large holdings are out of the way of every other read; TTL deletes them.
    if stored.chunks > keys::NEAR_CHUNKS {
        return Vec::new();
    }
    (0..stored.chunks)
        .map(|index| keys::chunk(part, stored.written, index, stored.chunks))
        .collect()
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::AttributeValue;

    use super::*;
    use crate::{
        cache::table::item::number,
        clock::Timestamp,
        domain::{
            decimal::Decimal,
            price::{Price, PriceKey},
            provider::Provider,
        },
    };

    #[test]
    fn provider_prices_count_only_for_the_fetches_that_they_hold() {
        let at = Timestamp::from_millis(1_795_254_046_007);
        let key = PriceKey::of_asset("asset");
        let table = PriceTable::new(vec![(
            key,
            Price::new(Decimal::ONE, None, Provider::Zerion, at),
        )]);
        let packed = codec::pack_prices(&table).unwrap();
        let item = |from, generation: u64| {
            Item::keyed("pk".to_owned(), "F#wallet#usd".to_owned())
                .with(GENERATION, number(generation))
                .with(FROM_GENERATION, number(from))
                .with("b", AttributeValue::B(packed.clone().into()))
        };
        let counts = |item: &Item, fetch| {
            let stored = StoredPart {
                hash: 1,
                fetched_at: at,
                currency: Currency::USD,
                fetch,
                written: 1,
                chunks: 1,
                chunks_expire: at,
                price_chunks: 0,
            };
            read_provider_prices(&[item], &stored).is_some()
        };
        // A fetch after an invalidation knows nothing of the prices before.
        assert!(!counts(&item(5, 5), 3));
        assert!(counts(&item(3, 5), 3));
        assert!(counts(&item(3, 5), 5));
        assert!(!counts(&item(3, 5), 2));
        assert!(!counts(&item(3, 5), 6));
    }
}
