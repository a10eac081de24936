//! Storing refreshed prices beside those of other processes.

use super::{
    read::{ITEM_EPOCH, read_prices},
    write::{Write, corrupt},
};
use crate::{
    cache::{
        CacheError, NewPrices, TTL_MARGIN, codec, keys,
        table::{
            Condition,
            item::{EXPIRES_AT, Item, bytes, hash, number, seconds, text},
        },
    },
    clock::Timestamp,
    domain::price::PriceTable,
};

/// Tries to merge prices before they are left to the next request.
const MERGE_ATTEMPTS: usize = 3;

impl Write<'_> {
    /// The TTL of refreshed prices: they are of no use for as long as holdings.
    fn prices_expiry(&self) -> Timestamp {
        self.now.plus(self.retention.prices).plus(TTL_MARGIN)
    }

    /// Replaces refreshed prices only as they were read; when another process
    /// was faster, merges with its. Per id the later checked price stays.
    pub(super) async fn merge_prices(
        &self,
        epoch: u64,
        prices: &NewPrices<'_>,
    ) -> Result<bool, CacheError> {
        let key = keys::prices(prices.currency);
        let mut before: Option<PriceTable> = prices.previous.map(|read| read.table.clone());
        let mut condition = match prices.previous {
            Some(read) => Condition::new("h = :h", [(":h", hash(read.hash))]),
            None => Condition::new("attribute_not_exists(pk)", []),
        };
        let kept = self.retention.prices;
        for _ in 0..MERGE_ATTEMPTS {
            let fresh = prices.fresh;
            let mut merged = match &before {
                Some(read) => read.merged(fresh.entries().iter().copied()),
                None => fresh.clone(),
            };
            merged.prune(|price| price.checked_at.plus(kept) >= self.now);
            let packed = codec::pack_prices(&merged).map_err(corrupt)?;
            if packed.len() > codec::CHUNK_SIZE {
                tracing::info!(bytes = packed.len(), "prices too large to be cached");
                return Ok(false);
            }
            let item = Item::keyed(keys::wallet(self.address), key.clone())
                .with("h", hash(codec::hash(&packed)))
                .with(ITEM_EPOCH, number(epoch))
                .with("b", bytes(&packed))
                .with(EXPIRES_AT, seconds(self.prices_expiry()));
            let table = self.table;
            if table.put(item, condition, self.cost).await? {
                return Ok(true);
            }
            let there = table
                .get(keys::wallet(self.address), &key, self.cost)
                .await?;
            let theirs = there.as_ref().and_then(|item| item.number(ITEM_EPOCH));
            let theirs: u64 = theirs.unwrap_or(0);
            if theirs > epoch {
                // The wallet was invalidated meanwhile.
                return Ok(false);
            }
            let current = there.as_ref().filter(|_| theirs == epoch);
            before = current.and_then(read_prices).map(|read| read.table);
            condition = match there.as_ref().map(|item| item.hash("h")) {
                None => Condition::new("attribute_not_exists(pk)", []),
                // Even if it cannot be read: then it is replaced.
                Some(Some(seen)) => Condition::new("h = :h", [(":h", hash(seen))]),
                Some(None) => {
                    Condition::new("NOT attribute_type(h, :binary)", [(":binary", text("B"))])
                }
            };
        }
        tracing::info!("prices were replaced too often to be merged");
        Ok(false)
    }
}
