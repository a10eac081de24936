//! The shared breakers in DynamoDB.

use async_trait::async_trait;

use super::{Book, Breakers, leases::UNTIL};
use crate::{
    cache::{
        CacheError, GRACE,
        calls::Update,
        items::{EXPIRES_AT, seconds, time},
        keys,
    },
    clock::Timestamp,
    domain::provider::Provider,
    telemetry::request_cost::RequestCost,
};

#[async_trait]
impl Breakers for Book {
    async fn open_until(
        &self,
        upstream: Provider,
        cost: &RequestCost,
    ) -> Result<Option<Timestamp>, CacheError> {
        let item = self
            .table
            .get(keys::BREAKERS.to_owned(), upstream.as_str(), cost)
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
        let mut update = Update::default();
        update.put(UNTIL, time(until));
        update.put(EXPIRES_AT, seconds(until.plus(GRACE)));
        let numeric = update.numeric();
        update.require(format!(
            "NOT attribute_type({UNTIL}, {numeric}) OR {UNTIL} < :{UNTIL}"
        ));
        let partition = keys::BREAKERS.to_owned();
        let sent = self
            .table
            .update(partition, upstream.as_str(), update, cost);
        sent.await.map(drop)
    }
}
