//! The services that are asked: ports for the read path, and their adapters.

mod call_policy;
pub mod coinmarketcap;
pub mod defillama;
mod http;
mod instrumented;
mod key_rotation;
mod lenient;
pub mod zerion;

use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

pub use self::http::HttpClient;
pub use crate::domain::provider::Provider;
use crate::{
    clock::Timestamp,
    domain::{
        address::Address, currency::Currency, decimal::Decimal, holdings_builder::HoldingsBuilder,
        price::CmcId, price::RejectReason, scope::Scope,
    },
};

/// Why an upstream gave no usable answer. Holds neither keys nor bodies.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{upstream}: {failure}")]
pub struct UpstreamError {
    /// Which one.
    pub upstream: Provider,
    /// What happened.
    pub failure: Failure,
}

/// What went wrong with a request to an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// It refuses this wallet.
    #[error("the wallet cannot be tracked")]
    NotTrackable,
    /// It is still gathering the wallet's data.
    #[error("the wallet is still being prepared")]
    Preparing {
        /// When to ask again.
        retry_after: Option<Duration>,
    },
    /// Too many requests, or a used-up quota.
    #[error("rate limited")]
    RateLimited {
        /// When to ask again.
        retry_after: Option<Duration>,
        /// What is used up.
        quota: Quota,
    },
    /// It kept failing and is not asked for a while.
    #[error("left alone after it kept failing")]
    CircuitOpen {
        /// When it is asked again.
        retry_after: Duration,
    },
    /// Too many requests to it are under way in this process.
    #[error("too many requests under way")]
    Busy,
    /// The key is missing, wrong or not allowed.
    #[error("the key was refused (HTTP {0})")]
    Unauthorized(u16),
    /// Any other refusal of the request.
    #[error("the request was refused (HTTP {0})")]
    Rejected(u16),
    /// It has trouble of its own, or could not be reached.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// No answer in time.
    #[error("no answer within the time limit")]
    Timeout,
    /// An answer that cannot be read.
    #[error("unreadable answer: {0}")]
    Malformed(String),
    /// An answer larger than is read.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
}

impl Failure {
    /// Whether it concerns this process alone, and tells others nothing.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Busy | Self::CircuitOpen { .. })
    }
}

/// What a rate limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// Requests in a second or a minute.
    Requests,
    /// What a plan includes in a day or a month.
    Plan,
}

/// What a wallet holds, as just fetched.
#[derive(Debug, Default)]
pub struct FetchedStructure {
    /// The rows.
    pub draft: HoldingsBuilder,
    /// Whether these are all of them. What is not whole is never cached.
    pub complete: bool,
}

/// Tells what a wallet holds, with prices, in one request.
#[async_trait]
pub trait StructureSource: Send + Sync {
    /// Everything that `scope` covers of the wallet, within `timeout`.
    async fn fetch(
        &self,
        address: &Address,
        scope: Scope,
        currency: Currency,
        timeout: Duration,
        attempts: Attempts,
    ) -> Result<FetchedStructure, UpstreamError>;
}

/// How often a source may be asked for one answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attempts {
    /// Once: whoever asks tries again later anyway.
    One,
    /// A second time where the first failed in a way that may be over.
    #[default]
    Two,
}

impl Attempts {
    pub(crate) fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }
}

/// A coin's price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Of which coin.
    pub id: CmcId,
    /// Price of one coin in the asked currency, positive; or why it is none.
    pub price: Result<Decimal, RejectReason>,
    /// Change over 24 hours, percent.
    pub change_24h_percent: Option<Decimal>,
    /// The time that the source gives.
    pub as_of: Option<Timestamp>,
}

/// Tells prices of many coins in one request.
#[async_trait]
pub trait PriceSource: Send + Sync {
    /// Prices of `ids`; what the source does not know is left out.
    async fn quotes(
        &self,
        ids: &[CmcId],
        currency: Currency,
        timeout: Duration,
    ) -> Result<Vec<Quote>, UpstreamError>;

    /// Most ids that one request may hold.
    fn max_ids(&self) -> usize;
}

/// A token's price by chain and contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FallbackQuote {
    /// `chain:contract`, as it was asked for.
    pub key: String,
    /// Price of one token in US dollars, positive; or why it is none.
    pub price: Result<Decimal, RejectReason>,
    /// The time that the source gives.
    pub as_of: Option<Timestamp>,
}

/// Tells prices of tokens that the first source does not list.
#[async_trait]
pub trait FallbackSource: Send + Sync {
    /// Prices of `keys` (`chain:contract`) in one request; what the source does
    /// not know is left out.
    async fn prices(
        &self,
        keys: &[String],
        timeout: Duration,
    ) -> Result<Vec<FallbackQuote>, UpstreamError>;

    /// Most keys that one request may hold.
    fn max_keys(&self) -> usize;
}
