//! Everything that is known of a wallet's prices, by currency.

use std::collections::{BTreeMap, BTreeSet};

use super::wanted::{Wanted, WantedAsset};
use crate::{
    clock::Timestamp,
    domain::{
        currency::Currency,
        exchange_rate::ExchangeRates,
        price::{Price, PriceAgeLimit, PriceKey, PriceTable},
        query::Query,
        scope::Part,
        wallet_prices::{PricesIn, WalletPrices},
    },
    service::structure::LoadedHoldings,
};

/// The prices that came with a part's holdings.
struct ProviderPrices {
    part: Part,
    currency: Currency,
    fetched_at: Timestamp,
    table: PriceTable,
}

/// Everything that is known of a wallet's prices, by currency.
pub(super) struct KnownPrices {
    currency: Currency,
    /// Per part of the holdings, as they came.
    provider: Vec<ProviderPrices>,
    /// Refreshed, as read and as found since.
    refreshed: BTreeMap<Currency, PriceTable>,
    pub rates: ExchangeRates,
}

impl KnownPrices {
    /// Returns what is known when the wallet has been read.
    pub fn of(query: &Query, held: &LoadedHoldings, oldest: PriceAgeLimit, now: Timestamp) -> Self {
        let provider = held.parts.iter().map(|(part, cached)| ProviderPrices {
            part: *part,
            currency: cached.currency,
            fetched_at: cached.fetched_at,
            table: cached.prices.clone(),
        });
        // A time that no clock can have told would stay the latest for ever.
        let plausible = |price: &Price| {
            !price.quoted_at.is_in_the_future(now) && !price.checked_at.is_in_the_future(now)
        };
        let mut known = Self {
            currency: query.currency,
            provider: provider.collect(),
            refreshed: BTreeMap::new(),
            rates: ExchangeRates::default(),
        };
        for (currency, read) in &held.cached.refreshed {
            let mut table = read.table.clone();
            table.prune(plausible);
            known.put(*currency, &table);
            for of in Currency::all() {
                let rate = table.get(PriceKey::of_dollar(of));
                let usable = rate.filter(|rate| rate.usable_since(oldest.listed));
                if let Some(rate) = usable {
                    known.rates.insert(of, *rate);
                }
            }
        }
        known
    }

    /// Puts refreshed prices over those that are known; exchange rates, which
    /// are kept among them, are none.
    pub fn put(&mut self, currency: Currency, fresh: &PriceTable) {
        let rates: BTreeSet<PriceKey> = Currency::all().map(PriceKey::of_dollar).collect();
        let prices = fresh.entries().iter().copied();
        let prices = prices.filter(|(key, _)| !rates.contains(key));
        let table = self.refreshed.entry(currency).or_default();
        *table = table.merged(prices);
    }

    /// The prices in one currency: as they came, and refreshed.
    pub fn direct(&self, currency: Currency) -> PriceTable {
        let provider = self.provider.iter();
        let provider = provider.filter(|it| it.currency == currency);
        let provider = provider.flat_map(|it| it.table.entries().iter().copied());
        let refreshed = self.refreshed.get(&currency);
        let refreshed = refreshed
            .into_iter()
            .flat_map(|it| it.entries().iter().copied());
        PriceTable::new(provider.chain(refreshed).collect())
    }

    /// Whether the provider, or a source since, has told a price in any
    /// currency.
    pub fn is_priced(&self, key: PriceKey) -> bool {
        let provider = self.provider.iter().map(|it| &it.table);
        let mut tables = provider.chain(self.refreshed.values());
        tables.any(|table| table.get(key).is_some())
    }

    /// The provider's own price of an asset, in `currency`.
    pub fn provider_price(&self, key: PriceKey, currency: Currency) -> Option<Price> {
        let prices = self.provider.iter().filter_map(|it| {
            let price = it.table.get(key)?;
            match it.currency == currency {
                true => Some(*price),
                false => self.rates.convert(price, it.currency, currency),
            }
        });
        prices.max_by_key(|price| price.quoted_at)
    }

    /// Returns the prices for an answer.
    pub fn select(&self, oldest: PriceAgeLimit) -> WalletPrices {
        let provider = self.provider.iter();
        let provider = provider.map(|it| PricesIn {
            currency: it.currency,
            table: &it.table,
        });
        let refreshed = self.refreshed.iter().map(|(currency, table)| PricesIn {
            currency: *currency,
            table,
        });
        let known: Vec<_> = provider.chain(refreshed).collect();
        WalletPrices::select(self.currency, &known, &self.rates, oldest)
    }

    /// Returns what is known of each wanted asset from those that are asked for it.
    /// The provider of holdings was asked for all of them, in the currency of its
    /// fetch: where quotes are had in the answer's currency, only that one counts.
    pub fn checks(&self, wanted: &Wanted) -> Checks {
        let counts =
            |of: Currency, asset: &WantedAsset| asset.terms.dollars_only || of == self.currency;
        let (mut entries, mut unpriced) = (Vec::new(), BTreeMap::new());
        for (key, asset) in wanted.iter() {
            let of_holders = self.provider.iter();
            let of_holders = of_holders.filter(|it| asset.parts.contains(&it.part));
            for provider in of_holders.filter(|it| counts(it.currency, asset)) {
                let fetched_at = provider.fetched_at;
                match provider.table.get(key) {
                    Some(price) => entries.push((key, *price)),
                    None => {
                        let at = unpriced.entry(key).or_insert(fetched_at);
                        *at = (*at).max(fetched_at);
                    }
                }
            }
            let source = asset.terms.currency(self.currency);
            let refreshed = self.refreshed.get(&source);
            entries.extend(refreshed.and_then(|it| it.entry(key)).map(|it| (key, *it)));
        }
        Checks {
            entries: PriceTable::new(entries),
            unpriced,
        }
    }
}

/// When wanted assets were asked for, and what came of it.
pub(super) struct Checks {
    /// Prices, and marks of sources that know none.
    pub entries: PriceTable,
    /// When the provider was asked for those that it has no price of.
    pub unpriced: BTreeMap<PriceKey, Timestamp>,
}
