//! What one request cost, counted where it is spent.

use std::sync::{
    Mutex,
    atomic::{AtomicU32, AtomicU64, Ordering},
};
use std::time::Duration;

use super::metrics::{
    COPY_HITS, DYNAMODB_READ_UNITS, DYNAMODB_ROUND_TRIPS, DYNAMODB_WRITE_UNITS, REFUSED_PRICES,
};
use crate::sync::locked;

/// Counters of one request; shared by reference while it runs.
#[derive(Debug, Default)]
pub struct RequestCost {
    round_trips: AtomicU32,
    calls: AtomicU32,
    read_milliunits: AtomicU64,
    write_milliunits: AtomicU64,
    upstream_calls: AtomicU32,
    refused_prices: AtomicU32,
    copy_hits: AtomicU32,
    phases: Mutex<Vec<(&'static str, Duration)>>,
}

impl RequestCost {
    /// Counts one wait for DynamoDB, of one call or of several at once.
    pub fn round_trip(&self) {
        self.round_trips.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a DynamoDB read call and its read request units.
    pub fn read(&self, units: f64) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.read_milliunits
            .fetch_add(milli(units), Ordering::Relaxed);
    }

    /// Counts a DynamoDB write call and its write request units.
    pub fn wrote(&self, units: f64) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.write_milliunits
            .fetch_add(milli(units), Ordering::Relaxed);
    }

    /// Adds calls and capacity that were spent while something slower was
    /// waited for: no serial waits.
    pub fn merge_concurrent(&self, concurrent: &Self) {
        for (sum, more) in [
            (&self.read_milliunits, &concurrent.read_milliunits),
            (&self.write_milliunits, &concurrent.write_milliunits),
        ] {
            sum.fetch_add(more.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.calls
            .fetch_add(concurrent.calls.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Counts a request to an upstream.
    pub fn upstream_call(&self) {
        self.upstream_calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a price that a source gave and that is not believed.
    pub fn refused_price(&self) {
        self.refused_prices.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a wallet that was read from the process's copy.
    pub fn copy_hit(&self) {
        self.copy_hits.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds the time that a phase took.
    pub fn phase(&self, name: &'static str, took: Duration) {
        locked(&self.phases).push((name, took));
    }

    /// The counters now.
    pub fn totals(&self) -> RequestCostTotals {
        RequestCostTotals {
            round_trips: self.round_trips.load(Ordering::Relaxed),
            calls: self.calls.load(Ordering::Relaxed),
            read_units: units(self.read_milliunits.load(Ordering::Relaxed)),
            write_units: units(self.write_milliunits.load(Ordering::Relaxed)),
            upstream_calls: self.upstream_calls.load(Ordering::Relaxed),
            refused_prices: self.refused_prices.load(Ordering::Relaxed),
            copy_hits: self.copy_hits.load(Ordering::Relaxed),
        }
    }

    /// Counts what DynamoDB and copies did, and what was refused, as metrics.
    pub fn measure(&self) {
        let totals = self.totals();
        DYNAMODB_ROUND_TRIPS.add(u64::from(totals.round_trips));
        if totals.calls > 0 {
            DYNAMODB_READ_UNITS.record(totals.read_units);
            DYNAMODB_WRITE_UNITS.record(totals.write_units);
        }
        REFUSED_PRICES.add(u64::from(totals.refused_prices));
        COPY_HITS.add(u64::from(totals.copy_hits));
    }

    /// The phases so far, in the order in which they ended.
    pub fn phases(&self) -> Vec<(&'static str, Duration)> {
        locked(&self.phases).clone()
    }
}

/// The counters of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RequestCostTotals {
    /// Serial waits for DynamoDB.
    pub round_trips: u32,
    /// DynamoDB calls.
    pub calls: u32,
    /// Read request units.
    pub read_units: f64,
    /// Write request units.
    pub write_units: f64,
    /// Requests to upstreams.
    pub upstream_calls: u32,
    /// Prices that were not believed.
    pub refused_prices: u32,
    /// Wallets that were read from the process's copy.
    pub copy_hits: u32,
}

#[expect(clippy::float_arithmetic, reason = "capacity units are told as floats")]
fn milli(units: f64) -> u64 {
    (units * 1000.0).round() as u64
}

#[expect(clippy::float_arithmetic, reason = "capacity units are told as floats")]
fn units(milli: u64) -> f64 {
    milli as f64 / 1000.0
}
