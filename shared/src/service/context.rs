//! What goes with a request through the read path, and what comes back.

use std::time::Duration;

use thiserror::Error;

use super::policy::RENDER_MARGIN;
use crate::{
    clock::Timestamp,
    domain::{holdings::CorruptHoldings, provider::Provider},
    telemetry::request_cost::RequestCost,
    upstream::{Attempts, UpstreamError},
};

/// What a request brings along besides its query.
#[derive(Debug, Default)]
pub struct Request {
    /// When it must be answered.
    pub deadline: Timestamp,
    /// Holdings older than this are fetched again even if they are fresh, at
    /// most once in [`MIN_REVALIDATION_INTERVAL`](super::policy::MIN_REVALIDATION_INTERVAL).
    pub max_age: Option<Duration>,
    /// How often the provider may be asked.
    pub attempts: Attempts,
    /// Whether no client waits for the answer: slow price sources are then
    /// waited for even where older prices could stand in.
    pub patient: bool,
    /// What it costs.
    pub cost: RequestCost,
}

impl Request {
    /// Returns how long it may still take.
    pub(crate) fn time_left(&self, now: Timestamp) -> Duration {
        self.deadline.since(now)
    }

    /// Returns how long a call may take that has a limit of its own.
    pub(crate) fn timeout(&self, limit: Duration, now: Timestamp) -> Duration {
        limit.min(self.time_left(now).saturating_sub(RENDER_MARGIN))
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ServiceError {
    /// An upstream failed and nothing cached may stand in.
    #[error(transparent)]
    Provider(#[from] UpstreamError),
    /// The cache cannot be reached, and nothing can be done without it.
    #[error("the cache is unavailable")]
    CacheUnavailable,
    /// Time ran out.
    #[error("the deadline passed")]
    Deadline,
    /// Something that should not happen.
    #[error("internal: {0}")]
    Internal(String),
}

impl From<CorruptHoldings> for ServiceError {
    fn from(error: CorruptHoldings) -> Self {
        Self::Internal(error.to_string())
    }
}

/// How a level of the cache took part in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheOutcome {
    /// The cached data answered, fresh or stale.
    Hit,
    /// Nothing was cached.
    Miss,
    /// What was cached had expired.
    Expired,
    /// Some of what was needed was there.
    Partial,
}

/// What became of holdings that were to be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// They were fetched, and had changed.
    Changed,
    /// They were fetched, and had not.
    Unchanged,
    /// They were young enough, or another request is fetching them.
    Fresh,
}

/// What answered, or why nothing better could: a word in `Cache-Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// This provider was asked.
    Provider(Provider),
    /// The shared price book had what was missing.
    Book,
    /// Old data answers: another request is fetching.
    BeingRefreshed,
    /// Old data answers: the provider failed.
    UpstreamError,
    /// Old data answers: the provider limits requests.
    RateLimited,
    /// The process's own copy answers: the table cannot be read.
    Copy,
    /// What was fetched could not be stored.
    Uncached,
    /// What was fetched is not whole, and is not stored.
    Incomplete,
}

impl Detail {
    /// Returns the word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provider(provider) => provider.as_str(),
            Self::Book => "book",
            Self::BeingRefreshed => "being-refreshed",
            Self::UpstreamError => "upstream-error",
            Self::RateLimited => "rate-limited",
            Self::Copy => "copy",
            Self::Uncached => "uncached",
            Self::Incomplete => "incomplete",
        }
    }
}

/// One level's part in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// How it took part.
    pub outcome: CacheOutcome,
    /// Until when its data counts as fresh; past for stale data.
    pub fresh_until: Timestamp,
    /// Whether its data is past that, because a provider failed or another
    /// request is asking it.
    pub stale: bool,
    /// Whether new data was stored.
    pub stored: bool,
    /// What answered, or why nothing else could.
    pub detail: Option<Detail>,
}

impl Level {
    /// Returns the level of data that are cached and fresh.
    pub fn fresh(fresh_until: Timestamp) -> Self {
        Self {
            outcome: CacheOutcome::Hit,
            fresh_until,
            stale: false,
            stored: false,
            detail: None,
        }
    }
}
