//! The body of an answer, as clients read it.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use super::{
    address::Address,
    amount::Amount,
    belief::Refusal,
    currency::Currency,
    ident::{AsText, Icon, Ident},
    number::Number,
    price::{Price, PriceSource},
    quantity::{AsDecimal, Quantity},
    scope::Scope,
};
use crate::clock::Timestamp;

/// A 200 body. Amounts are decimal strings, times RFC 3339 in UTC.
#[derive(Debug, Serialize)]
pub struct Answer<'a> {
    pub(super) address: &'a Address,
    pub(super) scope: Scope,
    pub(super) currency: Currency,
    pub(super) totals: Totals<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) wallet: Option<WalletSection<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) defi: Option<DefiSection<'a>>,
    pub(super) structure: StructureInfo,
    pub(super) prices: PricesInfo,
    pub(super) coverage: Coverage<'a>,
    pub(super) page: Page,
}

/// Sums over the whole selection, whatever the page.
#[derive(Debug, Default, Serialize)]
pub struct Totals<'a> {
    pub(super) net_worth: Amount,
    pub(super) assets: Amount,
    pub(super) debt: Amount,
    pub(super) change_24h: Change,
    pub(super) by_chain: Vec<Share<'a>>,
    pub(super) by_protocol: Vec<Share<'a>>,
    pub(super) by_type: Vec<Share<'a>>,
}

impl Totals<'_> {
    /// Assets less debt.
    pub fn net_worth(&self) -> &Amount {
        &self.net_worth
    }
}

/// Change of the net worth over 24 hours by price changes alone.
#[derive(Debug, Default, Serialize)]
pub(super) struct Change {
    pub absolute: Amount,
    /// Of the net worth 24 hours ago; null where that was zero.
    pub percent: Option<Amount>,
}

/// One chain's, protocol's or type's net value.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Share<'a> {
    pub id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    pub value: Amount,
}

#[derive(Debug, Serialize)]
pub(super) struct WalletSection<'a> {
    pub value: Amount,
    pub positions: Vec<PositionBody<'a>>,
}

#[derive(Debug, Serialize)]
pub(super) struct DefiSection<'a> {
    pub value: Amount,
    pub protocols: Vec<ProtocolBody<'a>>,
}

#[derive(Debug, Serialize)]
pub(super) struct ProtocolBody<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub url: Option<&'a str>,
    pub icon: Option<&'a str>,
    pub value: Amount,
    pub groups: Vec<GroupBody<'a>>,
}

#[derive(Debug, Serialize)]
pub(super) struct GroupBody<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub value: Amount,
    pub positions: Vec<PositionBody<'a>>,
}

#[derive(Debug, Serialize)]
pub(super) struct PositionBody<'a> {
    pub id: Cow<'a, str>,
    pub r#type: &'a str,
    pub kind: Kind,
    pub chain: &'a str,
    pub name: &'a str,
    pub token: TokenBody<'a>,
    #[serde(serialize_with = "quantity")]
    pub quantity: Option<&'a Quantity<'a>>,
    pub quantity_raw: Option<Cow<'a, str>>,
    pub value: Option<Amount>,
    pub price: Option<PriceBody>,
    pub unpriced_reason: Option<UnpricedReason>,
    pub displayable: bool,
    pub trash: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct TokenBody<'a> {
    #[serde(serialize_with = "optional_text")]
    pub id: Option<&'a Ident<'a>>,
    pub symbol: &'a str,
    pub name: &'a str,
    #[serde(serialize_with = "icon")]
    pub icon: &'a Icon<'a>,
    #[serde(serialize_with = "optional_text")]
    pub address: Option<&'a Ident<'a>>,
    pub decimals: Option<u16>,
    pub verified: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct PriceBody {
    #[serde(serialize_with = "text")]
    pub amount: Number,
    pub source: PriceSource,
    pub as_of: Timestamp,
    #[serde(serialize_with = "maybe_text")]
    pub change_24h_percent: Option<Number>,
}

impl From<&Price> for PriceBody {
    fn from(price: &Price) -> Self {
        Self {
            amount: price.amount,
            source: price.source,
            as_of: price.as_of,
            change_24h_percent: price.change_24h_percent,
        }
    }
}

/// Whether a position is owned or owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Owned.
    Asset,
    /// Owed; counts against the totals.
    Debt,
}

/// Why a position has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnpricedReason {
    /// No source knows a price.
    NoPrice,
    /// The last known price is older than stale prices may be.
    PriceTooOld,
    /// The source's price is not believed, and the one before it, if there is
    /// one, may not be used.
    PriceRefused,
    /// The provider sent no readable quantity.
    QuantityUnreadable,
}

/// When the holdings were fetched and how long they count as fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StructureInfo {
    /// When they were fetched; the older of two parts.
    pub as_of: Timestamp,
    /// Until when they count as fresh.
    pub fresh_until: Timestamp,
    /// Whether they are past that, because the provider could not be asked.
    pub stale: bool,
}

/// How old the prices are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PricesInfo {
    /// The oldest price that was used.
    pub as_of: Timestamp,
    /// Until when the prices count as fresh.
    pub fresh_until: Timestamp,
    /// Whether some are past that, because no source could be asked.
    pub stale: bool,
    /// Counted positions without a value.
    pub unpriced: usize,
}

/// What the answer cannot contain.
#[derive(Debug, Default, Serialize)]
pub(super) struct Coverage<'a> {
    pub complete: bool,
    /// Positions that the provider hides (not displayable, or trash).
    pub hidden: usize,
    pub missing: Vec<Missing<'a>>,
}

/// Something that the answer lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing<'a> {
    /// `defi`, `wallet`, or `price` for a token's newest price.
    pub what: &'static str,
    /// The chain it is missing on; null for all.
    pub chain: Option<Cow<'a, str>>,
    /// The token whose price it is: its id, else its contract, else its symbol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Cow<'a, str>>,
    /// Why.
    pub reason: MissingReason,
}

/// Why something is missing from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingReason {
    /// The provider says that it does not list it.
    NotCoveredByProvider,
    /// The provider's answer could not be read to its end.
    FetchedIncompletely,
    /// The newest price is more than five times the known one, or less than a
    /// fifth of it.
    PriceRefusedJump,
    /// The newest price is an old one by its source's own date.
    PriceRefusedOutdated,
    /// The newest price is null, zero or negative.
    PriceRefusedNotPositive,
    /// The source does not trust its newest price itself.
    PriceRefusedUnsure,
}

impl From<Refusal> for MissingReason {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Jump => Self::PriceRefusedJump,
            Refusal::Outdated => Self::PriceRefusedOutdated,
            Refusal::NotPositive => Self::PriceRefusedNotPositive,
            Refusal::Unsure => Self::PriceRefusedUnsure,
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Page {
    pub limit: u32,
    pub total: usize,
    pub next: Option<String>,
}

impl Default for Amount {
    fn default() -> Self {
        Self::ZERO
    }
}

fn quantity<S: Serializer>(
    value: &Option<&Quantity<'_>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    value.map(AsDecimal).serialize(serializer)
}

fn optional_text<S: Serializer>(
    value: &Option<&Ident<'_>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    value.map(AsText).serialize(serializer)
}

fn icon<S: Serializer>(value: &Icon<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    AsText(value).serialize(serializer)
}

fn text<S: Serializer>(value: &Number, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn maybe_text<S: Serializer>(value: &Option<Number>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}
