//! From a provider's rows to the compact holdings and the prices beside them.

use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
};

use super::{
    holdings::{Group, Holdings, PackedId, Position, PositionId, Protocol, Token},
    ident::{Icon, Ident},
    mapping::{asset_key, location},
    number::Number,
    price::PriceKey,
    quantity::Quantity,
    scope::Part,
};

pub use super::mapping::{AssetResolver, Mapping, NoAssets};

/// The position type of plain balances.
pub const WALLET_TYPE: &str = "wallet";
/// Stands in for a position type that the provider left out.
pub const UNKNOWN_TYPE: &str = "unknown";

/// A position as a provider describes it, price included.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// The provider's id of the position.
    pub id: String,
    /// Position type, the provider's word.
    pub kind: Option<String>,
    /// Position name.
    pub name: String,
    /// The provider's chain id.
    pub chain: String,
    /// The provider's id of the asset.
    pub fungible: Option<String>,
    /// Ticker.
    pub symbol: String,
    /// The asset's display name.
    pub token_name: String,
    /// The asset's picture.
    pub icon: Option<String>,
    /// Whether the provider vouches for the asset.
    pub verified: bool,
    /// Where the asset exists, this row's chain included where it is known.
    pub implementations: Vec<Implementation>,
    /// How much.
    pub quantity: Option<Quantity<'static>>,
    /// Decimal places of the base unit on this row's chain.
    pub decimals: Option<u16>,
    /// The protocol, for all but plain balances.
    pub protocol: Option<RowProtocol>,
    /// The provider's group id.
    pub group: Option<String>,
    /// Whether the provider would show it.
    pub displayable: bool,
    /// Whether the provider takes it for trash.
    pub trash: bool,
    /// Price of one token in the request's currency; positive.
    pub price: Option<Number>,
    /// Change of the price over 24 hours, percent.
    pub change_24h_percent: Option<Number>,
}

/// An asset on one chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Implementation {
    /// The provider's chain id.
    pub chain: String,
    /// Contract or mint; none for the native coin.
    pub address: Option<String>,
    /// Decimal places of the base unit.
    pub decimals: Option<u16>,
}

/// The protocol of a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowProtocol {
    /// Stable id.
    pub id: String,
    /// Display name.
    pub name: String,
    /// Its site.
    pub url: Option<String>,
    /// Its picture.
    pub icon: Option<String>,
}

/// Rows of one answer, on their way to [`Holdings`].
#[derive(Debug, Default)]
pub struct Draft {
    rows: Vec<(Part, Row)>,
    /// Where each asset exists, once per asset: a stablecoin's twenty chains
    /// would otherwise be repeated in each of its rows.
    implementations: HashMap<String, Vec<Implementation>>,
}

/// One part of a finished draft.
#[derive(Debug, Default)]
pub struct FinishedPart {
    /// The encoded [`Holdings`].
    pub bytes: Vec<u8>,
    /// A price and a 24 h change per price key, as the rows brought them.
    pub prices: Vec<(PriceKey, Number, Option<Number>)>,
}

impl Draft {
    /// Takes a row. `only` is the part that was asked for; rows of an answer
    /// to everything are split by what they are.
    pub fn push(&mut self, mut row: Row, only: Option<Part>) {
        let part = only.unwrap_or_else(|| part_of(&row));
        let found = std::mem::take(&mut row.implementations);
        match self.implementations.entry(asset_key(&row)) {
            Entry::Vacant(entry) => {
                entry.insert(found);
            }
            Entry::Occupied(mut entry) => {
                if !entry.get().iter().any(|known| known.chain == row.chain) {
                    entry
                        .get_mut()
                        .extend(found.into_iter().filter(|new| new.chain == row.chain));
                }
            }
        }
        self.rows.push((part, row));
    }

    /// How many rows it holds.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it holds no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Maps the assets of all rows to CoinMarketCap's ids.
    pub fn map(&self, assets: &dyn AssetResolver) -> Mapping<'_> {
        let rows = self.rows.iter().map(|(_, row)| row);
        Mapping::of(rows.map(|row| (row, self.implementations(row))), assets)
    }

    /// Encodes one part. The order in which rows arrived leaves no trace, so
    /// an unchanged wallet encodes to unchanged bytes.
    pub fn finish(&self, part: Part, mapping: &Mapping<'_>) -> FinishedPart {
        let mut rows: Vec<&Row> = self
            .rows
            .iter()
            .filter(|(of, _)| *of == part)
            .map(|(_, row)| row)
            .collect();
        rows.sort_by(|a, b| {
            (&a.id, &a.chain, &a.name, &a.kind, &a.symbol, &a.fungible)
                .cmp(&(&b.id, &b.chain, &b.name, &b.kind, &b.symbol, &b.fungible))
                .then_with(|| shown(a).cmp(&shown(b)))
        });
        let group_ids: Vec<Option<String>> = rows
            .iter()
            .map(|row| (part == Part::Defi).then(|| group_id(row)))
            .collect();

        let mut tables = Tables::default();
        let mut holdings = Holdings::default();
        let mut prices: HashMap<PriceKey, (Number, Option<Number>)> = HashMap::new();
        for (row, group_id) in rows.iter().copied().zip(&group_ids) {
            let position = tables.position(row, group_id.as_deref(), self, mapping, &mut holdings);
            if let Some(price) = row.price {
                let key = holdings.price_key(holdings.token(&position));
                prices.entry(key).or_insert((price, row.change_24h_percent));
            }
            holdings.positions.push(position);
        }
        FinishedPart {
            bytes: holdings.encode(),
            prices: prices
                .into_iter()
                .map(|(key, (price, change))| (key, price, change))
                .collect(),
        }
    }

    fn implementations(&self, row: &Row) -> &[Implementation] {
        self.implementations
            .get(&asset_key(row))
            .map_or(&[], Vec::as_slice)
    }
}

/// Plain balances are typed so; a row without a type belongs to them unless a
/// protocol claims it.
fn part_of(row: &Row) -> Part {
    match row.kind.as_deref() {
        Some(WALLET_TYPE) => Part::Wallet,
        None if row.protocol.is_none() => Part::Wallet,
        _ => Part::Defi,
    }
}

fn shown(row: &Row) -> Option<String> {
    row.quantity.as_ref().map(ToString::to_string)
}

/// The provider's group, or what its documentation tells to fall back to.
fn group_id(row: &Row) -> String {
    let protocol = row
        .protocol
        .as_ref()
        .map_or(UNKNOWN_TYPE, |it| it.id.as_str());
    match &row.group {
        Some(id) => id.clone(),
        None => format!("{}:{}:{}", row.chain, protocol, row.name),
    }
}

/// Index tables that grow while rows are added.
#[derive(Default)]
struct Tables<'a> {
    chains: HashMap<&'a str, u32>,
    types: HashMap<&'a str, u32>,
    names: HashMap<&'a str, u32>,
    tokens: HashMap<(&'a str, &'a str, Option<&'a str>, &'a str, &'a str), u32>,
    protocols: HashMap<&'a str, u32>,
    groups: HashMap<(u32, &'a str), u32>,
}

fn intern<K: Eq + std::hash::Hash + Clone, T>(
    index: &mut HashMap<K, u32>,
    table: &mut Vec<T>,
    key: K,
    make: impl FnOnce() -> T,
) -> u32 {
    *index.entry(key).or_insert_with(|| {
        table.push(make());
        u32::try_from(table.len() - 1).unwrap_or(u32::MAX)
    })
}

impl<'a> Tables<'a> {
    fn position(
        &mut self,
        row: &'a Row,
        group_id: Option<&'a str>,
        draft: &'a Draft,
        mapping: &Mapping<'a>,
        into: &mut Holdings<'a>,
    ) -> Position<'a> {
        let kind = row.kind.as_deref().unwrap_or(UNKNOWN_TYPE);
        let chain = intern(&mut self.chains, &mut into.chains, &*row.chain, || {
            &row.chain
        });
        let token_key = (
            row.chain.as_str(),
            row.fungible.as_deref().unwrap_or(""),
            // Without an asset id only the row itself tells assets apart.
            row.fungible.is_none().then_some(row.id.as_str()),
            row.symbol.as_str(),
            row.token_name.as_str(),
        );
        let token = intern(&mut self.tokens, &mut into.tokens, token_key, || {
            token(row, chain, draft.implementations(row), mapping)
        });
        let group = group_id.map(|id| self.group(row, id, into));
        let mut position = Position {
            id: PositionId::Text(Cow::Borrowed(&row.id)),
            kind: intern(&mut self.types, &mut into.types, kind, || kind),
            token,
            name: intern(&mut self.names, &mut into.names, &*row.name, || &row.name),
            group,
            quantity: row.quantity.clone(),
            displayable: row.displayable,
            trash: row.trash,
        };
        for packed in [PositionId::Asset, PositionId::Native, PositionId::Named] {
            let expanded = PackedId {
                packed: &packed,
                address: into.tokens[token as usize].address.as_ref(),
                chain: &row.chain,
                name: &row.name,
                kind,
            };
            if expanded.to_string() == row.id {
                position.id = packed;
                break;
            }
        }
        position
    }

    fn group(&mut self, row: &'a Row, id: &'a str, into: &mut Holdings<'a>) -> u32 {
        let protocol = match &row.protocol {
            Some(known) => Protocol {
                id: &known.id,
                name: &known.name,
                url: known.url.as_deref(),
                icon: known.icon.as_deref(),
            },
            None => Protocol {
                id: UNKNOWN_TYPE,
                name: "Unknown protocol",
                url: None,
                icon: None,
            },
        };
        let make = protocol.clone();
        let at = intern(
            &mut self.protocols,
            &mut into.protocols,
            protocol.id,
            || make,
        );
        // Some rows of a protocol come without its site and picture.
        let known = &mut into.protocols[at as usize];
        known.url = known.url.or(protocol.url);
        known.icon = known.icon.or(protocol.icon);
        intern(&mut self.groups, &mut into.groups, (at, id), || Group {
            protocol: at,
            id,
            name: &row.name,
        })
    }
}

fn token<'a>(
    row: &'a Row,
    chain: u32,
    implementations: &'a [Implementation],
    mapping: &Mapping<'_>,
) -> Token<'a> {
    let here = location(&row.chain, implementations);
    let address = here.and_then(|(address, _)| address);
    Token {
        chain,
        id: row.fungible.as_deref().map(|id| Ident::pack(id.into())),
        address: address.map(|address| Ident::pack(address.into())),
        native: here.is_some() && address.is_none(),
        symbol: &row.symbol,
        name: &row.token_name,
        icon: Icon::pack(row.icon.as_deref().map(Cow::Borrowed)),
        decimals: row.decimals.or(here.and_then(|(_, decimals)| decimals)),
        verified: row.verified,
        cmc: mapping.id(row),
    }
}
