//! Telling the price level what a fetched wallet will want prices of.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;

use super::context::Request;
use crate::{
    cache::CachedPart,
    domain::{query::Query, scope::Part},
    telemetry::request_cost::RequestCost,
};

/// Records what wallets hold, so that their prices are refreshed with others.
#[async_trait]
pub(super) trait Demand: Send + Sync {
    /// Records the assets of a fetch, while it is being stored. A failure costs
    /// freshness, nothing else.
    async fn record(
        &self,
        query: &Query,
        parts: &BTreeMap<Part, Arc<CachedPart>>,
        request: &Request,
        cost: &RequestCost,
    );
}
