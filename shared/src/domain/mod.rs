//! The pure core: no I/O, no clock reads.

pub mod address;
pub mod amount;
pub mod answer;
pub mod asset;
#[cfg(test)]
mod asset_tests;
pub mod belief;
pub mod book;
pub mod chain;
pub mod currency;
pub mod cursor;
pub mod draft;
pub mod exchange_rate;
pub mod holdings;
pub mod ident;
mod mapping;
pub mod number;
mod places;
pub mod plan;
pub mod portfolio;
#[cfg(test)]
mod portfolio_tests;
pub mod price;
pub mod quantity;
pub mod query;
pub mod schedule;
pub mod scope;
mod tally;
pub mod upstream;
mod valued;
pub mod wallet_prices;
