//! The pure core of Portfolio: addresses, quantities, money, holdings, prices,
//! totals and pages.
//!
//! It does no I/O, reads no clock and is never `async`; that it is a crate of its
//! own keeps it so.

pub mod address;
pub mod amount;
mod answer_json;
mod as_text;
pub mod asset;
pub mod asset_mapping;
#[cfg(test)]
mod asset_tests;
pub mod chain;
pub mod currency;
pub mod cursor;
pub mod decimal;
pub mod decoded;
pub mod exchange_rate;
pub mod holdings;
pub mod holdings_builder;
pub mod identifier;
mod json;
mod page;
mod places;
pub mod portfolio;
#[cfg(test)]
mod portfolio_tests;
pub mod price;
pub mod price_book;
pub mod price_guard;
pub mod provider;
pub mod provider_position;
pub mod quantity;
pub mod query;
pub mod refresh_batch;
pub mod refresh_schedule;
pub mod response;
#[cfg(feature = "openapi")]
pub mod schema;
pub mod scope;
pub mod timestamp;
mod totals;
pub mod unscaled;
pub mod valuation;
#[cfg(test)]
mod valuation_tests;
mod valued_position;
pub mod wallet_prices;
