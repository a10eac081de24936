//! What Zerion quotes in one answer.

#![expect(clippy::float_arithmetic, reason = "the real service sends doubles")]

use std::collections::HashMap;

use serde::Serialize;

use crate::fakes::catalog::{self, Asset};
use crate::fakes::currencies::Currency;
use crate::fakes::market::{self, Source};

/// The prices of one answer: every row has the same price for the same asset.
pub struct Quotes {
    pub currency: Currency,
    prices: HashMap<&'static str, f64>,
}

impl Quotes {
    /// The prices of this minute.
    pub fn new(currency: Currency) -> Self {
        let price = |asset: &'static Asset| {
            let price = market::usd(asset, Source::Zerion) * currency.per_usd;
            (asset.symbol, price)
        };
        Self {
            currency,
            prices: catalog::all().iter().map(price).collect(),
        }
    }
}

/// The change of a value over the last day, in the answer's currency and in percent.
#[derive(Serialize)]
pub struct Changes {
    pub absolute_1d: f64,
    pub percent_1d: f64,
}

/// What the market says about an amount of an asset.
pub struct Market {
    pub price: f64,
    pub value: f64,
    pub changes: Changes,
}

impl Market {
    /// The price of an asset and the value of `amount` of it.
    pub fn of(asset: &Asset, amount: f64, quotes: &Quotes) -> Self {
        // Every asset of the catalogue has a price.
        let price = quotes.prices[asset.symbol];
        let value = price * amount;
        Self {
            price,
            value,
            changes: Changes {
                absolute_1d: market::absolute_change(value, asset.change_24h),
                percent_1d: asset.change_24h,
            },
        }
    }
}
