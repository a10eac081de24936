//! What each asset costs at this minute.

#![expect(clippy::float_arithmetic, reason = "the real services send doubles")]

use super::catalog::Asset;
use super::clock;
use super::rng::Rng;

/// How far a quote strays from the catalogue's price to either side. Two quotes of one coin,
/// at two services or in two minutes, are therefore at most 0.4 % apart.
const SPREAD: f64 = 0.002;

/// The service that quotes the price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Zerion,
    CoinMarketCap,
    DefiLlama,
}

/// What DeFiLlama quotes for one contract.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ContractPrice {
    /// US dollars for one.
    pub usd: f64,
    /// When that was, in seconds since 1970; `None` for now.
    pub timestamp: Option<u64>,
}

/// The price in US dollars at this minute.
pub fn usd(asset: &Asset, source: Source) -> f64 {
    usd_at(asset.symbol, asset.usd, source, clock::unix_seconds() / 60)
}

/// The price around `base` that `source` quotes in a minute.
pub fn usd_at(symbol: &str, base: f64, source: Source, minute: u64) -> f64 {
    let mut rng = Rng::from_text(&format!("{symbol} {source:?} {minute}"));
    base * (1.0 + SPREAD * (2.0 * rng.unit() - 1.0))
}

/// The value change that makes `value` today `percent` more than a day ago.
pub fn absolute_change(value: f64, percent: f64) -> f64 {
    value - value / (1.0 + percent / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_stay_within_the_spread() {
        for minute in 0..500 {
            for source in [Source::Zerion, Source::CoinMarketCap, Source::DefiLlama] {
                let price = usd_at("ETH", 3000.0, source, minute);
                assert!((2994.0..=3006.0).contains(&price), "{price}");
            }
        }
    }

    #[test]
    fn the_change_is_counted_from_yesterday() {
        assert!((absolute_change(110.0, 10.0) - 10.0).abs() < 1e-9);
    }
}
