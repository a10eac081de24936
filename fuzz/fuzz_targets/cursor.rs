//! Fuzzes cursors of pages.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portfolio_fuzz::cursor::cursor(bytes));
