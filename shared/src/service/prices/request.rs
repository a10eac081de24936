//! What an answer needs prices of, and what came of looking for them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    cache::price_book::{BookWrite, Prices},
    domain::{currency::Currency, price::Price, price_book::QuoteKey, provider::Provider},
    service::context::Request,
    upstream::{QuoteTerms, UpstreamError},
};

/// What an answer needs prices of, from one source in one currency.
pub(super) struct PriceRequest<'n> {
    pub currency: Currency,
    pub provider: Provider,
    /// What that provider takes and gives.
    pub terms: QuoteTerms,
    /// Whether older prices may stand in: then the source is not waited for
    /// any longer than [`SOFT_PRICE_TIMEOUT`](crate::service::policy::SOFT_PRICE_TIMEOUT).
    pub soft: bool,
    /// Whether the source may be asked at all.
    pub may_ask: bool,
    pub keys: BTreeMap<QuoteKey, WantedPrice>,
    pub request: &'n Request,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct WantedPrice {
    /// The price that the wallet has now, however old.
    pub own: Option<Price>,
    /// Whether that may still be used.
    pub usable: bool,
    /// Whether the book shall remember that it is wanted.
    pub tracked: bool,
}

/// What came of it.
#[derive(Default)]
pub(super) struct LookupResult {
    /// The newest price of each key that is known at all, fresh or not. One that
    /// is not known is the mark that its source was asked in vain.
    pub prices: Prices,
    /// Whether the source was asked.
    pub asked: bool,
    /// The source, if it was asked and answered.
    pub answered: Option<Provider>,
    /// How it failed.
    pub failed: Option<UpstreamError>,
    /// What was just refused.
    pub refused: BTreeSet<QuoteKey>,
    /// What is still to be written to the book.
    pub write: BookWrite,
}
