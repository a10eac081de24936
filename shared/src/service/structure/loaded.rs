//! A wallet's holdings for one answer.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    cache::{CachedPart, CachedWallet},
    clock::Timestamp,
    config::Lifetime,
    domain::{response::Missing, scope::Part},
    service::context::{CacheOutcome, Level},
};

/// A wallet's holdings for one answer, and what is known around them.
pub(in crate::service) struct LoadedHoldings {
    /// The wanted parts.
    pub parts: BTreeMap<Part, Arc<CachedPart>>,
    /// When the older of them was fetched.
    pub fetched_at: Timestamp,
    /// How the cache took part.
    pub level: Level,
    /// Whether this request fetched all of them.
    pub fetched: bool,
    /// Whether it brought the holdings that were there.
    pub unchanged: bool,
    /// What the provider left out.
    pub missing: Vec<Missing<'static>>,
    /// The wallet as it was read last.
    pub cached: CachedWallet,
    /// Whether prices can be stored beside it.
    pub storable: bool,
}

impl LoadedHoldings {
    /// Returns the holdings of a wallet that the provider has nothing of, by its
    /// own word.
    pub fn nothing(now: Timestamp, lifetime: Lifetime) -> Self {
        Self {
            parts: BTreeMap::new(),
            fetched_at: now,
            level: Level {
                outcome: CacheOutcome::Hit,
                fresh_until: now.plus(lifetime.ttl),
                stale: false,
                stored: false,
                detail: None,
            },
            fetched: false,
            unchanged: false,
            missing: Vec::new(),
            cached: CachedWallet::default(),
            storable: false,
        }
    }
}
