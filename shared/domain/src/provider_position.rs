//! A position as a provider describes it.

use crate::{decimal::Decimal, quantity::Quantity};

/// The position type of plain balances.
pub const WALLET_TYPE: &str = "wallet";
/// The position type of debt.
pub const LOAN_TYPE: &str = "loan";
/// Stands in for a position type that the provider left out.
pub const UNKNOWN_TYPE: &str = "unknown";

/// A position as a provider describes it, price included.
#[derive(Clone, Debug, Default)]
pub struct ProviderPosition {
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
    pub protocol: Option<ProviderProtocol>,
    /// The provider's group id.
    pub group: Option<String>,
    /// Whether the provider would show it.
    pub displayable: bool,
    /// Whether the provider takes it for trash.
    pub trash: bool,
    /// Price of one token in the request's currency; positive.
    pub price: Option<Decimal>,
    /// What the provider says that the position is worth, with its sign.
    pub value: Option<Decimal>,
    /// Change of the price over 24 hours, percent.
    pub change_24h_percent: Option<Decimal>,
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
pub struct ProviderProtocol {
    /// Stable id.
    pub id: String,
    /// Display name.
    pub name: String,
    /// Its site.
    pub url: Option<String>,
    /// Its picture.
    pub icon: Option<String>,
}
