//! Cached holdings: read, and fetched when they are not fresh.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    fetch::{Fetcher, UnleasedLimit},
    loaded::LoadedHoldings,
    loader::WalletLoader,
    lookup::StructureLookup,
    state::LookupState,
};
use crate::{
    domain::{query::Query, scope::Part},
    service::{
        context::{Request, ServiceError},
        rate_limits::RateLimits,
    },
};

/// The first level of the cache: what wallets hold.
pub(in crate::service) struct StructureCache {
    loader: WalletLoader,
    fetcher: Fetcher,
    rate_limits: Arc<RateLimits>,
    unleased: UnleasedLimit,
}

impl StructureCache {
    /// Returns the cache over a loader and a fetcher.
    pub fn new(loader: WalletLoader, fetcher: Fetcher, rate_limits: Arc<RateLimits>) -> Self {
        Self {
            loader,
            fetcher,
            rate_limits,
            unleased: UnleasedLimit::default(),
        }
    }

    /// Returns the wanted parts: cached, or fetched.
    ///
    /// # Errors
    /// When the provider fails and nothing cached may stand in, or time is over.
    pub async fn get(
        &self,
        query: &Query,
        wanted: &[Part],
        request: &Request,
    ) -> Result<LoadedHoldings, ServiceError> {
        let loaded = self.loader.load(query, false, request).await;
        let state = LookupState::new(&self.loader, wanted, request, loaded);
        if let Some(held) = state.complete() {
            return Ok(held);
        }
        let mut lookup = StructureLookup {
            loader: &self.loader,
            fetcher: &self.fetcher,
            rate_limits: &self.rate_limits,
            unleased: &self.unleased,
            query,
            state,
            holders: BTreeSet::new(),
            waited: Duration::ZERO,
            unreadable: Duration::ZERO,
            damaged_at: None,
        };
        lookup.run().await
    }
}
