//! Cached holdings: read, and fetched when they are not fresh.

use std::sync::Arc;

use super::{
    holdings::{HoldingsPorts, WalletHoldings},
    loaded::LoadedHoldings,
};
use crate::{
    domain::{query::Query, scope::Part},
    service::{
        context::{Request, ServiceError},
        rate_limits::RateLimits,
        read_through::{UnleasedLimit, look_up},
    },
};

/// The first level of the cache: what wallets hold.
pub(in crate::service) struct StructureCache {
    ports: HoldingsPorts,
    rate_limits: Arc<RateLimits>,
    unleased: UnleasedLimit,
}

impl StructureCache {
    /// Returns the cache over its ports.
    pub fn new(ports: HoldingsPorts, rate_limits: Arc<RateLimits>) -> Self {
        Self {
            ports,
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
        let holdings = WalletHoldings {
            ports: &self.ports,
            query,
            request,
        };
        look_up(&holdings, wanted, &self.rate_limits, &self.unleased).await
    }
}
