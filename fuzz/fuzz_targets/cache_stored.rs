//! Fuzzes bytes as the table stores them.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portfolio_fuzz::cache::stored(bytes));
