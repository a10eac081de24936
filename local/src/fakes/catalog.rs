//! The tokens the fakes know: true names, contracts, decimals and CoinMarketCap ids, read
//! from `data/assets.json`.

pub mod chains;

use std::sync::LazyLock;

use serde::Deserialize;

/// A token on one chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Implementation {
    /// Zerion's id of the chain.
    pub chain: &'static str,
    /// The contract, in lower case on every chain that ignores case; `None` for the chain's
    /// own coin.
    pub address: Option<&'static str>,
    pub decimals: u8,
}

/// A coin's entry at CoinMarketCap.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listing {
    pub id: u32,
    pub slug: &'static str,
    /// Zerion's id of the chain CoinMarketCap names as the primary one; `None` for a coin
    /// that has a chain of its own.
    pub chain: Option<&'static str>,
    /// The contract on that chain where CoinMarketCap writes it with the mixed case of the
    /// checksum; `None` where it does not.
    pub checksummed: Option<&'static str>,
    pub supply: f64,
    pub max_supply: Option<f64>,
}

/// What kind of asset CoinMarketCap's tags say it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    #[serde(rename = "layer-1")]
    Layer1,
    Stablecoin,
    Governance,
    Meme,
}

/// One asset with all its chains.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asset {
    pub symbol: &'static str,
    pub name: &'static str,
    /// Zerion's id of the fungible.
    pub zerion_id: &'static str,
    /// The id DeFiLlama accepts after `coingecko:`.
    pub coingecko: Option<&'static str>,
    /// `None` for what CoinMarketCap does not tag.
    pub category: Option<Category>,
    /// The price around which every quote moves, in US dollars.
    pub usd: f64,
    /// Change over the last day in percent.
    pub change_24h: f64,
    /// `None` for what CoinMarketCap does not list.
    pub listing: Option<Listing>,
    pub implementations: Vec<Implementation>,
}

impl Asset {
    /// The asset as it exists on a chain.
    pub fn on(&self, chain: &str) -> Option<&Implementation> {
        self.implementations.iter().find(|i| i.chain == chain)
    }

    /// The decimals on a chain, or those of the first chain for one it is not known on.
    pub fn decimals_on(&self, chain: &str) -> u8 {
        self.on(chain)
            .or(self.implementations.first())
            .map_or(18, |i| i.decimals)
    }

    /// The tags CoinMarketCap would give, as slug, name and category.
    pub fn tags(&self) -> &'static [(&'static str, &'static str, &'static str)] {
        match self.category {
            Some(Category::Layer1) => &[("layer-1", "Layer 1", "CATEGORY")],
            Some(Category::Stablecoin) => &[("stablecoin", "Stablecoin", "CATEGORY")],
            Some(Category::Governance) => &[
                ("defi", "DeFi", "CATEGORY"),
                ("governance", "Governance", "CATEGORY"),
            ],
            Some(Category::Meme) => &[("memes", "Memes", "INDUSTRY")],
            None => &[],
        }
    }
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../data/assets.json"))
        .unwrap_or_else(|error| panic!("data/assets.json: {error}"))
});

/// Every asset, the coins that pay for gas first.
pub fn all() -> &'static [Asset] {
    &ASSETS
}

/// The asset with this symbol. The catalogue holds each symbol once.
pub fn by_symbol(symbol: &str) -> Option<&'static Asset> {
    all().iter().find(|asset| asset.symbol == symbol)
}

/// The asset with this id at Zerion.
pub fn by_zerion_id(id: &str) -> Option<&'static Asset> {
    all().iter().find(|asset| asset.zerion_id == id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_symbol_id_and_contract_is_listed_once() {
        let (mut symbols, mut ids, mut contracts) =
            (HashSet::new(), HashSet::new(), HashSet::new());
        for asset in all() {
            assert!(symbols.insert(asset.symbol), "{}", asset.symbol);
            if let Some(listing) = asset.listing {
                assert!(ids.insert(listing.id), "{}", asset.symbol);
            }
            for i in &asset.implementations {
                if let Some(address) = i.address {
                    assert!(contracts.insert((i.chain, address)), "{}", asset.symbol);
                }
            }
        }
        assert!(all().len() >= 60);
    }

    #[test]
    fn contracts_have_the_form_of_their_chain() {
        for i in all().iter().flat_map(|a| &a.implementations) {
            assert!(chains::by_zerion_id(i.chain).is_some(), "{}", i.chain);
            let Some(address) = i.address else { continue };
            if i.chain == "solana" {
                assert!((32..=44).contains(&address.len()), "{address}");
            } else {
                assert_eq!(address.len(), 42, "{address}");
                assert_eq!(address, address.to_lowercase());
            }
        }
    }

    #[test]
    fn a_primary_chain_holds_the_contract_and_has_a_platform() {
        for asset in all() {
            let Some(chain) = asset.listing.and_then(|l| l.chain) else {
                continue;
            };
            assert!(asset.on(chain).is_some(), "{}", asset.symbol);
            assert!(chains::cmc_platform(chain).is_some(), "{}", asset.symbol);
        }
    }

    #[test]
    fn decimals_differ_between_chains() {
        let usdc = by_symbol("USDC").expect("in the catalogue");
        assert_eq!(usdc.decimals_on("ethereum"), 6);
        assert_eq!(usdc.decimals_on("binance-smart-chain"), 18);
        assert_eq!(
            by_symbol("DAI").map(|dai| dai.decimals_on("solana")),
            Some(8)
        );
    }
}
