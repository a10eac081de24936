//! Fuzzes events of the Lambda functions.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portfolio_fuzz::lambda::event(bytes));
