//! What a wallet holds, without prices: the compact form that is cached.
//!
//! Tokens, chains, protocols and groups stand once each in tables; positions
//! refer to them by index. Everything borrows from the encoded bytes, so a
//! cached wallet is decoded without copying its texts.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    asset::{Asset, Identity, contract_form},
    chain::Chain,
    identifier::{Icon, Identifier, MAX_TEXT},
    price::{CmcId, PriceKey},
    quantity::Quantity,
};

/// No chain has longer contracts.
const MAX_CONTRACT_LENGTH: usize = 128;

/// One part of a wallet's holdings (plain balances, or protocol positions).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holdings<'a> {
    /// Zerion chain ids.
    #[serde(borrow)]
    pub chains: Vec<&'a str>,
    /// Position types, the provider's words.
    #[serde(borrow)]
    pub types: Vec<&'a str>,
    /// Position names.
    #[serde(borrow)]
    pub names: Vec<&'a str>,
    /// Tokens, each on one chain.
    #[serde(borrow)]
    pub tokens: Vec<Token<'a>>,
    /// Protocols.
    #[serde(borrow)]
    pub protocols: Vec<Protocol<'a>>,
    /// Groups of positions that belong together, such as the legs of a
    /// liquidity pool.
    #[serde(borrow)]
    pub groups: Vec<Group<'a>>,
    /// The positions, ordered by id.
    #[serde(borrow)]
    pub positions: Vec<Position<'a>>,
}

/// A token on one chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token<'a> {
    /// Index of its chain.
    pub chain: u32,
    /// The provider's id of the asset, the same on all of its chains.
    #[serde(borrow)]
    pub id: Option<Identifier<'a>>,
    /// Contract (EVM) or mint (Solana); none for native coins and where the
    /// provider does not tell.
    #[serde(borrow)]
    pub address: Option<Identifier<'a>>,
    /// Whether this is the chain's native coin.
    pub native: bool,
    /// Ticker.
    pub symbol: &'a str,
    /// Display name.
    pub name: &'a str,
    /// Picture.
    #[serde(borrow)]
    pub icon: Icon<'a>,
    /// Decimal places of the base unit, where told.
    pub decimals: Option<u16>,
    /// Whether the provider vouches for it.
    pub verified: bool,
    /// CoinMarketCap's id, resolved when the holdings were fetched.
    pub cmc: Option<CmcId>,
    /// Whether its displayed amount is another than its base units: it has a
    /// display multiplier, as tokenised stocks do. The provider's price belongs
    /// to the displayed amount; that of another source may not.
    pub scaled: bool,
    /// How it is told from other assets.
    #[serde(borrow)]
    pub identity: Identity<'a>,
}

/// A protocol.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Protocol<'a> {
    /// Stable id, e.g. `aave-v3`.
    pub id: &'a str,
    /// Display name.
    pub name: &'a str,
    /// Its site.
    pub url: Option<&'a str>,
    /// Its picture.
    pub icon: Option<&'a str>,
}

/// Positions that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Group<'a> {
    /// Index of its protocol.
    pub protocol: u32,
    /// The provider's group id, or one made of chain, protocol and name.
    pub id: &'a str,
    /// Display name.
    pub name: &'a str,
}

/// How a position's id is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PositionId<'a> {
    /// `<contract>-<chain>-asset-asset`.
    Asset,
    /// `base-<chain>-asset-asset`.
    Native,
    /// `<contract>-<chain>-<name in lower case>-<type>`.
    Named,
    /// Anything else.
    Text(#[serde(borrow)] Cow<'a, str>),
}

/// One position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position<'a> {
    /// Its id.
    #[serde(borrow)]
    pub id: PositionId<'a>,
    /// Index of its type.
    pub kind: u32,
    /// Index of its token.
    pub token: u32,
    /// Index of its name.
    pub name: u32,
    /// Index of its group; none for plain balances.
    pub group: Option<u32>,
    /// How much; none when the provider sent nothing readable.
    #[serde(borrow)]
    pub quantity: Option<Quantity<'a>>,
    /// Whether the provider would show it.
    pub displayable: bool,
    /// Whether the provider takes it for trash.
    pub trash: bool,
}

/// Encoded holdings could not be decoded.
#[derive(Debug, thiserror::Error)]
#[error("encoded holdings are corrupt: {0}")]
pub struct CorruptHoldings(String);

impl<'a> Holdings<'a> {
    /// Encodes; the same holdings always give the same bytes.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// Decodes what [`Holdings::encode`] wrote and checks every reference.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, CorruptHoldings> {
        let holdings: Self =
            postcard::from_bytes(bytes).map_err(|error| CorruptHoldings(error.to_string()))?;
        holdings.check()?;
        Ok(holdings)
    }

    /// Indices come from stored bytes: none may point outside of its table.
    fn check(&self) -> Result<(), CorruptHoldings> {
        let inside = |index: u32, len: usize| (index as usize) < len;
        let sound = self
            .tokens
            .iter()
            .all(|token| inside(token.chain, self.chains.len()))
            && self
                .groups
                .iter()
                .all(|group| inside(group.protocol, self.protocols.len()))
            && self.positions.iter().all(|position| {
                inside(position.kind, self.types.len())
                    && inside(position.token, self.tokens.len())
                    && inside(position.name, self.names.len())
                    && position
                        .group
                        .is_none_or(|group| inside(group, self.groups.len()))
            });
        sound
            .then_some(())
            .ok_or_else(|| CorruptHoldings("an index points outside of its table".to_owned()))
    }

    /// Returns about how many bytes the tables take, without the texts, which
    /// are borrowed.
    pub fn size(&self) -> usize {
        size_of_val(&*self.chains)
            + size_of_val(&*self.types)
            + size_of_val(&*self.names)
            + size_of_val(&*self.tokens)
            + size_of_val(&*self.protocols)
            + size_of_val(&*self.groups)
            + size_of_val(&*self.positions)
    }

    /// The token of a position.
    pub fn token(&self, position: &Position<'_>) -> &Token<'a> {
        &self.tokens[position.token as usize]
    }

    /// The chain of a token.
    pub fn chain(&self, token: &Token<'_>) -> &'a str {
        self.chains[token.chain as usize]
    }

    /// What the token's price is stored under; see [`crate::asset`].
    pub fn price_key(&self, token: &Token<'_>) -> PriceKey {
        let asset = Asset {
            identity: &token.identity,
            cmc: token.cmc,
            id: token.id.as_ref(),
            chain: self.chain(token),
            address: token.address.as_ref(),
            scaled: token.scaled,
        };
        asset.price_key()
    }

    /// Returns the token's contract in the form that tells whether two are the
    /// same; `native` for native coins. `None` where it cannot be told, and for
    /// one that could not stand in a list or a name. What is packed is put into
    /// `buffer`.
    pub fn contract<'b>(
        &self,
        token: &'b Token<'_>,
        native: &'static str,
        buffer: &'b mut [u8; MAX_TEXT],
    ) -> Option<Cow<'b, str>> {
        if !self.has_contract(token) {
            return None;
        }
        Some(match &token.address {
            Some(address) => contract_form(address.text(buffer)),
            None => Cow::Borrowed(native),
        })
    }

    /// Returns whether the token's contract can be told.
    pub fn has_contract(&self, token: &Token<'_>) -> bool {
        match (&token.identity, &token.address) {
            (Identity::Row { .. }, _) => false,
            (_, None) => token.native,
            (_, Some(Identifier::Hex(_))) => true,
            (_, Some(Identifier::Uuid(_))) => false,
            (_, Some(Identifier::Text(text))) => {
                let plain = text.bytes().all(|it| it.is_ascii_alphanumeric());
                plain && !text.is_empty() && text.len() <= MAX_CONTRACT_LENGTH
            }
        }
    }

    /// The position's id as the provider gave it.
    pub fn position_id<'s>(&'s self, position: &'s Position<'a>) -> Cow<'s, str> {
        match &position.id {
            PositionId::Text(text) => Cow::Borrowed(text),
            _ => Cow::Owned(self.packed_id(position).to_string()),
        }
    }

    /// The position's id, to be written.
    pub(crate) fn packed_id<'s>(&'s self, position: &'s Position<'a>) -> PackedId<'s, 'a> {
        let token = self.token(position);
        PackedId {
            packed: &position.id,
            address: token.address.as_ref(),
            chain: self.chain(token),
            name: self.names[position.name as usize],
            kind: self.types[position.kind as usize],
        }
    }
}

/// Expands a packed position id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackedId<'s, 'a> {
    pub packed: &'s PositionId<'a>,
    pub address: Option<&'s Identifier<'a>>,
    pub chain: &'s str,
    pub name: &'s str,
    pub kind: &'s str,
}

impl PackedId<'_, '_> {
    /// Writes the id as the provider gave it.
    pub fn write(&self, out: &mut impl fmt::Write) -> fmt::Result {
        if let PositionId::Text(text) = self.packed {
            return out.write_str(text);
        }
        match (self.packed, self.address) {
            (PositionId::Native, _) | (_, None) => out.write_str("base")?,
            (_, Some(address)) => out.write_str(address.text(&mut [0; MAX_TEXT]))?,
        }
        out.write_str("-")?;
        out.write_str(self.chain)?;
        out.write_str("-")?;
        if *self.packed == PositionId::Named {
            for letter in self.name.chars().flat_map(char::to_lowercase) {
                out.write_char(letter)?;
            }
            out.write_str("-")?;
            out.write_str(self.kind)
        } else {
            out.write_str("asset-asset")
        }
    }
}

impl fmt::Display for PackedId<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}

/// Whether the provider says that it covers DeFi positions on `chain`.
pub fn defi_is_missing_on(chain: &str) -> bool {
    Chain::by_id(chain).is_some_and(|chain| chain.defi == crate::chain::DefiCoverage::NotCovered)
}

#[cfg(test)]
mod tests;
