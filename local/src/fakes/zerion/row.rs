//! The rows as Zerion writes them.

#![expect(clippy::float_arithmetic, reason = "the real service sends doubles")]

use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::fakes::catalog::{self, Asset};
use crate::fakes::clock;
use crate::fakes::currencies::Currency;
use crate::fakes::market::{self, Source};
use crate::fakes::rng::Rng;
use crate::fakes::wallets::Entry;
use crate::fakes::wallets::position::{Defi, Position, Pricing, Token};

/// The prices of one answer: every row has the same price for the same asset.
pub struct Quotes {
    currency: Currency,
    prices: HashMap<&'static str, f64>,
}

impl Quotes {
    /// The prices of this minute.
    pub fn new(currency: Currency) -> Self {
        let price = |asset: &&'static Asset| {
            let price = market::usd(asset, Source::Zerion) * currency.per_usd;
            (asset.symbol, price)
        };
        Self {
            currency,
            prices: catalog::all().iter().map(price).collect(),
        }
    }

    fn of(&self, asset: &Asset) -> Option<f64> {
        self.prices.get(asset.symbol).copied()
    }
}

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
            Entry::Position(position) => Self {
                is_simple: position.defi.is_none(),
                is_trash: position.is_trash,
                position_type: Some(position.kind),
                chain: Some(position.chain),
                fungible: Some(fungible_id(position)),
                dapp: position.defi.as_ref().map(|defi| defi.protocol.dapp),
            },
            Entry::Json(row) => {
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
    Position(Box<PositionRow<'a>>),
    Json(Box<Value>),
}

impl<'a> Row<'a> {
    /// Writes a row with the prices of this answer.
    pub fn new(entry: &'a Entry, quotes: &Quotes) -> Self {
        match entry {
            Entry::Position(position) => {
                Self::Position(Box::new(PositionRow::new(position, quotes)))
            }
            Entry::Json(row) => Self::Json(Box::new(converted(row, quotes.currency))),
        }
    }

    /// The value by which rows are sorted.
    pub fn value(&self) -> Option<f64> {
        match self {
            Self::Position(row) => row.attributes.value,
            Self::Json(row) => row["attributes"]["value"].as_f64(),
        }
    }
}

/// A row given in US dollars, in another currency.
fn converted(row: &Value, currency: Currency) -> Value {
    let mut row = row.clone();
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

#[derive(Serialize)]
pub struct PositionRow<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: String,
    attributes: Attributes<'a>,
    relationships: Relationships<'a>,
}

#[derive(Serialize)]
struct Attributes<'a> {
    parent: Option<&'a str>,
    protocol: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol_module: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pool_address: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_id: Option<&'a str>,
    name: &'a str,
    position_type: &'a str,
    quantity: Quantity<'a>,
    value: Option<f64>,
    price: Option<f64>,
    changes: Option<Changes>,
    fungible_info: FungibleInfo<'a>,
    flags: Flags,
    updated_at: String,
    updated_at_block: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    application_metadata: Option<Application<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Value>,
}

#[derive(Serialize)]
struct Quantity<'a> {
    int: &'a str,
    decimals: u8,
    float: f64,
    numeric: String,
}

#[derive(Serialize)]
struct Changes {
    absolute_1d: f64,
    percent_1d: f64,
}

#[derive(Serialize)]
struct FungibleInfo<'a> {
    name: &'a str,
    symbol: &'a str,
    icon: Option<Icon>,
    flags: Verified,
    implementations: Vec<Implementation<'a>>,
}

#[derive(Serialize)]
struct Icon {
    url: String,
}

#[derive(Serialize)]
struct Verified {
    verified: bool,
}

#[derive(Serialize)]
struct Implementation<'a> {
    chain_id: &'a str,
    address: Option<&'a str>,
    decimals: u8,
}

#[derive(Serialize)]
struct Flags {
    displayable: bool,
    is_trash: bool,
}

#[derive(Serialize)]
struct Application<'a> {
    name: &'a str,
    icon: Icon,
    url: &'a str,
}

#[derive(Serialize)]
struct Relationships<'a> {
    chain: Related<'a>,
    fungible: Related<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dapp: Option<Related<'a>>,
}

#[derive(Serialize)]
struct Related<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<RelatedLinks>,
    data: Reference<'a>,
}

#[derive(Serialize)]
struct RelatedLinks {
    related: String,
}

#[derive(Serialize)]
struct Reference<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
}

impl<'a> PositionRow<'a> {
    fn new(position: &'a Position, quotes: &Quotes) -> Self {
        let id = position.id();
        let numeric = position.numeric();
        let amount = numeric.parse().unwrap_or(0.0);
        let asset = match &position.token {
            Token::Listed(asset) => Some(*asset),
            Token::Unknown(_) => None,
        };
        let market = asset
            .filter(|_| position.pricing == Pricing::Market)
            .and_then(|asset| Some((quotes.of(asset)?, asset.change_24h)));
        let value = market.map(|(price, _)| price * amount);
        let defi = position.defi.as_ref();
        let mut rng = Rng::from_text(&id);
        Self {
            kind: "positions",
            attributes: Attributes {
                parent: None,
                protocol: defi.map(|defi| defi.protocol.name),
                protocol_module: defi.map(|defi| defi.module),
                pool_address: defi.and_then(|defi| defi.pool.as_deref()),
                group_id: defi.and_then(|defi| defi.group.as_deref()),
                name: defi.map_or("Asset", |defi| &defi.name),
                position_type: position.kind,
                quantity: Quantity {
                    int: &position.units,
                    decimals: position.decimals(),
                    float: amount,
                    numeric,
                },
                value,
                price: match position.pricing {
                    Pricing::Market => market.map(|(price, _)| price),
                    Pricing::Null => None,
                    Pricing::Zero => Some(0.0),
                },
                changes: market.zip(value).map(|((_, percent), value)| Changes {
                    absolute_1d: market::absolute_change(value, percent),
                    percent_1d: percent,
                }),
                fungible_info: FungibleInfo::of(position),
                flags: Flags {
                    displayable: position.displayable,
                    is_trash: position.is_trash,
                },
                // The balance last changed some time in the two years before 2026.
                updated_at: clock::iso_seconds(1_704_067_200 + rng.below(63_000_000) as u64),
                updated_at_block: Some(10_000_000 + rng.below(90_000_000) as u64),
                application_metadata: defi.map(|defi| Application {
                    name: defi.protocol.name,
                    icon: Icon {
                        url: defi.protocol.icon(),
                    },
                    url: defi.protocol.url,
                }),
                receipt: defi.and_then(|defi| receipt(position.chain, defi)),
            },
            relationships: Relationships {
                chain: Related {
                    links: Some(RelatedLinks {
                        related: format!("{}/v1/chains/{}", super::HOST, position.chain),
                    }),
                    data: Reference {
                        kind: "chains",
                        id: position.chain,
                    },
                },
                fungible: Related {
                    links: Some(RelatedLinks {
                        related: format!(
                            "{}/v1/fungibles/{}?currency={}",
                            super::HOST,
                            fungible_id(position),
                            quotes.currency.code
                        ),
                    }),
                    data: Reference {
                        kind: "fungibles",
                        id: fungible_id(position),
                    },
                },
                dapp: defi.map(|defi| Related {
                    links: None,
                    data: Reference {
                        kind: "dapps",
                        id: defi.protocol.dapp,
                    },
                }),
            },
            id,
        }
    }
}

impl<'a> FungibleInfo<'a> {
    fn of(position: &'a Position) -> Self {
        match &position.token {
            Token::Listed(asset) => Self {
                name: asset.name,
                symbol: asset.symbol,
                icon: Some(Icon {
                    url: format!("https://cdn.zerion.io/{}.png", asset.zerion_id),
                }),
                flags: Verified {
                    verified: asset.listing.is_some(),
                },
                implementations: asset
                    .implementations
                    .iter()
                    .map(|i| Implementation {
                        chain_id: i.chain,
                        address: i.address,
                        decimals: i.decimals,
                    })
                    .collect(),
            },
            Token::Unknown(token) => Self {
                name: &token.name,
                symbol: &token.symbol,
                icon: None,
                flags: Verified { verified: false },
                implementations: vec![Implementation {
                    chain_id: position.chain,
                    address: Some(&token.contract),
                    decimals: token.decimals,
                }],
            },
        }
    }
}

fn fungible_id(position: &Position) -> &str {
    match &position.token {
        Token::Listed(asset) => asset.zerion_id,
        Token::Unknown(token) => &token.id,
    }
}

/// The NFT that stands for a position, where one does.
fn receipt(chain: &str, defi: &Defi) -> Option<Value> {
    Some(json!({
        "nft_info": {
            "chain_id": chain,
            "contract_address": defi.protocol.nft_contract(chain)?,
            "token_id": defi.nft.as_ref()?,
        },
    }))
}
