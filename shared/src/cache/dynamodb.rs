//! The DynamoDB client and the one table.

use std::{collections::HashMap, future::Future, time::Duration};

use super::{CacheError, items::Item};
use crate::{aws, config::Config, usage::Usage};
use aws_sdk_dynamodb::{
    Client,
    config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
    operation::{get_item::GetItemError, query::QueryError},
    types::{AttributeValue, ConsumedCapacity, ReturnConsumedCapacity},
};

/// A cache that takes longer than the thing it caches is of no use.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1000);
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1500);
const OPERATION_TIMEOUT: Duration = Duration::from_millis(4000);

/// The table, and the client that speaks to it.
#[derive(Clone, Debug)]
pub struct Table {
    pub(super) client: Client,
    pub(super) name: String,
}

impl Table {
    /// A client as configured. Credentials come from the environment, as
    /// Lambda sets them.
    pub fn connect(config: &Config) -> Self {
        let endpoint = config.dynamodb_endpoint.as_ref();
        let mut sdk = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(config.region.clone()))
            .credentials_provider(aws::credentials(endpoint))
            .http_client(aws::http_client(endpoint))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                    .operation_timeout(OPERATION_TIMEOUT)
                    .build(),
            )
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(3)
                    .with_initial_backoff(Duration::from_millis(50))
                    .with_max_backoff(Duration::from_millis(500)),
            );
        if let Some(url) = endpoint {
            sdk = sdk.endpoint_url(url.as_str().trim_end_matches('/'));
        }
        Self::new(Client::from_conf(sdk.build()), config.table.clone())
    }

    /// The table `name` as `client` sees it.
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// The client, for what this module does not wrap.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All items of a partition, read backwards. Pages past 1 MB are further
    /// round trips.
    pub(super) async fn query(
        &self,
        partition: String,
        consistent: bool,
        usage: &Usage,
    ) -> Result<Vec<Item>, CacheError> {
        let mut items = Vec::new();
        let mut start = None;
        loop {
            usage.round_trip();
            let page = self
                .client
                .query()
                .table_name(&self.name)
                .key_condition_expression("pk = :pk")
                .expression_attribute_values(":pk", AttributeValue::S(partition.clone()))
                .scan_index_forward(false)
                .consistent_read(consistent)
                .set_exclusive_start_key(start)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await
                .map_err(|error| failed::<QueryError>("Query", &error))?;
            usage.read(units(page.consumed_capacity()));
            items.extend(page.items.unwrap_or_default().into_iter().map(Item::new));
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(items);
            }
        }
    }

    /// One item, with every finished write.
    pub(super) async fn get(
        &self,
        partition: String,
        sort: &str,
        usage: &Usage,
    ) -> Result<Option<Item>, CacheError> {
        usage.round_trip();
        let answer = self
            .client
            .get_item()
            .table_name(&self.name)
            .key("pk", AttributeValue::S(partition))
            .key("sk", AttributeValue::S(sort.to_owned()))
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|error| failed::<GetItemError>("GetItem", &error))?;
        usage.read(units(answer.consumed_capacity()));
        Ok(answer.item.map(Item::new))
    }

    /// Puts an item if `condition` holds; `false` if it does not.
    pub(super) async fn put(
        &self,
        item: Item,
        condition: Condition,
        usage: &Usage,
    ) -> Result<bool, CacheError> {
        let sent = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item.into_inner()))
            .set_condition_expression(condition.expression)
            .set_expression_attribute_values(condition.values)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        match sent {
            Ok(answer) => {
                usage.wrote(units(answer.consumed_capacity()));
                Ok(true)
            }
            Err(error) if is_conditional(&error) => {
                // A refused write costs as much as the smallest one.
                usage.wrote(1.0);
                Ok(false)
            }
            Err(error) => Err(failed("PutItem", &error)),
        }
    }
}

impl Table {
    /// Deletes an item, whatever it is.
    pub(super) async fn delete(
        &self,
        partition: String,
        sort: &str,
        usage: &Usage,
    ) -> Result<(), CacheError> {
        usage.round_trip();
        let answer = self
            .client
            .delete_item()
            .table_name(&self.name)
            .key("pk", AttributeValue::S(partition))
            .key("sk", AttributeValue::S(sort.to_owned()))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|error| failed("DeleteItem", &error))?;
        usage.wrote(units(answer.consumed_capacity()));
        Ok(())
    }
}

/// A condition expression and its values.
pub(super) struct Condition {
    expression: Option<String>,
    values: Option<HashMap<String, AttributeValue>>,
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

/// The capacity that an answer says it consumed, in request units.
pub(super) fn units(consumed: Option<&ConsumedCapacity>) -> f64 {
    consumed
        .and_then(ConsumedCapacity::capacity_units)
        .unwrap_or(0.0)
}

/// Whether the service refused because a condition did not hold.
pub(super) fn is_conditional<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    error.code() == Some("ConditionalCheckFailedException")
}

/// The error's code, or what kept the service from answering.
pub(super) fn failed<E: ProvideErrorMetadata>(
    operation: &'static str,
    error: &SdkError<E>,
) -> CacheError {
    let reason = match error {
        SdkError::TimeoutError(_) => "timeout".to_owned(),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => "timeout".to_owned(),
        SdkError::DispatchFailure(_) => "unreachable".to_owned(),
        SdkError::ConstructionFailure(_) => "bad request".to_owned(),
        other => other.code().unwrap_or("unreadable answer").to_owned(),
    };
    CacheError { operation, reason }
}

/// Waits for several calls at once: one round trip.
pub(super) async fn together<F, T>(
    calls: impl IntoIterator<Item = F>,
    usage: &Usage,
) -> Result<Vec<T>, CacheError>
where
    F: Future<Output = Result<T, CacheError>>,
{
    usage.round_trip();
    // Every call runs to its end, so that none is cut off half-way.
    futures::future::join_all(calls).await.into_iter().collect()
}
