//! The currencies Zerion accepts and CoinMarketCap converts to, at fixed rates.

use super::catalog;

/// A currency with its rate.
#[derive(Clone, Copy, Debug)]
pub struct Currency {
    /// Lower case, as Zerion writes it.
    pub code: &'static str,
    /// The id CoinMarketCap gives it.
    pub cmc_id: u32,
    /// How much of it one US dollar buys.
    pub per_usd: f64,
}

/// Code, CoinMarketCap id and rate. The coins among them follow the catalogue's price.
const FIAT: &[(&str, u32, f64)] = &[
    ("usd", 2781, 1.0),
    ("eur", 2790, 0.8632),
    ("krw", 2798, 1468.5),
    ("rub", 2806, 79.42),
    ("gbp", 2791, 0.7581),
    ("aud", 2782, 1.5374),
    ("cad", 2784, 1.4046),
    ("inr", 2796, 88.61),
    ("jpy", 2797, 155.83),
    ("nzd", 2802, 1.7736),
    ("try", 2810, 42.31),
    ("zar", 2812, 17.24),
    ("cny", 2787, 7.1142),
    ("chf", 2785, 0.8049),
];

const COINS: &[(&str, u32, &str)] = &[("eth", 1027, "ETH"), ("btc", 1, "BTC")];

impl Currency {
    /// The currency with this code in lower case.
    pub fn by_code(code: &str) -> Option<Self> {
        all().find(|currency| currency.code == code)
    }

    /// The currency with this CoinMarketCap id.
    pub fn by_cmc_id(id: u32) -> Option<Self> {
        all().find(|currency| currency.cmc_id == id)
    }
}

/// All sixteen.
#[expect(clippy::float_arithmetic, reason = "rates are doubles, as prices are")]
pub fn all() -> impl Iterator<Item = Currency> {
    let fiat = FIAT.iter().map(|&(code, cmc_id, per_usd)| Currency {
        code,
        cmc_id,
        per_usd,
    });
    let coins = COINS.iter().filter_map(|&(code, cmc_id, symbol)| {
        Some(Currency {
            code,
            cmc_id,
            per_usd: 1.0 / catalog::by_symbol(symbol)?.usd,
        })
    });
    fiat.chain(coins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_currencies_are_known() {
        assert_eq!(all().count(), 16);
        assert_eq!(Currency::by_code("usd").map(|c| c.per_usd), Some(1.0));
        assert_eq!(Currency::by_cmc_id(2790).map(|c| c.code), Some("eur"));
        let eth = Currency::by_code("eth").expect("known");
        assert!((1.0 / eth.per_usd - 3052.18).abs() < 1e-6);
        assert!(Currency::by_code("USD").is_none());
    }
}
