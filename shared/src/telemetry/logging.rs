//! Logs: JSON lines as Lambda collects them, or text for a terminal.

use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    fmt::writer::BoxMakeWriter,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::emf;
use crate::config::ConfigError;

/// How log lines look unless AWS_LAMBDA_LOG_FORMAT (`JSON` or `Text`) says
/// otherwise, and where they go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// JSON on standard output, for Lambda.
    Lambda,
    /// Text on standard error, for a terminal.
    Terminal,
}

/// Starts logging at LOG_LEVEL (else AWS_LAMBDA_LOG_LEVEL, else `info`), and in
/// Lambda gathering metrics for [`write_metrics`](super::write_metrics).
///
/// # Errors
/// When the level or the format is none.
#[expect(
    clippy::disallowed_methods,
    reason = "before there is a configuration, so that its errors are logged"
)]
pub fn init(output: Output) -> Result<(), ConfigError> {
    let var = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let level = var("LOG_LEVEL")
        .or_else(|| var("AWS_LAMBDA_LOG_LEVEL"))
        .unwrap_or_else(|| "info".to_owned());
    let level = match level.to_ascii_lowercase().as_str() {
        // Lambda knows a level above error; there is nothing that it would hide.
        "fatal" => LevelFilter::ERROR,
        word => word.parse().map_err(|_| ConfigError {
            name: "LOG_LEVEL",
            reason: format!("'{level}' is not off, error, warn, info, debug or trace"),
        })?,
    };
    // What libraries print at lower levels holds items and requests, and so
    // wallets.
    let filter = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        // Failed invocations, which are told already, with their ids.
        .with_target("lambda_runtime::layers::panic", LevelFilter::OFF)
        .with_target("portfolio", level);
    let format = var("AWS_LAMBDA_LOG_FORMAT").map(|format| format.to_ascii_lowercase());
    let json = match format.as_deref() {
        Some("json") => true,
        Some("text") => false,
        Some(other) => {
            return Err(ConfigError {
                name: "AWS_LAMBDA_LOG_FORMAT",
                reason: format!("'{other}' is neither JSON nor Text"),
            });
        }
        None => output == Output::Lambda,
    };
    let writer = match output {
        Output::Lambda => BoxMakeWriter::new(std::io::stdout),
        Output::Terminal => BoxMakeWriter::new(std::io::stderr),
    };
    let lines = fmt::layer().with_ansi(false).with_writer(writer);
    let registry = tracing_subscriber::registry().with(filter);
    // A second start in one process keeps the first one's settings.
    let _ = if json {
        let lines = lines.json().flatten_event(true).with_span_list(false);
        registry.with(lines).try_init()
    } else {
        registry.with(lines).try_init()
    };
    if output == Output::Lambda {
        emf::install(var("METRICS_NAMESPACE"), level);
    }
    Ok(())
}
