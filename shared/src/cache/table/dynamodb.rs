//! The table's operations through the AWS SDK.

use std::{
    future::Future,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    Client,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
    operation::{
        get_item::GetItemError,
        query::{QueryError, builders::QueryFluentBuilder},
        update_item::UpdateItemError,
    },
    types::{
        AttributeValue, ConsumedCapacity, KeysAndAttributes, ReturnConsumedCapacity, ReturnValue,
        ReturnValuesOnConditionCheckFailure,
    },
};
use aws_smithy_runtime_api::client::http::{SharedHttpConnector, http_client_fn};
use reqwest::Url;

use super::{
    client::{Attributes, Condition, Consumed, Key, QueryCall, QueryPage, TableClient, UpdateCall},
    direct::DirectReads,
    item::Item,
    wire::key_condition,
};
use crate::{
    aws::client, cache::CacheError, clock::Clock, config::Config,
    resilience::circuit_breaker::CircuitBreaker, sync::locked, telemetry::metrics::DYNAMODB_ERRORS,
};

/// The part of an operation's time that one attempt may take: two of them fit,
/// with a pause.
const ATTEMPT: (u32, u32) = (2, 5);
/// How often an operation is tried.
const MAX_ATTEMPTS: u32 = 3;
/// The circuit breaker opens after half of at least so many calls failed,
const MIN_CALLS: usize = 6;
/// and for so long: requests then cost no time on it.
const OPEN_DURATION: Duration = Duration::from_secs(2);

/// One table in DynamoDB.
pub struct DynamoDb {
    direct: DirectReads,
    sdk: OnceLock<Client>,
    settings: SdkSettings,
    /// How long an operation may take.
    timeout: Duration,
    name: String,
    breaker: Mutex<CircuitBreaker>,
    clock: Arc<dyn Clock>,
}

/// What the SDK's client is made of.
struct SdkSettings {
    connector: SharedHttpConnector,
    credentials: Credentials,
    region: String,
    endpoint: Option<Url>,
    /// How long an attempt may take.
    attempt: Duration,
}

impl SdkSettings {
    fn client(&self, timeout: Duration) -> Client {
        let connector = self.connector.clone();
        let mut sdk = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.region.clone()))
            .credentials_provider(self.credentials.clone())
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(self.attempt)
                    .operation_attempt_timeout(self.attempt)
                    .operation_timeout(timeout)
                    .build(),
            )
            .retry_config(retries(MAX_ATTEMPTS));
        if let Some(url) = &self.endpoint {
            sdk = sdk.endpoint_url(url.as_str().trim_end_matches('/'));
        }
        Client::from_conf(sdk.build())
    }
}

impl DynamoDb {
    /// A client as configured. Credentials come from the environment, as
    /// Lambda sets them.
    pub fn connect(config: &Config, clock: Arc<dyn Clock>) -> Self {
        let endpoint = config.dynamodb_endpoint.as_ref();
        // A cache that takes longer than what it caches is of no use.
        let attempt = config.dynamodb_timeout * ATTEMPT.0 / ATTEMPT.1;
        let credentials = client::credentials(endpoint);
        let connector = client::connector(config, endpoint, attempt);
        Self {
            direct: DirectReads::over(connector.clone(), credentials.clone(), config, attempt),
            sdk: OnceLock::new(),
            settings: SdkSettings {
                connector,
                credentials,
                region: config.region.clone(),
                endpoint: endpoint.cloned(),
                attempt,
            },
            timeout: config.dynamodb_timeout,
            name: config.table.clone(),
            breaker: Mutex::new(CircuitBreaker::new(MIN_CALLS, OPEN_DURATION)),
            clock,
        }
    }

    /// The SDK's client. Made when it is needed first: most processes start with
    /// direct reads, and a start is waited for.
    pub fn client(&self) -> &Client {
        self.sdk.get_or_init(|| self.settings.client(self.timeout))
    }

    /// The table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits for a call, unless the last ones kept failing.
    async fn call<T, E: ProvideErrorMetadata>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, SdkError<E>>>,
    ) -> Result<Result<T, SdkError<E>>, CacheError> {
        let Ok(permit) = locked(&self.breaker).try_acquire(self.clock.now()) else {
            let reason = "not called: its circuit breaker is open".to_owned();
            return Err(CacheError { operation, reason });
        };
        let answer = call.await;
        let failed = answer.as_ref().is_err_and(counts_as_failure);
        if answer.as_ref().is_err_and(|error| !is_conditional(error)) {
            DYNAMODB_ERRORS.add(1);
        }
        locked(&self.breaker).record(permit, failed, self.clock.now());
        Ok(answer)
    }

    /// As [`Self::call`], for operations whose errors are all failures.
    async fn answered<T, E: ProvideErrorMetadata>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, SdkError<E>>>,
    ) -> Result<T, CacheError> {
        let answer = self.call(operation, call).await?;
        answer.map_err(|error| failed(operation, &error))
    }

    /// Returns what is other about a read that is left to the SDK: an attempt has been
    /// made.
    fn after_direct(&self) -> aws_sdk_dynamodb::config::Builder {
        let made = u32::from(self.direct.are_tried());
        aws_sdk_dynamodb::Config::builder().retry_config(retries(MAX_ATTEMPTS - made))
    }

    fn query_of(&self, call: QueryCall) -> QueryFluentBuilder {
        let query = self
            .client()
            .query()
            .table_name(&self.name)
            .key_condition_expression(key_condition(&call))
            .expression_attribute_values(":pk", AttributeValue::S(call.partition))
            .scan_index_forward(false)
            .consistent_read(call.consistent)
            .set_exclusive_start_key(call.start)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let Some((first, last)) = call.range else {
            return query;
        };
        query
            .expression_attribute_values(":first", AttributeValue::S(first))
            .expression_attribute_values(":last", AttributeValue::S(last))
    }

    /// Reads directly; through the SDK if that does not go well.
    async fn read<T, E: ProvideErrorMetadata>(
        &self,
        operation: &'static str,
        direct: impl Future<Output = Option<T>>,
        sdk: impl Future<Output = Result<T, SdkError<E>>>,
    ) -> Result<T, CacheError> {
        let read = async {
            match direct.await {
                Some(read) => Ok(read),
                None => sdk.await,
            }
        };
        let in_time = async {
            match tokio::time::timeout(self.timeout, read).await {
                Ok(read) => read,
                Err(elapsed) => Err(SdkError::timeout_error(elapsed)),
            }
        };
        self.answered(operation, in_time).await
    }
}

#[async_trait]
impl TableClient for DynamoDb {
    async fn query(&self, call: QueryCall) -> Result<Consumed<QueryPage>, CacheError> {
        let direct = self.direct.query(&self.name, &call);
        let sdk = async {
            let query = self.query_of(call.clone()).customize();
            let page = query.config_override(self.after_direct()).send().await?;
            Ok(Consumed {
                units: units(page.consumed_capacity()),
                value: QueryPage {
                    items: page.items.unwrap_or_default(),
                    next: page.last_evaluated_key,
                },
            })
        };
        self.read::<_, QueryError>("Query", direct, sdk).await
    }

    async fn get(
        &self,
        key: Key,
        consistent: bool,
    ) -> Result<Consumed<Option<Attributes>>, CacheError> {
        let direct = self.direct.get(&self.name, &key, consistent);
        let sdk = async {
            let call = self
                .client()
                .get_item()
                .table_name(&self.name)
                .key("pk", AttributeValue::S(key.partition.clone()))
                .key("sk", AttributeValue::S(key.sort.clone()))
                .consistent_read(consistent)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let call = call.customize().config_override(self.after_direct());
            let answer = call.send().await?;
            Ok(Consumed {
                units: units(answer.consumed_capacity()),
                value: answer.item,
            })
        };
        self.read::<_, GetItemError>("GetItem", direct, sdk).await
    }

    async fn batch_get(
        &self,
        keys: Vec<Attributes>,
        consistent: bool,
    ) -> Result<Consumed<(Vec<Attributes>, Vec<Attributes>)>, CacheError> {
        let wanted = KeysAndAttributes::builder()
            .set_keys(Some(keys))
            .consistent_read(consistent)
            .build()
            .map_err(|_| bad_request("BatchGetItem"))?;
        let call = self
            .client()
            .batch_get_item()
            .request_items(&self.name, wanted)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send();
        let answer = self.answered("BatchGetItem", call).await?;
        let consumed = answer.consumed_capacity().iter();
        let units = consumed.map(|it| units(Some(it))).sum();
        let found = answer.responses.unwrap_or_default().into_values().flatten();
        let mut left = answer.unprocessed_keys.unwrap_or_default().into_values();
        let left = left.next().map(|it| it.keys).unwrap_or_default();
        let value = (found.collect(), left);
        Ok(Consumed { value, units })
    }

    async fn put(
        &self,
        item: Attributes,
        condition: Condition,
    ) -> Result<Consumed<bool>, CacheError> {
        let call = self
            .client()
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item))
            .set_condition_expression(condition.expression)
            .set_expression_attribute_values(condition.values)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send();
        let answer = self.call("PutItem", call).await?;
        written("PutItem", answer, |answer| {
            answer.consumed_capacity.as_ref()
        })
    }

    async fn delete(&self, key: Key, condition: Condition) -> Result<Consumed<bool>, CacheError> {
        let call = self
            .client()
            .delete_item()
            .table_name(&self.name)
            .key("pk", AttributeValue::S(key.partition))
            .key("sk", AttributeValue::S(key.sort))
            .set_condition_expression(condition.expression)
            .set_expression_attribute_values(condition.values)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send();
        let answer = self.call("DeleteItem", call).await?;
        written("DeleteItem", answer, |answer| {
            answer.consumed_capacity.as_ref()
        })
    }

    async fn update(
        &self,
        key: Key,
        call: UpdateCall,
    ) -> Result<Consumed<Result<Attributes, Attributes>>, CacheError> {
        let call = self
            .client()
            .update_item()
            .table_name(&self.name)
            .key("pk", AttributeValue::S(key.partition))
            .key("sk", AttributeValue::S(key.sort))
            .update_expression(call.expression)
            .set_condition_expression(call.condition)
            .set_expression_attribute_names((!call.names.is_empty()).then_some(call.names))
            .set_expression_attribute_values((!call.values.is_empty()).then_some(call.values))
            .return_values(match call.returned {
                true => ReturnValue::AllNew,
                false => ReturnValue::None,
            })
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send();
        match self.call("UpdateItem", call).await? {
            Ok(answer) => Ok(Consumed {
                units: units(answer.consumed_capacity()),
                value: Ok(answer.attributes.unwrap_or_default()),
            }),
            Err(error) if is_conditional(&error) => {
                let old = match error.into_service_error() {
                    UpdateItemError::ConditionalCheckFailedException(refused) => refused.item,
                    _ => None,
                };
                let old = Item::new(old.unwrap_or_default());
                Ok(Consumed {
                    units: old.write_units(),
                    value: Err(old.into_inner()),
                })
            }
            Err(error) => Err(failed("UpdateItem", &error)),
        }
    }
}

fn retries(attempts: u32) -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(attempts)
        .with_initial_backoff(Duration::from_millis(25))
        .with_max_backoff(Duration::from_millis(200))
}

/// Tells whether a write was made, and what it cost. A refused write costs as
/// much as the smallest one.
fn written<T, E: ProvideErrorMetadata>(
    operation: &'static str,
    answer: Result<T, SdkError<E>>,
    capacity: impl FnOnce(&T) -> Option<&ConsumedCapacity>,
) -> Result<Consumed<bool>, CacheError> {
    match answer {
        Ok(answer) => Ok(Consumed {
            value: true,
            units: units(capacity(&answer)),
        }),
        Err(error) if is_conditional(&error) => Ok(Consumed {
            value: false,
            units: 1.0,
        }),
        Err(error) => Err(failed(operation, &error)),
    }
}

/// The capacity that an answer says it consumed, in request units.
fn units(consumed: Option<&ConsumedCapacity>) -> f64 {
    consumed
        .and_then(ConsumedCapacity::capacity_units)
        .unwrap_or(0.0)
}

/// Whether a failure is the service's, and not an answer.
fn counts_as_failure<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    match error {
        SdkError::ServiceError(error) => error.raw().status().as_u16() >= 500,
        _ => true,
    }
}

/// Whether the service refused because a condition did not hold.
fn is_conditional<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    error.code() == Some("ConditionalCheckFailedException")
}

/// The error's code, or what kept the service from answering.
fn failed<E: ProvideErrorMetadata>(operation: &'static str, error: &SdkError<E>) -> CacheError {
    let reason = match error {
        SdkError::TimeoutError(_) => "timeout".to_owned(),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => "timeout".to_owned(),
        SdkError::DispatchFailure(_) => "unreachable".to_owned(),
        SdkError::ConstructionFailure(_) => "bad request".to_owned(),
        other => other.code().unwrap_or("unreadable answer").to_owned(),
    };
    CacheError { operation, reason }
}

/// A request that the SDK would not even send.
fn bad_request(operation: &'static str) -> CacheError {
    CacheError {
        operation,
        reason: "bad request".to_owned(),
    }
}
