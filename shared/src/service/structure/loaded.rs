//! A wallet's holdings for one answer.

use std::collections::BTreeMap;

use crate::{
    cache::{CachedPart, CachedWallet},
    clock::Timestamp,
    config::Lifetime,
    domain::scope::Part,
    service::{
        context::{CacheOutcome, Level},
        read_through::Found,
    },
};

/// A wallet's holdings for one answer, and what is known around them.
pub(in crate::service) type LoadedHoldings = Found<Part, CachedPart, CachedWallet>;

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
