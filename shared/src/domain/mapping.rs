//! From a wallet's assets to CoinMarketCap's ids.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    belief::agree,
    chain::is_native,
    draft::{Implementation, Row},
    number::Number,
    price::CmcId,
};

/// Finds CoinMarketCap's id of an asset.
pub trait AssetResolver {
    /// The id of the asset that exists under `address` on `chain`; no address
    /// means the chain's native coin.
    fn resolve(&self, chain: &str, address: Option<&str>) -> Option<CmcId>;
}

/// Resolves nothing.
pub struct NoAssets;

impl AssetResolver for NoAssets {
    fn resolve(&self, _: &str, _: Option<&str>) -> Option<CmcId> {
        None
    }
}

/// What tells assets apart: the provider's id, or the row itself.
pub(super) fn asset_key(row: &Row) -> String {
    match &row.fungible {
        Some(id) => id.clone(),
        None => format!("{}\n{}\n{}", row.id, row.chain, row.symbol),
    }
}

/// The native coin, a contract, or nothing known, of an asset on one chain.
pub(super) fn location<'a>(
    chain: &str,
    implementations: &'a [Implementation],
) -> Option<(Option<&'a str>, Option<u16>)> {
    let here = implementations.iter().find(|known| known.chain == chain)?;
    let contract = here
        .address
        .as_deref()
        .filter(|address| !is_native(chain, address));
    Some((contract, here.decimals))
}

/// CoinMarketCap's id by the row's own chain, else by any chain of the asset.
fn resolve(chain: &str, known: &[Implementation], assets: &dyn AssetResolver) -> Option<CmcId> {
    let on = |chain: &str| {
        let (address, _) = location(chain, known)?;
        assets.resolve(chain, address)
    };
    on(chain).or_else(|| known.iter().find_map(|elsewhere| on(&elsewhere.chain)))
}

/// The ids of a wallet's assets.
///
/// Two assets under one id share one price. Where the provider's own prices of
/// them are too far apart for that, one of them is mapped wrongly, and neither
/// has the id.
#[derive(Default)]
pub struct Mapping<'a> {
    /// By asset and chain: a token may be listed by itself on one of its
    /// asset's chains.
    ids: HashMap<(String, &'a str), CmcId>,
    ambiguous: BTreeMap<CmcId, BTreeSet<String>>,
}

impl<'a> Mapping<'a> {
    pub(super) fn of(
        rows: impl Iterator<Item = (&'a Row, &'a [Implementation])>,
        assets: &dyn AssetResolver,
    ) -> Self {
        let mut mapping = Self::default();
        // The lowest and the highest price of each, whatever the order of rows.
        let mut prices: HashMap<CmcId, (Number, Number)> = HashMap::new();
        for (row, implementations) in rows {
            let key = (asset_key(row), row.chain.as_str());
            let known = mapping.ids.get(&key).copied();
            let Some(id) = known.or_else(|| resolve(&row.chain, implementations, assets)) else {
                continue;
            };
            if let Some(price) = row.price {
                let (low, high) = prices.entry(id).or_insert((price, price));
                if price.compare(*low, 1).is_lt() {
                    *low = price;
                } else if price.compare(*high, 1).is_gt() {
                    *high = price;
                }
                if !agree(*low, *high) {
                    mapping.ambiguous.entry(id).or_default();
                }
            }
            mapping.ids.insert(key, id);
        }
        for ((asset, _), id) in &mapping.ids {
            if let Some(assets) = mapping.ambiguous.get_mut(id) {
                assets.insert(asset.clone());
            }
        }
        let ambiguous = &mapping.ambiguous;
        mapping.ids.retain(|_, id| !ambiguous.contains_key(id));
        mapping
    }

    /// Ids that assets with very different prices resolve to, with those
    /// assets' own ids: none of them has the id.
    pub fn ambiguous(&self) -> impl Iterator<Item = (CmcId, &BTreeSet<String>)> {
        self.ambiguous.iter().map(|(id, assets)| (*id, assets))
    }

    pub(super) fn id(&self, row: &'a Row) -> Option<CmcId> {
        let key = (asset_key(row), row.chain.as_str());
        self.ids.get(&key).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Everything;

    impl AssetResolver for Everything {
        fn resolve(&self, _: &str, _: Option<&str>) -> Option<CmcId> {
            Some(CmcId(1027))
        }
    }

    #[test]
    fn assets_with_different_prices_do_not_share_an_id() {
        let row = |fungible: &str, price| Row {
            fungible: Some(fungible.to_owned()),
            chain: "ethereum".to_owned(),
            price: Number::parse(price),
            ..Row::default()
        };
        let here = [Implementation {
            chain: "ethereum".to_owned(),
            address: None,
            decimals: None,
        }];
        let ids = |rows: &[Row]| -> Vec<Option<CmcId>> {
            let mapping = Mapping::of(rows.iter().map(|row| (row, &here[..])), &Everything);
            rows.iter().map(|row| mapping.id(row)).collect()
        };
        let id = Some(CmcId(1027));
        assert_eq!(ids(&[row("a", "3000"), row("b", "2990")]), [id, id]);
        assert_eq!(ids(&[row("a", "3000"), row("b", "1.5")]), [None, None]);
        assert_eq!(ids(&[row("a", "3000"), row("b", "")]), [id, id]);
        // Each is near the one between, whichever comes first.
        let mut rows = [row("a", "1"), row("b", "5"), row("c", "0.3")];
        assert_eq!(ids(&rows), [None; 3]);
        rows.reverse();
        assert_eq!(ids(&rows), [None; 3]);
    }
}
