//! Fuzzes CoinMarketCap's prices, of all endpoints.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portfolio_fuzz::coinmarketcap::quotes(bytes));
