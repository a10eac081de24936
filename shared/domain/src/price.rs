//! Prices, kept apart from what a wallet holds, each with its own time.

use std::{cmp::Reverse, sync::Arc};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{currency::Currency, decimal::Decimal, provider::Provider, timestamp::Timestamp};

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
    /// no token can be made up whose price is taken for another's.
    Asset(u64),
}

impl PriceKey {
    /// The key of an asset that CoinMarketCap does not list, by a name that is
    /// unique to it (the fungible's id, or chain and contract).
    pub fn of_asset(name: &str) -> Self {
        Self::of_parts(&[name])
    }

    /// Returns the key of an asset that takes several texts to tell. Each is
    /// hashed with its length, so that no separator inside of a text makes two
    /// lists of them look alike.
    pub fn of_parts(parts: &[&str]) -> Self {
        // For each token of each answer: processors have instructions for it.
        let mut hasher = Sha256::new();
        for part in parts {
            let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
            hasher.update(length.to_be_bytes());
            hasher.update(part.as_bytes());
        }
        let hash = hasher.finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        Self::Asset(u64::from_be_bytes(first))
    }

    /// Returns the key of what a US dollar costs in `currency`. No asset's name
    /// starts with its prefix.
    pub fn of_dollar(currency: Currency) -> Self {
        Self::of_parts(&["exchange rate", currency.as_str()])
    }
}

/// Why a source's newest price was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RejectReason {
    /// It is too far from what is known otherwise
    /// ([`MAX_DEVIATION`](crate::price_guard::MAX_DEVIATION)).
    Outlier,
    /// The source itself dates it too far back.
    Outdated,
    /// It is null, zero or negative.
    NotPositive,
    /// The source itself does not trust it.
    LowConfidence,
}

impl RejectReason {
    /// The word in answers and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Outlier => "price_refused_jump",
            Self::Outdated => "price_refused_outdated",
            Self::NotPositive => "price_refused_not_positive",
            Self::LowConfidence => "price_refused_unsure",
        }
    }
}

/// A price per token in some currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// Price of one token. Zero in a [`PriceTable`] only, where it marks that
    /// the sources were asked and know none.
    pub amount: Decimal,
    /// Change over 24 hours in percent (5.33 is 5.33 %), where known.
    pub change_24h_percent: Option<Decimal>,
    /// Who said so.
    pub source: Provider,
    /// The time that the source gives it, if that is notably earlier than the
    /// moment of asking; else that moment.
    pub as_of: Timestamp,
    /// When the source gave it; how long it may be used counts from here.
    pub quoted_at: Timestamp,
    /// When its source was last asked for it; freshness counts from here.
    /// Later than `quoted_at` when the source had nothing newer.
    pub checked_at: Timestamp,
    /// Why what that brought was refused, if it was: then this is the price
    /// before it.
    pub refused: Option<RejectReason>,
}

impl Price {
    /// A price that `source` gave at `now`.
    pub fn new(
        amount: Decimal,
        change_24h_percent: Option<Decimal>,
        source: Provider,
        now: Timestamp,
    ) -> Self {
        Self {
            amount,
            change_24h_percent,
            source,
            as_of: now,
            quoted_at: now,
            checked_at: now,
            refused: None,
        }
    }

    /// The mark that `source` was asked at `now` and knows no price.
    pub fn unknown(source: Provider, now: Timestamp) -> Self {
        Self::new(Decimal::ZERO, None, source, now)
    }

    /// Whether this is a price, and not the mark that there is none.
    pub fn is_known(&self) -> bool {
        self.amount.is_positive()
    }

    /// Whether this is the mark that the source did not know the asset, rather
    /// than that it gave a price that was refused.
    pub fn is_unknown(&self) -> bool {
        !self.is_known() && self.refused.is_none()
    }

    /// The same price after its source was asked again, in vain.
    pub fn checked(self, at: Timestamp, refused: Option<RejectReason>) -> Self {
        Self {
            checked_at: at,
            refused,
            ..self
        }
    }

    /// What is known once this was checked after `earlier`. Asking in vain says
    /// nothing against a price that was given since.
    fn over(&self, earlier: &Self) -> Self {
        let superseded = self.is_known() && self.quoted_at >= earlier.quoted_at;
        if superseded || !earlier.is_known() {
            return *self;
        }
        Self {
            checked_at: self.checked_at,
            refused: self.refused.filter(|_| !self.is_known()),
            ..*earlier
        }
    }

    /// Returns what is known of one key by several entries: the price that was given
    /// later, checked when the later one was. `None` if there are none.
    pub fn latest(entries: &mut [Self]) -> Option<Self> {
        entries.sort_by_key(|entry| Reverse(entry.checked_at));
        let (later, earlier) = entries.split_first()?;
        Some(earlier.iter().fold(*later, |kept, one| kept.over(one)))
    }

    /// Whether it may still be used when prices from before `oldest` may not.
    pub fn usable_since(&self, oldest: Timestamp) -> bool {
        self.quoted_at >= oldest
    }
}

/// How old prices may be that are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PriceAgeLimit {
    /// Of coins that CoinMarketCap lists: not from before this.
    pub listed: Timestamp,
    /// Of all others, which are only fetched with the holdings.
    pub unlisted: Timestamp,
}

impl PriceAgeLimit {
    /// Whether the price of `key` may be used.
    pub fn permits(&self, key: PriceKey, price: &Price) -> bool {
        price.usable_since(match key {
            PriceKey::Cmc(_) => self.listed,
            PriceKey::Asset(_) => self.unlisted,
        })
    }
}

/// The prices that a wallet needs in one currency, looked up by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceTable {
    /// Shared: what is used as it was read is not copied.
    entries: Arc<Vec<(PriceKey, Price)>>,
}

impl PriceTable {
    /// A table of `entries`; of two with one key the price that was given later
    /// stays, checked when the later one was.
    pub fn new(mut entries: Vec<(PriceKey, Price)>) -> Self {
        entries.sort_by(|(a, x), (b, y)| a.cmp(b).then(y.checked_at.cmp(&x.checked_at)));
        entries.dedup_by(|(key, earlier), (kept, later)| {
            let same = key == kept;
            if same {
                *later = later.over(earlier);
            }
            same
        });
        Self::of(entries)
    }

    fn of(entries: Vec<(PriceKey, Price)>) -> Self {
        let entries = Arc::new(entries);
        Self { entries }
    }

    /// Returns a table of all entries of `tables`, as [`PriceTable::new`] makes one, in
    /// one pass.
    pub fn merge<'t>(tables: impl IntoIterator<Item = &'t Self>) -> Self {
        let tables = tables.into_iter().filter(|table| !table.entries.is_empty());
        let tables: Vec<&Self> = tables.collect();
        if let [table] = *tables {
            return table.clone();
        }
        let mut rest: Vec<&[(PriceKey, Price)]> = tables.iter().map(|it| it.entries()).collect();
        let longest = rest.iter().map(|entries| entries.len()).max();
        let mut entries = Vec::with_capacity(longest.unwrap_or(0));
        let mut same = Vec::with_capacity(rest.len());
        let next = |rest: &[&[(PriceKey, Price)]]| {
            let keys = rest.iter().filter_map(|entries| entries.first());
            keys.map(|(key, _)| *key).min()
        };
        while let Some(key) = next(&rest) {
            for entries in &mut rest {
                if let [(_, price), tail @ ..] = entries
                    && entries[0].0 == key
                {
                    same.push(*price);
                    *entries = tail;
                }
            }
            entries.extend(Price::latest(&mut same).map(|price| (key, price)));
            same.clear();
        }
        Self::of(entries)
    }

    /// Returns a table of entries that are in order, each key once.
    pub fn of_sorted(entries: Vec<(PriceKey, Price)>) -> Self {
        debug_assert!(entries.is_sorted_by(|(a, _), (b, _)| a < b));
        Self::of(entries)
    }

    /// Returns what looks up keys in ascending order, in one pass over the table.
    pub fn walk(&self) -> Walk<'_> {
        Walk(&self.entries)
    }

    /// The price of `key`, if there is one.
    pub fn get(&self, key: PriceKey) -> Option<&Price> {
        self.entry(key).filter(|price| price.is_known())
    }

    /// Why what a source last said of `key` was refused, if it was.
    pub fn refused(&self, key: PriceKey) -> Option<RejectReason> {
        self.entry(key)?.refused
    }

    /// The entry of `key`, a price or the mark that there is none.
    pub fn entry(&self, key: PriceKey) -> Option<&Price> {
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

    /// This table with `newer` put over it: of two with one key the price that
    /// was given later stays, so nothing is overwritten by something older.
    pub fn merged(&self, newer: impl IntoIterator<Item = (PriceKey, Price)>) -> Self {
        let mut entries = self.entries().to_vec();
        entries.extend(newer);
        Self::new(entries)
    }

    /// What to put over this table for `keys` that were asked for at `now`
    /// without an answer: the price that was there, checked now, or the mark
    /// that there is none.
    pub fn unanswered(
        &self,
        keys: impl IntoIterator<Item = PriceKey>,
        source: Provider,
        now: Timestamp,
    ) -> Vec<(PriceKey, Price)> {
        let kept = |key| {
            let refused = self.refused(key);
            let known = self.get(key).copied();
            let kept = known.unwrap_or(Price::unknown(source, now));
            kept.checked(now, refused)
        };
        keys.into_iter().map(|key| (key, kept(key))).collect()
    }

    /// Keeps only the prices that `wanted` says yes to.
    pub fn prune(&mut self, wanted: impl Fn(&Price) -> bool) {
        Arc::make_mut(&mut self.entries).retain(|(_, price)| wanted(price));
    }
}

/// Looks up keys in ascending order.
#[derive(Clone, Copy, Debug)]
pub struct Walk<'t>(&'t [(PriceKey, Price)]);

impl<'t> Walk<'t> {
    /// Returns the entry of `key`, which is not less than the key before it.
    pub fn entry(&mut self, key: PriceKey) -> Option<&'t Price> {
        while let [(first, _), tail @ ..] = self.0
            && *first < key
        {
            self.0 = tail;
        }
        let (first, price) = self.0.first()?;
        (*first == key).then_some(price)
    }
}

#[cfg(test)]
mod tests;
