//! Reads of the table without the SDK's orchestrator.
//!
//! Most requests are one or two reads, and more than half of what the SDK spends on
//! a read is not the read: layers of configuration, the rules of endpoints, tokens
//! for retries. So reads are tried once without: signed by AWS's own crate and sent
//! over the SDK's connections to the endpoint that it has resolved. What is not
//! answered, or not with 200, is left to the SDK, which asks again: retries, and
//! what an error means, are known there alone.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_sdk_dynamodb::config::{Credentials, HttpClient, RuntimeComponents, SharedHttpClient};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningParams, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    identity::Identity,
    orchestrator::HttpRequest,
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    client::{Attributes, Consumed, Key, QueryCall, QueryPage},
    wire::{GetItem, GetItemOutput, Query, QueryOutput},
};
use crate::clock::{Clock, SystemClock};

/// Sends reads.
pub(super) struct DirectReads {
    route: Arc<OnceLock<Route>>,
    identity: Identity,
    region: String,
    /// How long a read may take.
    timeout: Duration,
}

impl DirectReads {
    /// Returns direct reads over the connections of `http`, and the client that the
    /// SDK has to use for that.
    pub fn over(
        http: SharedHttpClient,
        credentials: Credentials,
        region: &str,
        timeout: Duration,
    ) -> (Self, SharedHttpClient) {
        let route = Arc::default();
        let client = SharedHttpClient::new(Observed {
            inner: http,
            route: Arc::clone(&route),
        });
        let reads = Self {
            route,
            identity: credentials.into(),
            region: region.to_owned(),
            timeout,
        };
        (reads, client)
    }

    /// Returns whether the endpoint is known, which the SDK's first request tells.
    pub fn is_ready(&self) -> bool {
        self.route.get().is_some()
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
        let route = self.route.get()?;
        let request = self.signed(route, target, serde_json::to_vec(body).ok()?)?;
        let answer = async {
            let response = route.connector.call(request).await.ok()?;
            if response.status().as_u16() != 200 {
                return None;
            }
            let body = ByteStream::new(response.into_body()).collect().await.ok()?;
            Some(body.into_bytes())
        };
        let bytes = tokio::time::timeout(self.timeout, answer).await.ok()??;
        serde_json::from_slice(&bytes).ok()
    }

    fn signed(&self, route: &Route, target: &'static str, body: Vec<u8>) -> Option<HttpRequest> {
        let headers = [
            ("content-type", "application/x-amz-json-1.0"),
            ("x-amz-target", target),
        ];
        let signable = SignableRequest::new(
            "POST",
            &*route.uri,
            headers.into_iter(),
            SignableBody::Bytes(&body),
        );
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
        request.set_uri(&*route.uri).ok()?;
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

/// Where the SDK sends its requests, and over which connections.
struct Route {
    uri: String,
    connector: SharedHttpConnector,
}

/// The SDK's HTTP client, whose first request tells the [`Route`].
struct Observed {
    inner: SharedHttpClient,
    route: Arc<OnceLock<Route>>,
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").finish_non_exhaustive()
    }
}

impl HttpClient for Observed {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let connector = self.inner.http_connector(settings, components);
        if self.route.get().is_some() {
            return connector;
        }
        SharedHttpConnector::new(ObservedConnector {
            inner: connector,
            route: self.route.clone(),
        })
    }
}

struct ObservedConnector {
    inner: SharedHttpConnector,
    route: Arc<OnceLock<Route>>,
}

impl fmt::Debug for ObservedConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservedConnector").finish_non_exhaustive()
    }
}

impl HttpConnector for ObservedConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        self.route.get_or_init(|| Route {
            uri: request.uri().to_owned(),
            connector: self.inner.clone(),
        });
        self.inner.call(request)
    }
}
