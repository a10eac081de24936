//! Logs: JSON lines on standard output, as Lambda collects them.

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::ConfigError;

/// Starts logging as LOG_LEVEL (else AWS_LAMBDA_LOG_LEVEL, else `info`) and
/// AWS_LAMBDA_LOG_FORMAT (`JSON` or `Text`) say.
///
/// # Errors
/// When the level is none.
pub fn init() -> Result<(), ConfigError> {
    let var = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let level = var("LOG_LEVEL")
        .or_else(|| var("AWS_LAMBDA_LOG_LEVEL"))
        .unwrap_or_else(|| "info".to_owned());
    let filter = EnvFilter::try_new(level.to_ascii_lowercase()).map_err(|_| ConfigError {
        name: "LOG_LEVEL",
        reason: format!("'{level}' is not a log level"),
    })?;
    let text = var("AWS_LAMBDA_LOG_FORMAT").is_some_and(|it| it.eq_ignore_ascii_case("text"));
    let registry = tracing_subscriber::registry().with(filter);
    // A second start in one process keeps the first one's settings.
    let _ = if text {
        registry.with(fmt::layer().with_ansi(false)).try_init()
    } else {
        registry
            .with(fmt::layer().json().flatten_event(true).with_current_span(false))
            .try_init()
    };
    Ok(())
}
