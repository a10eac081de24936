//! Fuzzes the way of wallets and prices through the cache.

#![no_main]

use portfolio_fuzz::{cache::round_trip, made_up::MadeUp};

libfuzzer_sys::fuzz_target!(|made_up: MadeUp| round_trip(&made_up));
