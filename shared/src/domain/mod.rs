//! The pure core: no I/O, no clock reads.

pub mod address;
pub mod amount;
pub mod asset;
pub mod asset_mapping;
#[cfg(test)]
mod asset_tests;
pub mod chain;
pub mod currency;
pub mod cursor;
pub mod decimal;
pub mod exchange_rate;
pub mod holdings;
pub mod holdings_builder;
pub mod identifier;
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
pub(crate) mod schema;
pub mod scope;
mod totals;
pub(crate) mod unscaled;
mod valued_position;
pub mod wallet_prices;
