//! Rate limits that all processes keep to: until when each provider asked not to
//! be called.

use async_trait::async_trait;

use super::{
    CacheError, TTL_MARGIN, Table, keys,
    table::{
        item::{EXPIRES_AT, seconds, time},
        update::UpdateExpression,
    },
};
use crate::{clock::Timestamp, domain::provider::Provider, telemetry::request_cost::RequestCost};

const UNTIL: &str = "l_until";

/// Shares rate limits between processes.
#[async_trait]
pub trait RateLimitStore: Send + Sync {
    /// Returns until when `upstream` may not be called; `None` if it may.
    async fn open_until(
        &self,
        upstream: Provider,
        cost: &RequestCost,
    ) -> Result<Option<Timestamp>, CacheError>;

    /// Records that `upstream` may not be called before `until`. A later moment
    /// that is recorded already stays.
    async fn open(
        &self,
        upstream: Provider,
        until: Timestamp,
        cost: &RequestCost,
    ) -> Result<(), CacheError>;
}

/// Rate limits in the table.
#[derive(Clone)]
pub struct DynamoRateLimits(Table);

impl DynamoRateLimits {
    /// Returns the rate limits in `table`.
    pub fn new(table: Table) -> Self {
        Self(table)
    }
}

#[async_trait]
impl RateLimitStore for DynamoRateLimits {
    async fn open_until(
        &self,
        upstream: Provider,
        cost: &RequestCost,
    ) -> Result<Option<Timestamp>, CacheError> {
        let item = self
            .0
            .get(keys::RATE_LIMITS.to_owned(), upstream.as_str(), cost)
            .await?;
        Ok(item.and_then(|item| item.time(UNTIL)))
    }

    async fn open(
        &self,
        upstream: Provider,
        until: Timestamp,
        cost: &RequestCost,
    ) -> Result<(), CacheError> {
        cost.round_trip();
        let mut update = UpdateExpression::default();
        update.put(UNTIL, time(until));
        update.put(EXPIRES_AT, seconds(until.plus(TTL_MARGIN)));
        let numeric = update.numeric();
        update.require(format!(
            "NOT attribute_type({UNTIL}, {numeric}) OR {UNTIL} < :{UNTIL}"
        ));
        let partition = keys::RATE_LIMITS.to_owned();
        let sent = self.0.update(partition, upstream.as_str(), update, cost);
        sent.await.map(drop)
    }
}
