//! Fuzzes Zerion's positions.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portfolio_fuzz::zerion::positions(bytes));
