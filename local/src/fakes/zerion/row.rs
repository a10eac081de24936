//! The rows as Zerion writes them.

#![expect(clippy::float_arithmetic, reason = "the real service sends doubles")]

use serde::Serialize;
use serde_json::{Value, json};

use super::position_row::PositionRow;
use super::quotes::{Market, Quotes};
use crate::fakes::catalog::Asset;
use crate::fakes::currencies::Currency;
use crate::fakes::wallets::Entry;

/// What the filters look at.
#[derive(Clone, Copy, Debug)]
pub struct Traits<'a> {
    pub is_simple: bool,
    pub is_trash: bool,
    pub position_type: Option<&'a str>,
    pub chain: Option<&'a str>,
    pub fungible: Option<&'a str>,
    pub dapp: Option<&'a str>,
}

impl<'a> Traits<'a> {
    /// The traits of a row.
    pub fn of(entry: &'a Entry) -> Self {
        match entry {
            Entry::Generated(position) => Self {
                is_simple: position.defi.is_none(),
                is_trash: false,
                position_type: Some(position.kind),
                chain: Some(position.chain),
                fungible: Some(position.fungible_id()),
                dapp: position.defi.as_ref().map(|defi| defi.protocol.dapp),
            },
            Entry::Market(_, row) | Entry::Fixed(row) => {
                let related = |name: &str| row["relationships"][name]["data"]["id"].as_str();
                let attributes = &row["attributes"];
                let position_type = attributes["position_type"].as_str();
                Self {
                    is_simple: match position_type {
                        Some("wallet") => true,
                        Some(
                            "deposit" | "loan" | "staked" | "locked" | "reward" | "investment",
                        ) => false,
                        _ => attributes["protocol"].is_null() && related("dapp").is_none(),
                    },
                    is_trash: attributes["flags"]["is_trash"] == true,
                    position_type,
                    chain: related("chain"),
                    fungible: related("fungible"),
                    dapp: related("dapp"),
                }
            }
        }
    }
}

/// One row of the answer.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Row<'a> {
    Generated(Box<PositionRow<'a>>),
    Json(Box<Value>),
}

impl<'a> Row<'a> {
    /// Writes a row with the prices of this answer.
    pub fn new(entry: &'a Entry, quotes: &Quotes) -> Self {
        match entry {
            Entry::Generated(position) => {
                Self::Generated(Box::new(PositionRow::new(position, quotes)))
            }
            Entry::Market(asset, row) => Self::Json(Box::new(priced(row, asset, quotes))),
            Entry::Fixed(row) => Self::Json(Box::new(converted(row, quotes.currency))),
        }
    }

    /// The value by which rows are sorted.
    pub fn value(&self) -> Option<f64> {
        match self {
            Self::Generated(row) => row.value(),
            Self::Json(row) => row["attributes"]["value"].as_f64(),
        }
    }
}

/// A row at the market's price.
fn priced(row: &Value, asset: &Asset, quotes: &Quotes) -> Value {
    let mut row = linked(row, quotes.currency);
    let attributes = &mut row["attributes"];
    let amount = attributes["quantity"]["numeric"].as_str();
    let amount = amount.and_then(|numeric| numeric.parse().ok());
    let amount = amount.unwrap_or(0.0);
    let market = Market::of(asset, amount, quotes);
    attributes["quantity"]["float"] = json!(amount);
    attributes["price"] = json!(market.price);
    attributes["value"] = json!(market.value);
    attributes["changes"] = json!(market.changes);
    row
}

/// A row given in US dollars, in another currency.
fn converted(row: &Value, currency: Currency) -> Value {
    let mut row = linked(row, currency);
    if currency.code != "usd" {
        for path in [
            "/attributes/value",
            "/attributes/price",
            "/attributes/changes/absolute_1d",
        ] {
            if let Some(field) = row.pointer_mut(path)
                && let Some(usd) = field.as_f64()
            {
                *field = json!(usd * currency.per_usd);
            }
        }
    }
    row
}

/// A copy of a row whose link to the asset names the currency of the answer.
fn linked(row: &Value, currency: Currency) -> Value {
    let mut row = row.clone();
    if let Some(Value::String(link)) = row.pointer_mut("/relationships/fungible/links/related")
        && let Some(asset) = link.strip_suffix("currency=usd")
    {
        *link = format!("{asset}currency={}", currency.code);
    }
    row
}
