//! The one table, as the adapters of this module use it.
//!
//! [`TableClient`] has one method per DynamoDB operation. [`Table`] adds what
//! all callers need: counted costs, pages, and keys left unprocessed.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;

use super::{CacheError, calls::Update, dynamodb::DynamoDb, items::Item, keys};
use crate::{clock::Clock, config::Config, telemetry::request_cost::RequestCost};

/// Keys in one `BatchGetItem`, its documented maximum.
const BATCH: usize = 100;
/// Pauses before what a `BatchGetItem` left unprocessed is asked for again.
const UNPROCESSED_BACKOFF_MS: [u64; 4] = [20, 40, 80, 160];

/// An item's attributes by name.
pub type Attributes = HashMap<String, AttributeValue>;

/// An item's two keys.
pub(super) type ItemKey = (String, &'static str);

/// The key of an item.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Its partition key, `pk`.
    pub partition: String,
    /// Its sort key, `sk`.
    pub sort: String,
}

/// A `Query` of one partition, read backwards.
#[derive(Clone, Debug)]
pub struct QueryCall {
    /// The partition key.
    pub partition: String,
    /// The first and the last sort key, both included; all of them if none.
    pub range: Option<(String, String)>,
    /// Whether every finished write is seen.
    pub consistent: bool,
    /// Where the page before this one ended.
    pub start: Option<Attributes>,
}

/// One page of a `Query`.
#[derive(Clone, Debug, Default)]
pub struct QueryPage {
    /// The items.
    pub items: Vec<Attributes>,
    /// Where the next page starts, if there is one.
    pub next: Option<Attributes>,
}

/// A condition expression and its values; without one a write always happens.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    /// The expression.
    pub expression: Option<String>,
    /// Its values by placeholder (`:name`).
    pub values: Option<Attributes>,
}

impl Condition {
    pub(super) fn new(
        expression: &str,
        values: impl IntoIterator<Item = (&'static str, AttributeValue)>,
    ) -> Self {
        let values: HashMap<_, _> = values
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        Self {
            expression: Some(expression.to_owned()),
            values: (!values.is_empty()).then_some(values),
        }
    }
}

/// An `UpdateItem`.
#[derive(Clone, Debug, Default)]
pub struct UpdateCall {
    /// The update expression: `SET`, `REMOVE` and `ADD` clauses.
    pub expression: String,
    /// The condition expression, if any.
    pub condition: Option<String>,
    /// Attribute names by placeholder (`#alias`).
    pub names: HashMap<String, String>,
    /// Values by placeholder (`:name`).
    pub values: Attributes,
    /// Whether the item is wanted back as it is afterwards.
    pub returned: bool,
}

/// What an operation gave, and the capacity units that it consumed.
#[derive(Clone, Debug)]
pub struct Consumed<T> {
    /// The result.
    pub value: T,
    /// Read or write request units.
    pub units: f64,
}

/// The operations of DynamoDB that are used here, on one table.
#[async_trait]
pub trait TableClient: Send + Sync {
    /// Reads one page of a partition.
    async fn query(&self, call: QueryCall) -> Result<Consumed<QueryPage>, CacheError>;

    /// Reads one item.
    async fn get(
        &self,
        key: Key,
        consistent: bool,
    ) -> Result<Consumed<Option<Attributes>>, CacheError>;

    /// Reads at most 100 items; the second list holds keys that were left
    /// unprocessed.
    async fn batch_get(
        &self,
        keys: Vec<Attributes>,
        consistent: bool,
    ) -> Result<Consumed<(Vec<Attributes>, Vec<Attributes>)>, CacheError>;

    /// Puts an item; `false` if the condition did not hold.
    async fn put(
        &self,
        item: Attributes,
        condition: Condition,
    ) -> Result<Consumed<bool>, CacheError>;

    /// Deletes an item; `false` if the condition did not hold.
    async fn delete(&self, key: Key, condition: Condition) -> Result<Consumed<bool>, CacheError>;

    /// Changes an item. `Ok` holds it as it is afterwards, if that was wanted;
    /// `Err` as it was when the condition did not hold.
    async fn update(
        &self,
        key: Key,
        call: UpdateCall,
    ) -> Result<Consumed<Result<Attributes, Attributes>>, CacheError>;
}

/// A range of one partition.
#[derive(Clone, Debug)]
pub(super) struct Range {
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
        let read = || self.query(keys::BREAKERS.to_owned(), false, &cost);
        let (first, second) = futures::join!(read(), read());
        if let Err(error) = first.and(second) {
            tracing::warn!(%error, "started without the table");
        }
    }

    /// All items of a partition, read backwards. Pages past 1 MB are further
    /// round trips.
    pub(super) async fn query(
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
    pub(super) async fn query_range(
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
    pub(super) async fn get(
        &self,
        partition: String,
        sort: &str,
        cost: &RequestCost,
    ) -> Result<Option<Item>, CacheError> {
        cost.round_trip();
        self.get_item(partition, sort, true, cost).await
    }

    /// One item, as part of a round trip that the caller counts.
    pub(super) async fn get_item(
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
    pub(super) async fn batch_get(
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
    pub(super) async fn put(
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
    pub(super) async fn delete(
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
    pub(super) async fn delete_item(
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
    pub(super) async fn update(
        &self,
        partition: String,
        sort: &str,
        update: Update,
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
pub(super) async fn together<F, T>(
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
