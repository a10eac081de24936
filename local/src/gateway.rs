//! An HTTP server that does what API Gateway does: builds a real event (HTTP
//! API, payload version 2.0) for each request, invokes the function that the
//! path belongs to, and unpacks its answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use portfolio::lambda::{Invocation, QueryFunction};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::to_raw_value};

/// What API Gateway lets through as a request body.
const MAX_REQUEST_BODY: usize = 10 * 1024 * 1024;

/// The three functions behind one server.
pub struct Gateway {
    defi: QueryFunction,
    wallet: QueryFunction,
    aggregate: QueryFunction,
    requests: AtomicU64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reply {
    status_code: u16,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

impl Gateway {
    /// A gateway in front of these functions.
    pub fn new(defi: QueryFunction, wallet: QueryFunction, aggregate: QueryFunction) -> Self {
        Self {
            defi,
            wallet,
            aggregate,
            requests: AtomicU64::new(0),
        }
    }

    /// The server's routes: all of them.
    pub fn router(self) -> Router {
        Router::new().fallback(forward).with_state(Arc::new(self))
    }

    /// As the API's routes: `aggregate` takes what belongs to no other.
    fn function(&self, path: &str) -> &QueryFunction {
        match path.trim_end_matches('/').rsplit('/').next() {
            Some("defi") => &self.defi,
            Some("wallet") => &self.wallet,
            _ => &self.aggregate,
        }
    }

    async fn invoke(&self, request: Request) -> Result<Response<Body>, String> {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, MAX_REQUEST_BODY)
            .await
            .map_err(|error| error.to_string())?;
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let id = format!("local-{:x}-{number}", now.as_millis());
        let path = parts.uri.path().to_owned();
        let headers = joined(&parts.headers);
        let mut event = json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": path,
            "rawQueryString": parts.uri.query().unwrap_or_default(),
            "headers": headers,
            "requestContext": {
                "accountId": "123456789012",
                "apiId": "local",
                "domainName": "localhost",
                "domainPrefix": "localhost",
                "http": {
                    "method": parts.method.as_str(),
                    "path": path,
                    "protocol": "HTTP/1.1",
                    "sourceIp": "127.0.0.1",
                    "userAgent": headers.get("user-agent"),
                },
                "requestId": id,
                "routeKey": "$default",
                "stage": "$default",
                "timeEpoch": u64::try_from(now.as_millis()).unwrap_or(0),
            },
            "isBase64Encoded": false,
        });
        if !body.is_empty() {
            event["body"] = STANDARD.encode(&body).into();
            event["isBase64Encoded"] = true.into();
        }
        let event = to_raw_value(&event).map_err(|error| error.to_string())?;
        let invocation = Invocation {
            id,
            ..Invocation::default()
        };
        let reply = self
            .function(&path)
            .handle(&event, &invocation)
            .await
            .map_err(|error| error.error_message)?;
        let reply: Reply = serde_json::from_str(reply.get()).map_err(|error| error.to_string())?;
        unpack(reply)
    }
}

/// Several headers of one name come joined by commas.
fn joined(headers: &HeaderMap) -> Map<String, Value> {
    headers
        .keys()
        .map(|name| {
            let values: Vec<_> = headers
                .get_all(name)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()))
                .collect();
            (name.to_string(), values.join(",").into())
        })
        .collect()
}

fn unpack(reply: Reply) -> Result<Response<Body>, String> {
    let body = reply.body.unwrap_or_default();
    let body = if reply.is_base64_encoded {
        STANDARD.decode(body).map_err(|error| error.to_string())?
    } else {
        body.into_bytes()
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() =
        StatusCode::from_u16(reply.status_code).map_err(|error| error.to_string())?;
    for (name, value) in &reply.headers {
        let name: HeaderName = name.parse().map_err(|_| format!("header {name}"))?;
        let value = value.as_str().unwrap_or_default();
        let value = HeaderValue::from_str(value).map_err(|_| format!("value of {name}"))?;
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

/// What API Gateway answers when a function fails.
async fn forward(State(gateway): State<Arc<Gateway>>, request: Request) -> Response<Body> {
    match gateway.invoke(request).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(error, "the invocation failed");
            let mut response = Response::new(Body::from(r#"{"message":"Internal Server Error"}"#));
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
    }
}
