//! The one table, as the stores of this module use it.
//!
//! [`TableClient`] has one method per DynamoDB operation. [`Table`] adds what
//! all callers need: counted costs, pages, and keys left unprocessed.

mod client;
mod direct;
pub mod dynamodb;
pub(super) mod item;
pub(super) mod update;
mod wire;

use std::{collections::HashMap, sync::Arc, time::Duration};

use aws_sdk_dynamodb::types::AttributeValue;

pub use self::client::{
    Attributes, Condition, Consumed, Key, QueryCall, QueryPage, TableClient, UpdateCall,
};
use self::{dynamodb::DynamoDb, item::Item, update::UpdateExpression};
use super::{CacheError, keys};
use crate::{clock::Clock, config::Config, telemetry::request_cost::RequestCost};

/// Keys in one `BatchGetItem`, its documented maximum.
const BATCH: usize = 100;
/// Pauses before what a `BatchGetItem` left unprocessed is asked for again.
const UNPROCESSED_BACKOFF_MS: [u64; 4] = [20, 40, 80, 160];

/// An item's two keys.
pub(in crate::cache) type ItemKey = (String, &'static str);

/// A range of one partition.
#[derive(Clone, Debug)]
pub(in crate::cache) struct Range {
    pub partition: String,
    /// The first and the last sort key, both included; all of them if none.
    pub sort: Option<(String, String)>,
    pub consistent: bool,
}

/// The table with a client and a clock.
#[derive(Clone)]
pub struct Table {
    client: Arc<dyn TableClient>,
    clock: Arc<dyn Clock>,
}

impl Table {
    /// The table in DynamoDB, as configured.
    pub fn connect(config: &Config, clock: Arc<dyn Clock>) -> Self {
        let client = Arc::new(DynamoDb::connect(config, clock.clone()));
        Self::new(client, clock)
    }

    /// The table behind any client.
    pub fn new(client: Arc<dyn TableClient>, clock: Arc<dyn Clock>) -> Self {
        Self { client, clock }
    }

    /// The clock that it goes by.
    pub fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    /// Opens the two connections that a request's first reads need, so that none
    /// waits for them, by reads of the smallest partition. Takes no longer than
    /// any operation; without a table that answers a process starts all the same.
    pub async fn open(&self) {
        let cost = RequestCost::default();
        let read = || self.query(keys::RATE_LIMITS.to_owned(), false, &cost);
        let (first, second) = futures::join!(read(), read());
        if let Err(error) = first.and(second) {
            tracing::warn!(%error, "started without the table");
        }
    }

    /// All items of a partition, read backwards. Pages past 1 MB are further
    /// round trips.
    pub(in crate::cache) async fn query(
        &self,
        partition: String,
        consistent: bool,
        cost: &RequestCost,
    ) -> Result<Vec<Item>, CacheError> {
        let range = Range {
            partition,
            sort: None,
            consistent,
        };
        cost.round_trip();
        self.query_range(range, cost).await
    }

    /// The items of a range, read backwards. Pages past 1 MB are round trips;
    /// the first one is left to the caller to count, who may read more at once.
    pub(in crate::cache) async fn query_range(
        &self,
        range: Range,
        cost: &RequestCost,
    ) -> Result<Vec<Item>, CacheError> {
        let mut items = Vec::new();
        let mut start = None;
        loop {
            let call = QueryCall {
                partition: range.partition.clone(),
                range: range.sort.clone(),
                consistent: range.consistent,
                start,
            };
            let page = self.client.query(call).await?;
            cost.read(page.units);
            items.extend(page.value.items.into_iter().map(Item::new));
            start = page.value.next;
            if start.is_none() {
                return Ok(items);
            }
            cost.round_trip();
        }
    }

    /// One item, with every finished write, as a round trip.
    pub(in crate::cache) async fn get(
        &self,
        partition: String,
        sort: &str,
        cost: &RequestCost,
    ) -> Result<Option<Item>, CacheError> {
        cost.round_trip();
        self.get_item(partition, sort, true, cost).await
    }

    /// One item, as part of a round trip that the caller counts.
    pub(in crate::cache) async fn get_item(
        &self,
        partition: String,
        sort: &str,
        consistent: bool,
        cost: &RequestCost,
    ) -> Result<Option<Item>, CacheError> {
        let read = self.client.get(key(partition, sort), consistent).await?;
        cost.read(read.units);
        Ok(read.value.map(Item::new))
    }

    /// Items by their keys, in one round trip, and those keys of which nothing
    /// is known because the service left them out each time.
    pub(in crate::cache) async fn batch_get(
        &self,
        keys: impl IntoIterator<Item = ItemKey>,
        consistent: bool,
        cost: &RequestCost,
    ) -> Result<(Vec<Item>, Vec<Item>), CacheError> {
        cost.round_trip();
        let key = |(partition, sort): ItemKey| {
            HashMap::from([
                ("pk".to_owned(), AttributeValue::S(partition)),
                ("sk".to_owned(), AttributeValue::S(sort.to_owned())),
            ])
        };
        let keys: Vec<_> = keys.into_iter().map(key).collect();
        let batches = keys.chunks(BATCH);
        let batches = batches.map(|keys| self.batch(keys.to_vec(), consistent, cost));
        let (mut items, mut unread) = (Vec::new(), Vec::new());
        for batch in futures::future::join_all(batches).await {
            let (read, left) = batch?;
            items.extend(read.into_iter().map(Item::new));
            unread.extend(left.into_iter().map(Item::new));
        }
        Ok((items, unread))
    }

    async fn batch(
        &self,
        mut keys: Vec<Attributes>,
        consistent: bool,
        cost: &RequestCost,
    ) -> Result<(Vec<Attributes>, Vec<Attributes>), CacheError> {
        let mut items = Vec::new();
        let mut pauses = UNPROCESSED_BACKOFF_MS.into_iter();
        loop {
            let read = self.client.batch_get(keys, consistent).await?;
            cost.read(read.units);
            let (found, left) = read.value;
            items.extend(found);
            keys = left;
            match pauses.next() {
                Some(pause) if !keys.is_empty() => {
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                _ => return Ok((items, keys)),
            }
        }
    }

    /// Puts an item if `condition` holds; `false` if it does not.
    pub(in crate::cache) async fn put(
        &self,
        item: Item,
        condition: Condition,
        cost: &RequestCost,
    ) -> Result<bool, CacheError> {
        let written = self.client.put(item.into_inner(), condition).await?;
        cost.wrote(written.units);
        Ok(written.value)
    }

    /// Deletes an item if `condition` holds, as a round trip.
    pub(in crate::cache) async fn delete(
        &self,
        partition: String,
        sort: &str,
        condition: Condition,
        cost: &RequestCost,
    ) -> Result<(), CacheError> {
        cost.round_trip();
        self.delete_item(partition, sort, condition, cost).await
    }

    /// Deletes an item if `condition` holds, as part of a round trip that the
    /// caller counts.
    pub(in crate::cache) async fn delete_item(
        &self,
        partition: String,
        sort: &str,
        condition: Condition,
        cost: &RequestCost,
    ) -> Result<(), CacheError> {
        let deleted = self.client.delete(key(partition, sort), condition).await?;
        cost.wrote(deleted.units);
        Ok(())
    }

    /// Changes an item. `Ok` holds it as it is afterwards, if that was wanted;
    /// `Err` as it was when the condition did not hold.
    pub(in crate::cache) async fn update(
        &self,
        partition: String,
        sort: &str,
        update: UpdateExpression,
        cost: &RequestCost,
    ) -> Result<Result<Item, Item>, CacheError> {
        let call = update.into_call();
        let changed = self.client.update(key(partition, sort), call).await?;
        cost.wrote(changed.units);
        Ok(changed.value.map(Item::new).map_err(Item::new))
    }
}

fn key(partition: String, sort: &str) -> Key {
    Key {
        partition,
        sort: sort.to_owned(),
    }
}

/// Waits for several calls at once: one round trip.
pub(in crate::cache) async fn join_all<F, T>(
    calls: impl IntoIterator<Item = F>,
    cost: &RequestCost,
) -> Result<Vec<T>, CacheError>
where
    F: Future<Output = Result<T, CacheError>>,
{
    cost.round_trip();
    // Every call runs to its end, so that none is cut off half-way.
    futures::future::join_all(calls).await.into_iter().collect()
}
