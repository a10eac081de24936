//! The DynamoDB client and the one table.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{CacheError, items::Item};
use crate::{
    aws, breaker::Breaker, clock::Clock, config::Config, metrics::DYNAMODB_ERRORS, sync::locked,
    usage::Usage,
};
use aws_sdk_dynamodb::{
    Client,
    config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
    operation::{get_item::GetItemError, query::QueryError},
    types::{AttributeValue, ConsumedCapacity, ReturnConsumedCapacity},
};

/// The part of an operation's time that one attempt may take: two of them fit,
/// with a pause.
const ATTEMPT: (u32, u32) = (2, 5);
/// The table is left alone after half of at least so many calls failed,
const ENOUGH: usize = 6;
/// and for so long: requests then cost no time on it.
const LEFT_ALONE: Duration = Duration::from_secs(2);

/// The table, and the client that speaks to it.
#[derive(Clone)]
pub struct Table {
    pub(super) client: Client,
    pub(super) name: String,
    breaker: Arc<Mutex<Breaker>>,
    clock: Arc<dyn Clock>,
}

impl Table {
    /// A client as configured. Credentials come from the environment, as
    /// Lambda sets them.
    pub fn connect(config: &Config, clock: Arc<dyn Clock>) -> Self {
        let endpoint = config.dynamodb_endpoint.as_ref();
        // A cache that takes longer than what it caches is of no use.
        let attempt = config.dynamodb_timeout * ATTEMPT.0 / ATTEMPT.1;
        let mut sdk = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(config.region.clone()))
            .credentials_provider(aws::credentials(endpoint))
            .http_client(aws::http_client(endpoint))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(attempt)
                    .operation_attempt_timeout(attempt)
                    .operation_timeout(config.dynamodb_timeout)
                    .build(),
            )
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(3)
                    .with_initial_backoff(Duration::from_millis(25))
                    .with_max_backoff(Duration::from_millis(200)),
            );
        if let Some(url) = endpoint {
            sdk = sdk.endpoint_url(url.as_str().trim_end_matches('/'));
        }
        let client = Client::from_conf(sdk.build());
        let breaker = Arc::new(Mutex::new(Breaker::new(ENOUGH, LEFT_ALONE)));
        Self {
            client,
            name: config.table.clone(),
            breaker,
            clock,
        }
    }

    /// Waits for a call, unless the last ones kept failing.
    pub(super) async fn guarded<T, E: ProvideErrorMetadata>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, SdkError<E>>>,
    ) -> Result<Result<T, SdkError<E>>, CacheError> {
        let Ok(permit) = locked(&self.breaker).allow(self.clock.now()) else {
            let reason = "left alone after it kept failing".to_owned();
            return Err(CacheError { operation, reason });
        };
        let answer = call.await;
        let failed = answer.as_ref().is_err_and(is_trouble);
        if answer.as_ref().is_err_and(|error| !is_conditional(error)) {
            DYNAMODB_ERRORS.add(1);
        }
        locked(&self.breaker).note(permit, failed, self.clock.now());
        Ok(answer)
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
            let call = self
                .client
                .query()
                .table_name(&self.name)
                .key_condition_expression("pk = :pk")
                .expression_attribute_values(":pk", AttributeValue::S(partition.clone()))
                .scan_index_forward(false)
                .consistent_read(consistent)
                .set_exclusive_start_key(start)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send();
            let page = self.guarded("Query", call).await?;
            let page = page.map_err(|error| failed::<QueryError>("Query", &error))?;
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
        let call = self
            .client
            .get_item()
            .table_name(&self.name)
            .key("pk", AttributeValue::S(partition))
            .key("sk", AttributeValue::S(sort.to_owned()))
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send();
        let answer = self.guarded("GetItem", call).await?;
        let answer = answer.map_err(|error| failed::<GetItemError>("GetItem", &error))?;
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
        let call = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item.into_inner()))
            .set_condition_expression(condition.expression)
            .set_expression_attribute_values(condition.values)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send();
        match self.guarded("PutItem", call).await? {
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
    /// Deletes an item if `condition` holds.
    pub(super) async fn delete(
        &self,
        partition: String,
        sort: &str,
        condition: Condition,
        usage: &Usage,
    ) -> Result<(), CacheError> {
        usage.round_trip();
        let call = self
            .client
            .delete_item()
            .table_name(&self.name)
            .key("pk", AttributeValue::S(partition))
            .key("sk", AttributeValue::S(sort.to_owned()))
            .set_condition_expression(condition.expression)
            .set_expression_attribute_values(condition.values)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send();
        match self.guarded("DeleteItem", call).await? {
            Ok(answer) => usage.wrote(units(answer.consumed_capacity())),
            Err(error) if is_conditional(&error) => usage.wrote(1.0),
            Err(error) => return Err(failed("DeleteItem", &error)),
        }
        Ok(())
    }
}

/// A condition expression and its values; none by default.
#[derive(Default)]
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

/// Whether a failure is the service's, and not an answer.
fn is_trouble<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    match error {
        SdkError::ServiceError(error) => error.raw().status().as_u16() >= 500,
        _ => true,
    }
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
