//! The services that are asked, by name.

use std::fmt;

/// A service that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    /// What wallets hold.
    Zerion,
    /// Prices.
    CoinMarketCap,
    /// Prices of what CoinMarketCap does not list.
    DefiLlama,
}

impl Provider {
    /// The lower-case word in logs and headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zerion => "zerion",
            Self::CoinMarketCap => "coinmarketcap",
            Self::DefiLlama => "defillama",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
