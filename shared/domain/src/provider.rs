//! The services that are asked, by name.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A service that is asked. The order is part of the cache's format: new ones go
/// last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(as = PriceSource, description = "Who said what something costs.")
)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// Zerion: the price that came with the structure.
    Zerion,
    /// CoinMarketCap's quote.
    CoinMarketCap,
    /// DeFiLlama's, for what CoinMarketCap does not list.
    DefiLlama,
}

/// A provider that may be asked for what CoinMarketCap does not list.
#[derive(Clone, Copy, Debug)]
pub struct Fallback {
    /// Which one; its word is the value of PRICE_FALLBACK.
    pub provider: Provider,
    /// The variable that has another address of it.
    pub variable: &'static str,
    /// Its own address.
    pub address: &'static str,
}

/// The providers that may be, the usual one first.
pub const FALLBACKS: [Fallback; 1] = [Fallback {
    provider: Provider::DefiLlama,
    variable: "DEFILLAMA_BASE_URL",
    address: "https://coins.llama.fi",
}];

impl Provider {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Zerion, Self::CoinMarketCap, Self::DefiLlama];

    /// Returns the lower-case word in answers, logs and headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zerion => "zerion",
            Self::CoinMarketCap => "coinmarketcap",
            Self::DefiLlama => "defillama",
        }
    }

    /// Returns the provider with this lower-case word.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == name)
    }

    /// Returns what the numbers of its pages in the price book begin with.
    pub fn page_prefix(self) -> &'static str {
        match self {
            Self::Zerion => "z",
            Self::CoinMarketCap => "",
            Self::DefiLlama => "u",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_is_read_by_the_word_that_it_prints() {
        let words = Provider::ALL.map(|provider| provider.to_string());
        assert_eq!(words, ["zerion", "coinmarketcap", "defillama"]);
        for (provider, word) in Provider::ALL.into_iter().zip(words) {
            assert_eq!(Provider::by_name(&word), Some(provider));
            assert_eq!(provider.as_str(), word);
        }
        assert_eq!(Provider::by_name("Zerion"), None);
        let mut prefixes = Provider::ALL.map(Provider::page_prefix).to_vec();
        prefixes.sort_unstable();
        prefixes.dedup();
        assert_eq!(prefixes.len(), Provider::ALL.len());
    }
}
