//! Looking for everything that an answer lacks: listed coins and the rate of the
//! asked currency, and at the same time other tokens.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::Either;

use super::{
    lookup::look_up,
    pricing::Pricing,
    request::{LookupResult, PriceRequest, WantedPrice},
    shared::SharedPrices,
};
use crate::{
    domain::{
        currency::Currency,
        exchange_rate::{self, USD_STABLECOINS},
        price::{Price, PriceAgeLimit, PriceKey, PriceTable},
        price_book::{QuoteKey, Shelf},
        wallet_prices::WalletPrices,
    },
    telemetry::request_cost::RequestCost,
};

/// What all searches of one answer found.
#[derive(Default)]
pub(super) struct LookupResults {
    pub listed: LookupResult,
    pub unlisted: LookupResult,
    /// Stablecoins in further currencies.
    pub others: BTreeMap<Currency, LookupResult>,
    asked_coinmarketcap: bool,
}

impl LookupResults {
    /// What a dollar costs in `currency`, by what was found of stablecoins.
    pub fn rate(&self, asked: Currency, currency: Currency) -> Option<Price> {
        let found = match asked == currency {
            true => &self.listed,
            false => self.others.get(&currency)?,
        };
        let coins = USD_STABLECOINS.map(|id| found.prices.get(&QuoteKey::Listed(id)).copied());
        exchange_rate::rate_of_dollar(coins.into_iter().flatten())
    }
}

/// Looks for what is due: listed coins and the rate of the asked currency
/// in one search, other tokens in another at the same time; then a rate in
/// a third currency, without a second request to CoinMarketCap.
pub(super) async fn look_up_all(
    shared: &SharedPrices,
    pricing: &Pricing<'_>,
    due: &BTreeSet<PriceKey>,
    rates: &BTreeSet<Currency>,
    prices: &WalletPrices,
) -> LookupResults {
    let currency = pricing.query.currency;
    let listed = needs(pricing, due, Shelf::Listed, currency, prices, rates);
    let unlisted = needs(pricing, due, Shelf::Unlisted, Currency::USD, prices, rates);
    let (listed, unlisted) = look_up_both(shared, &listed, &unlisted).await;
    let mut found = LookupResults {
        asked_coinmarketcap: listed.asked,
        listed,
        unlisted,
        ..LookupResults::default()
    };
    for other in rates.iter().filter(|other| **other != currency) {
        let needs = PriceRequest {
            currency: *other,
            shelf: Shelf::Listed,
            keys: dollar_needs(prices),
            soft: has_usable_price(&prices.table, pricing.policy.oldest_prices(pricing.now())),
            may_ask: !found.asked_coinmarketcap,
            request: pricing.request,
        };
        let rate = look_up(shared, &needs).await;
        found.asked_coinmarketcap |= rate.asked;
        if found.listed.failed.is_none() {
            found.listed.failed = rate.failed.clone();
        }
        found.others.insert(*other, rate);
    }
    found
}

/// Runs both searches at once. What the first one found is published while
/// the other is waited for.
async fn look_up_both(
    shared: &SharedPrices,
    listed: &PriceRequest<'_>,
    unlisted: &PriceRequest<'_>,
) -> (LookupResult, LookupResult) {
    let (listed_search, unlisted_search) = (
        Box::pin(look_up(shared, listed)),
        Box::pin(look_up(shared, unlisted)),
    );
    let publish = async |needs: &PriceRequest<'_>, found: &mut LookupResult| {
        let writes = std::mem::take(&mut found.writes);
        let concurrent = RequestCost::default();
        shared
            .write_book(needs.currency, &writes, needs.request, &concurrent)
            .await;
        needs.request.cost.merge_concurrent(&concurrent);
    };
    match futures::future::select(listed_search, unlisted_search).await {
        Either::Left((mut first, other)) => {
            let ((), second) = futures::join!(publish(listed, &mut first), other);
            (first, second)
        }
        Either::Right((mut first, other)) => {
            let ((), second) = futures::join!(publish(unlisted, &mut first), other);
            (second, first)
        }
    }
}

fn needs<'n>(
    pricing: &Pricing<'n>,
    due: &BTreeSet<PriceKey>,
    shelf: Shelf,
    currency: Currency,
    prices: &WalletPrices,
    rates: &BTreeSet<Currency>,
) -> PriceRequest<'n> {
    let oldest = pricing.policy.oldest_prices(pricing.now());
    let direct = pricing.known.direct(currency);
    let (mut keys, mut all_usable) = (BTreeMap::new(), true);
    let due = pricing.wanted.iter().filter(|(key, _)| due.contains(key));
    for (key, asset) in due.filter(|(_, asset)| asset.quote.page().shelf == shelf) {
        let usable = |own: &Price| oldest.permits(key, own);
        let own = direct.get(key).copied();
        let own = own.or_else(|| pricing.known.provider_price(key, currency));
        // Its price is of another amount.
        let own = own.filter(|_| !asset.scaled);
        let in_answer = prices.table.get(key).is_some_and(usable);
        all_usable &= in_answer || !pricing.known.is_priced(key);
        let need = WantedPrice {
            own,
            usable: own.as_ref().is_some_and(usable) || in_answer,
            tracked: own.is_some() || shelf == Shelf::Listed,
        };
        let known = keys.entry(asset.quote.clone()).or_insert(need);
        known.own = known.own.or(own);
        known.usable &= need.usable;
    }
    if shelf == Shelf::Listed && rates.contains(&currency) {
        for (key, need) in dollar_needs(prices) {
            keys.entry(key).or_insert(need);
        }
        all_usable &= prices.unconverted.is_empty();
    }
    PriceRequest {
        currency,
        shelf,
        keys,
        soft: all_usable && has_usable_price(&prices.table, oldest),
        may_ask: true,
        request: pricing.request,
    }
}

/// The stablecoins that tell what a dollar costs.
fn dollar_needs(prices: &WalletPrices) -> BTreeMap<QuoteKey, WantedPrice> {
    let need = WantedPrice {
        own: None,
        usable: prices.unconverted.is_empty(),
        tracked: true,
    };
    let keys = USD_STABLECOINS.map(QuoteKey::Listed);
    keys.into_iter().map(|key| (key, need)).collect()
}

/// Whether anything at all can be valued.
pub(super) fn has_usable_price(table: &PriceTable, oldest: PriceAgeLimit) -> bool {
    let mut entries = table.entries().iter();
    entries.any(|(key, price)| price.is_known() && oldest.permits(*key, price))
}
