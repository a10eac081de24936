//! Calls that need a key, which may have been replaced since it was read.

use std::time::Duration;

use secrecy::SecretString;
use tokio::time::Instant;

use super::Failure;
use crate::{aws::secrets::KeyRing, domain::provider::Provider};

/// Makes a call with a key, and once more within `timeout` where the key was
/// refused and its secret holds another one by now.
#[expect(clippy::disallowed_methods, reason = "within one request")]
pub(super) async fn with_rotated_key<T, F>(
    keys: &KeyRing,
    whose: Provider,
    timeout: Duration,
    call: impl Fn(SecretString, Duration) -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    // Within one request: the sandbox does not freeze here.
    let until = Instant::now() + timeout;
    let key = keys.get(whose);
    let outcome = call(key.clone(), timeout).await;
    if !matches!(outcome, Err(Failure::Unauthorized(_))) {
        return outcome;
    }
    match keys.reload_if_rotated(&key, whose).await {
        Some(other) => call(other, until.saturating_duration_since(Instant::now())).await,
        None => outcome,
    }
}
