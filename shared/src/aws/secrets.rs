//! The upstreams' keys: from Secrets Manager, read when a process starts and
//! again when an upstream refuses one.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_sdk_secretsmanager::{
    Client,
    config::{BehaviorVersion, Region},
    error::{ProvideErrorMetadata, SdkError},
};
pub use secrecy::ExposeSecret;
use secrecy::SecretString;
use serde::Deserialize;
use thiserror::Error;
use tokio::sync::Mutex as AsyncMutex;

use crate::{
    aws::client,
    clock::{Clock, Timestamp},
    config::Config,
    domain::provider::Provider,
    sync::locked,
};

/// A key that is refused is looked up again, but not more often than this:
/// mostly it is simply wrong.
const MIN_RELOAD_INTERVAL: Duration = Duration::from_secs(60);
/// What that may take, within a request.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(2);

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
    if let Some(secret) = Secret::configured(config) {
        let keys = secret.read().await?;
        config.zerion.key = keys.zerion;
        config.coinmarketcap.key = keys.coinmarketcap;
    }
    Ok(())
}

/// The secret that holds the keys.
struct Secret {
    client: Client,
    arn: String,
}

impl Secret {
    fn configured(config: &Config) -> Option<Self> {
        let arn = config.secret_arn.clone()?;
        let endpoint = config.secrets_endpoint.as_ref();
        // arn:aws:secretsmanager:<region>:<account>:secret:<name>
        let region = arn.split(':').nth(3).unwrap_or(&config.region).to_owned();
        let mut sdk = aws_sdk_secretsmanager::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region))
            .credentials_provider(client::credentials(endpoint))
            .http_client(client::http_client(config, endpoint));
        if let Some(url) = endpoint {
            sdk = sdk.endpoint_url(url.as_str().trim_end_matches('/'));
        }
        let client = Client::from_conf(sdk.build());
        Some(Self { client, arn })
    }

    async fn read(&self) -> Result<Keys, SecretError> {
        let asked = self.client.get_secret_value().secret_id(&self.arn).send();
        let answer = asked.await.map_err(|error| SecretError(reason(&error)))?;
        let text = answer.secret_string().unwrap_or_default();
        serde_json::from_str(text).map_err(|_| {
            SecretError("the secret is no JSON with ZERION_API_KEY and CMC_API_KEY".to_owned())
        })
    }
}

/// The keys in use, shared by the clients of all upstreams.
pub struct KeyRing {
    keys: Mutex<Keys>,
    /// Where they are from, if they can be looked up again, and when that was
    /// done last.
    origin: Option<(Config, AsyncMutex<Option<Timestamp>>)>,
    clock: Arc<dyn Clock>,
}

impl KeyRing {
    /// The keys of a configuration that is [`resolve`]d.
    pub fn new(config: &Config, clock: Arc<dyn Clock>) -> Self {
        let keys = Keys {
            zerion: config.zerion.key.clone(),
            coinmarketcap: config.coinmarketcap.key.clone(),
        };
        let origin = config.secret_arn.is_some();
        Self {
            keys: Mutex::new(keys),
            origin: origin.then(|| (config.clone(), AsyncMutex::default())),
            clock,
        }
    }

    /// Returns a provider's key.
    pub fn get(&self, whose: Provider) -> SecretString {
        let keys = locked(&self.keys);
        match whose {
            Provider::Zerion => keys.zerion.clone(),
            Provider::CoinMarketCap => keys.coinmarketcap.clone(),
            // The others take none.
            _ => SecretString::default(),
        }
    }

    /// Another key in place of one that was refused, if the secret has one by
    /// now. Requests that come meanwhile wait for the one read.
    pub async fn reload_if_rotated(
        &self,
        refused: &SecretString,
        whose: Provider,
    ) -> Option<SecretString> {
        let (config, looked) = self.origin.as_ref()?;
        let mut looked = looked.lock().await;
        let differs = |key: &SecretString| key.expose_secret() != refused.expose_secret();
        let now = self.clock.now();
        let current = self.get(whose);
        if differs(&current) {
            return Some(current);
        }
        if looked.is_some_and(|at| now < at.plus(MIN_RELOAD_INTERVAL)) {
            return None;
        }
        *looked = Some(now);
        let secret = Secret::configured(config)?;
        match tokio::time::timeout(RELOAD_TIMEOUT, secret.read()).await {
            Ok(Ok(keys)) => *locked(&self.keys) = keys,
            Ok(Err(error)) => tracing::error!(%error, "a refused key cannot be looked up"),
            Err(_) => tracing::error!("a refused key could not be looked up in time"),
        }
        let current = self.get(whose);
        let changed = differs(&current);
        tracing::warn!(?whose, changed, "a key was refused and looked up again");
        changed.then_some(current)
    }
}

fn reason<E: ProvideErrorMetadata>(error: &SdkError<E>) -> String {
    let code = error.code().unwrap_or("the service cannot be reached");
    format!("the secret cannot be read: {code}")
}
