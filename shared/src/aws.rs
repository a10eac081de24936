//! What the clients of AWS services share: credentials and the connection.

use aws_sdk_dynamodb::config::{Credentials, SharedHttpClient};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use reqwest::Url;

/// Endpoints on plain HTTP are local ones.
fn is_local(endpoint: Option<&Url>) -> bool {
    endpoint.is_some_and(|url| url.scheme() == "http")
}

/// A client on the one TLS stack; without TLS, and without reading the
/// system's certificates, for local endpoints.
pub(crate) fn http_client(endpoint: Option<&Url>) -> SharedHttpClient {
    if is_local(endpoint) {
        return Builder::new().build_http();
    }
    Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https()
}

/// Lambda hands its role's credentials over in the environment. Local
/// endpoints take any.
#[expect(
    clippy::disallowed_methods,
    reason = "Lambda's own variables, not configuration"
)]
pub(crate) fn credentials(endpoint: Option<&Url>) -> Credentials {
    let var = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    match (var("AWS_ACCESS_KEY_ID"), var("AWS_SECRET_ACCESS_KEY")) {
        (Some(id), Some(secret)) => {
            Credentials::new(id, secret, var("AWS_SESSION_TOKEN"), None, "environment")
        }
        _ if is_local(endpoint) => Credentials::new("local", "local", None, None, "local"),
        _ => Credentials::new("", "", None, None, "missing"),
    }
}
