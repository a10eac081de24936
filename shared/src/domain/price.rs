//! Prices, kept apart from what a wallet holds, each with its own time.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha3::{Digest, Keccak256};

use super::number::Number;
use crate::clock::Timestamp;

/// A CoinMarketCap id, e.g. 1027 for Ether.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CmcId(pub u32);

/// What a price belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PriceKey {
    /// A coin that CoinMarketCap lists.
    Cmc(CmcId),
    /// Any other asset: 64 bits of a cryptographic hash of its name, so that
    /// nobody can make up a token whose price is taken for another's.
    Asset(u64),
}

impl PriceKey {
    /// The key of an asset that CoinMarketCap does not list, by a name that is
    /// unique to it (the fungible's id, or chain and contract).
    pub fn of_asset(name: &str) -> Self {
        let hash = Keccak256::digest(name.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        Self::Asset(u64::from_be_bytes(first))
    }
}

/// Who said what something costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PriceSource {
    /// The price that came with the structure.
    Zerion,
    /// CoinMarketCap's quote.
    CoinMarketCap,
    /// DeFiLlama's, for what CoinMarketCap does not list.
    DefiLlama,
}

impl PriceSource {
    /// The lower-case word in answers and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zerion => "zerion",
            Self::CoinMarketCap => "coinmarketcap",
            Self::DefiLlama => "defillama",
        }
    }
}

impl PriceSource {
    /// How much older than the moment of asking this source's prices may be
    /// and still count as of that moment.
    pub fn tolerance(self) -> Duration {
        match self {
            Self::Zerion | Self::CoinMarketCap => Duration::ZERO,
            // Thinly traded tokens; it is asked for at most four hours back.
            Self::DefiLlama => Duration::from_secs(4 * 3600),
        }
    }
}

/// A price per token in some currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// Price of one token. Zero in a [`PriceTable`] only, where it marks that
    /// the sources were asked and know none.
    pub amount: Number,
    /// Change over 24 hours in percent (5.33 is 5.33 %), where known.
    pub change_24h_percent: Option<Number>,
    /// Who said so.
    pub source: PriceSource,
    /// When the source gave it; DeFiLlama's own time, which may be earlier.
    pub as_of: Timestamp,
    /// When its best source was last asked for it; freshness counts from here.
    /// Later than `as_of` when the source had nothing newer.
    pub checked_at: Timestamp,
}

impl Price {
    /// Whether it may still be used when prices from before `oldest` may not.
    pub fn usable_since(&self, oldest: Timestamp) -> bool {
        self.as_of.plus(self.source.tolerance()) >= oldest
    }
}

/// How old prices may be that are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OldestPrices {
    /// Of coins that CoinMarketCap lists: not from before this.
    pub listed: Timestamp,
    /// Of all others, which are only fetched with the holdings.
    pub unlisted: Timestamp,
}

impl OldestPrices {
    /// Whether the price of `key` may be used.
    pub fn allow(&self, key: PriceKey, price: &Price) -> bool {
        price.usable_since(match key {
            PriceKey::Cmc(_) => self.listed,
            PriceKey::Asset(_) => self.unlisted,
        })
    }
}

/// The prices that a wallet needs in one currency, looked up by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceTable {
    entries: Vec<(PriceKey, Price)>,
}

impl PriceTable {
    /// A table of `entries`; of two with one key the later checked one stays.
    pub fn new(mut entries: Vec<(PriceKey, Price)>) -> Self {
        entries.sort_by(|(a, x), (b, y)| a.cmp(b).then(y.checked_at.cmp(&x.checked_at)));
        entries.dedup_by_key(|(key, _)| *key);
        Self { entries }
    }

    /// The price of `key`, if there is one.
    pub fn get(&self, key: PriceKey) -> Option<&Price> {
        self.entry(key).filter(|price| price.amount.is_positive())
    }

    /// When `key` was last asked for, whether or not it has a price.
    pub fn checked_at(&self, key: PriceKey) -> Option<Timestamp> {
        self.entry(key).map(|price| price.checked_at)
    }

    /// Whether a source was asked for `key` and knew no price.
    pub fn is_unknown(&self, key: PriceKey) -> bool {
        self.entry(key)
            .is_some_and(|price| !price.amount.is_positive() && price.source != PriceSource::Zerion)
    }

    fn entry(&self, key: PriceKey) -> Option<&Price> {
        let at = self
            .entries
            .binary_search_by_key(&key, |(key, _)| *key)
            .ok()?;
        Some(&self.entries[at].1)
    }

    /// All entries, ordered by key.
    pub fn entries(&self) -> &[(PriceKey, Price)] {
        &self.entries
    }

    /// This table with `newer` put over it: of two with one key the later
    /// checked one stays, so nothing is overwritten by something older.
    pub fn merged(&self, newer: impl IntoIterator<Item = (PriceKey, Price)>) -> Self {
        let mut entries = self.entries.clone();
        entries.extend(newer);
        Self::new(entries)
    }

    /// What to put over this table for `keys` that were asked for at `now`
    /// without an answer: the price that was there, checked now, or the mark
    /// that there is none.
    pub fn unanswered(
        &self,
        keys: impl IntoIterator<Item = PriceKey>,
        source: PriceSource,
        now: Timestamp,
    ) -> Vec<(PriceKey, Price)> {
        let unknown = Price {
            amount: Number::ZERO,
            change_24h_percent: None,
            source,
            as_of: now,
            checked_at: now,
        };
        keys.into_iter()
            .map(|key| {
                let kept = self.get(key).copied().unwrap_or(unknown);
                (
                    key,
                    Price {
                        checked_at: now,
                        ..kept
                    },
                )
            })
            .collect()
    }

    /// This table with what it lacks taken from `other`, a table of the same
    /// wallet in another currency, by the price of a reference coin in both.
    /// Of the coins that have one, the reference is the one whose two prices
    /// were checked closest to each other.
    pub fn completed_from(&self, other: &Self) -> Self {
        let lacking = |key: PriceKey| matches!(key, PriceKey::Asset(_)) && self.get(key).is_none();
        let reference = self
            .entries
            .iter()
            .filter(|(key, _)| matches!(key, PriceKey::Cmc(_)))
            .filter_map(|(key, _)| Some((self.get(*key)?, other.get(*key)?)))
            .min_by_key(|(here, there)| here.checked_at.distance(there.checked_at));
        let Some((here, there)) = reference else {
            return self.clone();
        };
        let converted = other.entries.iter().filter_map(|(key, price)| {
            let amount = price.amount.converted(there.amount, here.amount)?;
            lacking(*key).then_some((*key, Price { amount, ..*price }))
        });
        self.merged(converted)
    }

    /// Keeps only the prices that `wanted` says yes to.
    pub fn prune(&mut self, wanted: impl Fn(&Price) -> bool) {
        self.entries.retain(|(_, price)| wanted(price));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(amount: &str, at: i64) -> Price {
        Price {
            amount: Number::parse(amount).unwrap(),
            change_24h_percent: None,
            source: PriceSource::Zerion,
            as_of: Timestamp::from_millis(at),
            checked_at: Timestamp::from_millis(at),
        }
    }

    #[test]
    fn newer_prices_win_whatever_the_order() {
        let key = PriceKey::Cmc(CmcId(1027));
        let old = PriceTable::new(vec![(key, price("1", 1)), (key, price("2", 2))]);
        assert_eq!(old.get(key).unwrap().amount, Number::new(2, 0));
        let merged = old.merged([(key, price("0.5", 1))]);
        assert_eq!(merged.get(key).unwrap().amount, Number::new(2, 0));
        let merged = old.merged([(key, price("3", 3))]);
        assert_eq!(merged.get(key).unwrap().amount, Number::new(3, 0));
    }

    #[test]
    fn asking_without_an_answer_keeps_the_price_and_its_time() {
        let (known, unknown) = (PriceKey::of_asset("some"), PriceKey::of_asset("other"));
        let table = PriceTable::new(vec![(known, price("1", 1))]);
        let now = Timestamp::from_millis(9);
        let asked = table.unanswered([known, unknown], PriceSource::CoinMarketCap, now);
        let table = table.merged(asked);
        assert_eq!(table.get(known).unwrap().as_of, Timestamp::from_millis(1));
        assert_eq!(table.checked_at(known), Some(now));
        assert_eq!(table.get(unknown), None);
        assert_eq!(table.checked_at(unknown), Some(now));
    }
}
