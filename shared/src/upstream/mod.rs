//! The services that are asked: ports for the read path, and their adapters.

mod call_policy;
pub mod coinmarketcap;
pub mod defillama;
mod http;
mod instrumented;
mod key_rotation;
mod lenient;
pub mod zerion;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use thiserror::Error;

pub use self::http::HttpClient;
pub use crate::domain::provider::Provider;
use crate::{
    clock::{Clock, Timestamp},
    config::Config,
    domain::{
        address::Address,
        currency::Currency,
        decimal::Decimal,
        holdings::{Holdings, Token},
        holdings_builder::HoldingsBuilder,
        price::RejectReason,
        price_book::QuoteId,
        scope::Scope,
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
    /// It kept failing, so that it is not called for a while.
    #[error("not called: its circuit breaker is open")]
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
pub trait HoldingsProvider: Send + Sync {
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
    /// Once: the caller tries again later anyway.
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

/// What a provider says that an asset costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Of which asset, as it was asked for.
    pub id: QuoteId,
    /// Price of one token in the asked currency, positive; or why it is none.
    pub price: Result<Decimal, RejectReason>,
    /// Change over 24 hours, percent.
    pub change_24h_percent: Option<Decimal>,
    /// The time that the provider gives.
    pub as_of: Option<Timestamp>,
}

/// What a provider of quotes takes and gives.
#[derive(Clone, Copy, Debug)]
pub struct QuoteTerms {
    /// Most assets in one request.
    pub per_request: usize,
    /// Most assets that are asked for in one answer; the others are asked for by
    /// the next.
    pub per_answer: usize,
    /// Whether it quotes in US dollars alone.
    pub dollars_only: bool,
    /// Whether what it quotes is listed by people, so that it is worth asking
    /// for anything that it knows; else spam is left out.
    pub curated: bool,
    /// How long its prices are fresh at least.
    pub min_ttl: Duration,
    /// A quote that the provider dates further back than this is none.
    pub max_quote_age: Duration,
}

impl QuoteTerms {
    /// Returns the currency of its quotes where an answer is in `asked`.
    pub fn currency(&self, asked: Currency) -> Currency {
        match self.dollars_only {
            true => Currency::USD,
            false => asked,
        }
    }
}

/// Quotes many assets in one request.
#[async_trait]
pub trait QuoteProvider: Send + Sync {
    /// Returns which provider this is.
    fn provider(&self) -> Provider;

    /// Returns what it takes and gives.
    fn terms(&self) -> QuoteTerms;

    /// Returns what the provider calls a token; `None` for one that it does not
    /// know.
    fn id(&self, holdings: &Holdings<'_>, token: &Token<'_>) -> Option<QuoteId>;

    /// Returns whether the provider knows a token. Each answer asks this of each
    /// token, and the name of few.
    fn knows(&self, holdings: &Holdings<'_>, token: &Token<'_>) -> bool {
        self.id(holdings, token).is_some()
    }

    /// Returns the ids of coins that are worth a US dollar, by which the dollar's
    /// rate in other currencies is told; none where it quotes in dollars alone.
    fn dollars(&self) -> &[QuoteId] {
        &[]
    }

    /// Returns quotes of `ids`; what the provider does not know is left out.
    ///
    /// # Errors
    /// When the provider fails, or does not answer within `timeout`.
    async fn quotes(
        &self,
        ids: &[QuoteId],
        currency: Currency,
        timeout: Duration,
    ) -> Result<Vec<Quote>, UpstreamError>;
}

/// Returns the client of the provider that is asked for what CoinMarketCap does
/// not list, if one is.
pub fn fallback(
    http: &HttpClient,
    config: &Config,
    clock: &Arc<dyn Clock>,
) -> Option<Arc<dyn QuoteProvider>> {
    let (provider, base) = config.price_fallback.clone()?;
    let (http, clock) = (http.clone(), clock.clone());
    match provider {
        Provider::DefiLlama => Some(Arc::new(defillama::DefiLlama::new(
            http, base, config, clock,
        ))),
        Provider::Zerion | Provider::CoinMarketCap => None,
    }
}
