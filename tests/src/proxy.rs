//! What the proxies in front of the embedded DynamoDB have in common.

use axum::{
    Router,
    body::{Bytes, to_bytes},
    extract::Request,
    http::{HeaderMap, HeaderName, StatusCode},
    response::{IntoResponse, Response},
};
use reqwest::{Client, Url};

use crate::server::serve;

/// Returns a client for the table behind a proxy.
pub fn client() -> Client {
    // The client insists on a provider, although nothing here is encrypted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::new()
}

/// Starts a proxy that answers as `router` does. Returns its address.
///
/// # Panics
/// When no port can be bound.
pub async fn start(router: Router) -> Url {
    let address = serve(router).await;
    format!("http://{address}").parse().expect("a URL")
}

/// A request to DynamoDB.
pub struct Call {
    /// What is asked for, such as `Query`.
    pub operation: String,
    /// The request's JSON.
    pub body: Bytes,
    headers: HeaderMap,
}

impl Call {
    /// Reads a request to its end.
    pub async fn read(request: Request) -> Self {
        let (parts, body) = request.into_parts();
        let target = parts.headers.get("x-amz-target");
        let target = target.and_then(|value| value.to_str().ok());
        let operation = target.unwrap_or_default().rsplit('.').next();
        Self {
            operation: operation.unwrap_or_default().to_owned(),
            body: to_bytes(body, usize::MAX).await.unwrap_or_default(),
            headers: parts.headers,
        }
    }

    /// Sends the request to the DynamoDB at `url`. Returns its response, or 502
    /// if there is none.
    pub async fn forward(mut self, client: &Client, url: &Url) -> Response {
        self.headers.remove("host");
        let sent = client.post(url.clone()).headers(self.headers);
        let Ok(answer) = sent.body(self.body).send().await else {
            return StatusCode::BAD_GATEWAY.into_response();
        };
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.bytes().await.unwrap_or_default();
        let mut response = (status, body).into_response();
        for name in ["content-type", "x-amzn-requestid", "x-amz-crc32"] {
            if let Some(value) = headers.get(name) {
                let name = HeaderName::from_static(name);
                response.headers_mut().insert(name, value.clone());
            }
        }
        response
    }
}
