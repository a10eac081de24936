//! One position of a wallet.

use std::borrow::Cow;

use super::protocols::Protocol;
use crate::fakes::catalog::{self, Asset, Implementation};

/// What a position is of.
#[derive(Clone, Debug)]
pub enum Token {
    Listed(&'static Asset),
    Unknown(UnknownToken),
}

/// A token that only Zerion knows, and whose price it gives as 0.
#[derive(Clone, Debug)]
pub struct UnknownToken {
    /// Zerion's id of the fungible.
    pub id: String,
    pub name: String,
    pub symbol: String,
    pub contract: String,
    pub decimals: u8,
}

/// Where in a protocol a position is.
#[derive(Clone, Debug)]
pub struct Defi {
    pub protocol: &'static Protocol,
    pub module: &'static str,
    /// The name of the pool or vault.
    pub name: String,
    /// Shared by the rows that belong together.
    pub group: Option<String>,
    pub pool: Option<String>,
    /// The id of the NFT that stands for the position.
    pub nft: Option<String>,
}

/// One position of a wallet.
#[derive(Clone, Debug)]
pub struct Position {
    pub token: Token,
    /// Zerion's id of the chain.
    pub chain: &'static str,
    /// The amount in the smallest unit.
    pub units: String,
    /// One of Zerion's position types.
    pub kind: &'static str,
    /// `None` for a token in the wallet itself.
    pub defi: Option<Defi>,
}

impl Position {
    /// An amount of a token in the wallet, such as `"1.25"`.
    pub fn wallet(symbol: &str, chain: &'static str, amount: &str) -> Self {
        let asset = listed(symbol);
        let units = units(amount, asset.decimals_on(chain));
        Self::of(Token::Listed(asset), chain, units)
    }

    /// An amount of a token in a protocol.
    pub fn in_protocol(
        symbol: &str,
        chain: &'static str,
        amount: &str,
        kind: &'static str,
        (protocol, module): (&'static Protocol, &'static str),
        name: &str,
    ) -> Self {
        Self {
            kind,
            defi: Some(Defi {
                protocol,
                module,
                name: name.to_owned(),
                group: None,
                pool: None,
                nft: None,
            }),
            ..Self::wallet(symbol, chain, amount)
        }
    }

    /// An amount, in the smallest unit, of a token without a price in the wallet.
    pub fn unknown(token: UnknownToken, chain: &'static str, units: String) -> Self {
        Self::of(Token::Unknown(token), chain, units)
    }

    fn of(token: Token, chain: &'static str, units: String) -> Self {
        Self {
            token,
            chain,
            units,
            kind: "wallet",
            defi: None,
        }
    }

    /// Puts the row into a pool, and into the group of the other rows there.
    pub fn pooled(mut self, pool: &str, group: &str) -> Self {
        if let Some(defi) = &mut self.defi {
            defi.pool = Some(pool.to_owned());
            defi.group = (!group.is_empty()).then(|| group.to_owned());
        }
        self
    }

    /// Sets the NFT that stands for the position.
    pub fn nft(mut self, id: &str) -> Self {
        if let Some(defi) = &mut self.defi {
            defi.nft = Some(id.to_owned());
        }
        self
    }

    /// The decimals of the token on this chain.
    pub fn decimals(&self) -> u8 {
        match &self.token {
            Token::Listed(asset) => asset.decimals_on(self.chain),
            Token::Unknown(token) => token.decimals,
        }
    }

    /// The amount in whole tokens, exactly.
    pub fn numeric(&self) -> String {
        whole(&self.units, self.decimals())
    }

    /// The id of the row, in the form Zerion's have.
    pub fn id(&self) -> String {
        let token: Cow<'_, str> = match &self.token {
            Token::Unknown(token) => token.contract.as_str().into(),
            Token::Listed(asset) => match asset.on(self.chain) {
                Some(Implementation {
                    address: Some(address),
                    ..
                }) if !is_native(address) => (*address).into(),
                // Zerion has a word of its own for the coin of a chain.
                Some(_) => "base".into(),
                None => asset.zerion_id.into(),
            },
        };
        let (name, kind) = match &self.defi {
            Some(defi) => (defi.name.to_lowercase(), self.kind),
            None => ("asset".to_owned(), "asset"),
        };
        format!("{token}-{}-{name}-{kind}", self.chain)
    }

    /// Zerion's id of the fungible.
    pub fn fungible_id(&self) -> &str {
        match &self.token {
            Token::Listed(asset) => asset.zerion_id,
            Token::Unknown(token) => &token.id,
        }
    }
}

fn is_native(address: &str) -> bool {
    matches!(
        address,
        "0x0000000000000000000000000000000000001010"
            | "0x471ece3750da237f93b8e339c536989b8978a438"
            | "0xdeaddeaddeaddeaddeaddeaddeaddeaddead0000"
            | "11111111111111111111111111111111"
    )
}

fn listed(symbol: &str) -> &'static Asset {
    catalog::by_symbol(symbol)
        .unwrap_or_else(|| panic!("generated wallets only hold what the catalogue has: {symbol}"))
}

/// Whole tokens as a count of the smallest unit; further digits are cut off.
fn units(amount: &str, decimals: u8) -> String {
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    let width = usize::from(decimals);
    let digits = format!("{whole}{fraction:0<width$.width$}");
    let trimmed = digits.trim_start_matches('0');
    if trimmed.is_empty() { "0" } else { trimmed }.to_owned()
}

/// A count of the smallest unit as whole tokens, with all its decimals.
pub fn whole(units: &str, decimals: u8) -> String {
    if decimals == 0 {
        return units.to_owned();
    }
    let width = usize::from(decimals) + 1;
    let padded = format!("{units:0>width$}");
    let (whole, fraction) = padded.split_at(padded.len() - usize::from(decimals));
    format!("{whole}.{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_keep_every_digit() {
        assert_eq!(units("1.25", 6), "1250000");
        assert_eq!(units("0.000001", 6), "1");
        assert_eq!(units("0", 6), "0");
        assert_eq!(units("3", 0), "3");
        assert_eq!(units("1.2345678", 6), "1234567");
        assert_eq!(whole("1250000", 6), "1.250000");
        assert_eq!(whole("1", 18), "0.000000000000000001");
        assert_eq!(whole("12", 0), "12");
    }

    #[test]
    fn ids_have_the_form_of_zerion() {
        let id = |symbol, chain| Position::wallet(symbol, chain, "1").id();
        assert_eq!(id("ETH", "base"), "base-base-asset-asset");
        assert_eq!(id("POL", "polygon"), "base-polygon-asset-asset");
        assert_eq!(
            id("USDC", "base"),
            "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913-base-asset-asset"
        );
    }
}
