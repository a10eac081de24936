//! What is measured, by the names that CloudWatch, its alarms and its dashboard
//! know.
//!
//! Every number is about one function or one provider: its only dimension.
//! Wallets are never one, or each would be a metric of its own to be paid for.
//! Numbers that alarms watch as a whole have a total besides, without a
//! dimension, so that an alarm need not add up the functions.

use std::{sync::OnceLock, time::Duration};

use ::metrics::{Key, Label, Level, Metadata, Unit, with_recorder};

use crate::domain::provider::Provider;

/// What a number is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// A function: `defi`, `wallet`, `aggregate`, `refresh` or `registry`.
    Function,
    /// A provider, by its word: `zerion`, `coinmarketcap` and so on.
    Provider,
}

impl Dimension {
    /// Its name in CloudWatch.
    pub fn name(self) -> &'static str {
        match self {
            Self::Function => "Function",
            Self::Provider => "Provider",
        }
    }
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name in CloudWatch.
    pub name: &'static str,
    /// What it is counted in.
    pub unit: Unit,
    /// What it is about.
    pub dimension: Dimension,
    /// Whether single values are told, for percentiles, instead of a sum.
    pub values: bool,
    /// Whether it is written without its dimension as well. That is a metric
    /// more to be paid for, so only where an alarm watches the total.
    pub total: bool,
}

/// The function that this process is.
static FUNCTION: OnceLock<&'static str> = OnceLock::new();

/// Says which function this process is; the first one counts.
pub fn set_function(name: &'static str) {
    let _ = FUNCTION.set(name);
}

/// The function that this process is, if it is one.
pub fn function() -> &'static str {
    FUNCTION.get().copied().unwrap_or("local")
}

/// What happens after each value that is recorded.
static AFTER_EACH_VALUE: OnceLock<fn()> = OnceLock::new();

/// Has `then` called after each value that is recorded; the first one counts.
pub(crate) fn after_each_value(then: fn()) {
    let _ = AFTER_EACH_VALUE.set(then);
}

/// A time in the unit of metrics and logs, to the microsecond.
#[expect(clippy::float_arithmetic, reason = "milliseconds with fractions")]
pub(crate) fn milliseconds(took: Duration) -> f64 {
    took.as_micros() as f64 / 1000.0
}

impl Metric {
    /// Tells the recorder its unit.
    pub(crate) fn describe(&self) {
        let (name, unit) = (self.name.into(), Some(self.unit));
        with_recorder(|recorder| match self.values {
            true => recorder.describe_histogram(name, unit, "".into()),
            false => recorder.describe_counter(name, unit, "".into()),
        });
    }

    /// Adds to a number about this function.
    pub fn add(&self, by: u64) {
        debug_assert_eq!(self.dimension, Dimension::Function, "{}", self.name);
        self.add_to(function(), by);
    }

    /// Adds to a number about a provider.
    pub fn add_for(&self, provider: Provider, by: u64) {
        debug_assert_eq!(self.dimension, Dimension::Provider, "{}", self.name);
        self.add_to(provider.as_str(), by);
    }

    /// Tells a value about this function, in the metric's unit.
    pub fn record(&self, value: f64) {
        debug_assert_eq!(self.dimension, Dimension::Function, "{}", self.name);
        self.record_to(function(), value);
    }

    /// Tells a value about a provider, in the metric's unit.
    pub fn record_for(&self, provider: Provider, value: f64) {
        debug_assert_eq!(self.dimension, Dimension::Provider, "{}", self.name);
        self.record_to(provider.as_str(), value);
    }

    /// What is zero is not told: it costs as much as any number.
    fn add_to(&self, about: &'static str, by: u64) {
        debug_assert!(!self.values, "{}", self.name);
        if by > 0 {
            let key = self.key(about);
            with_recorder(|recorder| recorder.register_counter(&key, &METADATA).increment(by));
        }
    }

    fn record_to(&self, about: &'static str, value: f64) {
        debug_assert!(self.values, "{}", self.name);
        let key = self.key(about);
        with_recorder(|recorder| recorder.register_histogram(&key, &METADATA).record(value));
        if let Some(then) = AFTER_EACH_VALUE.get() {
            then();
        }
    }

    fn key(&self, about: &'static str) -> Key {
        let label = Label::from_static_parts(self.dimension.name(), about);
        Key::from_parts(self.name, vec![label])
    }
}

const METADATA: Metadata<'static> = Metadata::new("portfolio", Level::INFO, None);

/// What the words in the list below mean: `sum`, `sum_and_total`, `values`.
macro_rules! kind {
    (values values) => {
        true
    };
    (total sum_and_total) => {
        true
    };
    ($_property:ident $_kind:ident) => {
        false
    };
}

/// Declares the metrics, and [`ALL`] of them.
macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $unit:ident, $dimension:ident, $kind:ident;)*) => {
        $($(#[$doc])* pub const $name: Metric = Metric {
            name: $text,
            unit: Unit::$unit,
            dimension: Dimension::$dimension,
            values: kind!(values $kind),
            total: kind!(total $kind),
        };)*

        /// All metrics.
        pub const ALL: &[Metric] = &[$($name),*];
    };
}

metrics! {
    /// HTTP requests and direct invocations answered, errors included.
    REQUESTS = "Requests", Count, Function, sum_and_total;
    /// Those that were answered with a 4xx status.
    CLIENT_ERRORS = "ClientErrors", Count, Function, sum;
    /// Those that were answered with a 5xx status.
    SERVER_ERRORS = "ServerErrors", Count, Function, sum;
    /// Time from the event to the answer.
    LATENCY = "Latency", Milliseconds, Function, values;
    /// Answers from cached holdings, stale ones included.
    STRUCTURE_HITS = "StructureHits", Count, Function, sum_and_total;
    /// Answers for which holdings were fetched: none were cached.
    STRUCTURE_MISSES = "StructureMisses", Count, Function, sum_and_total;
    /// Answers for which holdings were fetched: the cached ones had expired, or
    /// were one part of what was asked for.
    STRUCTURE_EXPIRED = "StructureExpired", Count, Function, sum_and_total;
    /// Answers from cached prices, stale ones included.
    PRICES_HITS = "PricesHits", Count, Function, sum;
    /// Answers for which prices were fetched: none were cached.
    PRICES_MISSES = "PricesMisses", Count, Function, sum;
    /// Answers for which prices were fetched: cached ones had expired.
    PRICES_EXPIRED = "PricesExpired", Count, Function, sum;
    /// Answers for which prices were fetched: some were cached and fresh.
    PRICES_PARTIAL = "PricesPartial", Count, Function, sum;
    /// Answers with holdings or prices that are marked stale.
    STALE_ANSWERS = "StaleAnswers", Count, Function, sum_and_total;
    /// Prices that a source gave and that were not believed.
    REFUSED_PRICES = "RefusedPrices", Count, Function, sum;
    /// Wallets that were read from the process's copy, after a look at the header.
    COPY_HITS = "CopyHits", Count, Function, sum;
    /// Serial waits for DynamoDB.
    DYNAMODB_ROUND_TRIPS = "DynamoDbRoundTrips", Count, Function, sum;
    /// Read capacity used, in read request units.
    DYNAMODB_READ_UNITS = "DynamoDbReadUnits", Count, Function, values;
    /// Write capacity used, in write request units.
    DYNAMODB_WRITE_UNITS = "DynamoDbWriteUnits", Count, Function, values;
    /// Calls to DynamoDB that failed, after the SDK's own attempts.
    DYNAMODB_ERRORS = "DynamoDbErrors", Count, Function, sum_and_total;
    /// Reads of the asset registry that found it empty.
    REGISTRY_EMPTY = "RegistryEmpty", Count, Function, sum_and_total;
    /// Wallets of messages and notices that were fetched or found fresh.
    WALLETS_WARMED = "WalletsWarmed", Count, Function, sum;
    /// Wallets of messages and notices that could not be fetched.
    WALLETS_FAILED = "WalletsFailed", Count, Function, sum;
    /// Attempts at requests to a provider.
    UPSTREAM_REQUESTS = "UpstreamRequests", Count, Provider, sum;
    /// Those that failed. Limits are counted apart; a wallet that Zerion does not
    /// track, or is still preparing, is an answer.
    UPSTREAM_ERRORS = "UpstreamErrors", Count, Provider, sum;
    /// Time from an attempt's begin to the end of its answer's body.
    UPSTREAM_LATENCY = "UpstreamLatency", Milliseconds, Provider, values;
    /// Attempts that were answered with a limit on requests or on a plan.
    UPSTREAM_RATE_LIMITED = "UpstreamRateLimited", Count, Provider, sum;
    /// Requests that were not made, because the provider's breaker is open.
    BREAKER_OPEN = "BreakerOpen", Count, Provider, sum;
    /// Credits of CoinMarketCap's plan that requests used.
    CREDITS_USED = "CreditsUsed", Count, Provider, sum;
}
