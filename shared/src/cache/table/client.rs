//! DynamoDB's operations as a port: one method per operation.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;

use crate::cache::CacheError;

/// An item's attributes by name.
pub type Attributes = HashMap<String, AttributeValue>;

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
    pub(in crate::cache) fn new(
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
