//! The queue of wallets that are to be fetched later.

use std::{collections::BTreeSet, sync::OnceLock, time::Duration};

use async_trait::async_trait;
use aws_sdk_sqs::{
    Client,
    config::{
        BehaviorVersion, Config as SdkConfig, Region, retry::RetryConfig, timeout::TimeoutConfig,
    },
    types::SendMessageBatchRequestEntry,
};
use serde_json::json;
use thiserror::Error;

use crate::{
    aws::client,
    config::Config,
    domain::{address::Address, currency::Currency},
};

/// Messages in one request, SQS's documented maximum.
pub const BATCH: usize = 10;
/// Longest delay of a message, SQS's documented maximum.
pub const MAX_DELAY: Duration = Duration::from_secs(900);
/// A request that takes longer is given up.
const TIMEOUT: Duration = Duration::from_secs(3);

/// A message that is to arrive later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delayed {
    /// Its body.
    pub body: String,
    /// After how long it is delivered, in whole seconds.
    pub after: Duration,
}

impl Delayed {
    /// The payload that has a wallet fetched, its prices in `currency`.
    pub fn fetch(address: &Address, currency: Currency, after: Duration) -> Self {
        let (address, currency) = (address.to_string(), currency.as_str());
        Self {
            body: json!({"address": address, "currency": currency}).to_string(),
            after,
        }
    }
}

/// Messages could not be sent.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("SQS SendMessageBatch: {0}")]
pub struct QueueError(String);

/// Takes messages.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Sends at most [`BATCH`] messages. Gives the positions of those
    /// that the queue did not take.
    async fn send(&self, messages: &[Delayed]) -> Result<BTreeSet<usize>, QueueError>;
}

/// An SQS queue.
pub struct Sqs {
    /// Built when it is first used: it costs as much as half of a start, and
    /// most processes never hand anything over.
    client: OnceLock<Client>,
    sdk: SdkConfig,
    url: String,
}

impl Sqs {
    /// The queue that REFRESH_QUEUE_URL names, if it names one.
    pub fn configured(config: &Config) -> Option<Self> {
        let url = config.refresh.queue_url.as_ref()?;
        let endpoint = config.refresh.queue_endpoint.as_ref();
        let mut sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(config.region.clone()))
            .credentials_provider(client::credentials(endpoint))
            .http_client(client::http_client(config, endpoint))
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            .timeout_config(
                TimeoutConfig::builder()
                    .operation_attempt_timeout(TIMEOUT)
                    .operation_timeout(2 * TIMEOUT)
                    .build(),
            );
        if let Some(endpoint) = endpoint {
            sdk = sdk.endpoint_url(endpoint.as_str().trim_end_matches('/'));
        }
        Some(Self {
            client: OnceLock::new(),
            sdk: sdk.build(),
            url: url.to_string(),
        })
    }
}

#[async_trait]
impl Queue for Sqs {
    async fn send(&self, messages: &[Delayed]) -> Result<BTreeSet<usize>, QueueError> {
        let mut entries = Vec::with_capacity(messages.len());
        for (at, message) in messages.iter().enumerate() {
            let delay = message.after.min(MAX_DELAY).as_secs();
            let entry = SendMessageBatchRequestEntry::builder()
                .id(at.to_string())
                .message_body(&message.body)
                .delay_seconds(i32::try_from(delay).unwrap_or(0))
                .build()
                .map_err(|error| QueueError(error.to_string()))?;
            entries.push(entry);
        }
        let client = || Client::from_conf(self.sdk.clone());
        let client = self.client.get_or_init(client);
        let request = client.send_message_batch().queue_url(&self.url);
        let answer = request.set_entries(Some(entries)).send().await;
        let answer = answer.map_err(|error| {
            use aws_sdk_sqs::error::ProvideErrorMetadata;
            QueueError(error.code().unwrap_or("no answer").to_owned())
        })?;
        let refused = answer.failed().iter();
        Ok(refused.filter_map(|it| it.id().parse().ok()).collect())
    }
}
