//! The upstreams' keys from Secrets Manager, read once when a process starts.

use aws_sdk_secretsmanager::{
    Client,
    config::{BehaviorVersion, Region},
    error::{ProvideErrorMetadata, SdkError},
};
pub use secrecy::ExposeSecret;
use secrecy::SecretString;
use serde::Deserialize;
use thiserror::Error;

use crate::{aws, config::Config};

/// The keys could not be had. Holds nothing of the secret.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("UPSTREAM_SECRET_ARN: {0}")]
pub struct SecretError(String);

/// The secret's JSON.
#[derive(Deserialize)]
struct Keys {
    #[serde(rename = "ZERION_API_KEY")]
    zerion: SecretString,
    #[serde(rename = "CMC_API_KEY")]
    coinmarketcap: SecretString,
}

/// Puts the keys of the secret that UPSTREAM_SECRET_ARN names into `config`;
/// changes nothing if it is not set.
///
/// # Errors
/// When the secret cannot be read, or is no JSON with both keys.
pub async fn resolve(config: &mut Config) -> Result<(), SecretError> {
    let Some(arn) = config.secret_arn.clone() else {
        return Ok(());
    };
    let endpoint = config.secrets_endpoint.as_ref();
    // arn:aws:secretsmanager:<region>:<account>:secret:<name>
    let region = arn.split(':').nth(3).unwrap_or(&config.region).to_owned();
    let mut sdk = aws_sdk_secretsmanager::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region))
        .credentials_provider(aws::credentials(endpoint))
        .http_client(aws::http_client(config, endpoint));
    if let Some(url) = endpoint {
        sdk = sdk.endpoint_url(url.as_str().trim_end_matches('/'));
    }
    let answer = Client::from_conf(sdk.build())
        .get_secret_value()
        .secret_id(arn)
        .send()
        .await
        .map_err(|error| SecretError(reason(&error)))?;
    let text = answer.secret_string().unwrap_or_default();
    let keys: Keys = serde_json::from_str(text).map_err(|_| {
        SecretError("the secret is no JSON with ZERION_API_KEY and CMC_API_KEY".to_owned())
    })?;
    config.zerion.key = keys.zerion;
    config.coinmarketcap.key = keys.coinmarketcap;
    Ok(())
}

fn reason<E: ProvideErrorMetadata>(error: &SdkError<E>) -> String {
    let code = error.code().unwrap_or("the service cannot be reached");
    format!("the secret cannot be read: {code}")
}
