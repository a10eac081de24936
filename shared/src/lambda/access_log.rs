//! What is told of a request once it is answered: one line in the log, and
//! numbers.

use std::time::Duration;

use tracing::{Span, field::Empty};

use super::{invocation::Invocation, problem::Code};
use crate::{
    domain::address::Address,
    service::{CacheOutcome, Level, Snapshot},
    telemetry::{
        metrics::{
            CLIENT_ERRORS, LATENCY, Metric, PRICES_EXPIRED, PRICES_HITS, PRICES_MISSES,
            PRICES_PARTIAL, REQUESTS, SERVER_ERRORS, STALE_ANSWERS, STRUCTURE_EXPIRED,
            STRUCTURE_HITS, STRUCTURE_MISSES, milliseconds,
        },
        request_cost::RequestCost,
    },
};

/// What came to light while a request was answered.
#[derive(Default)]
pub(super) struct LogContext {
    /// The wallet, as logs name it.
    pub wallet: Option<String>,
    /// The two levels' parts in the answer.
    pub levels: Option<(Level, Level)>,
}

impl LogContext {
    /// Notes the wallet, for the record and for every line on the way to it.
    pub fn wallet(&mut self, address: &Address, in_clear: bool) {
        let name = address.in_logs(in_clear);
        Span::current().record("wallet", &*name);
        self.wallet = Some(name);
    }

    /// Notes what the answer is made of.
    pub fn answer(&mut self, snapshot: &Snapshot) {
        self.levels = Some((snapshot.structure, snapshot.price_level));
    }
}

/// The span that all lines of a request are in. It is there at any level, for
/// warnings are to carry the ids too.
pub(super) fn span(request_id: &str, invocation: &Invocation) -> Span {
    tracing::error_span!(
        "request",
        request_id,
        trace_id = invocation.trace.as_deref(),
        wallet = Empty
    )
}

/// How a request ended.
pub(super) struct AccessLog<'r> {
    /// The function that answered.
    pub function: &'static str,
    /// The id that the client knows.
    pub request_id: &'r str,
    /// Lambda's ids.
    pub invocation: &'r Invocation,
    /// What carried it: `http` or `direct`.
    pub trigger: &'static str,
    /// The HTTP status, or the one that it would have had.
    pub status: u16,
    /// The problem's code.
    pub code: Option<Code>,
    /// What came to light.
    pub log_context: &'r LogContext,
    /// What it cost.
    pub cost: &'r RequestCost,
    /// Its phases with their times, as in `Server-Timing`.
    pub phases: &'r str,
    /// How long it took.
    pub took: Duration,
}

impl AccessLog<'_> {
    /// Writes the line and counts.
    pub fn emit(&self) {
        self.log();
        self.measure();
    }

    fn log(&self) {
        let totals = self.cost.totals();
        let levels = self.log_context.levels;
        let words = levels.map(|(structure, prices)| (label(structure), label(prices)));
        let (structure, prices) = words.unzip();
        tracing::info!(
            request_id = self.request_id,
            invocation = self.invocation.id,
            trace_id = self.invocation.trace.as_deref(),
            function = self.function,
            trigger = self.trigger,
            wallet = self.log_context.wallet.as_deref(),
            status = self.status,
            code = self.code.map(Code::as_str),
            structure,
            prices,
            ms = milliseconds(self.took),
            phases = self.phases,
            round_trips = totals.round_trips,
            read_units = totals.read_units,
            write_units = totals.write_units,
            upstream_calls = totals.upstream_calls,
            refused_prices = totals.refused_prices,
            from_copy = totals.copy_hits > 0,
            "request completed"
        );
    }

    fn measure(&self) {
        REQUESTS.add(1);
        CLIENT_ERRORS.add(u64::from((400..500).contains(&self.status)));
        SERVER_ERRORS.add(u64::from(self.status >= 500));
        LATENCY.record(milliseconds(self.took));
        self.cost.measure();
        if let Some((structure, prices)) = &self.log_context.levels {
            structure_metric(structure.outcome).add(1);
            prices_metric(prices.outcome).add(1);
            STALE_ANSWERS.add(u64::from(structure.stale || prices.stale));
        }
    }
}

/// A level's part in one word.
fn label(level: Level) -> &'static str {
    match level.outcome {
        _ if level.stale => "stale",
        CacheOutcome::Hit => "hit",
        CacheOutcome::Miss => "miss",
        CacheOutcome::Expired => "expired",
        CacheOutcome::Partial => "partial",
    }
}

fn structure_metric(outcome: CacheOutcome) -> Metric {
    match outcome {
        CacheOutcome::Hit => STRUCTURE_HITS,
        CacheOutcome::Miss => STRUCTURE_MISSES,
        // Of holdings there are two parts, and either may be the old one.
        CacheOutcome::Expired | CacheOutcome::Partial => STRUCTURE_EXPIRED,
    }
}

fn prices_metric(outcome: CacheOutcome) -> Metric {
    match outcome {
        CacheOutcome::Hit => PRICES_HITS,
        CacheOutcome::Miss => PRICES_MISSES,
        CacheOutcome::Expired => PRICES_EXPIRED,
        CacheOutcome::Partial => PRICES_PARTIAL,
    }
}
