//! One HTTP client per process for all upstreams.

use std::{sync::Arc, time::Duration};

use reqwest::{
    Client, RequestBuilder, StatusCode,
    header::{HeaderMap, RETRY_AFTER},
    redirect::Policy,
};

use super::Failure;

/// No answer larger than this is read, in bytes. The largest wallets seen took
/// 15 MB.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// Some providers' front doors refuse the defaults of HTTP libraries.
const USER_AGENT: &str = concat!("portfolio/", env!("CARGO_PKG_VERSION"));

/// The shared client: keep-alive, gzip, one TLS stack, no redirects (which
/// could carry a key elsewhere).
#[derive(Clone, Debug)]
pub struct HttpClient(Client);

/// A whole answer.
pub(super) struct HttpResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl HttpClient {
    /// Builds the client.
    ///
    /// # Errors
    /// When the TLS configuration cannot be built.
    #[expect(clippy::disallowed_methods, reason = "the one client")]
    pub fn new() -> Result<Self, Failure> {
        let broken = |error: &dyn std::fmt::Display| Failure::Unavailable(error.to_string());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = webpki_roots::TLS_SERVER_ROOTS
            .iter()
            .cloned()
            .collect::<rustls::RootCertStore>();
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| broken(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(USER_AGENT)
            .redirect(Policy::none())
            .connect_timeout(Duration::from_secs(3))
            // Shorter than the 60 s after which the providers' load balancers
            // close idle connections.
            .pool_idle_timeout(Duration::from_secs(50))
            .gzip(true)
            .build()
            .map(Self)
            .map_err(|error| broken(&error))
    }

    pub(super) fn get(&self, url: reqwest::Url) -> RequestBuilder {
        self.0.get(url)
    }
}

/// Sends and reads the whole body, all within `timeout`. Dropping the future
/// closes the connection.
pub(super) async fn send(
    request: RequestBuilder,
    timeout: Duration,
) -> Result<HttpResponse, Failure> {
    tokio::time::timeout(timeout, read(request))
        .await
        .unwrap_or(Err(Failure::Timeout))
}

async fn read(request: RequestBuilder) -> Result<HttpResponse, Failure> {
    let mut response = request.send().await.map_err(failure)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failure)? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(Failure::TooLarge(MAX_BODY));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(HttpResponse {
        status: response.status(),
        headers: std::mem::take(response.headers_mut()),
        body,
    })
}

/// Errors without their URLs, which may hold wallets.
fn failure(error: reqwest::Error) -> Failure {
    if error.is_timeout() {
        return Failure::Timeout;
    }
    let mut reason = error.without_url().to_string();
    reason.truncate(
        reason
            .char_indices()
            .nth(200)
            .map_or(reason.len(), |(at, _)| at),
    );
    Failure::Unavailable(reason)
}

/// `Retry-After` in seconds; dates are not used by these providers.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    header_seconds(headers, RETRY_AFTER.as_str())
}

/// A header that holds whole seconds.
pub(super) fn header_seconds(headers: &HeaderMap, name: &str) -> Option<Duration> {
    let seconds = headers.get(name)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
