//! The body of an answer, as clients read it.

use std::borrow::Cow;

use serde::Serialize;

use crate::{
    address::Address,
    amount::Amount,
    as_text,
    currency::Currency,
    decimal::Decimal,
    holdings::PackedId,
    identifier::{Icon, Identifier},
    price::Price,
    price::RejectReason,
    provider::Provider,
    quantity::Quantity,
    scope::Scope,
    timestamp::Timestamp,
};

/// A wallet's portfolio, or a page of it: the body of a 200. Amounts are
/// decimal strings, times RFC 3339 in UTC.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Portfolio))]
pub struct Answer<'a> {
    /// The wallet: an EVM address in lower case, a Solana address as it is.
    pub(super) address: &'a Address,
    pub(super) scope: Scope,
    /// What every amount is in.
    pub(super) currency: Currency,
    pub(super) totals: Totals<'a>,
    /// Plain balances; absent from `/defi`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub(super) wallet: Option<WalletSection<'a>>,
    /// Positions in protocols; absent from `/wallet`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub(super) defi: Option<DefiSection<'a>>,
    pub(super) structure: StructureInfo,
    pub(super) prices: PricesInfo,
    pub(super) coverage: Coverage<'a>,
    pub(super) page: Page,
}

/// Sums over the whole selection (address, path, `chains`), whatever the page,
/// `min_value` and `hidden`.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Totals<'a> {
    /// Assets less debt.
    pub(super) net_worth: Amount,
    /// All that is owned.
    pub(super) assets: Amount,
    /// All that is owed, as a positive amount.
    pub(super) debt: Amount,
    pub(super) change_24h: Change,
    /// The net worth by chain.
    pub(super) by_chain: Vec<Share<'a>>,
    /// The net worth by protocol; plain balances count under `wallet`.
    pub(super) by_protocol: Vec<Share<'a>>,
    /// The net worth by the provider's type of position.
    pub(super) by_type: Vec<Share<'a>>,
}

/// Change of the net worth over 24 hours by price changes alone.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(super) struct Change {
    /// In the answer's currency.
    pub absolute: Amount,
    /// Of the net worth 24 hours ago; null where that was zero.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub percent: Option<Amount>,
}

/// One chain's, protocol's or type's net value.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(super) struct Share<'a> {
    /// Of the chain, the protocol or the type.
    pub id: &'a str,
    /// A protocol's name; absent from the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub name: Option<&'a str>,
    /// Below zero where more is owed than owned.
    pub value: Amount,
}

/// Plain token balances.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(super) struct WalletSection<'a> {
    /// The net value of all of them, on whichever page.
    pub value: Amount,
    /// Those of this page, the largest value first.
    pub positions: Vec<PositionBody<'a>>,
}

/// Positions in protocols.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(super) struct DefiSection<'a> {
    /// The net value of all of them, on whichever page.
    pub value: Amount,
    /// Those with positions on this page, by net value.
    pub protocols: Vec<ProtocolBody<'a>>,
}

/// A protocol and what the wallet has in it.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Protocol))]
pub(super) struct ProtocolBody<'a> {
    /// The provider's id of it, such as `aave-v3`.
    pub id: &'a str,
    /// As people know it.
    pub name: &'a str,
    /// Where its own application is.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub url: Option<&'a str>,
    /// Where an image of it is.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub icon: Option<&'a str>,
    /// The net value of all of its positions.
    pub value: Amount,
    /// Those with positions on this page, by net value.
    pub groups: Vec<GroupBody<'a>>,
}

/// Positions that belong together, such as both sides of a pool.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Group))]
pub(super) struct GroupBody<'a> {
    /// The provider's id of it.
    pub id: &'a str,
    /// Such as the pool's name.
    pub name: &'a str,
    /// The net value of all of its positions.
    pub value: Amount,
    /// Those of this page, the largest value first.
    pub positions: Vec<PositionBody<'a>>,
}

/// So much of one token in one place.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Position))]
pub(super) struct PositionBody<'a> {
    /// The provider's id of it, unique within a wallet as a rule.
    #[serde(serialize_with = "as_text::position_id")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub id: PackedId<'a, 'a>,
    /// The provider's word for it: `wallet`, `deposit`, `staked`, `locked`,
    /// `reward`, `loan`, `investment`, and whatever it adds. Expect new ones.
    pub r#type: &'a str,
    pub kind: Kind,
    /// Id of the chain it is on.
    pub chain: &'a str,
    /// What the provider calls it.
    pub name: &'a str,
    pub token: TokenBody<'a>,
    /// How many tokens, digit for digit as the provider sent it; null where it
    /// sent nothing readable.
    #[serde(serialize_with = "as_text::quantity")]
    #[cfg_attr(feature = "openapi", schema(required, value_type = Option<crate::schema::DecimalText>))]
    pub quantity: Option<&'a Quantity<'a>>,
    /// The same in the token's smallest unit; null if the provider sent none.
    #[serde(serialize_with = "as_text::base_units")]
    #[cfg_attr(feature = "openapi", schema(required, value_type = Option<crate::schema::DigitText>))]
    pub quantity_raw: Option<&'a Quantity<'a>>,
    /// Quantity × price, positive for debt as well; null without a price.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub value: Option<&'a Amount>,
    /// Null where there is none that may be used.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub price: Option<PriceBody>,
    /// Why `value` is null; null where it is not.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub unpriced_reason: Option<UnpricedReason>,
    /// Whether the provider would display it. Only `hidden=true` lists what it
    /// would not.
    pub displayable: bool,
    /// Whether the provider takes it for trash. Only `hidden=true` lists that.
    pub trash: bool,
}

/// A token on one chain.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Token))]
pub(super) struct TokenBody<'a> {
    /// The provider's id, the same on every chain that the token is on.
    #[serde(serialize_with = "as_text::optional_text")]
    #[cfg_attr(feature = "openapi", schema(required, value_type = Option<String>))]
    pub id: Option<&'a Identifier<'a>>,
    /// Not unique, and any token may take any.
    pub symbol: &'a str,
    /// Not unique either.
    pub name: &'a str,
    /// Where an image of it is.
    #[serde(serialize_with = "as_text::icon")]
    #[cfg_attr(feature = "openapi", schema(required, value_type = Option<String>))]
    pub icon: &'a Icon<'a>,
    /// Its contract or mint; null for a chain's native coin.
    #[serde(serialize_with = "as_text::optional_text")]
    #[cfg_attr(feature = "openapi", schema(required, value_type = Option<String>))]
    pub address: Option<&'a Identifier<'a>>,
    /// By how many places `quantity_raw` is shifted.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub decimals: Option<u16>,
    /// Whether the provider vouches for it.
    pub verified: bool,
}

/// What one token costs.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Price))]
pub(super) struct PriceBody {
    /// In the answer's currency.
    #[serde(serialize_with = "as_text::text")]
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::DecimalText))]
    pub amount: Decimal,
    pub source: Provider,
    /// When it was right.
    pub as_of: Timestamp,
    /// Its change over 24 hours; null where the source does not tell.
    #[serde(serialize_with = "as_text::maybe_text")]
    #[cfg_attr(feature = "openapi", schema(required, value_type = Option<crate::schema::SignedDecimalText>))]
    pub change_24h_percent: Option<Decimal>,
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
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Owned.
    Asset,
    /// Owed; counts against the totals.
    Debt,
}

/// Why a position has no value: `no_price`: no provider knows one; `price_too_old`:
/// the last one is older than stale prices may be; `price_refused`: the newest
/// is not believed, and there is none before it that may be used;
/// `quantity_unreadable`: the provider sent no readable quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum UnpricedReason {
    /// No source knows a price.
    NoPrice,
    /// The last known price is older than stale prices may be.
    PriceTooOld,
    /// The source's price is not believed, and the one before it, if there is
    /// one, may not be used.
    PriceRefused,
    /// A price is known in another currency, and no exchange rate.
    NoExchangeRate,
    /// The provider sent no readable quantity.
    QuantityUnreadable,
}

/// When the holdings were fetched and how long they count as fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(super) struct Coverage<'a> {
    /// Whether nothing is missing.
    pub complete: bool,
    /// Positions that the provider hides (not displayable, or trash): as many
    /// would be added by `hidden=true`.
    pub hidden: usize,
    /// What is missing, and why.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<Missing>))]
    pub missing: &'a [Missing<'a>],
}

/// Something that the answer lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Missing<'a> {
    /// `defi`, `wallet`, or `price` for a token's newest price.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::Gap))]
    pub what: &'static str,
    /// The chain it is missing on; null for all.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub chain: Option<Cow<'a, str>>,
    /// The token whose price it is: its id, else its contract, else its symbol.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub token: Option<Cow<'a, str>>,
    /// Why.
    pub reason: MissingReason,
}

/// Why something is missing: `not_covered_by_provider`: it does not list this;
/// `fetched_incompletely`: what it sent could not be read to its end;
/// `no_exchange_rate`: prices are known in another currency alone, and cannot be
/// converted; `price_too_old`: the last known prices may not be used any more. Or
/// why a token's newest price is not believed, so that the one before it stays:
/// `price_refused_jump`: more than five times the known one, or less than a
/// fifth of it; `price_refused_outdated`: an old one by its source's own date;
/// `price_refused_not_positive`: null, zero or negative;
/// `price_refused_unsure`: not trusted by its own source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum MissingReason {
    /// The provider says that it does not list it.
    NotCoveredByProvider,
    /// The provider's answer could not be read to its end.
    FetchedIncompletely,
    /// Prices are known in another currency alone, and no exchange rate.
    NoExchangeRate,
    /// The last known prices are older than stale prices may be.
    PriceTooOld,
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

impl Kind {
    /// Returns the word in answers.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Asset => "asset",
            Self::Debt => "debt",
        }
    }
}

impl UnpricedReason {
    /// Returns the word in answers.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NoPrice => "no_price",
            Self::PriceTooOld => "price_too_old",
            Self::PriceRefused => "price_refused",
            Self::NoExchangeRate => "no_exchange_rate",
            Self::QuantityUnreadable => "quantity_unreadable",
        }
    }
}

impl From<RejectReason> for MissingReason {
    fn from(refusal: RejectReason) -> Self {
        match refusal {
            RejectReason::Outlier => Self::PriceRefusedJump,
            RejectReason::Outdated => Self::PriceRefusedOutdated,
            RejectReason::NotPositive => Self::PriceRefusedNotPositive,
            RejectReason::LowConfidence => Self::PriceRefusedUnsure,
        }
    }
}

/// Which part of the list this is.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(super) struct Page {
    /// Positions per page, as asked for.
    pub limit: u32,
    /// Positions on all pages together.
    pub total: usize,
    /// The next page's `cursor`; null on the last page.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub next: Option<String>,
}

impl Default for Amount {
    fn default() -> Self {
        Self::ZERO
    }
}
