//! Looking for everything that an answer lacks, at all providers of quotes at
//! the same time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicUsize, Ordering},
};

use super::{
    lookup::look_up,
    pricing::Pricing,
    request::{LookupResult, PriceRequest, WantedPrice},
    shared::SharedPrices,
};
use crate::{
    domain::{
        currency::Currency,
        exchange_rate,
        price::{Price, PriceAgeLimit, PriceKey, PriceTable},
        price_book::QuoteKey,
        provider::Provider,
        wallet_prices::WalletPrices,
    },
    telemetry::request_cost::RequestCost,
    upstream::{QuoteProvider, QuoteTerms, UpstreamError},
};

/// What was found with one provider, in one currency.
pub(super) struct FoundAt {
    pub provider: Provider,
    pub currency: Currency,
    pub terms: QuoteTerms,
    pub found: LookupResult,
}

/// What all lookups of one answer found.
#[derive(Default)]
pub(super) struct LookupResults {
    /// By provider, in the order of their precedence.
    pub by_provider: Vec<FoundAt>,
    /// Coins that are worth a dollar, in further currencies.
    pub rates: BTreeMap<Currency, LookupResult>,
    /// The keys of these coins.
    dollars: Vec<QuoteKey>,
}

impl LookupResults {
    /// Returns what a dollar costs in `currency`, by what was found of coins
    /// that are worth one.
    pub fn rate(&self, currency: Currency) -> Option<Price> {
        let at = self.by_provider.iter();
        let at = at.filter(|at| at.currency == currency).map(|at| &at.found);
        let mut found = at.chain(self.rates.get(&currency));
        let prices = |found: &LookupResult| {
            let coins = self.dollars.iter();
            let coins = coins.filter_map(|key| found.prices.get(key).copied());
            exchange_rate::rate_of_dollar(coins)
        };
        found.find_map(prices)
    }

    /// Returns how a curated provider failed: what it does not tell, no other
    /// provider can.
    pub fn failed(&self) -> Option<&UpstreamError> {
        let curated = self.by_provider.iter().filter(|at| at.terms.curated);
        let rates = self.rates.values();
        let mut found = curated.map(|at| &at.found).chain(rates);
        found.find_map(|found| found.failed.as_ref())
    }

    /// Returns all that was found, with its currency.
    pub fn iter(&self) -> impl Iterator<Item = (Currency, &LookupResult)> {
        let by_provider = self.by_provider.iter();
        let by_provider = by_provider.map(|at| (at.currency, &at.found));
        let rates = self.rates.iter();
        by_provider.chain(rates.map(|(currency, found)| (*currency, found)))
    }
}

/// Looks for what is due with each provider, all at the same time, and for the
/// rate of the asked currency with them; then for rates in further currencies,
/// without a second request to their provider. What the first ones found is
/// published while others are waited for.
pub(super) async fn look_up_all(
    shared: &SharedPrices,
    pricing: &Pricing<'_>,
    due: &BTreeSet<PriceKey>,
    rates: &BTreeSet<Currency>,
    prices: &WalletPrices,
) -> LookupResults {
    let of_rates = shared.sources.of_rates();
    let mut results = LookupResults {
        dollars: of_rates.map_or_else(Vec::new, dollars),
        ..LookupResults::default()
    };
    let mut needs = Vec::new();
    for source in shared.sources.iter() {
        let mut needed = needs_from(source, pricing, due, prices);
        let tells_rates = of_rates.is_some_and(|it| it.provider() == source.provider());
        if tells_rates && rates.contains(&needed.currency) {
            for (key, need) in dollar_needs(&results.dollars, prices) {
                needed.keys.entry(key).or_insert(need);
            }
            needed.soft &= prices.unconverted.is_empty();
        }
        needs.push(needed);
    }
    let left = AtomicUsize::new(needs.len());
    let lookups = needs.iter().map(async |needs| {
        let mut found = look_up(shared, needs).await;
        // The last one's writes go with the wallet's own.
        if left.fetch_sub(1, Ordering::Relaxed) > 1 {
            publish(shared, needs, &mut found).await;
        }
        FoundAt {
            provider: needs.provider,
            currency: needs.currency,
            terms: needs.terms,
            found,
        }
    });
    results.by_provider = futures::future::join_all(lookups).await;
    if let Some(source) = of_rates {
        results.rates = look_up_rates(shared, pricing, source, rates, prices, &results).await;
    }
    results
}

/// Looks for the rates of currencies that no other lookup was in.
async fn look_up_rates(
    shared: &SharedPrices,
    pricing: &Pricing<'_>,
    source: &dyn QuoteProvider,
    rates: &BTreeSet<Currency>,
    prices: &WalletPrices,
    results: &LookupResults,
) -> BTreeMap<Currency, LookupResult> {
    let currency = source.terms().currency(pricing.query.currency);
    let mut at = results.by_provider.iter();
    let at = at.find(|at| at.provider == source.provider());
    let mut asked = at.is_some_and(|at| at.found.asked);
    let mut found = BTreeMap::new();
    for other in rates.iter().filter(|other| **other != currency) {
        let oldest = pricing.policy.oldest_prices(pricing.now());
        let needs = PriceRequest {
            currency: *other,
            provider: source.provider(),
            terms: source.terms(),
            keys: dollar_needs(&results.dollars, prices),
            soft: has_usable_price(&prices.table, oldest),
            may_ask: !asked,
            request: pricing.request,
        };
        let rate = look_up(shared, &needs).await;
        asked |= rate.asked;
        found.insert(*other, rate);
    }
    found
}

/// Writes to the book what one lookup found.
async fn publish(shared: &SharedPrices, needs: &PriceRequest<'_>, found: &mut LookupResult) {
    let write = std::mem::take(&mut found.write);
    let concurrent = RequestCost::default();
    shared
        .write_book(needs.currency, &write, needs.request, &concurrent)
        .await;
    needs.request.cost.merge_concurrent(&concurrent);
}

/// Returns what is needed from one provider.
fn needs_from<'n>(
    source: &dyn QuoteProvider,
    pricing: &Pricing<'n>,
    due: &BTreeSet<PriceKey>,
    prices: &WalletPrices,
) -> PriceRequest<'n> {
    let provider = source.provider();
    let terms = source.terms();
    let currency = terms.currency(pricing.query.currency);
    let oldest = pricing.policy.oldest_prices(pricing.now());
    let direct = pricing.known.direct(currency);
    let (mut keys, mut all_usable) = (BTreeMap::new(), true);
    let wanted = &pricing.wanted;
    let due = wanted.iter().filter(|(key, _)| due.contains(key));
    for (key, asset) in due.filter(|(_, asset)| wanted.is_asked(provider, asset)) {
        let Some(quote) = wanted.quote(asset) else {
            continue;
        };
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
            tracked: own.is_some() || terms.curated,
        };
        let known = keys.entry(quote).or_insert(need);
        known.own = known.own.or(own);
        known.usable &= need.usable;
    }
    PriceRequest {
        currency,
        provider,
        terms,
        keys,
        soft: all_usable && has_usable_price(&prices.table, oldest),
        may_ask: true,
        request: pricing.request,
    }
}

/// Returns the keys of the coins that are worth a dollar.
fn dollars(source: &dyn QuoteProvider) -> Vec<QuoteKey> {
    let key = |id| QuoteKey {
        provider: source.provider(),
        id,
    };
    source.dollars().iter().cloned().map(key).collect()
}

/// Returns what is needed of the coins that are worth a dollar.
fn dollar_needs(dollars: &[QuoteKey], prices: &WalletPrices) -> BTreeMap<QuoteKey, WantedPrice> {
    let need = WantedPrice {
        own: None,
        usable: prices.unconverted.is_empty(),
        tracked: true,
    };
    dollars.iter().map(|key| (key.clone(), need)).collect()
}

/// Returns whether anything at all can be valued.
pub(super) fn has_usable_price(table: &PriceTable, oldest: PriceAgeLimit) -> bool {
    let mut entries = table.entries().iter();
    entries.any(|(key, price)| price.is_known() && oldest.permits(*key, price))
}
