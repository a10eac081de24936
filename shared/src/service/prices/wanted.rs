//! The assets of an answer whose prices can be refreshed, and by whom.

use std::{collections::BTreeMap, sync::Arc};

use super::sources::Sources;
use crate::{
    cache::CachedPart,
    domain::{
        currency::Currency, holdings::Holdings, price::PriceKey, price_book::QuoteKey,
        provider::Provider, scope::Part,
    },
    upstream::{QuoteProvider, QuoteTerms},
};

/// A wallet with more tokens than this that have no price, that the provider
/// does not vouch for and that no protocol holds is full of spam: they are not
/// asked for.
const MAX_DOUBTFUL: usize = 100;

/// An asset whose price can be refreshed. Small: large wallets have thousands, and
/// most answers refresh none.
#[derive(Clone, Copy, Debug)]
pub(super) struct WantedAsset {
    /// The place of the provider that is asked for it among the sources.
    source: u8,
    /// Whether its amounts are multiples of what other sources price.
    pub scaled: bool,
    /// The parts that hold it.
    pub parts: PartSet,
    /// The part that tells what it is,
    part: Part,
    /// and its token there.
    token: u32,
}

/// Some parts of a wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PartSet(u8);

impl PartSet {
    fn of(part: Part) -> Self {
        Self(1 << part as u8)
    }

    fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Returns whether a part is among them.
    pub fn contains(self, part: Part) -> bool {
        self.0 & Self::of(part).0 != 0
    }
}

/// The assets of a wallet whose prices can be refreshed.
pub(super) struct Wanted<'w> {
    held: &'w BTreeMap<Part, Arc<CachedPart>>,
    sources: &'w Sources,
    /// The sources' terms.
    terms: Vec<QuoteTerms>,
    /// By key.
    assets: Vec<(PriceKey, WantedAsset)>,
    /// Shown assets that no source can be asked for.
    others: Vec<PriceKey>,
}

impl<'w> Wanted<'w> {
    /// Returns those that a curated provider lists and, of what others may know,
    /// those that have a price already (`priced`), are vouched for or
    /// belong to a protocol; and the rest only where it is not spam by the
    /// hundred. Trash and what the provider does not display are never asked
    /// for.
    pub fn of(
        held: &'w BTreeMap<Part, Arc<CachedPart>>,
        sources: &'w Sources,
        priced: impl Fn(PriceKey) -> bool,
    ) -> Self {
        let terms: Vec<QuoteTerms> = sources.iter().map(QuoteProvider::terms).collect();
        let (mut assets, mut others, mut doubtful) = (Vec::new(), Vec::new(), Vec::new());
        for (part, cached) in held {
            let (decoded, holdings) = (cached.holdings.decoded(), cached.holdings.holdings());
            let shown = shown_tokens(holdings);
            let tokens = (0..).zip(&holdings.tokens).zip(decoded.keys()).zip(shown);
            for (((index, token), key), _) in tokens.filter(|(_, shown)| *shown) {
                let key = *key;
                let Some(source) = sources.first_for(holdings, token) else {
                    others.push(key);
                    continue;
                };
                let asset = WantedAsset {
                    source,
                    scaled: token.scaled,
                    parts: PartSet::of(*part),
                    part: *part,
                    token: index,
                };
                let curated = terms[usize::from(source)].curated;
                let plausible = curated || token.verified || *part == Part::Defi || priced(key);
                match plausible {
                    true => assets.push((key, asset)),
                    false => doubtful.push((key, asset)),
                }
            }
        }
        doubtful = unique(doubtful);
        if doubtful.len() <= MAX_DOUBTFUL {
            assets.append(&mut doubtful);
        }
        let mut wanted = Self {
            held,
            sources,
            terms,
            assets: unique(assets),
            others: Vec::new(),
        };
        others.sort_unstable();
        others.dedup();
        others.retain(|key| wanted.get(*key).is_none());
        wanted.others = others;
        wanted
    }

    /// Returns the terms of the provider that is asked for an asset.
    pub fn terms(&self, asset: &WantedAsset) -> &QuoteTerms {
        &self.terms[usize::from(asset.source)]
    }

    /// Returns whether a provider is asked for an asset.
    pub fn is_asked(&self, provider: Provider, asset: &WantedAsset) -> bool {
        let source = self.sources.at(asset.source);
        source.is_some_and(|source| source.provider() == provider)
    }

    /// Returns what the provider that is asked for an asset calls it.
    pub fn quote(&self, asset: &WantedAsset) -> Option<QuoteKey> {
        let source = self.sources.at(asset.source)?;
        let holdings = self.held.get(&asset.part)?.holdings.holdings();
        let token = holdings.tokens.get(asset.token as usize)?;
        Some(QuoteKey {
            provider: source.provider(),
            id: source.id(holdings, token)?,
        })
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
        let at = self.assets.binary_search_by_key(&key, |(key, _)| *key);
        Some(&self.assets[at.ok()?].1)
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
            let terms = self.terms(asset);
            if !terms.curated && !priced(key) {
                continue;
            }
            let of = terms.currency(currency);
            tracked.entry(of).or_default().extend(self.quote(asset));
        }
        tracked
    }
}

/// Returns assets by key, each once with all of its parts.
fn unique(mut assets: Vec<(PriceKey, WantedAsset)>) -> Vec<(PriceKey, WantedAsset)> {
    // Stable: of two the one that was found first stays.
    assets.sort_by_key(|(key, _)| *key);
    assets.dedup_by(|(key, again), (kept, asset)| {
        let same = key == kept;
        if same {
            asset.parts.add(again.parts);
        }
        same
    });
    assets
}

/// Returns for each token whether some position of it is shown to people.
fn shown_tokens(holdings: &Holdings<'_>) -> Vec<bool> {
    let mut shown = vec![false; holdings.tokens.len()];
    for position in &holdings.positions {
        shown[position.token as usize] |= position.displayable && !position.trash;
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_those_that_were_added() {
        let mut parts = PartSet::of(Part::Wallet);
        assert!(parts.contains(Part::Wallet) && !parts.contains(Part::Defi));
        parts.add(PartSet::of(Part::Defi));
        assert!(parts.contains(Part::Wallet) && parts.contains(Part::Defi));
        let other = PartSet::of(Part::Defi);
        assert!(other.contains(Part::Defi) && !other.contains(Part::Wallet));
    }
}
