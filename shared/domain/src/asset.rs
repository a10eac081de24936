//! What tells assets apart, and the keys that their prices are stored under.
//!
//! This is the one place that makes a price key of what is held. The rule, the
//! first that applies:
//!
//! 1. What cannot be identified has its row's own key: the row's id, its chain,
//!    and a number where several rows have both in common. It is priced by that
//!    row alone, and no other source is asked for it. This is a row without an
//!    id of the asset, without a contract on its chain, and not known to be the
//!    chain's native coin; or one of an id that stands for several contracts of
//!    the chain, where the row does not tell which.
//! 2. A coin that CoinMarketCap lists has that id as its key.
//! 3. An asset with the provider's id has a key of that id, the same on all of
//!    its chains. Where the id stands for several contracts of one chain, chain
//!    and contract are part of the key there.
//! 4. A contract without such an id has a key of chain and contract.
//! 5. A native coin without such an id has a key of its chain. Native is what
//!    the provider gives no contract of (or a placeholder) under the symbol of
//!    the chain's native coin.
//!
//! A scaled token never has the second kind of key, and all others with a mark
//! of their own: prices of the unscaled asset are stored elsewhere.
//!
//! Keys are hashes over a list of texts, each with its length, the first of
//! them the kind of key. No two lists look alike, even if a
//! provider writes one into an id. Hexadecimal contracts count in lower case, all others, such as
//! Solana's, letter for letter. Nothing in a key depends on the order of rows;
//! only rows that share id and chain are numbered, by what they say.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{
    identifier::{Identifier, MAX_TEXT},
    price::{CmcId, PriceKey},
};

/// How an asset is told from all others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Identity<'a> {
    /// By the provider's id, else by its contract, else as the native coin.
    #[default]
    Asset,
    /// By the provider's id and its contract: the id stands for several
    /// contracts of this chain.
    Contract,
    /// By its row alone.
    Row {
        /// The row's id.
        id: &'a str,
        /// Which of the rows that have this id on this chain.
        copy: u32,
    },
}

/// What is known of a held asset.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asset<'a> {
    /// How it is told from others.
    pub identity: &'a Identity<'a>,
    /// CoinMarketCap's id.
    pub cmc: Option<CmcId>,
    /// The provider's id.
    pub id: Option<&'a Identifier<'a>>,
    /// Its chain.
    pub chain: &'a str,
    /// Its contract; none for native coins and where it is not known.
    pub address: Option<&'a Identifier<'a>>,
    /// Whether its displayed amount is another than its base units.
    pub scaled: bool,
}

impl Asset<'_> {
    /// Returns what its price is stored under.
    pub fn price_key(&self) -> PriceKey {
        let kind = |plain: &'static str, scaled: &'static str| match self.scaled {
            true => scaled,
            false => plain,
        };
        let (mut id_text, mut address_text) = ([0; MAX_TEXT], [0; MAX_TEXT]);
        let contract = |buffer: &mut [u8; MAX_TEXT]| {
            let address = self.address.map(|it| it.text(buffer));
            contract_form(address.unwrap_or_default()).into_owned()
        };
        match (self.identity, self.cmc, self.id) {
            (Identity::Row { id, copy }, ..) => {
                let kind = kind("row", "scaled row");
                PriceKey::of_parts(&[kind, self.chain, id, &copy.to_string()])
            }
            (_, Some(id), _) if !self.scaled => PriceKey::Cmc(id),
            (Identity::Contract, _, Some(id)) => {
                let (kind, id) = (kind("one of", "scaled one of"), id.text(&mut id_text));
                PriceKey::of_parts(&[kind, id, self.chain, &contract(&mut address_text)])
            }
            (_, _, Some(id)) => {
                PriceKey::of_parts(&[kind("id", "scaled id"), id.text(&mut id_text)])
            }
            (_, _, None) => {
                let kind = kind("contract", "scaled contract");
                PriceKey::of_parts(&[kind, self.chain, &contract(&mut address_text)])
            }
        }
    }
}

/// Returns a contract in the form that tells whether two are the same:
/// hexadecimal ones in lower case, others, such as Solana's, as they are.
pub(super) fn contract_form(address: &str) -> Cow<'_, str> {
    let hex = address.starts_with("0x") || address.starts_with("0X");
    match hex && address.bytes().any(|letter| letter.is_ascii_uppercase()) {
        true => Cow::Owned(address.to_ascii_lowercase()),
        false => Cow::Borrowed(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_coins_have_their_id_as_the_key_unless_they_are_scaled() {
        let id = Identifier::pack("eth".into());
        let asset = Asset {
            identity: &Identity::Asset,
            cmc: Some(CmcId(1027)),
            id: Some(&id),
            chain: "ethereum",
            address: None,
            scaled: false,
        };
        assert_eq!(asset.price_key(), PriceKey::Cmc(CmcId(1027)));
        let scaled = Asset {
            scaled: true,
            ..asset
        };
        assert_eq!(
            scaled.price_key(),
            PriceKey::of_parts(&["scaled id", "eth"])
        );
        let unlisted = Asset { cmc: None, ..asset };
        assert_eq!(unlisted.price_key(), PriceKey::of_parts(&["id", "eth"]));
    }
}
