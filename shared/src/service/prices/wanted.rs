//! The assets of an answer whose prices can be refreshed, and by whom.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::sources::Sources;
use crate::{
    cache::CachedPart,
    domain::{
        currency::Currency,
        holdings::{CorruptHoldings, Holdings},
        price::PriceKey,
        price_book::QuoteKey,
        scope::Part,
    },
    upstream::QuoteTerms,
};

/// A wallet with more tokens than this that have no price, that the provider
/// does not vouch for and that no protocol holds is full of spam: they are not
/// asked for.
const MAX_DOUBTFUL: usize = 100;

/// An asset whose price can be refreshed.
#[derive(Clone, Debug)]
pub(super) struct WantedAsset {
    /// What its provider is asked for.
    pub quote: QuoteKey,
    /// What that provider takes and gives.
    pub terms: QuoteTerms,
    /// Whether its amounts are multiples of what other sources price.
    pub scaled: bool,
    /// The parts that hold it.
    pub parts: BTreeSet<Part>,
}

/// The assets of a wallet whose prices can be refreshed.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    assets: BTreeMap<PriceKey, WantedAsset>,
    /// Shown assets that no source can be asked for.
    others: BTreeSet<PriceKey>,
}

impl Wanted {
    /// Returns those that a curated provider lists and, of what others may know,
    /// those that have a price already (`priced`), are vouched for or
    /// belong to a protocol; and the rest only where it is not spam by the
    /// hundred. Trash and what the provider does not display are never asked
    /// for.
    ///
    /// # Errors
    /// When holdings cannot be decoded.
    pub fn of(
        parts: &BTreeMap<Part, Arc<CachedPart>>,
        sources: &Sources,
        priced: impl Fn(PriceKey) -> bool,
    ) -> Result<Self, CorruptHoldings> {
        let mut assets = BTreeMap::new();
        let mut others = BTreeSet::new();
        let mut doubtful = BTreeMap::new();
        for (part, cached) in parts {
            let holdings = Holdings::decode(&cached.bytes)?;
            let shown = shown_tokens(&holdings);
            for (at, token) in holdings.tokens.iter().enumerate() {
                if !shown.contains(&at) {
                    continue;
                }
                let key = holdings.price_key(token);
                let scaled = token.scaled;
                let parts = BTreeSet::from([*part]);
                let Some((quote, terms)) = sources.first_for(&holdings, token) else {
                    others.insert(key);
                    continue;
                };
                let asset = WantedAsset {
                    quote,
                    terms,
                    scaled,
                    parts,
                };
                let plausible =
                    terms.curated || token.verified || *part == Part::Defi || priced(key);
                let kind = if plausible {
                    &mut assets
                } else {
                    &mut doubtful
                };
                put(kind, key, asset);
            }
        }
        if doubtful.len() <= MAX_DOUBTFUL {
            for (key, asset) in doubtful {
                put(&mut assets, key, asset);
            }
        }
        others.retain(|key| !assets.contains_key(key));
        Ok(Self { assets, others })
    }

    /// All of them, by price key.
    pub fn iter(&self) -> impl Iterator<Item = (PriceKey, &WantedAsset)> {
        self.assets.iter().map(|(key, asset)| (*key, asset))
    }

    /// Shown assets whose prices come with the holdings alone.
    pub fn others(&self) -> impl Iterator<Item = PriceKey> {
        self.others.iter().copied()
    }

    /// Returns one of them.
    pub fn get(&self, key: PriceKey) -> Option<&WantedAsset> {
        self.assets.get(&key)
    }

    /// Returns what the price book shall keep fresh for this wallet, by
    /// currency: what a curated provider lists, and of the others what has a
    /// price.
    pub fn tracked(
        &self,
        currency: Currency,
        priced: impl Fn(PriceKey) -> bool,
    ) -> BTreeMap<Currency, Vec<QuoteKey>> {
        let mut tracked: BTreeMap<Currency, Vec<QuoteKey>> = BTreeMap::new();
        for (key, asset) in self.iter() {
            if !asset.terms.curated && !priced(key) {
                continue;
            }
            let of = asset.terms.currency(currency);
            tracked.entry(of).or_default().push(asset.quote.clone());
        }
        tracked
    }
}

fn put(assets: &mut BTreeMap<PriceKey, WantedAsset>, key: PriceKey, asset: WantedAsset) {
    let parts = asset.parts.clone();
    assets.entry(key).or_insert(asset).parts.extend(parts);
}

/// Indices of tokens of which some position is shown to people.
fn shown_tokens(holdings: &Holdings<'_>) -> BTreeSet<usize> {
    let positions = holdings.positions.iter();
    let shown = positions.filter(|position| position.displayable && !position.trash);
    shown.map(|position| position.token as usize).collect()
}
