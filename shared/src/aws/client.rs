//! What the clients of AWS services share: credentials, the connection, and
//! the certificates that it accepts.

use std::time::Duration;

use aws_sdk_dynamodb::config::{AsyncSleep, Credentials, SharedHttpClient, Sleep};
use aws_smithy_http_client::{
    Builder, Connector,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpConnector};
use reqwest::Url;

use crate::config::Config;

/// What certifies AWS's endpoints under [`AMAZON`]. Reading the system's
/// certificates instead would take longer than the rest of a start.
const AMAZON_ROOTS: &[u8] = include_bytes!("amazon-roots.pem");
/// The domain of AWS's regions but those of China and of separate clouds.
pub(crate) const AMAZON: &str = ".amazonaws.com";
/// How the names of regions begin that have domains of their own.
const NON_STANDARD_PARTITIONS: [&str; 4] = ["cn-", "eusc-", "us-iso", "eu-iso"];

/// Endpoints on plain HTTP are local ones.
fn is_local(endpoint: Option<&Url>) -> bool {
    endpoint.is_some_and(|url| url.scheme() == "http")
}

/// Whether Amazon's own authorities certify an endpoint: the one that is
/// given, else the region's.
pub(crate) fn is_amazons(endpoint: Option<&Url>, region: &str) -> bool {
    match endpoint {
        Some(url) => url.host_str().is_some_and(|host| host.ends_with(AMAZON)),
        None => !NON_STANDARD_PARTITIONS
            .iter()
            .any(|prefix| region.starts_with(prefix)),
    }
}

/// Whose certificates are accepted.
fn roots(config: &Config, endpoint: Option<&Url>) -> TrustStore {
    match &config.ca_bundle {
        Some(bundle) => TrustStore::empty().with_pem_certificate(bundle.pem()),
        None if is_amazons(endpoint, &config.region) => {
            TrustStore::empty().with_pem_certificate(AMAZON_ROOTS)
        }
        None => TrustStore::default(),
    }
}

/// A client on the one TLS stack; without TLS for local endpoints.
pub(crate) fn http_client(config: &Config, endpoint: Option<&Url>) -> SharedHttpClient {
    if is_local(endpoint) {
        return Builder::new().build_http();
    }
    Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(tls_context(config, endpoint))
        .build_https()
}

/// Connections as such a client makes them, each within `connect_timeout`.
pub(crate) fn connector(
    config: &Config,
    endpoint: Option<&Url>,
    connect_timeout: Duration,
) -> SharedHttpConnector {
    let settings = HttpConnectorSettings::builder().connect_timeout(connect_timeout);
    let connector = Connector::builder()
        .connector_settings(settings.build())
        .sleep_impl(TokioSleep);
    if is_local(endpoint) {
        return SharedHttpConnector::new(connector.build_http());
    }
    let connector = connector
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(tls_context(config, endpoint));
    SharedHttpConnector::new(connector.build())
}

fn tls_context(config: &Config, endpoint: Option<&Url>) -> TlsContext {
    let tls = TlsContext::builder().with_trust_store(roots(config, endpoint));
    tls.build().unwrap_or_default()
}

/// Sleeps by tokio's timer.
#[derive(Debug)]
struct TokioSleep;

impl AsyncSleep for TokioSleep {
    fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(tokio::time::sleep(duration))
    }
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

#[cfg(test)]
mod tests {
    use rustls::{
        RootCertStore,
        pki_types::{CertificateDer, pem::PemObject},
    };

    use super::*;

    #[test]
    fn amazons_roots_are_all_there() {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(AMAZON_ROOTS) {
            roots.add(certificate.unwrap()).unwrap();
        }
        assert_eq!(roots.len(), 5);
        // The same keys as in the list that upstreams are checked with.
        for root in &roots.roots {
            assert!(webpki_roots::TLS_SERVER_ROOTS.iter().any(|known| {
                known.subject == root.subject
                    && known.subject_public_key_info == root.subject_public_key_info
            }));
        }
    }

    #[test]
    fn other_domains_have_other_roots() {
        let at = |url: &str| is_amazons(Some(&url.parse().unwrap()), "us-east-1");
        assert!(at("https://dynamodb.us-east-1.amazonaws.com"));
        assert!(at("https://dynamodb.us-gov-west-1.amazonaws.com/"));
        assert!(!at("https://dynamodb.cn-north-1.amazonaws.com.cn"));
        assert!(!at("https://dynamodb.example.com"));
        assert!(!at("https://evilamazonaws.com"));
        for (region, amazons) in [
            ("eu-central-1", true),
            ("us-gov-east-1", true),
            ("cn-northwest-1", false),
            ("eusc-de-east-1", false),
            ("us-isob-east-1", false),
            ("eu-isoe-west-1", false),
        ] {
            assert_eq!(is_amazons(None, region), amazons, "{region}");
        }
    }
}
