//! Reading wallets from the table, with the process's last copies.

use std::sync::Arc;

use super::wallet_cache::WalletCache;
use crate::{
    cache::{CachedPart, CachedWallet, Header, WalletStore},
    clock::{Clock, Timestamp},
    domain::query::Query,
    service::{
        context::Request,
        policy::{LEASE_TTL, Policy},
    },
};

/// Reads wallets.
pub(in crate::service) struct WalletLoader {
    pub wallets: Arc<dyn WalletStore>,
    pub wallet_cache: WalletCache,
    pub clock: Arc<dyn Clock>,
    pub policy: Policy,
}

impl WalletLoader {
    /// Reads a wallet; `None` if the table cannot be read.
    pub async fn load(
        &self,
        query: &Query,
        consistent: bool,
        request: &Request,
    ) -> Option<CachedWallet> {
        let loaded = self
            .wallets
            .load(&query.address, query.currency, consistent, &request.cost)
            .await;
        let mut loaded = loaded
            .inspect_err(|error| tracing::warn!(%error, "the cache cannot be read"))
            .ok()?;
        let now = self.clock.now();
        loaded.header = self.without_future_timestamps(loaded.header);
        let implausible = |part: &CachedPart| part.fetched_at.is_in_the_future(now);
        loaded.parts.retain(|_, part| !implausible(part));
        self.wallet_cache.keep(&query.address, &loaded);
        Some(loaded)
    }

    /// Returns the header without times that no right clock can have written.
    pub fn without_future_timestamps(&self, header: Header) -> Header {
        header.without_future_timestamps(self.clock.now(), LEASE_TTL, self.policy.uncacheable_ttl())
    }

    /// Returns the time after which holdings must have been fetched to be fresh
    /// for this request.
    pub fn fresh_after(&self, request: &Request) -> Timestamp {
        let ttl = self.policy.structure.ttl;
        let ttl = request.max_age.map_or(ttl, |age| age.min(ttl));
        self.clock.now().minus(ttl)
    }
}
