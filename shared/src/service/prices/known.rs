//! Everything that is known of a wallet's prices, by currency.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use super::wanted::{Wanted, WantedAsset};
use crate::{
    cache::{CachedPart, CachedPrices},
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
    cached: Arc<CachedPart>,
}

impl ProviderPrices {
    fn currency(&self) -> Currency {
        self.cached.currency
    }

    fn table(&self) -> &PriceTable {
        &self.cached.prices
    }
}

/// Refreshed prices in one currency, without exchange rates, which are kept among
/// them.
enum Refreshed {
    /// As they were read.
    Read(Arc<CachedPrices>),
    /// With others put over them.
    Merged(PriceTable),
}

impl Refreshed {
    fn table(&self) -> &PriceTable {
        match self {
            Self::Read(read) => &read.table,
            Self::Merged(table) => table,
        }
    }
}

/// Everything that is known of a wallet's prices, by currency.
pub(super) struct KnownPrices {
    currency: Currency,
    /// Per part of the holdings, as they came.
    provider: Vec<ProviderPrices>,
    /// Refreshed, as read and as found since.
    refreshed: BTreeMap<Currency, Refreshed>,
    pub rates: ExchangeRates,
}

impl KnownPrices {
    /// Returns what is known when the wallet has been read.
    pub fn of(query: &Query, held: &LoadedHoldings, oldest: PriceAgeLimit, now: Timestamp) -> Self {
        let provider = held.parts.iter().map(|(part, cached)| ProviderPrices {
            part: *part,
            cached: cached.clone(),
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
            let usable = |rate: &&Price| plausible(rate) && rate.usable_since(oldest.listed);
            for (of, key) in dollar_keys() {
                if let Some(rate) = read.table.get(*key).filter(usable) {
                    known.rates.insert(*of, *rate);
                }
            }
            let entries = read.table.entries();
            let as_read = entries
                .iter()
                .all(|(key, price)| plausible(price) && !is_rate(*key));
            if as_read {
                let read = Refreshed::Read(read.clone());
                known.refreshed.insert(*currency, read);
            } else {
                let mut table = read.table.clone();
                table.prune(plausible);
                known.put(*currency, &table);
            }
        }
        known
    }

    /// Puts refreshed prices over those that are known; exchange rates, which
    /// are kept among them, are none.
    pub fn put(&mut self, currency: Currency, fresh: &PriceTable) {
        let prices = fresh.entries().iter().copied();
        let prices = prices.filter(|(key, _)| !is_rate(*key));
        let merged = match self.refreshed.get(&currency) {
            Some(known) => known.table().merged(prices),
            None => PriceTable::new(prices.collect()),
        };
        self.refreshed.insert(currency, Refreshed::Merged(merged));
    }

    /// The prices in one currency: as they came, and refreshed.
    pub fn direct(&self, currency: Currency) -> PriceTable {
        let provider = self.provider.iter();
        let provider = provider.filter(|it| it.currency() == currency);
        let provider = provider.map(ProviderPrices::table);
        let refreshed = self.refreshed.get(&currency).map(Refreshed::table);
        PriceTable::merge(provider.chain(refreshed))
    }

    /// Whether the provider, or a source since, has told a price in any
    /// currency.
    pub fn is_priced(&self, key: PriceKey) -> bool {
        let provider = self.provider.iter().map(ProviderPrices::table);
        let mut tables = provider.chain(self.refreshed.values().map(Refreshed::table));
        tables.any(|table| table.get(key).is_some())
    }

    /// The provider's own price of an asset, in `currency`.
    pub fn provider_price(&self, key: PriceKey, currency: Currency) -> Option<Price> {
        let prices = self.provider.iter().filter_map(|it| {
            let price = it.table().get(key)?;
            match it.currency() == currency {
                true => Some(*price),
                false => self.rates.convert(price, it.currency(), currency),
            }
        });
        prices.max_by_key(|price| price.quoted_at)
    }

    /// Returns the prices for an answer.
    pub fn select(&self, oldest: PriceAgeLimit) -> WalletPrices {
        let provider = self.provider.iter();
        let provider = provider.map(|it| PricesIn {
            currency: it.currency(),
            table: it.table(),
        });
        let refreshed = self.refreshed.iter().map(|(currency, table)| PricesIn {
            currency: *currency,
            table: table.table(),
        });
        let known: Vec<_> = provider.chain(refreshed).collect();
        WalletPrices::select(self.currency, &known, &self.rates, oldest)
    }

    /// Returns what is known of each wanted asset from those that are asked for it.
    /// The provider of holdings was asked for all of them, in the currency of its
    /// fetch: where quotes are had in the answer's currency, only that one counts.
    pub fn checks(&self, wanted: &Wanted<'_>) -> Checks {
        let counts = |of: Currency, asset: &WantedAsset| {
            wanted.terms(asset).dollars_only || of == self.currency
        };
        let (mut entries, mut unpriced) = (Vec::new(), BTreeMap::new());
        // Assets and tables are both in the order of keys.
        let provider = self.provider.iter();
        let mut provider: Vec<_> = provider.map(|it| (it, it.table().walk())).collect();
        let refreshed = self.refreshed.iter();
        let mut refreshed: Vec<_> = refreshed
            .map(|(currency, it)| (*currency, it.table().walk()))
            .collect();
        let mut known = Vec::new();
        for (key, asset) in wanted.iter() {
            let of_holders = provider.iter_mut();
            let of_holders = of_holders.filter(|(it, _)| asset.parts.contains(it.part));
            for (it, walk) in of_holders.filter(|(it, _)| counts(it.currency(), asset)) {
                match walk.entry(key).filter(|price| price.is_known()) {
                    Some(price) => known.push(*price),
                    None => {
                        let fetched_at = it.cached.fetched_at;
                        let at = unpriced.entry(key).or_insert(fetched_at);
                        *at = (*at).max(fetched_at);
                    }
                }
            }
            let source = wanted.terms(asset).currency(self.currency);
            let of_source = refreshed.iter_mut();
            let mut of_source = of_source.filter(|(currency, _)| *currency == source);
            known.extend(of_source.find_map(|(_, walk)| walk.entry(key)));
            entries.extend(Price::latest(&mut known).map(|price| (key, price)));
            known.clear();
        }
        Checks {
            entries: PriceTable::of_sorted(entries),
            unpriced,
        }
    }
}

/// Returns the keys of what a dollar costs, by currency. They are hashes, and looked
/// for in each answer.
fn dollar_keys() -> &'static [(Currency, PriceKey)] {
    static KEYS: LazyLock<Vec<(Currency, PriceKey)>> = LazyLock::new(|| {
        let key = |currency| (currency, PriceKey::of_dollar(currency));
        Currency::all().map(key).collect()
    });
    &KEYS
}

/// Returns whether a key is that of an exchange rate.
fn is_rate(key: PriceKey) -> bool {
    dollar_keys().iter().any(|(_, rate)| *rate == key)
}

/// When wanted assets were asked for, and what came of it.
pub(super) struct Checks {
    /// Prices, and marks of sources that know none.
    pub entries: PriceTable,
    /// When the provider was asked for those that it has no price of.
    pub unpriced: BTreeMap<PriceKey, Timestamp>,
}
