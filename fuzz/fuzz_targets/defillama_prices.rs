//! Fuzzes DeFiLlama's prices.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portfolio_fuzz::defillama::prices(bytes));
