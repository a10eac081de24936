//! Fuzzes CoinMarketCap's map of coins.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portfolio_fuzz::coinmarketcap::map(bytes));
