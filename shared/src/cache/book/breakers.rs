//! The shared breakers in DynamoDB.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;

use super::{Book, Breakers, leases::UNTIL, table::GRACE};
use crate::{
    cache::{
        CacheError,
        calls::Update,
        items::{EXPIRES_AT, seconds, time},
        keys,
    },
    clock::Timestamp,
    domain::upstream::Upstream,
    usage::Usage,
};

#[async_trait]
impl Breakers for Book {
    async fn open_until(
        &self,
        upstream: Upstream,
        usage: &Usage,
    ) -> Result<Option<Timestamp>, CacheError> {
        let item = self
            .table
            .get(keys::BREAKERS.to_owned(), upstream.as_str(), usage)
            .await?;
        Ok(item.and_then(|item| item.time(UNTIL)))
    }

    async fn open(
        &self,
        upstream: Upstream,
        until: Timestamp,
        usage: &Usage,
    ) -> Result<(), CacheError> {
        usage.round_trip();
        let mut update = Update::default();
        let value = update.value("until", time(until));
        let expires = update.value("e", seconds(until.plus(GRACE)));
        let numeric = update.value("numeric", AttributeValue::S("N".to_owned()));
        update.expression = format!("SET {UNTIL} = {value}, {EXPIRES_AT} = {expires}");
        update.condition = format!("NOT attribute_type({UNTIL}, {numeric}) OR {UNTIL} < {value}");
        let partition = keys::BREAKERS.to_owned();
        let sent = self
            .table
            .update(partition, upstream.as_str(), update, usage);
        sent.await.map(drop)
    }
}
