//! Rows of generated positions.

use serde::Serialize;
use serde_json::{Value, json};

use super::quotes::{Changes, Market, Quotes};
use crate::fakes::clock;
use crate::fakes::rng::Rng;
use crate::fakes::wallets::position::{Defi, Position, Token};

/// The address of the real service, which links in the answers name.
pub const HOST: &str = "https://api.zerion.io";

/// A generated position as Zerion writes it.
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
    price: f64,
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
    /// Writes a position with the prices of this answer.
    pub fn new(position: &'a Position, quotes: &Quotes) -> Self {
        let id = position.id();
        let numeric = position.numeric();
        let amount = numeric.parse().unwrap_or(0.0);
        let asset = match &position.token {
            Token::Listed(asset) => Some(*asset),
            Token::Unknown(_) => None,
        };
        let market = asset.map(|asset| Market::of(asset, amount, quotes));
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
                value: market.as_ref().map(|market| market.value),
                price: market.as_ref().map_or(0.0, |market| market.price),
                changes: market.map(|market| market.changes),
                fungible_info: FungibleInfo::of(position),
                flags: Flags {
                    displayable: true,
                    is_trash: false,
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
                        related: format!("{}/v1/chains/{}", HOST, position.chain),
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
                            HOST,
                            position.fungible_id(),
                            quotes.currency.code
                        ),
                    }),
                    data: Reference {
                        kind: "fungibles",
                        id: position.fungible_id(),
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

    /// The value by which rows are sorted.
    pub fn value(&self) -> Option<f64> {
        self.attributes.value
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
