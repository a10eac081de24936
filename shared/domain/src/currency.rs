//! Currencies that both Zerion and CoinMarketCap quote in.

use std::fmt;

use serde::{Serialize, Serializer};

/// A currency, by its lower-case code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(&'static str);

/// Zerion's list; CoinMarketCap converts into each of them by symbol.
const CODES: [&str; 16] = [
    "usd", "eth", "btc", "eur", "krw", "rub", "gbp", "aud", "cad", "inr", "jpy", "nzd", "try",
    "zar", "cny", "chf",
];

impl Currency {
    /// US dollars, the default.
    pub const USD: Self = Self("usd");

    /// The currency with this code, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        CODES
            .into_iter()
            .find(|code| code.eq_ignore_ascii_case(text))
            .map(Self)
    }

    /// The lower-case code.
    pub fn as_str(self) -> &'static str {
        self.0
    }

    /// Every supported currency.
    pub fn all() -> impl Iterator<Item = Self> {
        CODES.into_iter().map(Self)
    }
}

impl Default for Currency {
    fn default() -> Self {
        Self::USD
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_currency_is_read_by_the_code_that_it_prints() {
        let all: Vec<Currency> = Currency::all().collect();
        assert_eq!(all.len(), CODES.len());
        for (currency, code) in all.into_iter().zip(CODES) {
            assert_eq!(currency.to_string(), code);
            assert_eq!(Currency::parse(&code.to_uppercase()), Some(currency));
        }
        assert_eq!(Currency::default().to_string(), "usd");
        assert_eq!(Currency::parse("dollar"), None);
    }
}
