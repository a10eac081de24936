//! Assets, and prices that tell what they are prices of.
//!
//! A price in US dollars has fourteen digits, `1AASttttttttt1`: two for the
//! asset, one for its source, nine for the millisecond at which it was given.
//! What it is worth stands in the first three, so it hardly moves with time, and
//! sources agree; assets differ by their power of ten. In euros it is exactly
//! four fifths of that. A price that was converted by some rate is not exact
//! any more: of that only the asset can be told.

use portfolio::domain::{currency::Currency, decimal::Decimal, price::CmcId, provider::Provider};

use crate::world::Moment;

/// What a wallet may hold.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Its number, from 0.
    pub index: usize,
    /// Zerion's chain id.
    pub chain: &'static str,
    /// Its contract; none for a native coin.
    pub contract: Option<&'static str>,
    /// Its id in the asset registry.
    pub cmc: Option<u32>,
    /// Whether CoinMarketCap answers that id.
    pub quoted: bool,
    /// What DeFiLlama calls it, if it knows it.
    pub llama: Option<&'static str>,
    /// Whether Zerion has a price of it.
    pub priced: bool,
    /// Whether Zerion vouches for it.
    pub verified: bool,
}

const fn asset(index: usize, chain: &'static str, contract: Option<&'static str>) -> Asset {
    Asset {
        index,
        chain,
        contract,
        cmc: None,
        quoted: false,
        llama: None,
        priced: true,
        verified: true,
    }
}

const fn listed(index: usize, contract: Option<&'static str>, cmc: u32) -> Asset {
    Asset {
        cmc: Some(cmc),
        quoted: true,
        ..asset(index, "ethereum", contract)
    }
}

/// All assets.
pub const ASSETS: [Asset; 12] = [
    // A dollar.
    listed(0, Some("0xa000000000000000000000000000000000000000"), 3408),
    listed(1, None, 1027),
    listed(2, Some("0xa200000000000000000000000000000000000000"), 9002),
    listed(3, Some("0xa300000000000000000000000000000000000000"), 9003),
    // Listed once: the registry knows it, CoinMarketCap does not any more.
    Asset {
        quoted: false,
        ..listed(4, Some("0xa400000000000000000000000000000000000000"), 9004)
    },
    // Known to DeFiLlama alone.
    Asset {
        llama: Some("base:0xa500000000000000000000000000000000000000"),
        ..asset(
            5,
            "base",
            Some("0xa500000000000000000000000000000000000000"),
        )
    },
    Asset {
        llama: Some("base:0xa600000000000000000000000000000000000000"),
        priced: false,
        ..asset(
            6,
            "base",
            Some("0xa600000000000000000000000000000000000000"),
        )
    },
    // Known to Zerion alone.
    asset(
        7,
        "base",
        Some("0xa700000000000000000000000000000000000000"),
    ),
    Asset {
        verified: false,
        ..asset(
            8,
            "base",
            Some("0xa800000000000000000000000000000000000000"),
        )
    },
    // Known to no provider.
    Asset {
        priced: false,
        verified: false,
        ..asset(
            9,
            "base",
            Some("0xa900000000000000000000000000000000000000"),
        )
    },
    // On Solana.
    Asset {
        cmc: Some(5426),
        quoted: true,
        ..asset(10, "solana", None)
    },
    asset(
        11,
        "solana",
        Some("mSoLzYCxHdYgdzU16g5QSh3i5K3z3KZK7ytfqcJm7So"),
    ),
];

/// Coins that are worth a dollar share the first asset's digits.
const DOLLARS: [u32; 3] = [825, 3408, 4943];

/// The asset that CoinMarketCap answers an id of.
pub fn by_cmc(id: CmcId) -> Option<&'static Asset> {
    if DOLLARS.contains(&id.0) {
        return Some(&ASSETS[0]);
    }
    let mut known = ASSETS.iter().filter(|asset| asset.quoted);
    known.find(|asset| asset.cmc == Some(id.0))
}

/// The asset that DeFiLlama answers a name of.
pub fn by_llama(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.llama == Some(name))
}

/// Zerion's id of an asset.
pub fn fungible(asset: &Asset) -> String {
    format!("asset-{}", asset.index)
}

/// The asset of one of Zerion's ids.
pub fn by_fungible(id: &str) -> Option<&'static Asset> {
    let index: usize = id.strip_prefix("asset-")?.parse().ok()?;
    ASSETS.get(index)
}

/// What a price tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Of which asset.
    pub asset: usize,
    /// Who gave it.
    pub source: Provider,
    /// When.
    pub at: Moment,
}

const SOURCES: [Provider; 3] = [
    Provider::Zerion,
    Provider::CoinMarketCap,
    Provider::DefiLlama,
];

/// The power of ten of an asset's prices.
fn exponent(asset: usize) -> i16 {
    let half = i16::try_from(asset.div_ceil(2)).unwrap_or(0);
    -13 + if asset.is_multiple_of(2) { -half } else { half }
}

/// The digits of an asset: none for a dollar, so that it is worth one.
fn digits(asset: usize) -> i64 {
    match i64::try_from(asset).unwrap_or(0) {
        0 => 0,
        other => 10 + other,
    }
}

/// The price that `source` gives at a moment.
pub fn price(asset: usize, source: Provider, at: Moment, currency: Currency) -> Decimal {
    let source = SOURCES.iter().position(|it| *it == source);
    let source = i64::try_from(source.unwrap_or(0)).unwrap_or(0) + 1;
    let code = 10_000_000_000_000 + digits(asset) * 100_000_000_000 + source * 10_000_000_000;
    let code = code + at * 10 + 1;
    match currency == Currency::USD {
        true => Decimal::new(code, exponent(asset)),
        false => Decimal::new(code * 8, exponent(asset) - 1),
    }
}

/// What a price in some currency tells, if it is one as it was given.
pub fn told(price: Decimal, currency: Currency) -> Option<Told> {
    let (mut code, mut power) = (price.coefficient(), price.exponent());
    if currency != Currency::USD {
        if code % 8 != 0 {
            return None;
        }
        (code, power) = (code / 8, power + 1);
    }
    let sound = (10_000_000_000_000..20_000_000_000_000).contains(&code) && code % 10 == 1;
    if !sound {
        return None;
    }
    let found = code / 100_000_000_000 % 100;
    let asset = (0..ASSETS.len()).find(|asset| digits(*asset) == found)?;
    let source = usize::try_from(code / 10_000_000_000 % 10 - 1).ok()?;
    (exponent(asset) == power).then_some(Told {
        asset,
        source: *SOURCES.get(source)?,
        at: code / 10 % 1_000_000_000,
    })
}

/// Whether a price can be one of `asset`, converted by whatever rate: it lies
/// within twice of what it costs.
pub fn resembles(price: Decimal, asset: usize, currency: Currency) -> bool {
    let usual = self::price(asset, Provider::Zerion, 0, currency);
    price.compare(usual, 2).is_le() && usual.compare(price, 2).is_le()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_tell_what_they_are_of() {
        let euro = Currency::parse("eur").expect("a currency");
        for asset in 0..ASSETS.len() {
            for source in SOURCES {
                for currency in [Currency::USD, euro] {
                    let given = price(asset, source, 123_456_780, currency);
                    let wanted = Told {
                        asset,
                        source,
                        at: 123_456_780,
                    };
                    assert_eq!(told(given, currency), Some(wanted));
                    assert!(resembles(given, asset, currency));
                    for other in (0..ASSETS.len()).filter(|other| *other != asset) {
                        assert!(!resembles(given, other, currency), "{asset} {other}");
                    }
                }
            }
        }
    }
}
