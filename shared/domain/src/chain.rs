//! The one table of chains: what Zerion, CoinMarketCap and DeFiLlama call each.
//!
//! Sources: Zerion ids and DeFi coverage from its "supported blockchains" page
//! and recorded `/v1/chains` answers (2026); DeFiLlama slugs from its adapters'
//! chain list; CoinMarketCap platforms by slug or display name as `platform`
//! shows them in `/v1/cryptocurrency/map`; native coins by their recorded ids,
//! else by the slug of their page. CoinMarketCap's numeric platform ids are not
//! used: several could not be confirmed. A native coin counts only where the
//! map lists the id or slug under the symbol given here. Tempo has no native
//! coin; those of the few other chains without one here are not listed.

use crate::price::CmcId;

/// Whether Zerion lists DeFi positions on a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefiCoverage {
    /// It does.
    Covered,
    /// It says that it does not (yet).
    NotCovered,
    /// Not stated.
    Unknown,
}

/// A chain's native coin at CoinMarketCap, with its symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Native {
    /// By id.
    Id(u32, &'static str),
    /// By the slug of its page.
    Slug(&'static str, &'static str),
}

impl Native {
    /// Whether a coin of the map is meant.
    pub fn is(&self, id: CmcId, slug: &str, symbol: &str) -> bool {
        match self {
            Self::Id(own, called) => CmcId(*own) == id && *called == symbol,
            Self::Slug(own, called) => *own == slug && *called == symbol,
        }
    }

    /// Returns its symbol.
    pub fn symbol(&self) -> &'static str {
        match self {
            Self::Id(_, symbol) | Self::Slug(_, symbol) => symbol,
        }
    }
}

/// A chain under each provider's name.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    /// Zerion's id, which is also this API's.
    pub id: &'static str,
    /// Whether Zerion lists DeFi positions on it.
    pub defi: DefiCoverage,
    /// DeFiLlama's slug, the part before the colon of its price keys.
    pub defillama: &'static str,
    platforms: &'static [&'static str],
    natives: &'static [Native],
}

impl Chain {
    /// The chain with this Zerion id.
    pub fn by_id(id: &str) -> Option<&'static Self> {
        let at = CHAINS.binary_search_by(|chain| chain.id.cmp(id)).ok()?;
        Some(&CHAINS[at])
    }

    /// Every chain's id.
    #[cfg(feature = "openapi")]
    pub fn ids() -> impl Iterator<Item = &'static str> {
        CHAINS.iter().map(|chain| chain.id)
    }

    /// The chain that CoinMarketCap means by a platform's slug and name.
    pub fn by_platform(slug: &str, name: &str) -> Option<&'static Self> {
        let (slug, name) = (slug.to_ascii_lowercase(), name.to_ascii_lowercase());
        let called = |wanted: &str| {
            CHAINS
                .iter()
                .find(|chain| chain.platforms.contains(&wanted))
                .or_else(|| Self::by_id(wanted))
        };
        called(&slug).or_else(|| called(&name))
    }

    /// Its native coin at CoinMarketCap; several where the coin was replaced,
    /// the newest first.
    pub fn natives(&self) -> &'static [Native] {
        self.natives
    }

    /// All chains, ordered by id.
    pub fn all() -> &'static [Self] {
        CHAINS
    }
}

/// Addresses that stand for a chain's native coin, besides none at all.
const NATIVE_PLACEHOLDERS: [&str; 6] = [
    "0x0000000000000000000000000000000000000000",
    "0xeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
    // Polygon's, Celo's, and that of Mantle and Metis.
    "0x0000000000000000000000000000000000001010",
    "0x471ece3750da237f93b8e339c536989b8978a438",
    "0xdeaddeaddeaddeaddeaddeaddeaddeaddead0000",
    // Solana's.
    "11111111111111111111111111111111",
];

/// Whether `address` on `chain` means the chain's native coin.
pub fn is_native(chain: &str, address: &str) -> bool {
    let only_on = |chains: &[&str]| chains.contains(&chain);
    match NATIVE_PLACEHOLDERS
        .iter()
        .position(|placeholder| placeholder.eq_ignore_ascii_case(address))
    {
        None => address.is_empty(),
        Some(2) => only_on(&["polygon"]),
        Some(3) => only_on(&["celo"]),
        Some(4) => only_on(&["mantle", "metis-andromeda"]),
        Some(5) => only_on(&["solana"]),
        Some(_) => chain != "solana",
    }
}

const fn chain(
    id: &'static str,
    defi: DefiCoverage,
    defillama: &'static str,
    platforms: &'static [&'static str],
    natives: &'static [Native],
) -> Chain {
    Chain {
        id,
        defi,
        defillama,
        platforms,
        natives,
    }
}

use DefiCoverage::{Covered, NotCovered, Unknown};
use Native::{Id, Slug};

const ETH: &[Native] = &[Id(1027, "ETH")];

/// Ordered by id.
const CHAINS: &[Chain] = &[
    chain(
        "0g",
        NotCovered,
        "0g",
        &["0g"],
        &[Slug("zero-gravity", "0G")],
    ),
    chain("abstract", NotCovered, "abstract", &["abstract"], ETH),
    chain(
        "ape",
        NotCovered,
        "apechain",
        &["apechain"],
        &[Slug("apecoin-ape", "APE")],
    ),
    chain(
        "arbitrum",
        Covered,
        "arbitrum",
        &["arbitrum", "arbitrum one"],
        ETH,
    ),
    chain("astar-zkevm", Unknown, "astrzk", &[], ETH),
    chain("aurora", NotCovered, "aurora", &["aurora"], ETH),
    chain(
        "avalanche",
        Covered,
        "avax",
        &["avalanche", "avalanche c-chain"],
        &[Id(5805, "AVAX")],
    ),
    chain("base", Covered, "base", &["base"], ETH),
    chain(
        "berachain",
        Covered,
        "berachain",
        &["berachain"],
        &[Slug("berachain", "BERA")],
    ),
    chain(
        "binance-smart-chain",
        Covered,
        "bsc",
        &["bnb", "binance-coin", "bnb smart chain (bep20)"],
        &[Id(1839, "BNB")],
    ),
    chain("blast", Covered, "blast", &["blast"], ETH),
    chain("bob", Unknown, "bob", &[], ETH),
    chain("celo", Covered, "celo", &["celo"], &[Id(5567, "CELO")]),
    chain("cronos-zkevm", Unknown, "cronos_zkevm", &[], &[]),
    chain("cyber", Unknown, "cyeth", &[], ETH),
    chain(
        "degen",
        Unknown,
        "degen",
        &[],
        &[Slug("degen-base", "DEGEN")],
    ),
    chain("ethereum", Covered, "ethereum", &["ethereum"], ETH),
    chain("fantom", Covered, "fantom", &["fantom"], &[Id(3513, "FTM")]),
    chain("fraxtal", Unknown, "fraxtal", &[], &[]),
    chain(
        "gravity-alpha",
        NotCovered,
        "gravity",
        &["gravity alpha mainnet"],
        &[Slug("gravity-token", "G")],
    ),
    chain(
        "hyperevm",
        Covered,
        "hyperliquid",
        &["hyperevm", "hyperliquid"],
        &[Slug("hyperliquid", "HYPE")],
    ),
    chain("ink", NotCovered, "ink", &["ink"], ETH),
    chain("katana", Covered, "katana", &["katana"], ETH),
    chain("lens", NotCovered, "lens", &["lens"], &[Slug("gho", "GHO")]),
    chain("linea", Covered, "linea", &["linea"], ETH),
    chain("lisk", Unknown, "lisk", &[], ETH),
    chain("manta-pacific", Unknown, "manta", &["manta pacific"], ETH),
    chain(
        "mantle",
        Covered,
        "mantle",
        &["mantle"],
        &[Slug("mantle", "MNT")],
    ),
    chain("megaeth", Covered, "megaeth", &["megaeth"], ETH),
    chain(
        "metis-andromeda",
        Unknown,
        "metis",
        &["metis andromeda"],
        &[Slug("metisdao", "METIS")],
    ),
    chain("mode", Unknown, "mode", &[], ETH),
    chain(
        "monad",
        Covered,
        "monad",
        &["monad"],
        &[Slug("monad", "MON")],
    ),
    chain(
        "okbchain",
        Unknown,
        "xlayer",
        &["x layer", "xlayer"],
        &[Slug("okb", "OKB")],
    ),
    chain("opbnb", Unknown, "op_bnb", &["opbnb"], &[Id(1839, "BNB")]),
    chain(
        "optimism",
        Covered,
        "optimism",
        &["optimism", "optimism-ethereum"],
        ETH,
    ),
    chain(
        "plasma",
        NotCovered,
        "plasma",
        &["plasma"],
        &[Slug("plasma", "XPL")],
    ),
    chain(
        "polygon",
        Covered,
        "polygon",
        &["polygon", "matic-network", "polygon-ecosystem-token"],
        &[Id(28321, "POL"), Id(3890, "MATIC")],
    ),
    chain(
        "polygon-zkevm",
        Covered,
        "polygon_zkevm",
        &["polygon zkevm"],
        ETH,
    ),
    chain("polynomial", Unknown, "polynomial", &[], ETH),
    chain("rari", Unknown, "rari", &[], ETH),
    chain("re-al", Unknown, "real", &[], &[]),
    chain("redstone", Unknown, "redstone", &[], ETH),
    chain("robinhood", NotCovered, "robinhood", &["robinhood"], ETH),
    chain("ronin", Unknown, "ronin", &[], &[Slug("ronin", "RON")]),
    chain("scroll", Covered, "scroll", &["scroll"], ETH),
    chain(
        "solana",
        NotCovered,
        "solana",
        &["solana"],
        &[Id(5426, "SOL")],
    ),
    chain(
        "somnia",
        NotCovered,
        "somnia",
        &["somnia"],
        &[Slug("somnia", "SOMI")],
    ),
    chain("soneium", Covered, "soneium", &["soneium"], ETH),
    chain(
        "sonic",
        NotCovered,
        "sonic",
        &["sonic"],
        &[Slug("sonic", "S")],
    ),
    chain("taiko", Unknown, "taiko", &[], ETH),
    chain("tempo", NotCovered, "tempo", &["tempo"], &[]),
    chain(
        "tomochain",
        Unknown,
        "tomochain",
        &[],
        &[Slug("viction", "VIC")],
    ),
    chain("unichain", Covered, "unichain", &["unichain"], ETH),
    chain("world", Covered, "wc", &["world chain", "worldchain"], ETH),
    chain(
        "xdai",
        Covered,
        "xdai",
        &["gnosis-gno", "gnosis", "xdai", "gnosis chain"],
        &[Slug("xdaistable", "XDAI")],
    ),
    chain("zero", Unknown, "zero_network", &[], ETH),
    chain("zklink-nova", Unknown, "zklink", &[], ETH),
    chain("zksync-era", Covered, "era", &["zksync", "zksync era"], ETH),
    chain("zora", NotCovered, "zora", &["zora"], ETH),
];

#[cfg(test)]
mod tests;
