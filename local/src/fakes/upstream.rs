//! The names of the three services.

/// One of the three services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Upstream {
    /// What wallets hold, with prices.
    Zerion,
    /// Prices by coin, and the map of coins.
    CoinMarketCap,
    /// Prices by contract, in US dollars only.
    DefiLlama,
}

impl Upstream {
    /// The service with this name in lower case.
    pub fn by_name(name: &str) -> Option<Self> {
        match name {
            "zerion" => Some(Self::Zerion),
            "coinmarketcap" => Some(Self::CoinMarketCap),
            "defillama" => Some(Self::DefiLlama),
            _ => None,
        }
    }
}
