//! Every key of the table is built here.
//!
//! | pk | sk | what |
//! |---|---|---|
//! | `W#<address>` | `H` | header |
//! | `W#<address>` | `D#<part>#<n>` | a chunk of a part's holdings |
//! | `W#<address>` | `P#<currency>` | the wallet's prices |
//! | `A` | `<chain>#<n>` | asset registry |
//! | `B#<currency>#<page>` | `P` | a page of the price book |
//! | `B#<currency>#<page>` | `L` | its lease, and what is wanted on it |
//! | `R` | `<address>` | a wallet that is kept fresh |
//! | `R#run` | `L` | the lease of the run that does it |
//! | `X` | `<upstream>` | an upstream that wants to be left alone |
//!
//! Read backwards, a wallet's prices and header come before its chunks.

use crate::domain::{address::Address, book::Page, currency::Currency, scope::Part};

pub(super) const HEADER: &str = "H";
pub(super) const CHUNK_PREFIX: &str = "D#";
const PRICES_PREFIX: &str = "P#";
pub(super) const REGISTRY: &str = "A";

pub(super) const PAGE: &str = "P";
pub(super) const PAGE_LEASE: &str = "L";
pub(super) const BREAKERS: &str = "X";

pub(super) const WATCHED: &str = "R";
pub(super) const REFRESH: &str = "R#run";
pub(super) const RUN: &str = "L";

/// One partition per page: one alone could not take all pages' writes.
pub(super) fn page(currency: Currency, page: Page) -> String {
    format!("B#{currency}#{page}")
}

/// The page of a partition key that [`page`] made.
pub(super) fn read_page(partition: &str) -> Option<Page> {
    partition.rsplit_once('#')?.1.parse().ok()
}

pub(super) fn wallet(address: &Address) -> String {
    format!("W#{address}")
}

/// The wallet of a partition key that [`wallet`] made.
pub(super) fn read_wallet(partition: &str) -> Option<Address> {
    Address::parse(partition.strip_prefix("W#")?).ok()
}

pub(super) fn chunk(part: Part, index: u32) -> String {
    format!("{CHUNK_PREFIX}{}#{index:03}", part.as_str())
}

pub(super) fn prices(currency: Currency) -> String {
    format!("{PRICES_PREFIX}{currency}")
}

pub(super) fn assets(chain: &str, index: usize) -> String {
    format!("{chain}#{index:03}")
}

/// The currency of a wallet's price item, by its sort key.
pub(super) fn currency_of_prices(sort_key: &str) -> Option<Currency> {
    Currency::parse(sort_key.strip_prefix(PRICES_PREFIX)?)
}

/// The part that a chunk's sort key belongs to.
pub(super) fn part_of_chunk(sort_key: &str) -> Option<Part> {
    let rest = sort_key.strip_prefix(CHUNK_PREFIX)?;
    let (part, _) = rest.split_once('#')?;
    Part::ALL.into_iter().find(|known| known.as_str() == part)
}
