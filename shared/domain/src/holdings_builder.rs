//! From a provider's rows to the compact holdings and the prices beside them.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
};

use crate::{
    asset::Identity,
    asset_mapping::{AssetResolver, Entry, Mapped, Mapping},
    decimal::Decimal,
    holdings::{Group, Holdings, PackedId, Position, PositionId, Protocol, Token},
    identifier::{Icon, Identifier},
    places::Places,
    price::{CmcId, PriceKey},
    provider_position::{ProviderPosition, UNKNOWN_TYPE, WALLET_TYPE},
    scope::Part,
};

/// Rows of one answer, on their way to [`Holdings`].
#[derive(Debug, Default)]
pub struct HoldingsBuilder {
    rows: Vec<Entry>,
    /// Where each asset exists, once per asset: a stablecoin's twenty chains
    /// would otherwise be repeated in each of its rows.
    places: Vec<Places>,
    /// Which places are whose, by the provider's id of the asset.
    assets: HashMap<String, usize>,
}

/// One part of a finished draft.
#[derive(Debug, Default)]
pub struct EncodedPart {
    /// The encoded [`Holdings`].
    pub bytes: Vec<u8>,
    /// A price and a 24 h change per price key, as the rows brought them.
    pub prices: Vec<(PriceKey, Decimal, Option<Decimal>)>,
}

impl HoldingsBuilder {
    /// Takes a row. `only` is the part that was asked for; rows of an answer
    /// to everything are split by what they are.
    pub fn push(&mut self, mut row: ProviderPosition, only: Option<Part>) {
        let part = only.unwrap_or_else(|| part_of(&row));
        let known = row.fungible.as_ref().and_then(|id| self.assets.get(id));
        let places = known.copied().unwrap_or_else(|| {
            self.places.push(Places::default());
            let at = self.places.len() - 1;
            if let Some(id) = &row.fungible {
                self.assets.insert(id.clone(), at);
            }
            at
        });
        let here = self.places[places].add(&mut row);
        self.rows.push(Entry {
            part,
            row,
            places,
            here,
        });
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
        Mapping::of(&self.rows, &self.places, assets)
    }

    /// Encodes one part. The order in which rows arrived leaves no trace, so
    /// an unchanged wallet encodes to unchanged bytes.
    pub fn encode(&self, part: Part, mapping: &Mapping<'_>) -> EncodedPart {
        let order = mapping.order().iter().copied();
        let rows = order.filter(|at| self.rows[*at].part == part);
        let rows: Vec<(&ProviderPosition, &Mapped<'_>)> = rows
            .map(|at| (&self.rows[at].row, mapping.row(at)))
            .collect();
        let group_ids: Vec<Option<String>> = rows
            .iter()
            .map(|(row, _)| (part == Part::Defi).then(|| group_id(row)))
            .collect();

        let mut tables = Interner::default();
        let mut holdings = Holdings::default();
        for ((row, asset), group_id) in rows.iter().copied().zip(&group_ids) {
            let position = tables.position(row, asset, group_id.as_deref(), &mut holdings);
            holdings.positions.push(position);
        }
        let keys = holdings.tokens.iter();
        let keys: BTreeSet<PriceKey> = keys.map(|token| holdings.price_key(token)).collect();
        let price = |key| {
            mapping
                .price(key)
                .map(|(price, change)| (key, price, change))
        };
        EncodedPart {
            bytes: holdings.encode(),
            prices: keys.into_iter().filter_map(price).collect(),
        }
    }
}

/// Plain balances are typed so; a row without a type belongs to them unless a
/// protocol claims it.
fn part_of(row: &ProviderPosition) -> Part {
    match row.kind.as_deref() {
        Some(WALLET_TYPE) => Part::Wallet,
        None if row.protocol.is_none() => Part::Wallet,
        _ => Part::Defi,
    }
}

/// The provider's group, or what its documentation tells to fall back to.
fn group_id(row: &ProviderPosition) -> String {
    let protocol = row
        .protocol
        .as_ref()
        .map_or(UNKNOWN_TYPE, |it| it.id.as_str());
    match &row.group {
        Some(id) => id.clone(),
        None => format!("{}:{}:{}", row.chain, protocol, row.name),
    }
}

/// What rows of one token have in common.
#[derive(Clone, PartialEq, Eq, Hash)]
struct TokenKey<'a> {
    chain: &'a str,
    fungible: Option<&'a str>,
    address: Option<&'a str>,
    identity: Identity<'a>,
    native: bool,
    scaled: bool,
    cmc: Option<CmcId>,
    symbol: &'a str,
    name: &'a str,
}

/// Index tables that grow while rows are added.
#[derive(Default)]
struct Interner<'a> {
    chains: HashMap<&'a str, u32>,
    types: HashMap<&'a str, u32>,
    names: HashMap<&'a str, u32>,
    tokens: HashMap<TokenKey<'a>, u32>,
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

impl<'a> Interner<'a> {
    fn position(
        &mut self,
        row: &'a ProviderPosition,
        asset: &'a Mapped<'a>,
        group_id: Option<&'a str>,
        into: &mut Holdings<'a>,
    ) -> Position<'a> {
        let kind = row.kind.as_deref().unwrap_or(UNKNOWN_TYPE);
        let chain = intern(&mut self.chains, &mut into.chains, &*row.chain, || {
            &row.chain
        });
        let token_key = TokenKey {
            chain: &row.chain,
            fungible: row.fungible.as_deref(),
            address: asset.address,
            identity: asset.identity.clone(),
            native: asset.native,
            scaled: asset.scaled,
            cmc: asset.cmc,
            symbol: &row.symbol,
            name: &row.token_name,
        };
        let token = intern(&mut self.tokens, &mut into.tokens, token_key, || {
            token(row, chain, asset)
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
        // Only a contract or a native coin stands in an id.
        let located = asset.native || asset.address.is_some();
        let packed = [PositionId::Asset, PositionId::Native, PositionId::Named];
        for packed in packed.into_iter().filter(|_| located) {
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

    fn group(&mut self, row: &'a ProviderPosition, id: &'a str, into: &mut Holdings<'a>) -> u32 {
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

fn token<'a>(row: &'a ProviderPosition, chain: u32, asset: &Mapped<'a>) -> Token<'a> {
    Token {
        chain,
        id: row
            .fungible
            .as_deref()
            .map(|id| Identifier::pack(id.into())),
        address: asset
            .address
            .map(|address| Identifier::pack(address.into())),
        native: asset.native,
        symbol: &row.symbol,
        name: &row.token_name,
        icon: Icon::pack(row.icon.as_deref().map(Cow::Borrowed)),
        decimals: row.decimals.or(asset.decimals),
        verified: row.verified,
        cmc: asset.cmc,
        scaled: asset.scaled,
        identity: asset.identity.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{asset_mapping::NoAssets, provider_position::Implementation};

    fn parts(row: ProviderPosition) -> [usize; 2] {
        let mut draft = HoldingsBuilder::default();
        draft.push(row, None);
        let mapping = draft.map(&NoAssets);
        Part::ALL.map(|part| {
            let encoded = draft.encode(part, &mapping);
            let holdings = Holdings::decode(&encoded.bytes).unwrap();
            holdings.positions.len()
        })
    }

    #[test]
    fn a_row_without_a_type_is_a_balance_unless_a_protocol_claims_it() {
        let row = |kind: Option<&str>, protocol: bool| ProviderPosition {
            kind: kind.map(str::to_owned),
            protocol: protocol.then(Default::default),
            ..ProviderPosition::default()
        };
        assert_eq!(parts(row(None, false)), [1, 0]);
        assert_eq!(parts(row(None, true)), [0, 1]);
        assert_eq!(parts(row(Some("wallet"), true)), [1, 0]);
        assert_eq!(parts(row(Some("deposit"), false)), [0, 1]);
    }

    #[test]
    fn ids_are_packed_only_where_they_come_back() {
        let packed = |id: &str, address: Option<&str>, symbol: &str| {
            let row = ProviderPosition {
                id: id.to_owned(),
                kind: Some("wallet".to_owned()),
                chain: "ethereum".to_owned(),
                symbol: symbol.to_owned(),
                implementations: vec![Implementation {
                    chain: "ethereum".to_owned(),
                    address: address.map(str::to_owned),
                    decimals: None,
                }],
                ..ProviderPosition::default()
            };
            let mut draft = HoldingsBuilder::default();
            draft.push(row, None);
            let encoded = draft.encode(Part::Wallet, &draft.map(&NoAssets));
            let holdings = Holdings::decode(&encoded.bytes).unwrap();
            let position = &holdings.positions[0];
            assert_eq!(holdings.position_id(position), id);
            !matches!(position.id, PositionId::Text(_))
        };
        let native = "base-ethereum-asset-asset";
        assert!(packed(native, None, "ETH"));
        assert!(packed("0xab-ethereum-asset-asset", Some("0xab"), "AB"));
        // Not the native coin, and without a contract.
        assert!(!packed(native, None, "FOO"));
        assert!(!packed("0xac-ethereum-asset-asset", Some("0xab"), "AB"));
    }
}
