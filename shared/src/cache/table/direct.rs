//! Reads of the table without the SDK's orchestrator.
//!
//! Most requests are one or two reads, and more than half of what the SDK spends on
//! a read is not the read: layers of configuration, the rules of endpoints, tokens
//! for retries. So reads are tried once without: signed by AWS's own crate and sent
//! over the connections that the SDK uses. What is not answered, or not with 200, is
//! left to the SDK, which asks again: retries, and what an error means, are known
//! there alone.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::config::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningParams, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, SharedHttpConnector},
    identity::Identity,
    orchestrator::HttpRequest,
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    client::{Attributes, Consumed, Key, QueryCall, QueryPage},
    wire::{GetItem, GetItemOutput, Query, QueryOutput},
};
use crate::{
    aws::client,
    clock::{Clock, SystemClock},
    config::Config,
};

/// Sends reads.
pub(super) struct DirectReads {
    /// Where to; none where only the SDK knows.
    url: Option<String>,
    connector: SharedHttpConnector,
    identity: Identity,
    region: String,
    /// How long a read may take.
    timeout: Duration,
}

impl DirectReads {
    /// Returns reads as configured, over these connections.
    pub fn over(
        connector: SharedHttpConnector,
        credentials: Credentials,
        config: &Config,
        timeout: Duration,
    ) -> Self {
        let endpoint = config.dynamodb_endpoint.as_ref().map(ToString::to_string);
        Self {
            url: endpoint.or_else(|| regional(&config.region)),
            connector,
            identity: credentials.into(),
            region: config.region.clone(),
            timeout,
        }
    }

    /// Returns whether reads are tried at all.
    pub fn are_tried(&self) -> bool {
        self.url.is_some()
    }

    /// Reads the first page of a query, if that goes well.
    pub async fn query(&self, table: &str, call: &QueryCall) -> Option<Consumed<QueryPage>> {
        if call.start.is_some() {
            return None;
        }
        let body = Query::new(table, call);
        let output: QueryOutput = self.post("DynamoDB_20120810.Query", &body).await?;
        Some(output.into())
    }

    /// Reads an item, if that goes well.
    pub async fn get(
        &self,
        table: &str,
        key: &Key,
        consistent: bool,
    ) -> Option<Consumed<Option<Attributes>>> {
        let body = GetItem::new(table, key, consistent);
        let output: GetItemOutput = self.post("DynamoDB_20120810.GetItem", &body).await?;
        Some(output.into())
    }

    async fn post<T: DeserializeOwned>(
        &self,
        target: &'static str,
        body: &impl Serialize,
    ) -> Option<T> {
        let url = self.url.as_ref()?;
        let request = self.signed(url, target, serde_json::to_vec(body).ok()?)?;
        let answer = async {
            let response = self.connector.call(request).await.ok()?;
            if response.status().as_u16() != 200 {
                return None;
            }
            let body = ByteStream::new(response.into_body()).collect().await.ok()?;
            Some(body.into_bytes())
        };
        let bytes = tokio::time::timeout(self.timeout, answer).await.ok()??;
        serde_json::from_slice(&bytes).ok()
    }

    fn signed(&self, url: &str, target: &'static str, body: Vec<u8>) -> Option<HttpRequest> {
        let headers = [
            ("content-type", "application/x-amz-json-1.0"),
            ("x-amz-target", target),
        ];
        let signable =
            SignableRequest::new("POST", url, headers.into_iter(), SignableBody::Bytes(&body));
        let params: SigningParams<'_> = v4::SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name("dynamodb")
            // Signatures are judged by the service's clock.
            .time(system_time())
            .settings(SigningSettings::default())
            .build()
            .ok()?
            .into();
        let (instructions, _) = sign(signable.ok()?, &params).ok()?.into_parts();
        let (signature, _) = instructions.into_parts();
        let mut request = HttpRequest::new(SdkBody::from(body));
        request.set_method("POST").ok()?;
        request.set_uri(url).ok()?;
        for (name, value) in headers {
            request.headers_mut().insert(name, value);
        }
        for header in signature {
            let (name, value) = (header.name(), header.value().to_owned());
            request.headers_mut().insert(name, value);
        }
        Some(request)
    }
}

fn system_time() -> SystemTime {
    let now = SystemClock.now().as_millis();
    UNIX_EPOCH + Duration::from_millis(u64::try_from(now).unwrap_or(0))
}

/// Returns where DynamoDB is in a region; `None` for those in clouds of their own, whose
/// domains the SDK knows.
fn regional(region: &str) -> Option<String> {
    let standard = client::is_amazons(None, region);
    standard.then(|| format!("https://dynamodb.{region}{}/", client::AMAZON))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_where_aws_says_or_left_to_the_sdk() {
        for (region, expected) in [
            (
                "us-east-1",
                Some("https://dynamodb.us-east-1.amazonaws.com/"),
            ),
            (
                "us-gov-west-1",
                Some("https://dynamodb.us-gov-west-1.amazonaws.com/"),
            ),
            (
                "mx-central-1",
                Some("https://dynamodb.mx-central-1.amazonaws.com/"),
            ),
            ("cn-north-1", None),
            ("us-isob-east-1", None),
            ("eusc-de-east-1", None),
        ] {
            assert_eq!(regional(region).as_deref(), expected, "{region}");
        }
    }
}
