//! The tokens the fakes know: true names, contracts, decimals and CoinMarketCap ids.

pub mod chains;
mod derivatives;
mod ecosystems;
mod governance;
mod memes;
mod natives;
mod solana;
mod stablecoins;
mod unlisted;

use std::sync::LazyLock;

/// A token on one chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Implementation {
    /// Zerion's id of the chain.
    pub chain: &'static str,
    /// The contract; `None` for the chain's own coin.
    pub address: Option<&'static str>,
    pub decimals: u8,
}

/// A coin's entry at CoinMarketCap.
#[derive(Clone, Copy, Debug)]
pub struct Listing {
    pub id: u32,
    pub slug: &'static str,
    /// Zerion's id of the chain CoinMarketCap names as the primary one; `None` for a coin
    /// that has a chain of its own.
    pub chain: Option<&'static str>,
    pub supply: f64,
    pub max_supply: Option<f64>,
}

/// One asset with all its chains.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    pub symbol: &'static str,
    pub name: &'static str,
    /// Zerion's id of the fungible.
    pub zerion_id: &'static str,
    /// The id DeFiLlama accepts after `coingecko:`.
    pub coingecko: Option<&'static str>,
    /// The price around which every quote moves, in US dollars.
    pub usd: f64,
    /// Change over the last day in percent.
    pub change_24h: f64,
    /// `None` for what CoinMarketCap does not list.
    pub listing: Option<Listing>,
    pub implementations: &'static [Implementation],
}

impl Asset {
    /// The asset as it exists on a chain.
    pub fn on(&self, chain: &str) -> Option<&'static Implementation> {
        self.implementations.iter().find(|i| i.chain == chain)
    }

    /// The decimals on a chain, or those of the first chain for one it is not known on.
    pub fn decimals_on(&self, chain: &str) -> u8 {
        self.on(chain)
            .or(self.implementations.first())
            .map_or(18, |i| i.decimals)
    }
}

/// A token contract. Its address is lower case on every chain that ignores case.
const fn token(chain: &'static str, address: &'static str, decimals: u8) -> Implementation {
    Implementation {
        chain,
        address: Some(address),
        decimals,
    }
}

/// The coin of an EVM chain, which Zerion gives without an address.
const fn native(chain: &'static str) -> Implementation {
    Implementation {
        chain,
        address: None,
        decimals: 18,
    }
}

static ASSETS: LazyLock<Vec<&'static Asset>> = LazyLock::new(|| {
    [
        natives::NATIVES,
        stablecoins::STABLECOINS,
        derivatives::DERIVATIVES,
        governance::GOVERNANCE,
        ecosystems::ECOSYSTEMS,
        memes::MEMES,
        solana::SOLANA,
        unlisted::UNLISTED,
    ]
    .into_iter()
    .flatten()
    .collect()
});

/// Every asset, the coins that pay for gas first.
pub fn all() -> &'static [&'static Asset] {
    &ASSETS
}

/// The asset with this symbol. The catalogue holds each symbol once.
pub fn by_symbol(symbol: &str) -> Option<&'static Asset> {
    all().iter().copied().find(|asset| asset.symbol == symbol)
}

/// The tags CoinMarketCap would give, as slug, name and category.
pub fn tags(asset: &Asset) -> &'static [(&'static str, &'static str, &'static str)] {
    let has = |list: &[Asset]| list.iter().any(|a| a.symbol == asset.symbol);
    if has(natives::NATIVES) {
        &[("layer-1", "Layer 1", "CATEGORY")]
    } else if has(stablecoins::STABLECOINS) {
        &[("stablecoin", "Stablecoin", "CATEGORY")]
    } else if has(governance::GOVERNANCE) {
        &[
            ("defi", "DeFi", "CATEGORY"),
            ("governance", "Governance", "CATEGORY"),
        ]
    } else if has(memes::MEMES) {
        &[("memes", "Memes", "INDUSTRY")]
    } else {
        &[]
    }
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
            for i in asset.implementations {
                if let Some(address) = i.address {
                    assert!(contracts.insert((i.chain, address)), "{}", asset.symbol);
                }
            }
        }
        assert!(all().len() >= 60);
    }

    #[test]
    fn contracts_have_the_form_of_their_chain() {
        for i in all().iter().flat_map(|a| a.implementations) {
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
