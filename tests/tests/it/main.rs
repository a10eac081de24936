//! The integration tests: one module for each subject, one binary for all, so
//! that the AWS SDK, axum and SQLite are linked once.
//!
//! The tests run at the same time in one process. What belongs to a process
//! (environment variables, the log's subscriber, the recorder of metrics) is
//! therefore set by none of them; tests of these start processes of their own
//! (`local/tests/`, `functions/aggregate/tests/`).

mod budgets;
mod cache;
mod coherence;
mod corrupt_items;
mod direct_reads;
mod envelopes;
mod events;
mod exchange_rates;
mod failures;
mod fallback;
mod faults;
mod http;
mod init;
mod lagging_reads;
mod large_wallets;
mod leases;
mod money;
mod openapi;
mod price_book;
mod price_book_store;
mod price_guard;
mod price_sources;
mod process_copies;
mod rate_limits;
mod refresh;
mod refresh_ahead;
mod registry;
mod right_numbers;
mod secrets;
mod soak;
mod stampede;
mod template;
mod throttling;
mod wallet_store;
mod whale;
