//! The chains, under the names each of the three services gives them.

/// The id that `platform` has on CoinMarketCap, with its name, symbol and slug.
#[derive(Clone, Copy, Debug)]
pub struct CmcPlatform {
    pub id: u32,
    pub name: &'static str,
    pub symbol: &'static str,
    pub slug: &'static str,
}

/// One chain as Zerion and DeFiLlama call it.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    pub zerion: &'static str,
    pub defillama: &'static str,
    /// Whether DeFiLlama prices the native coin under the zero address.
    pub zero_address: bool,
}

const fn chain(zerion: &'static str, defillama: &'static str) -> Chain {
    Chain {
        zerion,
        defillama,
        zero_address: false,
    }
}

const fn zero(zerion: &'static str, defillama: &'static str) -> Chain {
    Chain {
        zerion,
        defillama,
        zero_address: true,
    }
}

/// Every chain whose id the positions endpoint of Zerion accepts in `filter[chain_ids]`.
pub const CHAINS: &[Chain] = &[
    chain("0g", "0g"),
    chain("abstract", "abstract"),
    chain("ape", "apechain"),
    zero("arbitrum", "arbitrum"),
    chain("aurora", "aurora"),
    zero("avalanche", "avax"),
    zero("base", "base"),
    chain("berachain", "berachain"),
    zero("binance-smart-chain", "bsc"),
    chain("blast", "blast"),
    chain("celo", "celo"),
    zero("ethereum", "ethereum"),
    chain("fantom", "fantom"),
    chain("gravity-alpha", "gravity"),
    chain("hyperevm", "hyperliquid"),
    chain("ink", "ink"),
    chain("katana", "katana"),
    chain("lens", "lens"),
    zero("linea", "linea"),
    chain("mantle", "mantle"),
    chain("megaeth", "megaeth"),
    chain("monad", "monad"),
    zero("optimism", "optimism"),
    chain("plasma", "plasma"),
    zero("polygon", "polygon"),
    chain("polygon-zkevm", "polygon_zkevm"),
    chain("robinhood", "robinhood"),
    zero("scroll", "scroll"),
    chain("solana", "solana"),
    chain("somnia", "somnia"),
    chain("soneium", "soneium"),
    chain("sonic", "sonic"),
    chain("tempo", "tempo"),
    zero("unichain", "unichain"),
    chain("world", "wc"),
    zero("xdai", "xdai"),
    zero("zksync-era", "era"),
    chain("zora", "zora"),
];

/// The chain with this Zerion id.
pub fn by_zerion_id(id: &str) -> Option<&'static Chain> {
    CHAINS.iter().find(|chain| chain.zerion == id)
}

/// The chain with this DeFiLlama slug; `gnosis` is the accepted alias of `xdai`.
pub fn by_defillama_slug(slug: &str) -> Option<&'static Chain> {
    let slug = if slug == "gnosis" { "xdai" } else { slug };
    CHAINS.iter().find(|chain| chain.defillama == slug)
}

/// The platform CoinMarketCap files the tokens of this chain under.
pub fn cmc_platform(zerion_id: &str) -> Option<CmcPlatform> {
    let (id, name, symbol, slug) = match zerion_id {
        "ethereum" => (1027, "Ethereum", "ETH", "ethereum"),
        "binance-smart-chain" => (1839, "BNB Smart Chain (BEP20)", "BNB", "bnb"),
        "arbitrum" => (11841, "Arbitrum", "ARB", "arbitrum"),
        "optimism" => (11840, "Optimism", "OP", "optimism-ethereum"),
        "base" => (27716, "Base", "BASE", "base"),
        "avalanche" => (5805, "Avalanche C-Chain", "AVAX", "avalanche"),
        "polygon" => (3890, "Polygon", "POL", "polygon"),
        "solana" => (5426, "Solana", "SOL", "solana"),
        "celo" => (5567, "Celo", "CELO", "celo"),
        "zksync-era" => (24091, "ZKsync Era", "ZK", "zksync"),
        "scroll" => (26998, "Scroll", "SCR", "scroll"),
        "blast" => (28480, "Blast", "BLAST", "blast"),
        _ => return None,
    };
    Some(CmcPlatform {
        id,
        name,
        symbol,
        slug,
    })
}
