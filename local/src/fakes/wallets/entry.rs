//! One row of a wallet, before it is priced.

use serde_json::Value;

use super::position::Position;
use crate::fakes::catalog::{self, Asset};

/// One row of a wallet.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A generated position, priced by the market.
    Generated(Box<Position>),
    /// A row as Zerion writes it, whose price, value and change are the market's.
    Market(&'static Asset, Box<Value>),
    /// A row as Zerion writes it, with values in US dollars that stay as they are.
    Fixed(Box<Value>),
}

impl Entry {
    /// A row whose price stays as it is.
    pub fn fixed(row: Value) -> Self {
        Self::Fixed(Box::new(row))
    }

    /// A row of a sample wallet: priced by the market if it has a price and is of an asset
    /// that the catalogue knows.
    pub fn sample(row: Value) -> Self {
        let has_price = row["attributes"]["price"].as_f64() > Some(0.0);
        let id = row["relationships"]["fungible"]["data"]["id"].as_str();
        match id.filter(|_| has_price).and_then(catalog::by_zerion_id) {
            Some(asset) => Self::Market(asset, Box::new(row)),
            None => Self::fixed(row),
        }
    }
}

impl From<Position> for Entry {
    fn from(position: Position) -> Self {
        Self::Generated(Box::new(position))
    }
}
