//! Every key of the table is built here.
//!
//! | pk | sk | what |
//! |---|---|---|
//! | `W#<address>` | `H` | header |
//! | `W#<address>` | `D#<part>#<generation>#<n>` | a chunk of a part's holdings |
//! | `W#<address>` | `E#usd` | the wallet's refreshed prices in US dollars |
//! | `W#<address>` | `F#<part>#<currency>` | the prices that came with a part's holdings |
//! | `W#<address>` | `L#<part>#<generation>#<n>` | a chunk of large holdings |
//! | `W#<address>` | `M#<part>#<generation>#<n>` | a chunk of the prices that came with large holdings |
//! | `W#<address>` | `P#<currency>` | refreshed prices in another currency |
//! | `A` | `<chain>#<n>` | asset registry |
//! | `A` | `complete` | when it was last filled completely |
//! | `B#<currency>#<page>` | `P` | a page of the price book |
//! | `B#<currency>#<provider>` | `L` | the lease of its refresh |
//! | `R` | `<address>` | a wallet that is kept fresh |
//! | `R#run` | `L` | the lease of the run that does it |
//! | `X` | `<upstream>` | until when a provider is rate limited |
//!
//! One query from `D` to `F` reads what every request needs. Read backwards,
//! the prices come before the chunks. Large holdings and prices in other
//! currencies lie outside of it and are read where they are needed.

use crate::domain::{
    address::Address, currency::Currency, price_book::Page, provider::Provider, scope::Part,
};

pub(super) const HEADER: &str = "H";
/// The first and the last sort key of what every request needs.
pub(super) const COMMON: (&str, &str) = ("D", "G");
/// Holdings of so many chunks are read with the rest of the wallet; larger ones
/// by themselves, once the header has told their generation.
pub(super) const NEAR_CHUNKS: u32 = 2;
const NEAR: &str = "D#";
const FAR: &str = "L#";
const FAR_PRICES: &str = "M#";
const PROVIDER_PRICES: &str = "F#";
/// US dollars are read with the rest of the wallet.
const DOLLAR_PRICES: &str = "E#usd";
const PRICES: &str = "P#";
pub(super) const REGISTRY: &str = "A";

pub(super) const PAGE: &str = "P";
pub(super) const PRICE_LEASE: &str = "L";
pub(super) const RATE_LIMITS: &str = "X";

pub(super) const WATCHED: &str = "R";
pub(super) const REFRESH: &str = "R#run";
pub(super) const RUN: &str = "L";

/// One partition per page: one alone could not take all pages' writes.
pub(super) fn page(currency: Currency, page: Page) -> String {
    format!("B#{currency}#{page}")
}

pub(super) fn price_lease(currency: Currency, provider: Provider) -> String {
    format!("B#{currency}#{provider}")
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

/// The sort key of chunk `index` of `count`.
pub(super) fn chunk(part: Part, generation: u64, index: u32, count: u32) -> String {
    let area = if count > NEAR_CHUNKS { FAR } else { NEAR };
    format!("{area}{}#{generation:020}#{index:03}", part.as_str())
}

pub(super) fn provider_prices(part: Part, currency: Currency) -> String {
    format!("{PROVIDER_PRICES}{}#{currency}", part.as_str())
}

/// The sort key of a chunk of prices that are too many for one item.
pub(super) fn provider_price_chunk(part: Part, generation: u64, index: u32) -> String {
    format!("{FAR_PRICES}{}#{generation:020}#{index:03}", part.as_str())
}

pub(super) fn prices(currency: Currency) -> String {
    match currency {
        Currency::USD => DOLLAR_PRICES.to_owned(),
        other => format!("{PRICES}{other}"),
    }
}

pub(super) fn assets(chain: &str, index: usize) -> String {
    format!("{chain}#{index:03}")
}

/// The part whose holdings, or the prices that came with them, an item holds,
/// by its sort key.
pub(super) fn part_of(sort_key: &str) -> Option<Part> {
    let areas = [NEAR, FAR, FAR_PRICES, PROVIDER_PRICES];
    let rest = areas.iter().find_map(|area| sort_key.strip_prefix(area))?;
    let (part, _) = rest.split_once('#')?;
    Part::ALL.into_iter().find(|known| known.as_str() == part)
}
