//! Logs and metrics: JSON lines as Lambda collects them, or text for a terminal.
//!
//! Metrics are lines as well, in CloudWatch's embedded format: CloudWatch reads
//! them out of the log, so that nothing is sent anywhere while a client waits.

pub mod request_cost;

use std::{
    io::Write,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use metrics_cloudwatch_embedded::{Builder, Collector};
use serde_json::{Value, json};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    fmt::writer::BoxMakeWriter,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::{
    clock::{Clock, SystemClock},
    config::ConfigError,
    metrics,
};

/// Where metrics are in CloudWatch, unless METRICS_NAMESPACE says otherwise.
const NAMESPACE: &str = "Portfolio";
/// A document holds this many values of a metric at most.
const MAX_VALUES: usize = 100;
/// About how many bytes totals add to the lines of a request.
const TOTALS_LENGTH: usize = 256;

/// Where this process's metrics are gathered, and the level that their lines
/// carry.
struct Gathered {
    collector: &'static Collector,
    level: String,
}

static GATHERED: OnceLock<Gathered> = OnceLock::new();
/// Values since the last lines were written.
static VALUES: AtomicUsize = AtomicUsize::new(0);

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
/// Lambda gathering metrics for [`write_metrics`].
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
        gather(var("METRICS_NAMESPACE"), level);
    }
    Ok(())
}

fn gather(namespace: Option<String>, level: LevelFilter) {
    let namespace = namespace.unwrap_or_else(|| NAMESPACE.to_owned());
    // A second start in one process finds the first one's.
    let Ok(collector) = Builder::new().cloudwatch_namespace(namespace).init() else {
        return;
    };
    for metric in metrics::ALL {
        metric.describe();
    }
    // Lambda drops lines below the level that it is set to, and takes lines
    // without one for INFO. These are to pass as long as anything does.
    let level = match level.into_level() {
        Some(level) => level.as_str().to_owned(),
        None => "FATAL".to_owned(),
    };
    let _ = GATHERED.set(Gathered { collector, level });
    metrics::after_each_value(flush_if_full);
}

/// Writes what was measured since the last time to standard output: a line per
/// function and provider, with totals. `request_id` goes with it, to be found
/// again.
pub fn write_metrics(request_id: Option<&str>) {
    let Some(Gathered { collector, level }) = GATHERED.get() else {
        return;
    };
    VALUES.store(0, Ordering::Relaxed);
    collector
        .set_property("level", level.as_str())
        .set_property("timestamp", SystemClock.now().to_string());
    match request_id {
        Some(id) => collector.set_property("request_id", id),
        None => collector.remove_property("request_id"),
    };
    let mut lines = Vec::new();
    let written = collector.flush(&mut lines);
    match written.and_then(|()| Ok(with_totals(&lines)?)) {
        Ok(whole) => lines = whole,
        Err(error) => tracing::error!(%error, "metrics cannot be written"),
    }
    // At once, so that no other line comes in between.
    let _ = std::io::stdout().lock().write_all(&lines);
}

/// Returns the documents in `lines`, each with a second directive that names
/// the metrics that have a total, without a dimension.
///
/// # Errors
/// When a line is not JSON.
fn with_totals(lines: &[u8]) -> serde_json::Result<Vec<u8>> {
    let mut whole = Vec::with_capacity(lines.len() + TOTALS_LENGTH);
    for document in serde_json::Deserializer::from_slice(lines).into_iter::<Value>() {
        let mut document = document?;
        let directives = &mut document["_aws"]["CloudWatchMetrics"];
        let mut total = directives[0].clone();
        if let Some(named) = total["Metrics"].as_array_mut() {
            named.retain(|it| {
                metrics::ALL
                    .iter()
                    .any(|one| one.total && it["Name"] == one.name)
            });
            let any = !named.is_empty();
            total["Dimensions"] = json!([[]]);
            if let Some(directives) = directives.as_array_mut().filter(|_| any) {
                directives.push(total);
            }
        }
        serde_json::to_writer(&mut whole, &document)?;
        whole.push(b'\n');
    }
    Ok(whole)
}

/// Counts a value, and writes before there are more of a metric than a line
/// holds.
fn flush_if_full() {
    if VALUES.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_VALUES {
        write_metrics(None);
    }
}
