//! A wallet's holdings for one answer.

use std::collections::BTreeMap;

use crate::{
    cache::{CachedPart, CachedWallet},
    clock::Timestamp,
    config::Lifetime,
    domain::scope::Part,
    service::{context::Level, read_through::Found},
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
            level: Level::fresh(now.plus(lifetime.ttl)),
            fetched: false,
            unchanged: false,
            missing: Vec::new(),
            cached: CachedWallet::default(),
            storable: false,
        }
    }
}
