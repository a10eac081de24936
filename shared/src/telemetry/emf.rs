//! Metrics as lines of the log, in CloudWatch's embedded format: CloudWatch reads
//! them out of it, so that nothing is sent anywhere while a client waits.

use std::{
    io::Write,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use metrics_cloudwatch_embedded::{Builder, Collector};
use serde_json::{Value, json};
use tracing_subscriber::filter::LevelFilter;

use super::metrics;
use crate::clock::{Clock, SystemClock};

/// Where metrics are in CloudWatch, unless METRICS_NAMESPACE says otherwise.
const NAMESPACE: &str = "Portfolio";
/// A document holds this many values of a metric at most.
const MAX_VALUES: usize = 100;
/// About how many bytes totals add to the lines of a request.
const TOTALS_LENGTH: usize = 256;

/// Where this process's metrics are gathered, and the level that their lines
/// carry.
struct Emf {
    collector: &'static Collector,
    level: String,
}

static EMF: OnceLock<Emf> = OnceLock::new();
/// Values since the last lines were written.
static VALUES: AtomicUsize = AtomicUsize::new(0);

/// Gathers what is measured from now on, in lines that carry the level of the log.
pub(super) fn install(namespace: Option<String>, level: LevelFilter) {
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
    let _ = EMF.set(Emf { collector, level });
    metrics::after_each_value(flush_if_full);
}

/// Writes what was measured since the last time to standard output: a line per
/// function and provider, with totals. `request_id` goes with it, to be found
/// again.
pub fn write_metrics(request_id: Option<&str>) {
    let Some(Emf { collector, level }) = EMF.get() else {
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
